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
    /// How many bytes it may have.
    room: Option<u64>,
}

impl Cache {
    /// Makes the folder and takes it from everybody else.
    pub(crate) fn open(dir: Option<PathBuf>, room: Option<u64>) -> Result<Self, EngineError> {
        if let Some(path) = &dir {
            make_private(path).map_err(|source| EngineError::Cache {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self { dir, room })
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
            if self.room.is_some() {
                place.used();
            }
            return Ok(component);
        }
        let component = Component::new(engine, bytes)?;
        if let Err(error) = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| place.write(&code))
            .and_then(|()| self.room.map_or(Ok(()), |room| make_room(dir, room, &place.code)))
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

    /// Makes it the newest: the age of the digest's file says when the code was used last.
    fn used(&self) {
        let again = fs::read(&self.sum).and_then(|sum| replace(&self.sum, &sum));
        if let Err(error) = again {
            tracing::debug!(%error, path = %self.sum.display(), "a compiled plugin cannot be marked as used");
        }
    }

    fn write(&self, code: &[u8]) -> io::Result<()> {
        make_private(&self.dir)?;
        replace(&self.code, code)?;
        replace(&self.sum, Digest::of(code).to_string().as_bytes())
    }
}

/// Removes what was used longest ago, of every engine that kept something here, until the rest fits. What another program
/// reads meanwhile, it compiles.
fn make_room(cache: &Path, room: u64, newest: &Path) -> io::Result<()> {
    let mut kept = Vec::new();
    for engine in fs::read_dir(cache)?.flatten().map(|entry| entry.path()) {
        // Beside the folders of engines there may be somebody's probe.
        for entry in fs::read_dir(engine).into_iter().flatten().flatten() {
            let code = entry.path();
            if code.extension().is_some_and(|extension| extension == "cwasm") {
                // Without its digest it is not read, and goes first.
                let used = fs::metadata(code.with_extension("sum")).and_then(|sum| sum.modified());
                kept.push((used.ok(), entry.metadata()?.len(), code));
            }
        }
    }
    kept.sort();
    let mut size: u64 = kept.iter().map(|(_, size, _)| size).sum();
    for (_, bytes, path) in kept.iter().filter(|(_, _, path)| path != newest) {
        if size <= room {
            break;
        }
        let _ = fs::remove_file(path.with_extension("sum"));
        fs::remove_file(path)?;
        size -= bytes;
    }
    Ok(())
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
