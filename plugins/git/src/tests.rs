//! Checkouts with the real git, from real repositories in a temporary folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use capstan_sdk::step::{Exit, SourceStamp};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::patch::Patch;

mod codebases;
mod patches;

/// A bare repository that somebody pushes to, and a worker's folder.
struct Farm {
    folder: TempDir,
    /// What ran, for tests that count.
    commands: Vec<String>,
    pauses: u32,
    /// Makes the first so many fetches fail, as a network does.
    broken_fetches: u32,
}

impl Farm {
    fn new() -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
            commands: Vec::new(),
            pauses: 0,
            broken_fetches: 0,
        };
        farm.sh("git init -q --bare origin.git && git -C origin.git symbolic-ref HEAD refs/heads/main");
        farm.sh("git init -q author && git -C author checkout -q -b main && git -C author remote add origin ../origin.git");
        farm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self) -> String {
        format!("file://{}", self.path("origin.git").display())
    }

    /// Runs a shell line in the farm's folder, with nothing of the developer's own git configuration.
    fn sh(&self, line: &str) -> String {
        let output = isolated("sh")
            .args(["-ec", line])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a file with this content and pushes; answers the revision.
    fn push(&self, branch: &str, content: &str) -> String {
        self.sh(&format!(
            "cd author; git checkout -q -B {branch}; echo {content} > file; git add -A; git commit -qm {content}; \
             git push -q --force origin {branch}; git rev-parse HEAD"
        ))
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path("build/file"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    fn check_out(&mut self, json: &str, stamp: &SourceStamp) -> Result<String, Stop> {
        self.patched(json, stamp, Vec::new())
    }

    fn patched(&mut self, json: &str, stamp: &SourceStamp, patches: Vec<Patch>) -> Result<String, Stop> {
        let git: Git = serde_json::from_str(json).unwrap();
        git.check().unwrap();
        let wanted = git.wanted(std::slice::from_ref(stamp), patches)?;
        self.commands.clear();
        git.check_out(self, &wanted)
    }

    fn stamp(&self, branch: Option<&str>, revision: Option<&str>) -> SourceStamp {
        SourceStamp {
            codebase: String::new(),
            repository: self.url(),
            project: String::new(),
            branch: branch.map(str::to_owned),
            revision: revision.map(str::to_owned),
        }
    }

    fn ran(&self, verb: &str) -> usize {
        self.commands
            .iter()
            .filter(|line| line.split(' ').any(|word| word == verb))
            .count()
    }
}

impl Worker for Farm {
    fn run(&mut self, args: &[&str], capture: u32) -> Result<Done, Stop> {
        self.commands.push(args.join(" "));
        if args.contains(&"fetch") && self.broken_fetches > 0 {
            self.broken_fetches -= 1;
            return Ok(Done {
                exit: Exit::Code(128),
                stdout: Vec::new(),
            });
        }
        let workdir = self.path("build");
        fs::create_dir_all(&workdir).unwrap();
        let mut git = isolated("git");
        // Submodules from a file are otherwise forbidden.
        git.args(["-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(workdir);
        let output = git.envs(checkout::ENVIRONMENT).output().unwrap();
        eprintln!(
            "git {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        let stdout = output.stdout.into_iter().take(capture as usize).collect();
        Ok(Done {
            exit: Exit::Code(output.status.code().unwrap()),
            stdout,
        })
    }

    fn remove(&mut self) -> Result<Done, Stop> {
        self.commands.push("remove".into());
        let removed = fs::remove_dir_all(self.path("build"));
        assert!(removed.is_ok() || !self.path("build").exists());
        Ok(Done {
            exit: Exit::Code(0),
            stdout: Vec::new(),
        })
    }

    fn pause(&mut self, _: Span) -> Result<(), Stop> {
        self.pauses += 1;
        Ok(())
    }
}

fn isolated(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Ada")
            .env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
    command
}

fn summary(answer: Result<String, Stop>) -> String {
    match answer {
        Err(Stop::Outcome(Outcome::Failure, text)) => text,
        other => panic!("expected a failure, found {other:?}"),
    }
}

#[test]
fn the_build_gets_its_own_revision_although_the_branch_went_on() {
    let mut farm = Farm::new();
    let first = farm.push("main", "one");
    farm.push("main", "two");
    for json in [
        "{}",
        r#"{"mode": "full"}"#,
        r#"{"shallow": true}"#,
        r#"{"mode": "full", "method": "clobber"}"#,
    ] {
        let stamp = farm.stamp(Some("main"), Some(&first));
        assert_eq!(farm.check_out(json, &stamp).unwrap(), first, "{json}");
        assert_eq!(farm.content(), "one", "{json}");
    }
}

#[test]
fn without_a_revision_the_newest_is_built() {
    let mut farm = Farm::new();
    farm.push("main", "one");
    let other = farm.push("release/1", "two");
    let head = farm.stamp(None, None);
    farm.check_out("{}", &head).unwrap();
    assert_eq!(farm.content(), "one", "the default branch");
    let stamp = farm.stamp(Some("release/1"), None);
    assert_eq!(farm.check_out("{}", &stamp).unwrap(), other);
    let third = farm.push("main", "three");
    let old = farm.stamp(Some("release/1"), Some(&other));
    assert_eq!(
        farm.check_out(r#"{"branch": "main"}"#, &old).unwrap(),
        third,
        "another branch than the build's"
    );
    let newer = farm.push("release/1", "four");
    assert_eq!(
        farm.check_out(r#"{"always_use_latest": true}"#, &old).unwrap(),
        newer
    );
}

#[test]
fn a_server_that_gives_no_revision_by_itself_is_asked_for_the_branch_and_then_for_all() {
    let mut farm = Farm::new();
    let first = farm.push("main", "one");
    farm.push("main", "two");
    let stamp = farm.stamp(Some("main"), Some(&first));
    farm.broken_fetches = 1;
    assert_eq!(farm.check_out("{}", &stamp).unwrap(), first);
    assert_eq!((farm.ran("fetch"), farm.pauses), (2, 0));
    // The branch was rewritten and the revision is on another one now; history is cut, and must be fetched whole.
    farm.sh("cd author; git push -q origin main:kept; git checkout -q --orphan new; git commit -qm x; git push -qf origin new:main");
    farm.broken_fetches = 1;
    assert_eq!(
        farm.check_out(r#"{"mode": "full", "method": "clobber", "shallow": 1}"#, &stamp)
            .unwrap(),
        first
    );
    assert_eq!((farm.ran("fetch"), farm.pauses), (3, 0));
    assert_eq!(farm.content(), "one");
}

#[test]
fn fetching_is_tried_again_and_then_given_up() {
    let mut farm = Farm::new();
    farm.push("main", "one");
    let stamp = farm.stamp(Some("main"), None);
    farm.broken_fetches = 2;
    farm.check_out(r#"{"retry": 2}"#, &stamp).unwrap();
    assert_eq!(farm.pauses, 2);
    let mut gone = farm.stamp(Some("main"), None);
    gone.repository = "file:///does/not/exist.git".into();
    let text = summary(farm.check_out(r#"{"retry": 1}"#, &gone));
    assert_eq!(text, "failed to fetch file:///does/not/exist.git: exit code 128");
    assert_eq!(
        farm.ran("remove"),
        0,
        "a checkout is not deleted because its server is away"
    );
}

#[test]
fn a_revision_that_does_not_exist_fails_the_build() {
    let mut farm = Farm::new();
    farm.push("main", "one");
    let stamp = farm.stamp(Some("main"), Some(&"0123456789".repeat(4)));
    let text = summary(farm.check_out(r#"{"retry": 0}"#, &stamp));
    assert!(
        text.starts_with("expected revision 0123456789012345678901234567890123456789 in file://"),
        "{text}"
    );
}

#[test]
fn a_tag_and_a_cut_hash_are_revisions() {
    let mut farm = Farm::new();
    let first = farm.push("main", "one");
    farm.sh("cd author; git tag -am v1 v1; git push -q origin v1");
    farm.push("main", "two");
    let stamp = farm.stamp(Some("main"), None);
    assert_eq!(farm.check_out(r#"{"revision": "v1"}"#, &stamp).unwrap(), first);
    assert_eq!(
        farm.check_out(&format!(r#"{{"revision": "{}"}}"#, &first[..10]), &stamp)
            .unwrap(),
        first
    );
    assert_eq!(
        farm.check_out(r#"{"branch": "refs/tags/v1"}"#, &stamp).unwrap(),
        first
    );
}

#[test]
fn each_mode_leaves_what_it_says() {
    let mut farm = Farm::new();
    farm.sh("cd author; echo ignored > .gitignore; git add -A; git commit -qm x");
    farm.push("main", "one");
    let stamp = farm.stamp(Some("main"), None);
    for (json, left) in [
        ("{}", "file ignored made nested"),
        (r#"{"mode": "full", "method": "clean"}"#, "file ignored"),
        (r#"{"mode": "full"}"#, "file"),
        (r#"{"mode": "full", "method": "clobber"}"#, "file"),
    ] {
        farm.check_out("{}", &stamp).unwrap();
        farm.sh("cd build; touch made ignored; echo changed > file; git init -q nested");
        farm.check_out(json, &stamp).unwrap();
        assert_eq!(farm.sh("ls build").replace('\n', " "), left, "{json}");
        assert_eq!(farm.content(), "one", "{json}");
        farm.sh("rm -rf build/nested");
    }
}

#[test]
fn a_damaged_checkout_is_made_anew_once() {
    let mut farm = Farm::new();
    let first = farm.push("main", "one");
    let stamp = farm.stamp(Some("main"), None);
    farm.check_out("{}", &stamp).unwrap();
    farm.push("main", "two");
    // What a git leaves that was killed while it checked out.
    farm.sh("touch build/.git/index.lock");
    farm.check_out("{}", &stamp).unwrap();
    assert_eq!((farm.content().as_str(), farm.ran("remove")), ("two", 1));
    farm.sh("touch build/.git/index.lock");
    let old = farm.stamp(Some("main"), Some(&first));
    let text = summary(farm.check_out(r#"{"clobber_on_failure": false}"#, &old));
    assert_eq!(text, "failed to checkout in the workdir: exit code 128");
}

#[test]
fn a_repository_around_the_workdir_is_left_alone() {
    let mut farm = Farm::new();
    farm.push("main", "one");
    farm.sh("git init -q . && touch precious && mkdir build");
    let stamp = farm.stamp(Some("main"), None);
    farm.check_out(r#"{"mode": "full"}"#, &stamp).unwrap();
    assert!(farm.path("precious").exists());
    assert_eq!(farm.content(), "one");
}

#[test]
fn submodules_are_checked_out_and_cleaned() {
    let mut farm = Farm::new();
    farm.sh("git init -q --bare sub.git; git init -q s; cd s; echo inner > inner; git add -A; git commit -qm s; git push -q ../sub.git HEAD:refs/heads/main; git -C ../sub.git symbolic-ref HEAD refs/heads/main");
    farm.sh("cd author; git -c protocol.file.allow=always submodule add -q ../sub.git sub");
    farm.push("main", "one");
    let stamp = farm.stamp(Some("main"), None);
    farm.check_out(r#"{"submodules": true, "mode": "full"}"#, &stamp)
        .unwrap();
    assert_eq!(farm.sh("cat build/sub/inner"), "inner");
    farm.sh("touch build/sub/made; echo changed > build/sub/inner");
    farm.check_out(r#"{"submodules": true, "mode": "full"}"#, &stamp)
        .unwrap();
    assert_eq!(
        farm.sh("ls build/sub; cat build/sub/inner").replace('\n', " "),
        "inner inner"
    );
}

#[test]
fn a_shallow_checkout_has_as_many_commits_as_it_says() {
    let mut farm = Farm::new();
    for content in ["one", "two", "three"] {
        farm.push("main", content);
    }
    let stamp = farm.stamp(Some("main"), None);
    farm.check_out(r#"{"shallow": 2}"#, &stamp).unwrap();
    assert_eq!(farm.sh("git -C build rev-list --count HEAD"), "2");
}

#[test]
fn hostile_names_are_refused_before_any_command() {
    let mut farm = Farm::new();
    for (branch, revision, repository, text) in [
        (
            "main\nevil",
            None,
            None,
            "expected the name of a branch, found \"main\\nevil\"",
        ),
        (
            "--upload-pack=touch x",
            None,
            None,
            "expected the name of a branch",
        ),
        ("a..b", None, None, "expected the name of a branch"),
        ("main", Some("--help"), None, "expected a revision or a tag"),
        (
            "main",
            None,
            Some("--upload-pack=touch x"),
            "expected the URL of a repository",
        ),
        (
            "main",
            None,
            Some("ssh://a\nb"),
            "expected the URL of a repository",
        ),
    ] {
        let mut stamp = farm.stamp(Some(branch), revision);
        stamp.repository = repository.map_or_else(|| farm.url(), str::to_owned);
        let found = summary(farm.check_out("{}", &stamp));
        assert!(found.starts_with(text), "{found}");
        assert!(farm.commands.is_empty());
    }
}

#[test]
fn the_step_is_cancelled_or_blames_the_farm_where_that_is_so() {
    struct Broken(Exit);
    impl Worker for Broken {
        fn run(&mut self, _: &[&str], _: u32) -> Result<Done, Stop> {
            Ok(Done {
                exit: self.0.clone(),
                stdout: Vec::new(),
            })
        }
        fn remove(&mut self) -> Result<Done, Stop> {
            panic!("expected nothing to be deleted");
        }
        fn pause(&mut self, _: Span) -> Result<(), Stop> {
            panic!("expected no second try");
        }
    }
    let git = Git::default();
    let stamp = Farm::new().stamp(Some("main"), None);
    let wanted = git.wanted(&[stamp], Vec::new()).unwrap();
    for (exit, outcome) in [
        (Exit::Killed("the disk is full".into()), Outcome::Exception),
        (Exit::NotStarted("no git".into()), Outcome::Exception),
    ] {
        let Err(Stop::Outcome(found, _)) = git.check_out(&mut Broken(exit), &wanted) else {
            panic!("expected an end")
        };
        assert_eq!(found, outcome);
    }
}

#[test]
fn a_wrong_parameter_is_named() {
    for (json, path) in [
        (r#"{"branch": "a b"}"#, "branch"),
        (r#"{"revision": "-x"}"#, "revision"),
        (r#"{"repository": ""}"#, "repository"),
        (r#"{"method": "clean"}"#, "method"),
        (r#"{"revision": "v1", "always_use_latest": true}"#, "revision"),
        (r#"{"shallow": 0}"#, "shallow"),
        (
            r#"{"mode": "full", "method": "clobber", "workdir": "./"}"#,
            "workdir",
        ),
    ] {
        let git: Git = serde_json::from_str(json).unwrap();
        assert_eq!(git.check().unwrap_err()[0].path, path, "{json}");
    }
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    assert_eq!(
        names::without_credentials("https://ada:pw@git.example/p.git"),
        "https://git.example/p.git"
    );
    assert_eq!(
        names::without_credentials("https://git.example/a@b"),
        "https://git.example/a@b"
    );
    assert_eq!(
        names::without_credentials("git@git.example:p.git"),
        "git@git.example:p.git"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// A name that passes is one that Git takes, and never an option.
    #[test]
    fn a_name_that_passes_is_no_option(name in "[-a./@{}\\^:~ \n\\\\*]{0,6}") {
        if names::check_branch(&name).is_ok() {
            prop_assert!(!name.starts_with('-') && !name.contains("..") && !name.contains('\n'));
            let git = isolated("git").args(["check-ref-format", &format!("refs/heads/{name}")]).status().unwrap();
            prop_assert!(git.success(), "{name:?}");
        }
    }
}
