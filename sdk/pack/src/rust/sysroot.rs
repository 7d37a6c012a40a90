//! Builds the standard library for the bare WASM target from its sources, once per compiler, into a private sysroot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use capstan_model::Digest;

use super::TARGET;
use super::cargo::{cargo, remove};
use super::compiler::{Compiler, Rustc};
use crate::Toolbox;
use crate::toolbox::lock;

/// A standard library for the bare target.
pub(super) struct Sysroot {
    pub(super) folder: PathBuf,
    /// Differs where its bytes differ.
    pub(super) id: String,
}

/// The sysroot for this compiler, built if it is not there.
pub(super) fn build(tools: &Toolbox, compiler: &Compiler, rustc: &Rustc) -> anyhow::Result<Sysroot> {
    let all = tools.folder("sysroot")?;
    let _only_one = lock(&all, tools)?;
    let folder = all.join(Digest::of(rustc.version.as_bytes()).short());
    if !folder.is_dir() {
        tools.say(&format!(
            "building the standard library for {TARGET}, once (about a minute)"
        ));
        let scratch = folder.with_extension("scratch");
        remove(&scratch)?;
        compile(compiler, rustc, &scratch)?;
        let partial = folder.with_extension("partial");
        remove(&partial)?;
        collect(&scratch.join(TARGET).join("release/deps"), &partial)?;
        // Complete or absent: a run that was cut off leaves no half of it.
        fs::rename(&partial, &folder).with_context(|| format!("create {}", folder.display()))?;
        remove(&scratch)?;
    }
    let id = id(&folder)?;
    Ok(Sysroot { folder, id })
}

/// Names the libraries by what is in them.
fn id(sysroot: &Path) -> anyhow::Result<String> {
    let folder = libraries(sysroot);
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    let mut digests = String::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        digests.push_str(&Digest::of(&bytes).to_string());
    }
    Ok(Digest::of(digests.as_bytes()).to_string())
}

fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// The sources' own workspace does not resolve where only what the compiler needs is packaged beside them, for its tests
/// need more. So a workspace of one empty crate asks for `std` instead: tests of a dependency do not count.
fn compile(compiler: &Compiler, rustc: &Rustc, scratch: &Path) -> anyhow::Result<()> {
    let library = rustc
        .library()
        .context("the standard library's sources are gone")?;
    write_workspace(&library, scratch)?;
    let mut cargo = cargo(compiler);
    cargo.current_dir(scratch);
    // The library uses what only nightly compilers allow; nothing else is built with this set.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    let mut flags = compiler.flags.clone();
    // Without bitcode in it, guests could not be optimised together with it.
    flags.extend(["-Cembed-bitcode=yes", "-Zforce-unstable-if-unmarked"].map(str::to_owned));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(scratch);
    let vendor = library.join("vendor");
    if vendor.is_dir() {
        cargo.args([
            "--offline",
            "--config",
            "source.crates-io.replace-with='vendored'",
            "--config",
        ]);
        cargo.arg(format!("source.vendored.directory='{}'", vendor.display()));
    }
    let status = cargo
        .status()
        .with_context(|| format!("failed to start {}", compiler.cargo.display()))?;
    ensure!(
        status.success(),
        "failed to build the standard library from {} ({status})",
        library.display()
    );
    Ok(())
}

fn write_workspace(library: &Path, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let manifest = format!(
        r#"[workspace]
[package]
name = "guest-std"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[dependencies]
std = {{ path = '{library}/std', default-features = false, features = ["compiler-builtins-mem"] }}
[profile.release.package.compiler_builtins]
codegen-units = 10000
[patch.crates-io]
rustc-std-workspace-core = {{ path = '{library}/rustc-std-workspace-core' }}
rustc-std-workspace-alloc = {{ path = '{library}/rustc-std-workspace-alloc' }}
rustc-std-workspace-std = {{ path = '{library}/rustc-std-workspace-std' }}
"#,
        library = library.display()
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("lib.rs"), "")?;
    // The versions that this compiler was tested with.
    fs::copy(library.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

fn collect(built: &Path, sysroot: &Path) -> anyhow::Result<()> {
    let libraries = libraries(sysroot);
    fs::create_dir_all(&libraries).with_context(|| format!("create {}", libraries.display()))?;
    for entry in fs::read_dir(built).with_context(|| format!("read {}", built.display()))? {
        let entry = entry?;
        let is_library = entry
            .path()
            .extension()
            .is_some_and(|e| e == "rlib" || e == "rmeta");
        let is_ours = entry.file_name().to_string_lossy().starts_with("libguest_std");
        if is_library && !is_ours {
            fs::copy(entry.path(), libraries.join(entry.file_name()))?;
        }
    }
    Ok(())
}
