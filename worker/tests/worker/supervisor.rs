//! What a build may rely on: the supervisor runs a command once, keeps every byte, and leaves no process
//! behind.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use capstan_model::{Channel, EnvValue, Exit, TimeOut, Timestamp};
use capstan_wire::control::ExitReport;
use capstan_worker::folder::{ExitRecord, Folder, StopRecord};
use capstan_worker::os;
use capstan_worker::supervise::Order;

use crate::support::{Bench, argv, bytes, shell, wait_for};

use Channel::{Header, Stderr, Stdout};

fn survivors(bench: &Bench) -> Vec<u32> {
    os::marked(&bench.job.id.to_string()).unwrap()
}

fn killed(pid: u32) {
    os::send(pid, os::Told::Kill);
}

#[test]
fn exit_codes_and_signals_are_told_as_they_were() {
    assert_eq!(*Bench::new(shell("exit 0")).run().exit(), Exit::Code(0));
    assert_eq!(*Bench::new(shell("exit 42")).run().exit(), Exit::Code(42));
    assert_eq!(*Bench::new(shell("kill -SEGV $$")).run().exit(), Exit::Signal(11));
}

#[test]
fn a_log_says_what_ran_where_and_how_it_ended() {
    let mut spec = argv(&["echo", "two words"]);
    spec.env.insert("LANG".into(), EnvValue::Set("C".into()));
    let ran = Bench::new(spec).run();
    assert_eq!(ran.text(Stdout), "two words\n");
    insta::assert_snapshot!(ran.text(Header), @r"
    $ echo 'two words'
    in builder/build
    environment set: LANG
    exit code 0
    ");
}

#[test]
fn both_pipes_arrive_byte_for_byte() {
    let bench = Bench::new(shell(
        r"printf 'a\377\000b\r'; printf 'e\200' >&2; head -c 1000000 /dev/zero | tr '\0' x; seq 1 100000 >&2; echo end",
    ));
    let ran = bench.run();
    let mut out = b"a\xff\0b\r".to_vec();
    out.extend(vec![b'x'; 1_000_000]);
    out.extend(b"end\n");
    let mut err = b"e\x80".to_vec();
    (1..=100_000).for_each(|n| err.extend(format!("{n}\n").bytes()));
    assert!(ran.bytes(Stdout) == out, "standard output differs");
    assert!(ran.bytes(Stderr) == err, "standard error differs");
    assert_eq!(
        (ran.report.stdout_bytes, ran.report.stderr_bytes),
        (out.len() as u64, err.len() as u64)
    );
}

#[test]
fn output_is_readable_while_the_command_still_runs() {
    let bench = Bench::new(shell("printf prompt; while ! test -e go; do sleep 0.01; done"));
    let mut child = bench.start();
    wait_for("a line without its end in the spool", || {
        let spool = std::fs::read(bench.folder().spool()).ok()?;
        (bytes(&spool, Stdout) == b"prompt").then_some(())
    });
    std::fs::write(bench.workdir().join("go"), "").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_environment_is_the_workers_with_the_changes_asked_for() {
    let mut spec = shell(r#"echo "$ADDED|$KEPT|${GONE-unset}|$PWD" | sed "s,$TOP,TOP,""#);
    spec.env.insert(
        "ADDED".into(),
        EnvValue::Set("${KEPT}/bin:${NOWHERE}${ADDED}".into()),
    );
    spec.env.insert("GONE".into(), EnvValue::Unset);
    let mut bench = Bench::new(spec);
    let top = bench.root.path().canonicalize().unwrap().display().to_string();
    let own = [("KEPT", "kept"), ("GONE", "here"), ("TOP", &top)];
    bench.worker_env = own
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert_eq!(
        bench.run().text(Stdout),
        "kept/bin:|kept|unset|TOP/base/builder/build\n"
    );
}

#[test]
fn what_cannot_start_says_why() {
    let started = |spec| match Bench::new(spec).run().exit() {
        Exit::NotStarted(reason) => reason.clone(),
        other => panic!("expected a command that was not started, found {other}"),
    };
    let mut spec = argv(&["no-such-program", "x"]);
    spec.env
        .insert("PATH".into(), EnvValue::Set("/bin:/nowhere".into()));
    insta::assert_snapshot!(started(spec), @"no program `no-such-program` was found in PATH=/bin:/nowhere");
    insta::assert_snapshot!(started(argv(&["./missing"])), @"the program `./missing` could not be started: No such file or directory (os error 2)");
    insta::assert_snapshot!(started(argv(&[])), @"expected a program to run, found an empty list of arguments");
    let mut spec = shell("true");
    spec.workdir = "../other".into();
    insta::assert_snapshot!(started(spec), @"expected a working directory inside the builder's directory, found `../other`");
    let mut spec = shell("true");
    spec.env.insert("A=B".into(), EnvValue::Unset);
    insta::assert_snapshot!(started(spec), @"expected the name of an environment variable, found `A=B`");
    let mut spec = shell("true");
    spec.env.insert("TOKEN".into(), EnvValue::Secret("upload".into()));
    insta::assert_snapshot!(started(spec), @"the variable TOKEN wants the secret `upload`, which the master did not send");
    let nul = started(argv(&["echo", "a\0b"]));
    assert!(nul.contains("nul byte"), "{nul}");
}

#[test]
fn a_link_out_of_the_builders_directory_is_refused_before_anything_runs() {
    let mut bench = Bench::new(shell("touch here"));
    let outside = bench.root.path().join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(bench.job.base.join("builder")).unwrap();
    std::os::unix::fs::symlink(&outside, bench.job.base.join("builder/out")).unwrap();
    bench.job.spec.workdir = "out/deeper".into();
    assert!(matches!(bench.run().exit(), Exit::NotStarted(reason) if reason.contains("symbolic link")));
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn silence_and_length_have_their_limits() {
    let mut spec = shell("echo one; sleep 100");
    spec.idle_timeout_ms = Some(300);
    let ran = Bench::new(spec).run();
    assert_eq!(
        (ran.exit(), ran.text(Stdout).as_str()),
        (&Exit::TimedOut(TimeOut::Idle), "one\n")
    );
    let mut spec = shell("while :; do echo line; sleep 0.05; done");
    spec.idle_timeout_ms = Some(20_000);
    spec.total_timeout_ms = Some(400);
    let ran = Bench::new(spec).run();
    assert_eq!(*ran.exit(), Exit::TimedOut(TimeOut::Total));
    assert!(ran.text(Header).ends_with("timed out: ran too long\n"));
}

#[test]
fn a_command_whose_master_is_silent_for_too_long_is_ended() {
    let mut spec = shell("sleep 100");
    spec.orphan_timeout_ms = 1;
    let bench = Bench::new(spec);
    std::fs::write(&bench.job.heartbeat, "1").unwrap();
    let begun = Instant::now();
    let mut child = bench.start();
    // As long as the file changes, whatever time it names, the command goes on.
    for beat in ["9", "0", "5", "4", "3"] {
        std::thread::sleep(Duration::from_millis(700));
        std::fs::write(&bench.job.heartbeat, beat).unwrap();
        assert!(
            child.try_wait().unwrap().is_none(),
            "ended after {:?}",
            begun.elapsed()
        );
    }
    wait_for("the supervisor's end", || child.try_wait().unwrap());
    assert_eq!(*bench.ran().exit(), Exit::TimedOut(TimeOut::Orphan));
}

/// Forks, leaves its session, double-forks, and ignores TERM everywhere.
const STUBBORN: &str = r#"
    trap '' TERM
    (trap '' TERM; setsid sh -c 'trap "" TERM; (setsid sleep 100 & sleep 100 &) ; echo $$ > inner; sleep 100') &
    (setsid sh -c 'while :; do sh -c "sleep 0.03"; done' >/dev/null 2>&1 &)
    sleep 100 & sleep 100 &
    while ! test -e inner; do sleep 0.01; done
    echo ready
    while :; do sleep 1; done
"#;

#[test]
fn a_stop_ends_even_a_tree_that_hides_and_ignores_it() {
    stop_a_tree(STUBBORN, 6);
}

#[test]
fn a_stop_ends_even_what_ignores_it_under_a_command_that_obeys() {
    let line = "(trap '' TERM; for i in $(seq 400); do sleep 0.05; done) & echo ready; wait";
    stop_a_tree(line, 2);
}

/// Stops a command of at least so many processes once it is ready. None is left.
fn stop_a_tree(line: &str, processes: usize) {
    let mut spec = shell(line);
    spec.term_grace_ms = 200;
    let bench = Bench::new(spec);
    let mut child = bench.start();
    wait_for("the whole tree", || {
        let spool = std::fs::read(bench.folder().spool()).ok()?;
        (bytes(&spool, Stdout) == b"ready\n").then_some(())
    });
    assert!(survivors(&bench).len() >= processes);
    bench
        .folder()
        .write_stop(&StopRecord {
            reason: "a person said so".into(),
        })
        .unwrap();
    os::send(child.id(), os::Told::Terminate);
    wait_for("the supervisor's end", || child.try_wait().unwrap());
    assert_eq!(survivors(&bench), [] as [u32; 0]);
    assert_eq!(*bench.ran().exit(), Exit::Killed("a person said so".into()));
}

#[test]
fn a_polite_command_has_time_to_clean_up() {
    let bench = Bench::new(shell(
        "trap 'echo cleaned; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    ));
    let mut child = bench.start();
    wait_for("the command", || {
        std::fs::read(bench.folder().spool())
            .ok()
            .filter(|s| bytes(s, Stdout) == b"ready\n")
    });
    bench
        .folder()
        .write_stop(&StopRecord {
            reason: "enough".into(),
        })
        .unwrap();
    // Without the signal the file alone does, a little later.
    wait_for("the supervisor's end", || child.try_wait().unwrap());
    let ran = bench.ran();
    assert_eq!(
        (ran.exit(), ran.text(Stdout).as_str()),
        (&Exit::Killed("enough".into()), "ready\ncleaned\n")
    );
}

#[test]
fn what_a_command_leaves_behind_is_ended_and_said() {
    let begun = Instant::now();
    let bench = Bench::new(shell("(setsid sleep 100 &); echo done"));
    let ran = bench.run();
    assert_eq!(*ran.exit(), Exit::Code(0));
    assert_eq!(ran.text(Stdout), "done\n");
    assert!(
        ran.text(Header).contains("left processes behind"),
        "{}",
        ran.text(Header)
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(survivors(&bench), [] as [u32; 0]);
}

#[test]
fn secrets_reach_the_command_and_nothing_on_disk() {
    let secret = "s3cr3t-value";
    let line = r#"printf '%s' "$TOKEN" | cut -c1-5 | tr -d '\n'; sleep 0.1; printf '%s' "$TOKEN" | cut -c6-; echo "$TOKEN" >&2"#;
    let bench = Bench::new(shell(line)).with_secret("TOKEN", "upload", secret);
    let ran = bench.run();
    assert_eq!(ran.text(Stdout), "[secret upload]\n");
    assert_eq!(ran.text(Stderr), "[secret upload]\n");
    for entry in std::fs::read_dir(bench.folder().path()).unwrap() {
        let found = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!found.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}

#[test]
fn a_secret_too_short_to_mask_is_said() {
    let ran = Bench::new(shell("echo $TOKEN"))
        .with_secret("TOKEN", "pin", "123")
        .run();
    assert!(
        ran.text(Header)
            .contains("the secret pin is shorter than 4 bytes and is not masked")
    );
    assert_eq!(ran.text(Stdout), "123\n");
}

#[test]
fn the_same_id_never_runs_twice() {
    let bench = Bench::new(shell("echo ran >> ../../count; sleep 0.3"));
    let mut together = [bench.start(), bench.start(), bench.start()];
    together
        .iter_mut()
        .for_each(|child| assert!(child.wait().unwrap().success()));
    bench.run();
    assert_eq!(
        std::fs::read_to_string(bench.job.base.join("count")).unwrap(),
        "ran\n"
    );
}

/// A folder as somebody left it: does a supervisor that comes with the order run the command?
fn runs_in(left: impl Fn(&Bench)) -> bool {
    let bench = Bench::new(shell("echo ran >> ../../count"));
    left(&bench);
    assert!(bench.start().wait().unwrap().success());
    bench.job.base.join("count").exists()
}

#[test]
fn a_supervisor_that_was_killed_before_it_began_leaves_the_command_to_another() {
    assert!(runs_in(|_| {}));
    assert!(runs_in(
        |bench| std::fs::write(bench.folder().spool(), "").unwrap()
    ));
    assert!(runs_in(|bench| std::fs::write(
        bench.folder().path().join("started"),
        ""
    )
    .unwrap()));
}

#[test]
fn a_command_that_may_have_run_or_whose_end_was_told_is_not_started() {
    let start = |bench: &Bench| std::fs::write(bench.folder().path().join("started"), "{").unwrap();
    assert!(!runs_in(start));
    assert!(!runs_in(
        |bench| std::fs::write(bench.folder().spool(), "a log").unwrap()
    ));
    // As the daemon records it for a supervisor that was killed before it began; this one was on its way, too.
    assert!(!runs_in(|bench| {
        let report = ExitReport {
            exit: Exit::NotStarted("its supervisor was killed".into()),
            duration_ms: 0,
            log_length: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
        let record = ExitRecord::new(bench.job.id, Timestamp(0), report, b"");
        bench.folder().write_exit(&record, b"").unwrap();
    }));
}

#[test]
fn a_waiting_supervisor_ends_with_its_daemon_and_does_nothing_on_half_an_order() {
    let bench = Bench::new(shell("echo ran"));
    let order = Order {
        folder: bench.folder().path().to_owned(),
        job: bench.job.clone(),
    };
    let order = serde_json::to_vec(&order).unwrap();
    for (part, fine) in [
        (0, true),
        (1, false),
        (order.len() - 1, false),
        (order.len(), true),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_capstan-worker"))
            .arg("supervise")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Dropped at once, as by a daemon that is killed.
        child.stdin.take().unwrap().write_all(&order[..part]).unwrap();
        let status = wait_for("the waiting supervisor's end", || child.try_wait().unwrap());
        assert_eq!(status.success(), fine, "after {part} bytes");
        assert_eq!(bench.folder().was_started(), part == order.len());
    }
    assert_eq!(bench.ran().text(Stdout), "ran\n");
}

#[test]
fn a_killed_supervisor_leaves_a_command_whose_end_nobody_knows() {
    let bench = Bench::new(shell("echo ready; sleep 100"));
    let mut child = bench.start();
    wait_for("the command", || {
        std::fs::read(bench.folder().spool())
            .ok()
            .filter(|s| bytes(s, Stdout) == b"ready\n")
    });
    assert_eq!(bench.folder().supervisor().unwrap(), Some(child.id()));
    killed(child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(bench.folder().supervisor().unwrap(), None);
    assert!(bench.folder().was_started() && bench.folder().exit().unwrap().is_none());
    survivors(&bench).into_iter().for_each(killed);
}

#[test]
fn a_log_beyond_the_quota_ends_the_command_with_that_reason() {
    let mut bench = Bench::new(shell("head -c 100000 /dev/zero; sleep 100"));
    bench.job.spool_quota = Some(50_000);
    let ran = bench.run();
    assert_eq!(
        ran.exit().to_string(),
        "stopped: its log exceeds the worker's spool quota of 50000 bytes"
    );
    assert!(ran.report.log_length <= 50_000);
}

/// Runs the job with its folder on a disk of one megabyte, in a mount namespace of its own; what is left is
/// copied out.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_command_with_that_reason() {
    let bench = Bench::new(shell("head -c 3000000 /dev/zero; sleep 100"));
    let folder = bench.folder();
    let out = bench.root.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let left = Folder::new(out.join(bench.job.id.to_string()));
    let script = r#"mount -t tmpfs -o size=1m small "$1" && "$2" supervise "$1" && cp -r "$1" "$3""#;
    let mut child = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([
            folder.path(),
            env!("CARGO_BIN_EXE_capstan-worker").as_ref(),
            out.as_path(),
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &bench.job).unwrap();
    let status = wait_for("the supervisor's end", || child.try_wait().unwrap());
    if !status.success() && !left.path().exists() {
        eprintln!("LEFT OUT: this system lets no test mount a small disk (unshare: {status})");
        return;
    }
    let report = left.exit().unwrap().unwrap().report;
    let Exit::Killed(reason) = report.exit else {
        panic!("expected a stop, found {}", report.exit)
    };
    assert_eq!(
        reason,
        format!(
            "the worker's disk is full: its log could not be written beyond {} bytes",
            report.log_length
        )
    );
    let spool = std::fs::read(left.spool()).unwrap();
    assert_eq!(spool.len() as u64, report.log_length);
    assert!(bytes(&spool, Stdout).len() > 500_000);
}
