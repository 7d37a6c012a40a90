//! Finds a Rust that compiles for the bare WASM target. Looked for in this order: a toolchain that has the target, rustup
//! to add it, a compiler that comes with the standard library's sources (Debian's), Debian's packages if they may be
//! installed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use capstan_model::Digest;

use super::cargo::remap;
use super::{TARGET, sysroot};
use crate::Toolbox;

/// How long rustup may take; where it cannot reach its server, it would try for minutes.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

/// Where the compiler comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The first way that works
    Auto,
    /// A toolchain of rustup, to which the target is added if it is missing
    Rustup,
    /// A compiler with the standard library's sources, such as Debian's rustc-web
    Debian,
}

/// A compiler, and what it needs to be told.
#[derive(Debug)]
pub struct Compiler {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    /// Flags for code of the WASM target.
    pub(super) flags: Vec<String>,
    /// Its name with rustup, if it is rustup's.
    pub(super) toolchain: Option<String>,
    /// Which build of the standard library it uses, if that was built here.
    pub(super) library: Option<String>,
    version: String,
    source: &'static str,
}

impl Compiler {
    /// A name for a target folder that compilers do not share.
    pub fn key(&self) -> String {
        Digest::of(format!("{}{}", self.version, self.source).as_bytes()).short()
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.lines().next().unwrap_or_default();
        write!(f, "{version} ({}: {})", self.source, self.rustc.display())
    }
}

/// Finds a compiler, or says which ways there are.
pub fn find(tools: &Toolbox) -> anyhow::Result<Compiler> {
    let mut tried = Vec::new();
    if tools.compiler != Way::Debian {
        match installed(tools) {
            Ok(compiler) => return Ok(compiler),
            Err(reason) => tried.push(format!("a toolchain with the target {TARGET}: {reason:#}")),
        }
    }
    if tools.compiler != Way::Rustup {
        match with_sources(tools) {
            Ok(compiler) => return Ok(compiler),
            Err(reason) => tried.push(format!(
                "a compiler with the standard library's sources: {reason:#}"
            )),
        }
    }
    bail!(
        "expected a Rust that compiles for {TARGET}, found none\n  tried {}\n  either run `rustup target add {TARGET}`, \
         or on Debian as root `apt-get install --no-install-recommends rustc-web rust-web-src lld`",
        tried.join("\n  tried ")
    )
}

fn installed(tools: &Toolbox) -> anyhow::Result<Compiler> {
    let rustc = Rustc::ask(&tools.rustc)?;
    if !rustc.has_target() {
        add_target(&rustc, tools)?;
        ensure!(
            rustc.has_target(),
            "rustup added the target, but {} does not have it",
            rustc.sysroot.display()
        );
    }
    rustc.compiler("installed target", vec![rustc.remap_std()])
}

fn add_target(rustc: &Rustc, tools: &Toolbox) -> anyhow::Result<()> {
    let not_rustups = || format!("{} does not have it and is not rustup's", rustc.sysroot.display());
    let toolchain = &rustc.toolchain().with_context(not_rustups)?;
    tools.say(&format!(
        "adding {TARGET} to {toolchain} with rustup (at most {} s)",
        RUSTUP_LIMIT.as_secs()
    ));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", "--toolchain", toolchain, TARGET]);
    let mut child = rustup
        .stdin(Stdio::null())
        .spawn()
        .context("failed to start rustup")?;
    let deadline = Instant::now() + RUSTUP_LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "`rustup target add` failed ({status})");
            return Ok(());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("`rustup target add` took more than {} s", RUSTUP_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn with_sources(tools: &Toolbox) -> anyhow::Result<Compiler> {
    let rustc = match sources(tools) {
        Some(rustc) => rustc,
        None => {
            install(tools)?;
            sources(tools).context("the packages are installed, but no compiler has the sources")?
        }
    };
    let linker = linker(tools)?;
    let mut compiler = rustc.compiler("std built from its sources", vec![rustc.remap_std()])?;
    let built = sysroot::build(tools, &compiler, &rustc)?;
    compiler
        .flags
        .push(format!("--sysroot={}", built.folder.display()));
    compiler.library = Some(built.id);
    compiler.flags.push(format!("-Clinker={}", linker.display()));
    compiler.flags.push("-Clinker-flavor=wasm-ld".to_owned());
    Ok(compiler)
}

/// Debian's compiler first: rustup's has the target itself, where it can be had at all.
fn sources(tools: &Toolbox) -> Option<Rustc> {
    let candidates = [PathBuf::from("/usr/bin/rustc"), tools.rustc.clone()];
    candidates
        .iter()
        .filter_map(|path| Rustc::ask(path).ok())
        .find(|rustc| rustc.library().is_some())
}

fn install(tools: &Toolbox) -> anyhow::Result<()> {
    ensure!(Path::new("/etc/debian_version").is_file(), "this is not Debian");
    ensure!(tools.install, "none is installed");
    ensure!(
        nix::unistd::geteuid().is_root(),
        "not root, so Debian's packages cannot be installed"
    );
    let mut packages = vec!["rustc-web", "rust-web-src"];
    if linker(tools).is_err() {
        packages.push("lld");
    }
    tools.say(&format!("installing {} with apt-get", packages.join(", ")));
    for words in [
        vec!["update"],
        [vec!["install", "-y", "--no-install-recommends"], packages].concat(),
    ] {
        let mut apt = Command::new("apt-get");
        apt.args(&words).env("DEBIAN_FRONTEND", "noninteractive");
        let status = apt.status().context("failed to start apt-get")?;
        ensure!(
            status.success(),
            "`apt-get {}` failed ({status})",
            words.join(" ")
        );
    }
    Ok(())
}

/// rustup's own linker, or LLVM's under the names that Debian gives it. All give the same bytes.
fn linker(tools: &Toolbox) -> anyhow::Result<PathBuf> {
    if let Ok(rustc) = Rustc::ask(&tools.rustc) {
        let lld = rustc
            .sysroot
            .join("lib/rustlib")
            .join(&rustc.host)
            .join("bin/rust-lld");
        if lld.is_file() {
            return Ok(lld);
        }
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&folders)
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .filter(|path| {
            path.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with("wasm-ld"))
        })
        .collect();
    found.sort();
    found
        .pop()
        .context("expected a linker for WebAssembly (rust-lld or wasm-ld), found none; install `lld`")
}

/// A compiler, and what it says of itself.
pub(super) struct Rustc {
    path: PathBuf,
    pub(super) version: String,
    host: String,
    commit: String,
    sysroot: PathBuf,
}

impl Rustc {
    fn ask(path: &Path) -> anyhow::Result<Self> {
        let version = output(path, &["-vV"])?;
        let field = |name: &str| {
            let value = version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_default().to_owned()
        };
        let (host, commit) = (field("host"), field("commit-hash"));
        let sysroot = PathBuf::from(output(path, &["--print", "sysroot"])?.trim());
        // Rather the compiler itself than rustup's stand-in, which chooses anew in each folder.
        let own = sysroot.join("bin/rustc");
        let path = if own.is_file() { own } else { path.to_owned() };
        Ok(Self {
            path,
            version,
            host,
            commit,
            sysroot,
        })
    }

    /// Its name with rustup.
    fn toolchain(&self) -> Option<String> {
        let rustups = self
            .sysroot
            .parent()
            .is_some_and(|folder| folder.ends_with("toolchains"));
        self.sysroot
            .file_name()
            .filter(|_| rustups)
            .and_then(|name| name.to_str())
            .map(str::to_owned)
    }

    fn has_target(&self) -> bool {
        let folder = self.sysroot.join("lib/rustlib").join(TARGET).join("lib");
        let Ok(entries) = std::fs::read_dir(folder) else {
            return false;
        };
        let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.any(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
    }

    /// The folder of the standard library's sources.
    pub(super) fn library(&self) -> Option<PathBuf> {
        let folder = self.sysroot.join("lib/rustlib/src/rust/library");
        folder.join("Cargo.lock").is_file().then_some(folder)
    }

    /// Where the sources are installed, the compiler writes their place into panic messages: undo it.
    fn remap_std(&self) -> String {
        remap(
            &self.sysroot.join("lib/rustlib/src/rust"),
            &format!("/rustc/{}", self.commit),
        )
    }

    fn compiler(&self, source: &'static str, flags: Vec<String>) -> anyhow::Result<Compiler> {
        // The cargo that belongs to the compiler, whichever cargo runs this task: versions may hash differently.
        let own = self.sysroot.join("bin/cargo");
        let cargo = match std::env::var_os("CARGO") {
            _ if own.is_file() => own,
            Some(cargo) => cargo.into(),
            None => PathBuf::from("cargo"),
        };
        let (rustc, version, toolchain) = (self.path.clone(), self.version.clone(), self.toolchain());
        Ok(Compiler {
            cargo,
            rustc,
            flags,
            toolchain,
            library: None,
            version,
            source,
        })
    }
}

fn output(program: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("failed to start {}", program.display()))?;
    let (status, stderr) = (output.status, String::from_utf8_lossy(&output.stderr));
    ensure!(
        status.success(),
        "`{} {}` failed ({status}): {stderr}",
        program.display(),
        args.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_compiler_both_ways_to_get_one_are_named() {
        let tools = Toolbox {
            rustc: PathBuf::from("/nowhere/rustc"),
            compiler: Way::Rustup,
            ..Toolbox::new("/nowhere", |_| ())
        };
        let error = format!("{:#}", find(&tools).unwrap_err());
        for part in [
            "/nowhere/rustc",
            "rustup target add wasm32-unknown-unknown",
            "apt-get install",
        ] {
            assert!(error.contains(part), "expected {part:?} in {error}");
        }
    }
}
