//! PostgreSQL's server programs, which the store's tests start a private cluster with.

use std::path::{Path, PathBuf};

use crate::workspace;

/// Makes sure that `initdb` is there, or that a server is named.
pub fn require() -> anyhow::Result<()> {
    if std::env::var_os("CAPSTAN_TEST_POSTGRES").is_some() || find().is_some() {
        return Ok(());
    }
    workspace::install("postgresql", "PostgreSQL's server programs (or --no-postgres)")
}

/// Debian keeps them out of the search path, one folder a version.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let folders = std::env::split_paths(&path).chain(versions.map(|version| version.path().join("bin")));
    folders
        .map(|folder| folder.join("initdb"))
        .find(|program: &PathBuf| Path::is_file(program))
}
