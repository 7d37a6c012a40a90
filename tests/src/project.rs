//! A git repository that a farm builds: a bare one that is watched, and a work tree to commit in.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process;
use crate::wait::BOUND;

/// A repository under test. The same calls give the same revisions: names and dates are fixed.
#[derive(Debug)]
pub struct Project {
    tree: PathBuf,
    bare: PathBuf,
    commits: Cell<u64>,
}

impl Project {
    /// Makes `NAME.git` and a work tree beside it in `folder`, with one branch `main` that has no commit yet.
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let bare = folder.join(format!("{name}.git"));
        let tree = folder.join(name);
        let made = Self {
            tree,
            bare,
            commits: Cell::new(0),
        };
        let paths = (made.bare.display().to_string(), made.tree.display().to_string());
        made.git(
            folder,
            &["init", "--quiet", "--bare", "--initial-branch=main", &paths.0],
        )?;
        made.git(folder, &["init", "--quiet", "--initial-branch=main", &paths.1])?;
        made.git(&made.tree, &["remote", "add", "origin", &paths.0])?;
        Ok(made)
    }

    /// Where master and workers reach it.
    pub fn repository(&self) -> String {
        self.bare.display().to_string()
    }

    /// The bare repository's folder.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// Writes files, commits them on the current branch and pushes it. Answers the revision.
    pub fn push(&self, message: &str, files: &[(&str, &str)]) -> Result<String> {
        for (path, text) in files {
            let path = self.tree.join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        }
        self.git(&self.tree, &["add", "--all"])?;
        self.git(&self.tree, &["commit", "--quiet", "--allow-empty", "-m", message])?;
        self.commits.set(self.commits.get() + 1);
        self.git(&self.tree, &["push", "--quiet", "origin", "HEAD"])?;
        self.git(&self.tree, &["rev-parse", "HEAD"])
    }

    /// Makes a branch of the current commit and goes to it; the next `push` pushes it.
    pub fn branch(&self, name: &str) -> Result<()> {
        self.git(&self.tree, &["checkout", "--quiet", "-B", name])
            .map(drop)
    }

    fn git(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        let date = format!("@{} +0000", 1_750_000_000 + 60 * self.commits.get());
        let mut command = Command::new("git");
        command.current_dir(folder).args(arguments);
        isolate(&mut command);
        for (who, name) in [("AUTHOR", "Ada"), ("COMMITTER", "Ada")] {
            command
                .env(format!("GIT_{who}_NAME"), name)
                .env(format!("GIT_{who}_EMAIL"), "ada@example.org");
            command.env(format!("GIT_{who}_DATE"), &date);
        }
        let output = process::run(command, BOUND)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "git {} failed: {errors}",
            arguments.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Keeps a program's git from the settings of whoever runs the tests.
pub fn isolate(command: &mut Command) {
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR");
}
