//! Bare mirrors of the repositories that change sources watch, kept with the real git program.
//!
//! All watchers of a repository share one mirror and one fetch: who asks while a fetch runs waits for the next one,
//! and everybody who waited shares it. URLs and names come from configurations and from repositories: nothing of them
//! may be taken for an option, and no transport but those in [`TRANSPORTS`] runs.

mod files;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use capstan_engine::{Commit, GitFault, GitPort, Reference};
use capstan_model::Digest;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::Mutex;

/// What `GIT_ALLOW_PROTOCOL` lets through; `ext::` and other helpers run programs.
const TRANSPORTS: &str = "file:git:http:https:ssh";
/// A fetch that takes longer is ended; the next poll tries again.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// Reading the mirror never waits for the network.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// Files of one commit that are reported; a change that touches more is still one change.
const MAX_FILES: usize = 1000;
/// Bytes of a commit's message that are kept.
const MAX_COMMENTS: usize = 16 * 1024;
/// References of one repository.
const MAX_REFERENCES: usize = 50_000;
/// Output of one git command.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;
/// Of what one git command complains of.
const MAX_COMPLAINTS: u64 = 64 * 1024;

/// The mirrors under one folder.
pub struct Mirrors {
    root: PathBuf,
    repositories: Mutex<HashMap<String, Arc<Repository>>>,
}

/// One mirror. `asked` and `fetched` are generations: a fetch serves everybody who asked before it began.
#[derive(Default)]
struct Repository {
    asked: AtomicU64,
    state: Mutex<Fetched>,
}

#[derive(Default)]
struct Fetched {
    generation: u64,
    result: Option<Result<Vec<Reference>, GitFault>>,
}

impl Mirrors {
    /// Mirrors under `root`, which is made when the first repository is fetched.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            repositories: Mutex::default(),
        }
    }

    fn path(&self, url: &str) -> PathBuf {
        self.root
            .join(format!("{}.git", &Digest::of(url.as_bytes()).to_string()[..32]))
    }

    async fn bring_up_to_date(&self, url: &str) -> Result<Vec<Reference>, GitFault> {
        check_url(url)?;
        let repository = self
            .repositories
            .lock()
            .await
            .entry(url.to_owned())
            .or_default()
            .clone();
        let mine = repository.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut state = repository.state.lock().await;
        if state.generation < mine {
            // Not before it is there: whoever waits for it may be dropped meanwhile.
            let covers = repository.asked.load(Ordering::SeqCst);
            state.result = Some(self.fetch_now(url).await);
            state.generation = covers;
        }
        state
            .result
            .clone()
            .unwrap_or_else(|| Err(GitFault::Unavailable("nothing was fetched".to_owned())))
    }

    async fn fetch_now(&self, url: &str) -> Result<Vec<Reference>, GitFault> {
        let path = self.path(url);
        if !path.join("HEAD").exists() {
            std::fs::create_dir_all(&self.root).map_err(|e| unavailable("make the mirrors' folder", &e))?;
            let mut init = git(&self.root);
            init.args(["init", "--quiet", "--bare", "--"]).arg(&path);
            run(init, READ_LIMIT).await?;
        }
        let mut fetch = git(&path);
        fetch.args([
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--force",
            "--no-write-fetch-head",
            "--",
        ]);
        fetch.args([url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]);
        run(fetch, FETCH_LIMIT).await?;
        let mut list = git(&path);
        list.args([
            "for-each-ref",
            "--format=%(objectname) %(refname)",
            "refs/heads",
            "refs/tags",
        ]);
        let listed = run(list, READ_LIMIT).await?;
        let text = String::from_utf8_lossy(&listed);
        let references = text.lines().filter_map(|line| line.split_once(' '));
        let references: Vec<_> = references
            .take(MAX_REFERENCES)
            .map(|(revision, name)| Reference {
                name: name.to_owned(),
                revision: revision.to_owned(),
            })
            .collect();
        Ok(references)
    }

    async fn log(
        &self,
        url: &str,
        since: &[String],
        until: &str,
        limit: u32,
    ) -> Result<Vec<Commit>, GitFault> {
        check_url(url)?;
        since
            .iter()
            .map(String::as_str)
            .chain([until])
            .try_for_each(check_revision)?;
        let mut log = git(&self.path(url));
        // NUL cannot occur in any field, so no message or author can pretend to be another commit.
        log.args([
            "log",
            "--first-parent",
            "-m",
            "--name-only",
            "--no-renames",
            "--no-show-signature",
        ]);
        log.arg("--format=%x00%H%x00%P%x00%aN <%aE>%x00%ct%x00%B%x00");
        log.arg(format!("--max-count={}", limit.clamp(1, 1000)));
        log.args(["--end-of-options", until]);
        log.args(since.iter().map(|revision| format!("^{revision}")));
        log.arg("--");
        let output = match run(log, READ_LIMIT).await {
            // A revision of the old history may be gone after a forced push and a prune.
            Err(GitFault::Unavailable(_)) if !since.is_empty() => {
                return Box::pin(self.log(url, &[], until, 1)).await;
            }
            other => other?,
        };
        let mut commits = parse_log(&output);
        commits.reverse();
        Ok(commits)
    }
}

impl GitPort for Mirrors {
    fn fetch(&self, repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        async move { self.bring_up_to_date(&repository).await }.boxed()
    }

    fn commits(
        &self,
        repository: String,
        since: Vec<String>,
        until: String,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        async move { self.log(&repository, &since, &until, limit).await }.boxed()
    }
}

/// Each commit gives six fields: revision, parents, author, time, message, files (up to the next commit's NUL).
fn parse_log(output: &[u8]) -> Vec<Commit> {
    let fields: Vec<_> = output
        .split(|&byte| byte == 0)
        .skip(1)
        .map(String::from_utf8_lossy)
        .collect();
    fields.chunks_exact(6).map(parse_commit).collect()
}

fn parse_commit(fields: &[std::borrow::Cow<'_, str>]) -> Commit {
    let files = fields[5]
        .lines()
        .filter(|line| !line.is_empty())
        .take(MAX_FILES)
        .map(str::to_owned)
        .collect();
    let comments = fields[4].trim_end();
    let cut = (0..=MAX_COMMENTS.min(comments.len()))
        .rev()
        .find(|&at| comments.is_char_boundary(at));
    Commit {
        revision: fields[0].to_string(),
        parents: fields[1].split_whitespace().map(str::to_owned).collect(),
        author: fields[2].to_string(),
        when_ms: fields[3].parse::<i64>().unwrap_or(0).saturating_mul(1000),
        comments: comments[..cut.unwrap_or(0)].to_owned(),
        files,
    }
}

fn check_url(url: &str) -> Result<(), GitFault> {
    let invalid = |why: &str| {
        Err(GitFault::Invalid(format!(
            "expected a repository's URL or absolute path, found {url:?}: {why}"
        )))
    };
    if url.is_empty() || url.len() > 2048 || url.chars().any(char::is_control) {
        return invalid("it is empty, too long, or has control characters");
    }
    if url.starts_with('-') {
        return invalid("it would be taken for an option");
    }
    if url
        .split_once("::")
        .is_some_and(|(helper, _)| !helper.contains(['/', '[', '@']))
    {
        return invalid("remote helpers are not allowed");
    }
    let scp_form = url
        .split_once(':')
        .is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    if !(url.contains("://") || url.starts_with('/') || scp_form) {
        return invalid("a relative path means something else to the master than to whoever wrote it");
    }
    Ok(())
}

fn check_revision(revision: &str) -> Result<(), GitFault> {
    let hex = revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex && matches!(revision.len(), 40 | 64) {
        return Ok(());
    }
    Err(GitFault::Invalid(format!(
        "expected a full revision of 40 or 64 hexadecimal digits, found {revision:?}"
    )))
}

/// A git command in `folder` that reads no terminal, no hooks of the mirror and no configuration of a parent folder.
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", TRANSPORTS)
        .env("LC_ALL", "C");
    command.env(
        "GIT_SSH_COMMAND",
        std::env::var("GIT_SSH_COMMAND").unwrap_or("ssh -oBatchMode=yes".to_owned()),
    );
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_NAMESPACE",
    ] {
        command.env_remove(name);
    }
    command.args([
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.quotePath=false",
        "-c",
        "gc.auto=1000",
    ]);
    command
}

async fn run(command: Command, limit: Duration) -> Result<Vec<u8>, GitFault> {
    run_within(command, limit, MAX_OUTPUT).await
}

/// Git is ended, as it is when nobody waits for it any more, once it prints more than `most` bytes.
async fn run_within(mut command: Command, limit: Duration, most: usize) -> Result<Vec<u8>, GitFault> {
    let child = command.spawn().map_err(|e| unavailable("start git", &e))?;
    match tokio::time::timeout(limit, finish(child, most)).await {
        Ok(output) => output,
        Err(_) => Err(GitFault::Unavailable(format!(
            "git took longer than {} s",
            limit.as_secs()
        ))),
    }
}

async fn finish(mut child: Child, most: usize) -> Result<Vec<u8>, GitFault> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let complaints = complaints(stderr);
    let printed = tokio::try_join!(at_most(stdout, most), async { Ok(complaints.await) });
    let (output, complaints) = printed?;
    let status = child.wait().await.map_err(|e| unavailable("wait for git", &e))?;
    if status.success() {
        return Ok(output);
    }
    let text: String = complaints.trim().chars().take(1000).collect();
    Err(GitFault::Unavailable(format!("git ended with {status}: {text}")))
}

/// All that comes, or a fault as soon as it is more than `most` bytes.
async fn at_most(stdout: Option<ChildStdout>, most: usize) -> Result<Vec<u8>, GitFault> {
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        let mut bounded = stdout.take(most as u64 + 1);
        let read = bounded.read_to_end(&mut output).await;
        read.map_err(|e| unavailable("read from git", &e))?;
    }
    if output.len() > most {
        return Err(GitFault::Unavailable(format!(
            "git printed more than {most} bytes"
        )));
    }
    Ok(output)
}

/// The beginning of what it complains of. The rest is read too, so that it can go on.
async fn complaints(stderr: Option<ChildStderr>) -> String {
    let mut text = Vec::new();
    if let Some(mut stderr) = stderr {
        // What cannot be read is no reason to give the command up: its status says how it ended.
        let _read = (&mut stderr).take(MAX_COMPLAINTS).read_to_end(&mut text).await;
        let _rest = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn unavailable(what: &str, error: &std::io::Error) -> GitFault {
    GitFault::Unavailable(format!("failed to {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_urls_never_reach_git() {
        for url in [
            "",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "relative/path",
            "https://x/\n",
            "fd::7",
        ] {
            assert!(matches!(check_url(url), Err(GitFault::Invalid(_))), "{url:?}");
        }
        for url in [
            "https://host/x.git",
            "git@host:x.git",
            "/srv/x.git",
            "file:///srv/x.git",
            "ssh://[::1]/x",
        ] {
            assert!(check_url(url).is_ok(), "{url:?}");
        }
        assert!(check_revision("main").is_err());
        assert!(check_revision(&"a".repeat(40)).is_ok());
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[tokio::test]
    async fn what_prints_without_end_is_ended() {
        let limit = Duration::from_secs(60);
        // Had it to end before its output is looked at, this would be the time-out.
        let endless = run_within(shell("exec yes"), limit, 1000).await;
        let Err(GitFault::Unavailable(reason)) = endless else {
            panic!("{endless:?}")
        };
        assert_eq!(reason, "git printed more than 1000 bytes");
        let exact = run_within(shell("printf 12345"), limit, 5).await.unwrap();
        assert_eq!(exact, b"12345");
        // More complaints than are kept do not hold it up.
        let noisy = run_within(shell("yes no | head -c 300000 >&2; exit 3"), limit, 5).await;
        let Err(GitFault::Unavailable(reason)) = noisy else {
            panic!("{noisy:?}")
        };
        assert!(
            reason.contains("exit status: 3") && reason.contains("no\nno") && reason.len() < 2000,
            "{reason}"
        );
    }

    #[test]
    fn a_commit_message_cannot_pretend_to_be_a_commit() {
        let output = b"\0aa\0bb cc\0A <a@x>\x007\0subject\n\ncommit dd\nfile\n\0\n\nsrc/a b.c\nREADME\n\0bb\0\0B <b@x>\x006\0first\n\0\nREADME\n";
        let commits = parse_log(output);
        assert_eq!(commits.len(), 2);
        assert_eq!(commits[0].files, ["src/a b.c", "README"]);
        assert_eq!(commits[0].parents, ["bb", "cc"]);
        assert_eq!(commits[0].comments, "subject\n\ncommit dd\nfile");
        assert_eq!((commits[1].when_ms, commits[1].revision.as_str()), (6000, "bb"));
    }
}
