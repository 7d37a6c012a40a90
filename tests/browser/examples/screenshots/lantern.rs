//! The project in the pictures: a small library that several people work on, and the configuration that builds it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use capstan_tests::project::isolate;
use capstan_tests::{BOUND, process};

/// One commit of its history.
pub struct Commit {
    author: &'static str,
    message: &'static str,
    /// Where the tests fail from this commit on.
    breaks: &'static str,
}

const fn commit(author: &'static str, message: &'static str, breaks: &'static str) -> Commit {
    Commit {
        author,
        message,
        breaks,
    }
}

/// What is pushed, one after the other.
pub const HISTORY: [Commit; 6] = [
    commit("Ines Okafor", "Read frames without copying them", "nowhere"),
    commit("Tomas Lindqvist", "Say which frame was cut off", "nowhere"),
    commit("Mei Tanaka", "Check the reader on Windows line ends", "x86_64"),
    commit("Mei Tanaka", "Mend the check for line ends", "nowhere"),
    commit("Tomas Lindqvist", "Decode lengths eight bytes at a time", "arm64"),
    commit("Ines Okafor", "Describe the frame format", "arm64"),
];

/// Its repository: a bare one, and the work tree that commits are made in.
pub struct Lantern {
    bare: PathBuf,
    tree: PathBuf,
}

impl Lantern {
    /// Makes it in `folder`, without a commit.
    pub fn create(folder: &Path) -> Result<Self> {
        let made = Self {
            bare: folder.join("lantern.git"),
            tree: folder.join("lantern"),
        };
        let bare = made.bare.display().to_string();
        let tree = made.tree.display().to_string();
        git(
            folder,
            "",
            &["init", "--quiet", "--bare", "--initial-branch=main", &bare],
        )?;
        git(folder, "", &["init", "--quiet", "--initial-branch=main", &tree])?;
        git(&made.tree, "", &["remote", "add", "origin", &bare])?;
        Ok(made)
    }

    /// What a farm builds of it; what runs in the pictures runs until there is a file `gate`.
    pub fn configuration(&self, gate: &Path) -> String {
        include_str!("lantern/ci.star")
            .replace("REPOSITORY_URL", &self.bare.display().to_string())
            .replace("GATE_FILE", &gate.display().to_string())
    }

    /// Commits and pushes.
    pub fn push(&self, commit: &Commit) -> Result<()> {
        std::fs::create_dir_all(self.tree.join("ci"))?;
        for (path, text) in [
            ("ci/compile.sh", include_str!("lantern/compile.sh")),
            ("ci/test.sh", include_str!("lantern/test.sh")),
            ("ci/docs.sh", include_str!("lantern/docs.sh")),
            ("ci/breaks", commit.breaks),
            ("NEWS.md", commit.message),
        ] {
            std::fs::write(self.tree.join(path), text)?;
        }
        git(&self.tree, "", &["add", "--all"])?;
        git(
            &self.tree,
            commit.author,
            &["commit", "--quiet", "-m", commit.message],
        )?;
        git(&self.tree, "", &["push", "--quiet", "origin", "HEAD"])
    }
}

fn git(folder: &Path, author: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments);
    isolate(&mut command);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), author);
        let name = author.split(' ').next().unwrap_or_default().to_lowercase();
        command.env(format!("GIT_{who}_EMAIL"), format!("{name}@example.org"));
    }
    let output = process::run(command, BOUND)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "git {} failed: {errors}",
        arguments.join(" ")
    );
    Ok(())
}
