//! Supervisors that print a file: byte by byte, from within the builder's directory alone.

use std::os::unix::fs::symlink;

use capstan_model::Channel::{Header, Stderr, Stdout};
use capstan_model::{CommandSpec, Exit, FileFault, Program};

use capstan_worker::folder::StopRecord;

use crate::support::{Bench, shell, wait_for};

fn file(path: &str) -> CommandSpec {
    CommandSpec {
        program: Program::File {
            path: path.to_owned(),
            max_bytes: 1 << 20,
        },
        workdir: String::new(),
        ..shell("")
    }
}

/// A builder's directory with these files.
fn bench(path: &str, files: &[(&str, &[u8])]) -> Bench {
    let bench = Bench::new(file(path));
    for (name, content) in files {
        let place = bench.workdir().join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }
    bench
}

fn refused(bench: &Bench) -> (FileFault, String) {
    let ran = bench.run();
    assert_eq!(ran.bytes(Stdout), b"", "nothing of it leaves the worker");
    match ran.exit() {
        Exit::NoFile { fault, reason } => (*fault, reason.clone()),
        other => panic!("expected a file that was refused, found {other}"),
    }
}

#[test]
fn a_file_is_printed_as_it_is() {
    let mut content = b"token=hunter2-hunter2\n".to_vec();
    content.extend((0..150_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()));
    let mut bench = bench("build/dist/app", &[("build/dist/app", &content)]);
    // What looks like a secret in a file is part of the file.
    bench
        .job
        .secrets
        .insert("token".to_owned(), "hunter2-hunter2".to_owned());
    let ran = bench.run();
    assert_eq!(*ran.exit(), Exit::Code(0));
    assert!(ran.bytes(Stdout) == content && ran.bytes(Stderr).is_empty());
    assert_eq!(
        (ran.report.stdout_bytes, ran.report.stderr_bytes),
        (content.len() as u64, 0)
    );
    assert_eq!(ran.text(Header), "the file builder/build/dist/app\nexit code 0\n");
}

#[test]
fn an_empty_file_is_a_file() {
    let bench = bench("empty", &[("empty", b"")]);
    let mut child = bench.start();
    assert!(wait_for("the supervisor's end", || child.try_wait().unwrap()).success());
    let report = bench.folder().exit().unwrap().unwrap().report;
    assert_eq!((report.exit, report.stdout_bytes), (Exit::Code(0), 0));
}

#[test]
fn what_is_no_file_of_the_builder_is_refused_with_the_reason() {
    let told = |path: &str| {
        let bench = bench(
            path,
            &[("build/app", b"x"), ("build/large", &vec![0; (1 << 20) + 1])],
        );
        std::fs::write(bench.job.base.join("secret"), "not yours").unwrap();
        symlink("../secret", bench.workdir().join("stolen")).unwrap();
        symlink("..", bench.workdir().join("out")).unwrap();
        symlink("/dev/zero", bench.workdir().join("zero")).unwrap();
        symlink("nowhere", bench.workdir().join("dangling")).unwrap();
        nix::unistd::mkfifo(&bench.workdir().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused(&bench)
    };
    for (path, fault, words) in [
        ("../secret", FileFault::Invalid, "inside the builder's directory"),
        (
            "/etc/passwd",
            FileFault::Invalid,
            "inside the builder's directory",
        ),
        (
            "build/../../secret",
            FileFault::Invalid,
            "inside the builder's directory",
        ),
        ("stolen", FileFault::Invalid, "symbolic link"),
        ("out/secret", FileFault::Invalid, "symbolic link"),
        ("zero", FileFault::Invalid, "symbolic link"),
        ("build", FileFault::Invalid, "a folder"),
        ("", FileFault::Invalid, "a folder"),
        ("pipe", FileFault::Invalid, "regular file"),
        (
            "build/none",
            FileFault::Missing,
            "there is no file `builder/build/none`",
        ),
        ("build/app/x", FileFault::Missing, "there is no file"),
        ("dangling", FileFault::Missing, "there is no file"),
        ("build/large", FileFault::TooLarge, "1048577 bytes"),
    ] {
        let (found, reason) = told(path);
        assert!(
            found == fault && reason.contains(words),
            "{path:?}: {found:?} {reason}"
        );
    }
}

#[test]
fn a_link_within_the_directory_is_followed() {
    let bench = bench("build/latest", &[("build/app", b"inside")]);
    symlink("app", bench.workdir().join("build/latest")).unwrap();
    assert_eq!(bench.run().bytes(Stdout), b"inside");
}

#[test]
fn a_file_beyond_the_spool_quota_is_refused_whole() {
    let mut bench = bench("app", &[("app", &vec![7; 300_000])]);
    bench.job.spool_quota = Some(100_000);
    let ran = bench.run();
    assert!(
        matches!(ran.exit(), Exit::Killed(reason) if reason.contains("spool quota")),
        "{}",
        ran.exit()
    );
}

#[test]
fn a_stop_ends_it_before_it_begins() {
    let bench = bench("app", &[("app", b"x")]);
    let stop = StopRecord {
        reason: "enough".to_owned(),
    };
    bench.folder().write_stop(&stop).unwrap();
    assert_eq!(*bench.run().exit(), Exit::Killed("enough".to_owned()));
}
