//! Embeds what a new project is made of: the templates, the SDKs, the interface and the lock file that the built-in
//! plugins are built with. They are the files of this repository themselves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Files and folders, from the repository's folder.
const EMBEDDED: [&str; 9] = [
    "plugins/Cargo.lock",
    "sdk/Cargo.toml",
    "sdk/c",
    "sdk/javascript",
    "sdk/macros",
    "sdk/python",
    "sdk/src",
    "sdk/templates",
    "wit",
];

/// What tools leave behind.
const LEFT: [&str; 4] = ["node_modules", "target", "__pycache__", ".venv"];

fn main() -> io::Result<()> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let repository = own.join("../..").canonicalize()?;
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for place in EMBEDDED {
        // A folder stands for all that is in it.
        println!("cargo::rerun-if-changed={}", repository.join(place).display());
        walk(&repository.join(place), &mut files)?;
    }
    files.sort();
    let mut table = "static FILES: &[(&str, &str)] = &[\n".to_owned();
    for file in &files {
        let name = file.strip_prefix(&repository).unwrap_or(file);
        let _ = writeln!(
            table,
            "    ({:?}, include_str!({file:?})),",
            name.display().to_string()
        );
    }
    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(output.join("files.rs"), table + "];\n")
}

fn walk(place: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if place.is_file() {
        files.push(place.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let left = entry.file_name().to_str().is_none_or(|name| LEFT.contains(&name));
        if !left {
            walk(&entry.path(), files)?;
        }
    }
    Ok(())
}
