//! Crashes, full disks and damaged files: what was durable is kept, what is not is never served.

use super::*;

#[tokio::test]
async fn a_torn_end_is_cut_back_to_the_last_whole_frame_at_every_byte() {
    let bytes = frames(&[(Stdout, b"first\n"), (Stderr, b"second\n"), (Stdout, b"third")]);
    let ends = [0, 23, 47, bytes.len()];
    for cut in 0..=bytes.len() {
        let mut farm = Farm::new();
        farm.write(&bytes).await;
        farm.logs = None;
        let file = std::fs::OpenOptions::new().write(true).open(farm.live()).unwrap();
        file.set_len((segment::HEADER + cut) as u64).unwrap();
        farm.restart();
        let mut writer = farm.logs().writer(LOG).await.unwrap();
        let kept = *ends.iter().rfind(|&&end| end <= cut).unwrap();
        assert_eq!(writer.length(), kept as u64);
        // The worker sends it all again.
        writer.append(0, bytes.clone().into()).await.unwrap();
        assert_eq!(farm.all_frames().await, bytes);
    }
}

#[tokio::test]
async fn a_complete_log_that_lost_its_end_or_its_file_says_so() {
    let bytes = frames(&[(Stdout, b"first\n"), (Stderr, b"second\n")]);
    let whole = bytes.len() as u64;
    for kept in [None, Some(0), Some(whole - 1), Some(whole)] {
        let mut farm = Farm::new();
        farm.write(&bytes).await;
        farm.logs = None;
        match kept {
            None => std::fs::remove_file(farm.live()).unwrap(),
            Some(kept) => {
                let file = std::fs::OpenOptions::new().write(true).open(farm.live()).unwrap();
                file.set_len(segment::HEADER as u64 + kept).unwrap();
            }
        }
        farm.restart();
        let found = farm.logs().whole(LOG, whole).await;
        match kept {
            Some(kept) if kept == whole => assert_eq!(found.unwrap().length, whole),
            _ => assert!(
                matches!(found, Err(Error::Short { expected, .. }) if expected == whole),
                "{kept:?}: {found:?}"
            ),
        }
    }
}

#[tokio::test]
async fn garbage_behind_the_last_frame_is_cut_off() {
    for garbage in [
        &[0_u8; 40][..],
        &[0xff; 40],
        b"\x05\0\0\0wrong checksum and so on",
    ] {
        let mut farm = Farm::new();
        let bytes = frames(&[(Stdout, b"kept\n")]);
        farm.write(&bytes).await;
        farm.logs = None;
        let stored = std::fs::read(farm.live()).unwrap();
        std::fs::write(farm.live(), [&stored, garbage].concat()).unwrap();
        farm.restart();
        assert_eq!(farm.all_frames().await, bytes);
        assert_eq!(std::fs::read(farm.live()).unwrap(), stored);
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_header_is_an_error_and_the_file_stays() {
    let mut farm = Farm::new();
    farm.write(&frames(&[(Stdout, b"kept\n")])).await;
    farm.logs = None;
    let good = std::fs::read(farm.live()).unwrap();
    for (bytes, expected) in [
        (
            good[..10].to_vec(),
            "found `LIVE` damaged at byte 0: the file is shorter than its header",
        ),
        (
            [&[0; 24], &good[24..]].concat(),
            "found `LIVE` damaged at byte 0: the header is not that of log 1042",
        ),
        (
            segment::header(segment::MAGIC, 1, LogId(7)).to_vec(),
            "the header is not that of log 1042",
        ),
        (
            segment::header(segment::MAGIC, 2, LOG).to_vec(),
            "expected version 1 or older of the log format, found 2 in `LIVE`",
        ),
    ] {
        std::fs::write(farm.live(), &bytes).unwrap();
        farm.restart();
        let text = farm.logs().writer(LOG).await.unwrap_err().to_string();
        let text = text.replace(farm.live().to_str().unwrap(), "LIVE");
        assert!(text.contains(expected), "{text}");
        farm.logs = None;
        assert_eq!(std::fs::read(farm.live()).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_crash_at_any_point_of_sealing_loses_nothing() {
    let bytes = frames(&[(Stdout, b"one\ntw"), (Stderr, b"warning\n"), (Stdout, b"o")]);
    let mut farm = Farm::new();
    farm.write(&bytes).await;
    let segment = std::fs::read(farm.live()).unwrap();
    let totals = farm.logs().seal(LOG).await.unwrap();
    assert_eq!(
        totals,
        Totals {
            length: bytes.len() as u64,
            lines: 3,
            stdout: 7,
            stderr: 8,
            header: 0
        }
    );
    assert!(!farm.live().exists());
    let sealed = std::fs::read(farm.sealed()).unwrap();
    let temporary = farm.folder.path().join("tmp/1042");

    // Before the rename: half a sealed file under its temporary name.
    for written in [0, 1, sealed.len() / 2, sealed.len()] {
        farm.logs = None;
        std::fs::remove_file(farm.sealed()).unwrap();
        std::fs::write(&temporary, &sealed[..written]).unwrap();
        std::fs::write(farm.live(), &segment).unwrap();
        farm.restart();
        assert!(!temporary.exists());
        assert_eq!(farm.logs().unsealed().await.unwrap(), [LOG]);
        assert_eq!(farm.all_frames().await, bytes);
        assert_eq!(farm.logs().seal(LOG).await.unwrap(), totals);
        assert_eq!(std::fs::read(farm.sealed()).unwrap(), sealed);
    }
    // After the rename, before the segment was removed.
    farm.logs = None;
    std::fs::write(farm.live(), &segment).unwrap();
    farm.restart();
    assert_eq!(farm.all_frames().await, bytes);
    assert!(!farm.live().exists());
    // Sealing again, and a worker that sends everything again, change nothing.
    assert_eq!(farm.logs().seal(LOG).await.unwrap(), totals);
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    assert_eq!(
        writer.append(0, bytes.clone().into()).await.unwrap(),
        totals.length
    );
    assert_eq!(std::fs::read(farm.sealed()).unwrap(), sealed);
}

#[tokio::test]
async fn no_flipped_bit_of_a_sealed_log_is_served() {
    let mut farm = Farm::new();
    let bytes = frames(&[(Stdout, b"one\n"), (Stderr, b"two\n")]);
    farm.write(&bytes).await;
    farm.logs().seal(LOG).await.unwrap();
    let good = std::fs::read(farm.sealed()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(farm.sealed(), &bad).unwrap();
        farm.restart();
        let found = farm.logs().frames_from(LOG, 0, 1000).await;
        assert!(
            found.as_ref().is_err() || found.as_ref().is_ok_and(|found| *found == bytes),
            "byte {at}: {found:?}"
        );
    }
    for size in 0..good.len() {
        std::fs::write(farm.sealed(), &good[..size]).unwrap();
        assert!(
            farm.logs().frames_from(LOG, 0, 1000).await.is_err(),
            "cut at {size}"
        );
    }
}

/// Fills a log until the disk is full, then gives it space again.
async fn survive_a_full_disk(folder: &Path, fill: impl AsyncFn(&Writer, bool)) {
    let logs = Logs::open(folder, Options::default()).unwrap();
    let piece = |n: usize| frames(&[(Stdout, &vec![b'a' + (n % 26) as u8; 20_000])]);
    let mut writer = logs.writer(LOG).await.unwrap();
    fill(&writer, true).await;
    let mut sent = Vec::new();
    let error = loop {
        let next = piece(sent.len());
        match writer.append(sent.len() as u64, next.clone().into()).await {
            Ok(length) => {
                sent.extend_from_slice(&next);
                assert_eq!(length, sent.len() as u64);
            }
            Err(error) => break error,
        }
        assert!(sent.len() < 10_000_000, "the disk never became full");
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.to_string().contains("1042.log"), "{error}");
    assert_eq!(writer.length(), sent.len() as u64);
    assert_eq!(logs.frames_from(LOG, 0, usize::MAX).await.unwrap(), sent);
    fill(&writer, false).await;
    let next = piece(3);
    writer
        .append(sent.len() as u64, next.clone().into())
        .await
        .unwrap();
    drop((logs, writer));
    let logs = Logs::open(folder, Options::default()).unwrap();
    assert_eq!(
        logs.frames_from(LOG, 0, usize::MAX).await.unwrap(),
        [sent, next].concat()
    );
}

/// Runs itself in a private mount namespace, with a small file system of its own.
#[tokio::test]
async fn a_full_disk_leaves_the_log_valid() {
    const PLACE: &str = "CAPSTAN_TEST_SMALL_DISK";
    if let Some(place) = std::env::var_os(PLACE) {
        let ballast = Path::new(&place).join("ballast");
        std::fs::write(&ballast, [0; 100_000]).unwrap();
        survive_a_full_disk(Path::new(&place), async |_, full| {
            if !full {
                std::fs::remove_file(&ballast).unwrap();
            }
        })
        .await;
        println!("survived a full disk");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=600k none "$1" && exec "$2" --exact --nocapture tests::damage::a_full_disk_leaves_the_log_valid"#;
    let mut child = std::process::Command::new("unshare");
    child
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(place.path())
        .arg(std::env::current_exe().unwrap());
    let output = child.env(PLACE, place.path()).output();
    let said = output
        .as_ref()
        .map(|o| String::from_utf8_lossy(&[&*o.stdout, &*o.stderr].concat()).into_owned());
    match said {
        Ok(said) if said.contains("running 1 test") => {
            assert!(said.contains("survived a full disk"), "{said}")
        }
        refused => {
            println!(
                "no private file system here ({refused:?}): the full disk is a fault point in the writer"
            );
            let farm = tempfile::tempdir().unwrap();
            survive_a_full_disk(farm.path(), async |writer, full| {
                writer.limit_space(full.then_some(500_000))
            })
            .await;
        }
    }
}

#[tokio::test]
async fn the_fault_point_stands_for_a_full_disk() {
    let farm = tempfile::tempdir().unwrap();
    survive_a_full_disk(farm.path(), async |writer, full| {
        writer.limit_space(full.then_some(500_000))
    })
    .await;
}

/// For a log that only carried something: it goes whatever form it has, a second time too, and its writer has lost it.
#[tokio::test]
async fn a_log_that_is_removed_is_gone() {
    let bytes = frames(&[(Stdout, b"a file\n")]);
    let mut farm = Farm::new();
    farm.write(&bytes).await;
    let mut writer = farm.logs().writer(LOG).await.unwrap();
    let length = writer.length();
    farm.logs().remove(LOG).await.unwrap();
    farm.logs().remove(LOG).await.unwrap();
    assert!(!farm.live().exists());
    let late = writer.append(length, bytes.clone().into()).await;
    assert!(matches!(late, Err(Error::Sealed(LOG))), "{late:?}");
    assert_eq!(farm.logs().totals(LOG).await.unwrap().length, 0);

    farm.write(&bytes).await;
    farm.logs().seal(LOG).await.unwrap();
    farm.restart();
    farm.logs().remove(LOG).await.unwrap();
    assert!(!farm.sealed().exists() && !farm.live().exists());
    assert_eq!(farm.logs().unsealed().await.unwrap(), []);
}
