//! `capstan init`: makes a farm that runs as it is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::output::print;

/// Makes the folder, the operator's file, the first configuration and the control token.
pub fn run(folder: &Path) -> anyhow::Result<ExitCode> {
    if folder.join("capstan.toml").exists() {
        bail!("{} is a farm already: it has a capstan.toml", folder.display());
    }
    private_folder(folder, 0o755)?;
    write_new(
        &folder.join("capstan.toml"),
        capstan_config::Operator::template().as_bytes(),
        0o644,
    )?;
    write_new(
        &folder.join("ci.star"),
        capstan_config::starter_star().as_bytes(),
        0o644,
    )?;
    private_folder(&folder.join("plugins"), 0o755)?;
    private_folder(&folder.join("secrets"), 0o700)?;
    private_folder(&folder.join("data"), 0o700)?;
    write_token(&folder.join("data"))?;
    print(&format!("made a farm in {}", folder.display()));
    print("  capstan.toml   what the operator decides: addresses, database, rights of plugins");
    print("  ci.star        what to build");
    print("next: edit ci.star, then `capstan check` and `capstan run` in that folder");
    Ok(ExitCode::SUCCESS)
}

/// Makes the control token, if there is none.
pub fn write_token(data: &Path) -> anyhow::Result<()> {
    let path = data.join("token");
    if path.exists() {
        return Ok(());
    }
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    write_new(&path, format!("{token}\n").as_bytes(), 0o600)
}

fn private_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("failed to make the folder {}", path.display()))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("failed to make {}", path.display()))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("failed to write {}", path.display()))
}
