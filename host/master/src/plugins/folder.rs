//! The plugin folder: what lies in it, whether that has settled, and the bytes of a file. Used by `registry` and `watch`.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::Error;

/// Larger files are not read.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What a file looked like from outside. A file that was written to, or replaced, has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub size: u64,
    changed: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            // A copy may carry its source's time of modification; the time of change is the file's own.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Of one file; `None` if it is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }
}

/// The plugin files by name. What begins with a dot or a hash is somebody's temporary file.
pub(crate) fn look(folder: &Path) -> Result<BTreeMap<String, Stamp>, Error> {
    let failed = |e: std::io::Error| Error::failed(format!("list the plugin folder {}", folder.display()), e);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !name.ends_with(".wasm") || name.starts_with(['.', '#']) {
            continue;
        }
        // A file that went away between the two looks is not there.
        if let Ok(metadata) = std::fs::metadata(entry.path())
            && metadata.is_file()
        {
            files.insert(name, Stamp::new(&metadata));
        }
    }
    Ok(files)
}

/// The bytes of a plugin file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("failed to read it: {e}");
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!(
            "expected a file of at most {MAX_FILE} bytes, found a longer one"
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_folders_and_what_is_no_plugin_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.wasm",
            ".a.wasm",
            "#a.wasm",
            "a.wasm~",
            ".a.wasm.swp",
            "a.wasm.new",
            "b.txt",
        ] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::create_dir(folder.path().join("folder.wasm")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling.wasm")).unwrap();
        assert_eq!(
            look(folder.path()).unwrap().keys().collect::<Vec<_>>(),
            ["a.wasm"]
        );
        assert!(look(&folder.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_was_replaced_or_written_to_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "one").unwrap();
        let one = look(folder.path()).unwrap();
        assert_eq!(look(folder.path()).unwrap(), one);
        std::fs::write(folder.path().join("new"), "two").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        let two = look(folder.path()).unwrap();
        assert_ne!(two, one);
        std::fs::write(&path, "three").unwrap();
        assert_ne!(look(folder.path()).unwrap(), two);
    }
}
