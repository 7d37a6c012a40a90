//! What a folder says after a crash, and after it was used again.

use capstan_model::Exit;
use uuid::Uuid;

use super::*;

fn start(id: CommandId) -> StartRecord {
    StartRecord {
        id,
        at: Timestamp(1),
        boot: "boot".to_owned(),
        uptime: None,
        group: None,
    }
}

fn end(id: CommandId, log: &[u8]) -> ExitRecord {
    let report = ExitReport {
        exit: Exit::Code(0),
        duration_ms: 1,
        log_length: log.len() as u64,
        stdout_bytes: 0,
        stderr_bytes: 0,
    };
    ExitRecord::new(id, Timestamp(2), report, log)
}

/// A command's folder whose command has run.
fn over(commands: &Path, log: &[u8]) -> (CommandId, Folder) {
    let id = CommandId(Uuid::new_v4());
    let folder = Folder::new(commands.join(id.to_string()));
    fs::create_dir_all(folder.path()).unwrap();
    assert!(!folder.was_started() && !folder.has_exit());
    folder.reserve_exit().unwrap();
    assert!(folder.start(&start(id)).unwrap());
    assert!(!folder.start(&start(id)).unwrap(), "at most once");
    fs::write(folder.spool(), log).unwrap();
    folder.write_exit(&end(id, log), log).unwrap();
    assert!(folder.was_started() && folder.has_exit());
    (id, folder)
}

#[test]
fn a_folder_that_is_used_again_knows_nothing_of_the_command_before() {
    let commands = tempfile::tempdir().unwrap();
    let (before, folder) = over(commands.path(), b"log");
    let spare = commands.path().join("spare-1");
    assert!(folder.recycle(&spare).unwrap());
    let id = CommandId(Uuid::new_v4());
    let folder = Folder::new(commands.path().join(id.to_string()));
    fs::rename(&spare, folder.path()).unwrap();
    assert!(!folder.was_started() && !folder.has_exit() && !folder.spool().exists());
    // As if a crash of the machine had brought back what was written before.
    let restored = room::encode(&start(before), START_ROOM).unwrap();
    room::overwrite(&folder.path().join("started"), &restored).unwrap();
    folder.write_exit(&end(before, b""), b"").unwrap();
    assert!(!folder.was_started() && !folder.has_exit());
    assert!(folder.start(&start(id)).unwrap());
    assert_eq!(folder.started().unwrap(), Some(start(id)));
    assert_eq!(folder.exit().unwrap(), None);
}

#[test]
fn the_log_of_the_command_before_is_never_the_new_ones() {
    let commands = tempfile::tempdir().unwrap();
    let (_, folder) = over(commands.path(), b"log of the former one");
    let left = fs::read(folder.spool()).unwrap();
    let spare = commands.path().join("spare-1");
    let former = folder.spool().file_name().unwrap().to_owned();
    assert!(folder.recycle(&spare).unwrap());
    let id = CommandId(Uuid::new_v4());
    let folder = Folder::new(commands.path().join(id.to_string()));
    fs::rename(&spare, folder.path()).unwrap();
    assert!(folder.start(&start(id)).unwrap());
    // A crash of the machine before the names were durable: the former spool is there again, the new one is not.
    fs::write(folder.path().join(former), left).unwrap();
    assert!(!folder.spool().exists());
    // And one while the end was written: its record is there, and behind it still what was there before.
    let log = b"log of the newer one!";
    folder
        .write_exit(&end(id, log), b"log of the former one")
        .unwrap();
    assert_eq!(folder.exit().unwrap(), None);
    folder.restore_spool().unwrap();
    assert!(!folder.spool().exists());
    folder.write_exit(&end(id, log), log).unwrap();
    fs::write(folder.spool(), b"log of the former one").unwrap();
    folder.restore_spool().unwrap();
    assert_eq!(fs::read(folder.spool()).unwrap(), log);
}

#[test]
fn a_folder_whose_names_may_not_be_durable_is_not_used_again() {
    let commands = tempfile::tempdir().unwrap();
    let (id, folder) = over(commands.path(), b"");
    // As the daemon notes it for a supervisor that was killed.
    let mut lost = end(id, b"");
    lost.report.exit = Exit::Lost("killed".to_owned());
    folder.write_exit(&lost, b"").unwrap();
    assert!(!folder.recycle(&commands.path().join("spare-1")).unwrap());
    let (_, folder) = over(commands.path(), b"");
    fs::remove_file(folder.ended()).unwrap();
    folder.reserve_exit().unwrap();
    assert!(!folder.recycle(&commands.path().join("spare-2")).unwrap());
}

#[test]
fn any_reason_fits_into_the_record_of_the_end() {
    let commands = tempfile::tempdir().unwrap();
    let (id, folder) = over(commands.path(), b"");
    for reason in ["\u{1b}".repeat(5000), "\u{1f600}".repeat(5000)] {
        let mut record = end(id, b"");
        record.report.exit = Exit::Killed(reason.clone());
        let record = ExitRecord::new(id, record.at, record.report, b"");
        folder.write_exit(&record, b"").unwrap();
        let Exit::Killed(found) = folder.exit().unwrap().unwrap().report.exit else {
            panic!("it was killed");
        };
        assert!(!found.is_empty() && reason.starts_with(&found));
    }
}

#[test]
fn a_start_in_doubt_counts() {
    let commands = tempfile::tempdir().unwrap();
    let folder = Folder::new(commands.path().join(Uuid::new_v4().to_string()));
    fs::create_dir_all(folder.path()).unwrap();
    fs::write(folder.path().join("started"), b"{\"id\":").unwrap();
    assert!(folder.was_started());
    assert!(!folder.start(&start(CommandId(Uuid::new_v4()))).unwrap());
}

#[test]
fn a_short_log_comes_back_with_the_end() {
    let commands = tempfile::tempdir().unwrap();
    let (_, folder) = over(commands.path(), b"all of the log");
    for left in [None, Some(b"all of".as_slice())] {
        fs::remove_file(folder.spool()).unwrap();
        if let Some(left) = left {
            fs::write(folder.spool(), left).unwrap();
        }
        folder.restore_spool().unwrap();
        assert_eq!(fs::read(folder.spool()).unwrap(), b"all of the log");
    }
}

#[test]
fn an_end_that_was_seen_stays_seen_while_its_file_gets_its_name() {
    let commands = tempfile::tempdir().unwrap();
    for _ in 0..200 {
        let id = CommandId(Uuid::new_v4());
        let folder = Folder::new(commands.path().join(id.to_string()));
        fs::create_dir(folder.path()).unwrap();
        folder.reserve_exit().unwrap();
        let writer = folder.clone();
        let writing = std::thread::spawn(move || writer.write_exit(&end(id, b"log"), b"log").unwrap());
        while !folder.has_exit() {}
        while !writing.is_finished() {
            assert!(folder.has_exit(), "the end was there a moment ago");
        }
        writing.join().unwrap();
        assert!(folder.has_exit());
    }
}

/// A record as another version writes it.
fn write_json(path: &Path, record: &serde_json::Value) {
    room::overwrite(path, &room::encode(record, START_ROOM).unwrap()).unwrap();
}

#[test]
fn records_of_an_older_and_of_a_newer_version_are_read() {
    let commands = tempfile::tempdir().unwrap();
    let id = CommandId(Uuid::new_v4());
    let folder = Folder::new(commands.path().join(id.to_string()));
    fs::create_dir(folder.path()).unwrap();
    let report = serde_json::to_value(&end(id, b"").report).unwrap();
    let newer = |mut record: serde_json::Value| {
        record["field_of_a_newer_version"] = serde_json::json!({ "deep": [1, 2] });
        record
    };
    let older_start = serde_json::json!({ "id": id, "at": 1, "boot": "boot" });
    let older_end = serde_json::json!({ "id": id, "at": 2, "report": report });
    for record in [older_start.clone(), newer(older_start)] {
        write_json(&folder.started_at(), &record);
        assert_eq!(folder.started().unwrap(), Some(start(id)));
    }
    let mut newer_end = newer(older_end.clone());
    newer_end["report"] = newer(report);
    for record in [older_end, newer_end] {
        write_json(&folder.ended(), &record);
        assert_eq!(folder.exit().unwrap(), Some(end(id, b"")));
    }
    let stop = folder.path().join("stop");
    fs::write(stop, r#"{"reason": "enough", "who": "somebody"}"#).unwrap();
    assert_eq!(folder.stop().unwrap().unwrap().reason, "enough");
}

#[test]
fn a_log_without_room_for_its_spool_is_read_from_the_record_of_the_end() {
    let commands = tempfile::tempdir().unwrap();
    let (_, folder) = over(commands.path(), b"all of the log");
    fs::remove_file(folder.spool()).unwrap();
    let mut part = [0; 3];
    folder.log().unwrap().read(&mut part, 11).unwrap();
    assert_eq!(&part, b"log");
    folder.log().unwrap().read(&mut part, 12).unwrap_err();
    folder.log().unwrap().read(&mut part, u64::MAX).unwrap_err();
}

#[test]
fn a_start_that_could_not_be_made_durable_did_not_happen() {
    let commands = tempfile::tempdir().unwrap();
    let id = CommandId(Uuid::new_v4());
    let folder = Folder::new(commands.path().join(id.to_string()));
    fs::create_dir(folder.path()).unwrap();
    // Without the room for the end there is none to make durable.
    folder.start(&start(id)).unwrap_err();
    assert!(!folder.was_started());
    folder.reserve_exit().unwrap();
    assert!(folder.start(&start(id)).unwrap());
}
