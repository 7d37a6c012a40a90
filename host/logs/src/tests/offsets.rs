//! Whatever a link does (repeats, gaps, restarts), a log is the bytes that were sent, once, in order.

use super::*;

#[derive(Clone, Debug)]
enum Act {
    /// Send the frames from one index to another, as a link does that resumes too early.
    Send(prop::sample::Index, prop::sample::Index),
    /// Send the next frames.
    Go(usize),
    Restart,
    Seal,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(a, b)| Act::Send(a, b)),
        5 => (1..4_usize).prop_map(Act::Go),
        2 => Just(Act::Restart),
        1 => Just(Act::Seal),
    ]
}

fn payloads() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let payload = prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n')], 1..60);
    prop::collection::vec((1..=3_u8, payload), 1..20)
}

/// What the definition of a line says, on the whole log at once.
fn expected_lines(payloads: &[(u8, Vec<u8>)], complete: bool) -> Vec<(u64, Channel, String)> {
    let mut pending = [const { Vec::new() }; 3];
    let mut lines = Vec::new();
    for (channel, payload) in payloads {
        for byte in payload {
            let pending = &mut pending[usize::from(*channel) - 1];
            match byte {
                b'\n' => lines.push((*channel, std::mem::take(pending))),
                byte => pending.push(*byte),
            }
        }
    }
    if complete {
        lines.extend((1..).zip(pending).filter(|(_, rest)| !rest.is_empty()));
    }
    let line = |(number, (channel, bytes)): (u64, (u8, Vec<u8>))| {
        (
            number,
            Channel::from_number(channel).unwrap(),
            String::from_utf8_lossy(&bytes).into_owned(),
        )
    };
    (0..).zip(lines).map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_log_is_what_was_sent_however_it_was_sent(payloads in payloads(), acts in prop::collection::vec(act(), 1..25)) {
        block_on(async {
            let pieces: Vec<_> = payloads.iter().map(|(c, p)| frames(&[(Channel::from_number(*c).unwrap(), p)])).collect();
            let ends: Vec<_> = pieces.iter().scan(0, |end, piece| { *end += piece.len(); Some(*end) }).collect();
            let starts: Vec<_> = [0].into_iter().chain(ends.iter().copied()).collect();
            let all = pieces.concat();
            let (mut farm, mut sent, mut sealed) = (Farm::new(), 0, false);
            for act in acts {
                let mut writer = farm.logs().writer(LOG).await.unwrap();
                prop_assert_eq!(writer.length(), starts[sent] as u64);
                let (from, to) = match act {
                    Act::Send(a, b) => { let (a, b) = (a.index(starts.len()), b.index(starts.len())); (a.min(b), a.max(b)) }
                    Act::Go(count) => (sent, (sent + count).min(pieces.len())),
                    Act::Restart => { drop(writer); farm.restart(); continue }
                    Act::Seal => { farm.logs().seal(LOG).await.unwrap(); sealed = true; continue }
                };
                let result = writer.append(starts[from] as u64, Bytes::copy_from_slice(&all[starts[from]..starts[to]])).await;
                if to <= sent {
                    // Nothing new, or an empty piece behind the end.
                    prop_assert_eq!(result.unwrap(), starts[sent] as u64);
                } else if sealed {
                    prop_assert!(matches!(result, Err(Error::Sealed(_))));
                } else if from > sent {
                    let gap = matches!(result, Err(Error::Gap { .. }));
                    prop_assert!(gap);
                } else {
                    sent = to;
                    prop_assert_eq!(result.unwrap(), starts[sent] as u64);
                }
            }
            prop_assert_eq!(farm.all_frames().await, &all[..starts[sent]]);
            let lines = expected_lines(&payloads[..sent], sealed);
            prop_assert_eq!(&farm.lines(0, 10_000).await, &lines);
            for from in 0..lines.len() as u64 {
                prop_assert_eq!(farm.lines(from, 2).await, lines.iter().skip(from as usize).take(2).cloned().collect::<Vec<_>>());
            }
            Ok(())
        })?;
    }

    #[test]
    fn text_of_a_plugin_is_idempotent_by_its_offset(text in prop::collection::vec(any::<u8>(), 1..300), cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12)) {
        block_on(async {
            let (farm, mut known) = (Farm::new(), 0);
            for (a, b) in cuts {
                let (a, b) = (a.index(text.len() + 1), b.index(text.len() + 1));
                let (from, to) = (a.min(b), a.max(b));
                let mut writer = farm.logs().writer(LOG).await.unwrap();
                let result = writer.append_text(from as u64, Stdout, 0, &text[from..to]).await;
                prop_assert_eq!(result.is_ok(), from <= known, "from {} to {} of {}", from, to, known);
                if result.is_ok() { known = known.max(to); }
            }
            prop_assert_eq!(farm.raw(Channels::ALL).await, &text[..known]);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_no_whole_frames_is_refused_whole() {
    let farm = Farm::new();
    let good = frames(&[(Stdout, b"one\n"), (Stdout, b"two\n")]);
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    let cut = writer
        .append(0, Bytes::copy_from_slice(&good[..good.len() - 1]))
        .await;
    assert!(matches!(cut, Err(Error::Cut { offset: 21, .. })), "{cut:?}");
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    let flipped = writer.append(0, flipped.into()).await;
    assert!(
        matches!(flipped, Err(Error::Frame { offset: 21, .. })),
        "{flipped:?}"
    );
    assert_eq!(writer.length(), 0);
    // A repeat whose frames are cut differently from those that are stored.
    writer.append(0, good[..21].to_vec().into()).await.unwrap();
    let other = frames(&[(Stdout, b"one\ntwo\n")]);
    assert!(matches!(
        writer.append(0, other.into()).await,
        Err(Error::Cut { offset: 21, .. })
    ));
    assert_eq!(
        writer
            .append(u64::MAX, good.into())
            .await
            .unwrap_err()
            .to_string(),
        "expected bytes of log 1042 from offset 21 on, found offset 18446744073709551615"
    );
}

#[tokio::test]
async fn a_new_writer_ends_the_old_one() {
    let farm = Farm::new();
    let bytes = Bytes::from(frames(&[(Stdout, b"x")]));
    let mut old = farm.logs().writer(LOG).await.unwrap();
    let mut new = farm.logs().writer(LOG).await.unwrap();
    assert!(matches!(
        old.append(0, bytes.clone()).await,
        Err(Error::Superseded(LOG))
    ));
    assert_eq!(new.append(0, bytes).await.unwrap(), 18);
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let farm = Farm::new();
    let second = Logs::open(farm.folder.path(), Options::default());
    assert!(matches!(second, Err(Error::Locked(_))));
}
