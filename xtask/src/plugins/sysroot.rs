//! Builds the standard library for the bare WASM target from its sources, once per compiler, into a private sysroot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use capstan_model::Digest;

use super::build::cargo;
use super::compiler::{Compiler, Rustc};
use super::{Places, TARGET, remove};

/// The sysroot for this compiler, built if it is not there.
pub(super) fn build(places: &Places, compiler: &Compiler, rustc: &Rustc) -> anyhow::Result<PathBuf> {
    let sysroot = places
        .guests
        .join("sysroot")
        .join(Digest::of(rustc.version.as_bytes()).short());
    if sysroot.is_dir() {
        return Ok(sysroot);
    }
    println!("plugins: building the standard library for {TARGET}, once (about a minute)");
    // What guests were built with the lost sysroot does not fit the new one.
    remove(&places.guests.join("cargo").join(compiler.key()))?;
    let scratch = sysroot.with_extension("scratch");
    remove(&scratch)?;
    compile(compiler, rustc, &scratch)?;
    let partial = sysroot.with_extension("partial");
    remove(&partial)?;
    collect(&scratch.join(TARGET).join("release/deps"), &partial)?;
    // Complete or absent: a run that was cut off leaves no half of it.
    fs::rename(&partial, &sysroot).with_context(|| format!("create {}", sysroot.display()))?;
    remove(&scratch)?;
    Ok(sysroot)
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
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
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
