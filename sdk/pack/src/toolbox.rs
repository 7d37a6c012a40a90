//! What a build may use: where tools are kept between builds, where compilers are looked for, who hears of progress.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::rust::Way;

/// What a build may use.
#[derive(Clone, Debug)]
pub struct Toolbox {
    /// The folder for tools that are made or fetched once and serve every project: a standard library for the bare
    /// target, a Python environment, npm packages. Each language has folders of its own there.
    pub cache: PathBuf,
    /// Where Rust is compiled, if not in the project's own `target`.
    pub target: Option<PathBuf>,
    /// The Rust compiler that is asked first.
    pub rustc: PathBuf,
    /// Where a Rust compiler comes from.
    pub compiler: Way,
    /// Whether Debian's packages may be installed, as root.
    pub install: bool,
    /// Hears what is done, in one line.
    pub say: fn(&str),
}

impl Toolbox {
    /// Tools kept in `cache`; the compiler that `RUSTC` names or the one in `PATH`; nothing is installed into the
    /// system.
    pub fn new(cache: impl Into<PathBuf>, say: fn(&str)) -> Self {
        Self {
            cache: cache.into(),
            target: None,
            rustc: path("RUSTC").unwrap_or_else(|| PathBuf::from("rustc")),
            compiler: Way::Auto,
            install: false,
            say,
        }
    }

    /// As the environment says: tools in `CAPSTAN_CACHE`, else in `capstan` in the user's folder for caches
    /// (`XDG_CACHE_HOME`, `~/.cache`); Rust compiled in `CARGO_TARGET_DIR`, else in the project.
    pub fn from_environment(say: fn(&str)) -> anyhow::Result<Self> {
        let cache = path("CAPSTAN_CACHE")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("capstan")))
            .or_else(|| Some(path("HOME")?.join(".cache/capstan")))
            .context("expected a folder for tools in CAPSTAN_CACHE or HOME, found neither")?;
        // Compilers are called in the project's folder.
        let target = path("CARGO_TARGET_DIR").map(std::path::absolute).transpose()?;
        Ok(Self {
            target,
            ..Self::new(std::path::absolute(cache)?, say)
        })
    }

    /// Says what is done.
    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// The folder in the cache of this name.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.cache.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }
}

/// What a variable of the environment says, if it says anything.
fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Holds the only right to write into a folder of the cache until it is dropped; waits for another program that has it.
pub(crate) fn lock(folder: &Path, tools: &Toolbox) -> anyhow::Result<std::fs::File> {
    let path = folder.join(".lock");
    let file = std::fs::File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        tools.say(&format!(
            "waiting for another build, which holds {}",
            path.display()
        ));
        file.lock().with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}
