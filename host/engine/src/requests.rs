//! Requests of plugins without a journal to the world outside: each is checked for its form, then for the right, then
//! handed to the master's port.

use std::time::Instant;

use capstan_model::plugin::Right;

use crate::bindings::reporter::capstan::plugin::report_files;
use crate::bindings::source::capstan::plugin::git;
use crate::call::CallState;
use crate::limits::MAX_PAYLOAD;
use crate::ports::{Commit, GitFault, Reference};

const MAX_COMMITS: u32 = 10_000;

impl git::Host for CallState {
    async fn fetch(
        &mut self,
        repository: String,
    ) -> wasmtime::Result<Result<Vec<git::Reference>, git::GitError>> {
        let ports = self.reach("git.fetch")?;
        if let Err(refused) = self.repository(&repository) {
            return Ok(Err(refused));
        }
        let since = Instant::now();
        let answer = ports.git.fetch(repository).await;
        self.guest.returned(since);
        Ok(answer
            .map(|all| all.into_iter().map(git::Reference::from).collect())
            .map_err(git::GitError::from))
    }

    async fn commits(
        &mut self,
        repository: String,
        since: Vec<String>,
        until: String,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<git::Commit>, git::GitError>> {
        let ports = self.reach("git.commits")?;
        let checked = self.repository(&repository);
        let named = since.iter().chain([&until]).try_for_each(|name| revision(name));
        if let Err(refused) = checked.and(named) {
            return Ok(Err(refused));
        }
        let asked = Instant::now();
        let answer = ports
            .git
            .commits(repository, since, until, limit.min(MAX_COMMITS))
            .await;
        self.guest.returned(asked);
        Ok(answer
            .map(|all| all.into_iter().map(git::Commit::from).collect())
            .map_err(git::GitError::from))
    }
}

impl CallState {
    fn repository(&self, url: &str) -> Result<(), git::GitError> {
        let helper = url.split_once("::").is_some_and(|(name, _)| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        });
        let fault = match url {
            "" => "it is empty",
            _ if url.len() > 4096 => "it is longer than 4096 bytes",
            _ if url.starts_with('-') => "it begins with `-`",
            _ if url.chars().any(|c| c.is_control() || c.is_whitespace()) => {
                "it holds white space or control characters"
            }
            // `ext::sh -c …` runs a program.
            _ if helper => "it names a remote helper",
            _ => return self.guest.allow(Right::Git, url).map_err(git::GitError::Denied),
        };
        let shown: String = url.chars().take(100).collect();
        Err(git::GitError::Invalid(format!(
            "expected the URL of a git repository, found {shown:?}: {fault}"
        )))
    }
}

/// A name that git cannot take for an option or for two.
fn revision(name: &str) -> Result<(), git::GitError> {
    let bad = name.is_empty()
        || name.len() > 1024
        || name.starts_with('-')
        || name.contains("..")
        || name.chars().any(|c| c.is_control() || c.is_whitespace());
    if !bad {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    Err(git::GitError::Invalid(format!(
        "expected the name of a revision, found {shown:?}"
    )))
}

impl report_files::Host for CallState {
    async fn append_line(
        &mut self,
        path: String,
        line: String,
    ) -> wasmtime::Result<Result<(), report_files::FileError>> {
        let ports = self.reach("report-files.append-line")?;
        if let Err(text) = inside(&path).and_then(|()| one_line(&line)) {
            return Ok(Err(report_files::FileError::Io(text)));
        }
        if let Err(refused) = self.guest.allow(Right::Files, &path) {
            return Ok(Err(report_files::FileError::Denied(refused)));
        }
        let since = Instant::now();
        let answer = ports.files.append_line(path, line).await;
        self.guest.returned(since);
        Ok(answer.map_err(|fault| report_files::FileError::Io(fault.0)))
    }
}

fn inside(path: &str) -> Result<(), String> {
    let odd = |segment: &str| matches!(segment, "" | "." | "..");
    if path.len() > 4096
        || path.split('/').any(odd)
        || path.contains('\\')
        || path.chars().any(char::is_control)
    {
        return Err(format!(
            "expected a path inside the farm's folder, found {:?}",
            cut(path)
        ));
    }
    Ok(())
}

fn one_line(line: &str) -> Result<(), String> {
    if line.len() > MAX_PAYLOAD {
        return Err(format!(
            "expected a line of at most {MAX_PAYLOAD} bytes, found {}",
            line.len()
        ));
    }
    if line.contains('\n') {
        Err("expected one line, found a newline in it".to_owned())
    } else {
        Ok(())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

impl From<Reference> for git::Reference {
    fn from(reference: Reference) -> Self {
        Self {
            name: reference.name,
            revision: reference.revision,
        }
    }
}

impl From<Commit> for git::Commit {
    fn from(commit: Commit) -> Self {
        Self {
            revision: commit.revision,
            parents: commit.parents,
            author: commit.author,
            when_ms: commit.when_ms,
            comments: commit.comments,
            files: commit.files,
        }
    }
}

impl From<GitFault> for git::GitError {
    fn from(fault: GitFault) -> Self {
        match fault {
            GitFault::Unavailable(text) => Self::Unavailable(text),
            GitFault::Invalid(text) => Self::Invalid(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_would_misread_are_refused() {
        for name in ["--upload-pack=x", "a b", "a\nb", "", "a..b"] {
            assert!(revision(name).is_err(), "{name:?}");
        }
        revision("refs/heads/main").unwrap();
    }

    #[test]
    fn a_report_file_stays_inside_the_farm() {
        for path in ["/etc/passwd", "../x", "a//b", "a/./b", "", "a\\b", "a\0"] {
            assert!(inside(path).is_err(), "{path:?}");
        }
        inside("reports/builds.jsonl").unwrap();
    }
}
