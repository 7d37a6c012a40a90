//! Readers: ranges, live tails, long lines, and how little of a log they touch.

use super::*;

#[tokio::test]
async fn channels_do_not_mix_and_partial_lines_wait() {
    let farm = Farm::new();
    farm.write(&frames(&[
        (Header, b"$ make\n"),
        (Stdout, b"com"),
        (Stderr, b"warn"),
        (Stdout, b"pile\n50%\r"),
    ]))
    .await;
    let said = |number, channel, text: &str| (number, channel, text.to_owned());
    assert_eq!(
        farm.lines(0, 9).await,
        [said(0, Header, "$ make"), said(1, Stdout, "compile")]
    );
    farm.write(&frames(&[(Stderr, b"ing \xff\xfe\n"), (Stdout, b"100%")]))
        .await;
    farm.logs().seal(LOG).await.unwrap();
    assert_eq!(
        farm.lines(1, 9).await,
        [
            said(1, Stdout, "compile"),
            said(2, Stderr, "warning \u{fffd}\u{fffd}"),
            said(3, Stdout, "50%\r100%")
        ]
    );
    assert_eq!(farm.raw(Channels::only(Stderr)).await, b"warning \xff\xfe\n");
    assert_eq!(
        farm.raw(Channels::OUTPUT).await,
        b"comwarnpile\n50%\ring \xff\xfe\n100%"
    );
    assert_eq!(
        farm.logs().head_of_channel(LOG, Stdout, 5).await.unwrap(),
        b"compi"
    );
    assert_eq!(
        farm.logs().head_of_channel(LOG, Header, 500).await.unwrap(),
        b"$ make\n"
    );
    assert_eq!(farm.lines(4, 9).await, []);
    assert_eq!(farm.lines(u64::MAX, usize::MAX).await, []);
}

#[tokio::test]
async fn a_log_that_was_never_written_is_empty_and_can_be_awaited() {
    let farm = Farm::new();
    let mut bell = farm.logs().watch(LOG).await.unwrap();
    assert_eq!(
        farm.logs().read_lines(LOG, 0, 10).await.unwrap(),
        Lines::default()
    );
    assert!(!farm.live().exists());
    farm.write(&frames(&[(Stdout, b"one\ntwo")])).await;
    bell.changed().await.unwrap();
    assert_eq!(
        *bell.borrow_and_update(),
        Progress {
            length: 24,
            lines: 1,
            complete: false
        }
    );
    farm.logs().seal(LOG).await.unwrap();
    bell.changed().await.unwrap();
    assert_eq!(
        *bell.borrow_and_update(),
        Progress {
            length: 24,
            lines: 2,
            complete: true
        }
    );
    let again = farm.logs().watch(LOG).await.unwrap();
    assert!(again.borrow().complete);
    assert_eq!(farm.logs().seal(LogId(7)).await.unwrap(), Totals::default());
}

#[tokio::test]
async fn many_readers_follow_a_log_that_grows_and_is_sealed_under_them() {
    const LINES: u64 = 600;
    let farm = Farm::new();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let logs = farm.logs().clone();
        readers.spawn(async move {
            let (mut bell, mut seen) = (logs.watch(LOG).await.unwrap(), Vec::new());
            loop {
                let progress = *bell.borrow_and_update();
                let found = logs.read_lines(LOG, seen.len() as u64, 50).await.unwrap();
                let idle = found.lines.is_empty();
                seen.extend(found.lines.into_iter().map(|line| line.to_text()));
                match (idle, progress.complete) {
                    (true, true) => return seen,
                    (true, false) => bell.changed().await.unwrap(),
                    (false, _) => {}
                }
            }
        });
    }
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    for number in 0..LINES {
        let line = frames(&[(Stdout, format!("line {number}\n").as_bytes())]);
        writer.append(writer.length(), line.into()).await.unwrap();
    }
    farm.logs().seal(LOG).await.unwrap();
    let expected: Vec<_> = (0..LINES).map(|number| format!("line {number}")).collect();
    while let Some(seen) = readers.join_next().await {
        assert!(seen.unwrap() == expected);
    }
}

#[tokio::test]
async fn a_range_of_a_million_lines_touches_a_few_blocks() {
    let farm = Farm::new();
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    let (mut text, mut partial) = (String::new(), 0);
    for number in 0..1_000_000_u64 {
        text += &format!("[{number:7}] cc -c -o object-{}.o\n", number % 977);
        if text.len() > 60_000 || number == 999_999 {
            let frames = frames(&[(Stdout, text.as_bytes()), (Stderr, b"partial ")]);
            writer.append(writer.length(), frames.into()).await.unwrap();
            text.clear();
            partial += 1;
        }
    }
    let check = async |from: u64| {
        let lines = farm.lines(from, 3).await;
        let expected: Vec<_> = (from..from + 3)
            .map(|n| (n, Stdout, format!("[{n:7}] cc -c -o object-{}.o", n % 977)))
            .collect();
        assert_eq!(lines, expected);
    };
    for from in [0, 1, 499_999, 999_997] {
        check(from).await;
    }
    let totals = farm.logs().seal(LOG).await.unwrap();
    assert_eq!(totals.lines, 1_000_001);
    for from in [0, 777_777, 999_997] {
        check(from).await;
    }
    // The unfinished line of the other channel became the last one; it began long before the checkpoint.
    let last = (1_000_000, Stderr, "partial ".repeat(partial));
    assert_eq!(farm.lines(1_000_000, 9).await, [last]);
    // Blocks far from the range may be damaged: they are not read.
    let mut bytes = std::fs::read(farm.sealed()).unwrap();
    let middle = bytes.len() / 2;
    bytes[segment::HEADER..middle].fill(0);
    std::fs::write(farm.sealed(), bytes).unwrap();
    check(990_000).await;
    assert!(matches!(
        farm.logs().read_lines(LOG, 10, 1).await,
        Err(Error::Corrupt { .. })
    ));
}

#[tokio::test]
async fn a_line_without_end_is_kept_whole_and_served_cut() {
    const SIZE: u64 = 64 * 1024 * 1024;
    let farm = Farm::new();
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    writer
        .append(0, frames(&[(Stdout, b"before\n")]).into())
        .await
        .unwrap();
    let piece = Bytes::from(frames(&[(Stdout, &vec![b'x'; 1024 * 1024])]));
    for _ in 0..SIZE / (1024 * 1024) {
        writer.append(writer.length(), piece.clone()).await.unwrap();
    }
    writer
        .append(writer.length(), frames(&[(Stdout, b"\nafter\n")]).into())
        .await
        .unwrap();
    for sealed in [false, true] {
        if sealed {
            farm.logs().seal(LOG).await.unwrap();
        }
        let lines = farm.logs().read_lines(LOG, 0, 10).await.unwrap().lines;
        assert_eq!(lines.len(), 3);
        assert_eq!(
            (lines[1].text.len(), lines[1].omitted),
            (MAX_LINE_TEXT, SIZE - MAX_LINE_TEXT as u64)
        );
        assert!(
            lines[1]
                .to_text()
                .ends_with("x … [67043328 more bytes in this line]")
        );
        assert_eq!(farm.lines(2, 1).await[0].2, "after");
        // Streamed in small pieces: no reader holds the line.
        let pieces = farm.logs().raw(LOG, Channels::OUTPUT).await.unwrap();
        let (total, largest) = pieces
            .try_fold((0, 0), |(total, largest), p| async move {
                Ok((total + p.len(), p.len().max(largest)))
            })
            .await
            .unwrap();
        assert_eq!(total as u64, SIZE + 14);
        assert!(largest < 400_000, "{largest}");
    }
    let stored = std::fs::metadata(farm.sealed()).unwrap().len();
    assert!(stored < SIZE / 100, "{stored}");
}

#[tokio::test]
async fn long_lines_in_an_answer_are_limited_in_total() {
    let farm = Farm::new();
    let line = [vec![b'y'; 100_000], b"\n".to_vec()].concat();
    for _ in 0..100 {
        farm.write(&frames(&[(Stdout, &line)])).await;
    }
    let found = farm.logs().read_lines(LOG, 0, 1000).await.unwrap();
    assert_eq!((found.lines.len(), found.total), (64, 100));
    assert_eq!(farm.lines(64, 1000).await.len(), 36);
}

#[tokio::test]
async fn an_ended_log_reads_as_the_sealed_one_will() {
    let farm = Farm::new();
    let written = frames(&[(Stdout, b"one\ntwo")]);
    farm.write(&written).await;
    let mut bell = farm.logs().watch(LOG).await.unwrap();
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    let ended = farm.logs().end(LOG).await.unwrap();
    assert_eq!((ended.lines, bell.borrow_and_update().complete), (2, true));
    let before = farm.logs().read_lines(LOG, 0, 9).await.unwrap();
    assert_eq!((before.complete, before.lines.len()), (true, 2));
    let length = written.len() as u64;
    // What it has is durable, and nothing follows.
    assert_eq!(writer.append(0, written.into()).await.unwrap(), length);
    let late = frames(&[(Stdout, b"late")]);
    let refused = writer.append(length, late.into()).await;
    assert!(matches!(refused, Err(Error::Sealed(LOG))), "{refused:?}");
    assert_eq!(farm.logs().seal(LOG).await.unwrap(), ended);
    assert_eq!(farm.logs().read_lines(LOG, 0, 9).await.unwrap(), before);
}

#[tokio::test]
async fn a_new_writer_goes_on_with_an_ended_log() {
    let farm = Farm::new();
    let written = frames(&[(Stdout, b"before\n")]);
    farm.write(&written).await;
    farm.logs().end(LOG).await.unwrap();
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    let more = frames(&[(Stdout, b"after\n")]);
    writer.append(written.len() as u64, more.into()).await.unwrap();
    let found = farm.logs().read_lines(LOG, 0, 9).await.unwrap();
    assert_eq!((found.complete, found.lines.len()), (false, 2));
    assert_eq!(farm.logs().end(LOG).await.unwrap().lines, 2);
}
