//! Compiled plugins on disk, by engine fingerprint and digest, so that a restart does not compile again.

use std::fs;
use std::hash::{Hash as _, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use capstan_model::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::EngineError;

pub(crate) struct Cache {
    dir: Option<PathBuf>,
}

impl Cache {
    /// Makes the folder and takes it from everybody else.
    pub(crate) fn open(dir: Option<PathBuf>) -> Result<Self, EngineError> {
        if let Some(path) = &dir {
            make_private(path).map_err(|source| EngineError::Cache {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self { dir })
    }

    /// The compiled form of `bytes`. A cache that cannot be read or written costs time, never the plugin.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        let Some(dir) = &self.dir else {
            return Component::new(engine, bytes);
        };
        let place = Place::new(dir, engine, digest);
        if let Some(component) = place.read(engine) {
            return Ok(component);
        }
        let component = Component::new(engine, bytes)?;
        if let Err(error) = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| place.write(&code))
        {
            tracing::warn!(%error, path = %place.code.display(), "a compiled plugin could not be kept");
        }
        Ok(component)
    }
}

/// The two files of one compiled plugin: the code, and its digest in text, written last.
struct Place {
    dir: PathBuf,
    code: PathBuf,
    sum: PathBuf,
}

impl Place {
    fn new(cache: &Path, engine: &Engine, digest: Digest) -> Self {
        let dir = cache.join(fingerprint(engine).to_string());
        Self {
            code: dir.join(format!("{digest}.cwasm")),
            sum: dir.join(format!("{digest}.sum")),
            dir,
        }
    }

    fn read(&self, engine: &Engine) -> Option<Component> {
        let sum = fs::read_to_string(&self.sum).ok()?;
        // wasmtime checks the header alone: a torn or damaged file would be executed.
        if sum.trim() != Digest::of(&fs::read(&self.code).ok()?).to_string() {
            tracing::warn!(path = %self.code.display(), "a compiled plugin is damaged and is compiled again");
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the file was written by this program into a folder that only its user can write"
        )]
        let component = unsafe { Component::deserialize_file(engine, &self.code) };
        component
            .inspect_err(
                |error| tracing::warn!(%error, path = %self.code.display(), "a compiled plugin does not fit"),
            )
            .ok()
    }

    fn write(&self, code: &[u8]) -> io::Result<()> {
        make_private(&self.dir)?;
        replace(&self.code, code)?;
        replace(&self.sum, Digest::of(code).to_string().as_bytes())
    }
}

/// Writes a file so that it is there whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("tmp-{}-{unique}", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes the folder if need be and takes it from everybody else. What is read from it is executed.
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        // Root may change the mode of a folder whose owner can change it back.
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let probe = path.join(format!(".owner-{}-{unique}", std::process::id()));
        let ours = fs::File::create(&probe)?.metadata()?.uid();
        fs::remove_file(&probe)?;
        if fs::metadata(path)?.uid() != ours {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user",
            ));
        }
    }
    Ok(())
}

/// Names everything that compiled code depends on: wasmtime's version, its settings, the processor.
fn fingerprint(engine: &Engine) -> Digest {
    struct Bytes(Vec<u8>);
    impl Hasher for Bytes {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut bytes = Bytes(Vec::new());
    engine.precompile_compatibility_hash().hash(&mut bytes);
    Digest::of(&bytes.0)
}
