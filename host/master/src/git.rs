//! Bare mirrors of the repositories that change sources watch, kept with the real git program.
//!
//! All watchers of a repository share one mirror and one fetch: who asks while a fetch runs waits for the next one,
//! and everybody who waited shares it. URLs and names come from configurations and from repositories: nothing of them
//! may be taken for an option, and no transport but those in [`TRANSPORTS`] runs.

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
use tokio::process::Command;
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
            state.generation = repository.asked.load(Ordering::SeqCst);
            state.result = Some(self.fetch_now(url).await);
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

async fn run(mut command: Command, limit: Duration) -> Result<Vec<u8>, GitFault> {
    let child = command.spawn().map_err(|e| unavailable("start git", &e))?;
    let output = match tokio::time::timeout(limit, child.wait_with_output()).await {
        Ok(output) => output.map_err(|e| unavailable("read from git", &e))?,
        Err(_) => {
            return Err(GitFault::Unavailable(format!(
                "git took longer than {} s",
                limit.as_secs()
            )));
        }
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let text: String = text.trim().chars().take(1000).collect();
        return Err(GitFault::Unavailable(format!(
            "git ended with {}: {text}",
            output.status
        )));
    }
    if output.stdout.len() > MAX_OUTPUT {
        return Err(GitFault::Unavailable(format!(
            "git printed more than {MAX_OUTPUT} bytes"
        )));
    }
    Ok(output.stdout)
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
