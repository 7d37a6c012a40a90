//! Where the Starlark files come from: the farm's folder, or the bundle that a build was pinned to. Whatever is read
//! is recorded, so that the same evaluation can be made again without the folder.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capstan_model::plan::Bundle;

use crate::Operator;

/// A source of configuration files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Farm {
    origin: Arc<Origin>,
    limits: Limits,
}

#[derive(Debug)]
enum Origin {
    Folder {
        folder: PathBuf,
        entry: String,
        excluded: Vec<PathBuf>,
    },
    Bundle(Bundle),
    Asked {
        entry: String,
        ask: Ask,
    },
}

/// Answers the content of a file, or why there is none.
pub(crate) type Answer = dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync;

/// Whoever is asked for each file.
struct Ask(Box<Answer>);

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask")
    }
}

/// How much a configuration may read. The defaults are far above what people write by hand.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one Starlark file.
    pub program: u64,
    /// Bytes of one data file.
    pub data: u64,
    /// Bytes of all files; they are kept for as long as a build that was made from them.
    pub total: u64,
    /// Files.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            program: 1 << 20,
            data: 8 << 20,
            total: 32 << 20,
            files: 1000,
        }
    }
}

impl Farm {
    /// Reads from `folder`, starting with the file `entry` in it.
    pub fn folder(folder: impl Into<PathBuf>, entry: impl Into<String>) -> Self {
        Self::new(Origin::Folder {
            folder: folder.into(),
            entry: entry.into(),
            excluded: Vec::new(),
        })
    }

    /// Reads from a bundle, without any folder.
    pub fn bundle(bundle: Bundle) -> Self {
        Self::new(Origin::Bundle(bundle))
    }

    /// Asks `ask` for each file, starting with `entry`.
    pub(crate) fn asked(entry: impl Into<String>, ask: Box<Answer>) -> Self {
        Self::new(Origin::Asked {
            entry: entry.into(),
            ask: Ask(ask),
        })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn new(origin: Origin) -> Self {
        Self {
            origin: Arc::new(origin),
            limits: Limits::default(),
        }
    }

    /// The file that evaluation starts with.
    pub(crate) fn entry(&self) -> &str {
        match &*self.origin {
            Origin::Folder { entry, .. } | Origin::Asked { entry, .. } => entry,
            Origin::Bundle(bundle) => &bundle.entry,
        }
    }

    /// The bundle that is evaluated again, if it is one.
    pub(crate) fn pinned(&self) -> Option<&Bundle> {
        match &*self.origin {
            Origin::Folder { .. } | Origin::Asked { .. } => None,
            Origin::Bundle(bundle) => Some(bundle),
        }
    }
}

impl Operator {
    /// The farm's folder as a source of Starlark files. Its data and secrets cannot be read: what is read ends up in
    /// the database and on pages.
    pub fn farm(&self) -> Farm {
        Farm::new(Origin::Folder {
            folder: self.folder.clone(),
            entry: self.master.config.clone(),
            excluded: vec![
                self.master.data.clone(),
                self.secrets.folder.clone(),
                self.folder.join(crate::operator::FILE),
            ],
        })
    }
}

/// Why a file cannot be read. Each text stands alone: expected, found, remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("expected a file in the farm's folder, found `{0}`, which does not exist")]
    Missing(String),
    #[error("expected a path inside the farm's folder, found `{0}`, which leads out of it")]
    Outside(String),
    #[error("expected a path such as \"data/list.json\" or \"//data/list.json\", found {0:?}")]
    Malformed(String),
    #[error(
        "expected a file that configurations may read, found `{0}`, which holds the farm's data or secrets"
    )]
    Excluded(String),
    #[error("expected a file, found `{0}`, which is something else")]
    NotAFile(String),
    #[error("expected `{path}` to be at most {limit} bytes long, found a longer file")]
    TooLarge { path: String, limit: u64 },
    #[error("expected the files of a configuration to be at most {0} bytes long together, found more")]
    TooMuch(u64),
    #[error("expected a configuration of at most {0} files, found more")]
    TooMany(usize),
    #[error("expected UTF-8 text in `{path}`, found another byte in line {line}")]
    NotText { path: String, line: usize },
    #[error("expected `{0}` in the bundle that the build was made from, found no such file")]
    NotPinned(String),
    #[error("{0}")]
    Refused(String),
    #[error("expected to read `{path}`: {source}")]
    Unreadable { path: String, source: std::io::Error },
}

/// What kind of file is read; it decides the limit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sort {
    Program,
    Data,
}

/// Reads files and keeps what it read.
pub(crate) struct Reader {
    farm: Farm,
    files: BTreeMap<String, Vec<u8>>,
    total: u64,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(farm: Farm) -> Self {
        Self {
            farm,
            files: BTreeMap::new(),
            total: 0,
        }
    }

    /// The text of the file at a path from [`resolve`].
    pub(crate) fn text(&mut self, path: &str, sort: Sort) -> Result<String, Error> {
        let limit = match sort {
            Sort::Program => self.farm.limits.program,
            Sort::Data => self.farm.limits.data,
        };
        if !self.files.contains_key(path) {
            let bytes = self.bytes(path, limit)?;
            self.record(path, bytes)?;
        }
        let bytes = self.files.get(path).map_or(&[][..], Vec::as_slice);
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
            Err(error) => {
                let line = bytes[..error.valid_up_to()]
                    .iter()
                    .filter(|&&b| b == b'\n')
                    .count()
                    + 1;
                Err(Error::NotText {
                    path: path.to_owned(),
                    line,
                })
            }
        }
    }

    /// Everything that was read.
    pub(crate) fn into_files(self) -> BTreeMap<String, Vec<u8>> {
        self.files
    }

    fn record(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.total += bytes.len() as u64;
        if self.total > self.farm.limits.total {
            return Err(Error::TooMuch(self.farm.limits.total));
        }
        if self.files.len() >= self.farm.limits.files {
            return Err(Error::TooMany(self.farm.limits.files));
        }
        self.files.insert(path.to_owned(), bytes);
        Ok(())
    }

    fn bytes(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        match &*self.farm.origin {
            Origin::Bundle(bundle) => bundle
                .files
                .get(path)
                .cloned()
                .ok_or_else(|| Error::NotPinned(path.to_owned())),
            Origin::Folder { folder, excluded, .. } => read(folder, excluded, path, limit),
            Origin::Asked { ask, .. } => (ask.0)(path).map_err(Error::Refused),
        }
    }
}

pub(crate) fn read(folder: &Path, excluded: &[PathBuf], path: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::Missing(path.to_owned()),
        _ => Error::Unreadable {
            path: path.to_owned(),
            source,
        },
    };
    let root = folder.canonicalize().map_err(unreadable)?;
    // Symbolic links are followed, but only to places inside the folder.
    let real = root.join(path).canonicalize().map_err(unreadable)?;
    if !real.starts_with(&root) {
        return Err(Error::Outside(path.to_owned()));
    }
    if excluded
        .iter()
        .filter_map(|place| place.canonicalize().ok())
        .any(|place| real.starts_with(place))
    {
        return Err(Error::Excluded(path.to_owned()));
    }
    // Before opening: a pipe would block there.
    if !real.metadata().map_err(unreadable)?.is_file() {
        return Err(Error::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&real).map_err(unreadable)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// The path from the farm's folder that `written` means in the file `from`: `//x` starts at the farm's folder,
/// anything else beside the file.
pub(crate) fn resolve(from: &str, written: &str) -> Result<String, Error> {
    let malformed = || Error::Malformed(written.chars().take(200).collect());
    if written.contains(['\\', '\0', '\n']) || written.ends_with('/') {
        return Err(malformed());
    }
    let (mut parts, rest) = match written.strip_prefix("//") {
        Some(rest) => (Vec::new(), rest),
        None => (from.split('/').collect::<Vec<_>>(), written),
    };
    if !written.starts_with("//") {
        parts.pop();
    }
    if rest.is_empty() || rest.starts_with('/') || rest.starts_with('@') || rest.contains(':') {
        return Err(malformed());
    }
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return Err(Error::Outside(written.to_owned())),
            ".." => {}
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        Err(malformed())
    } else {
        Ok(parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(folder: &Path) -> Reader {
        let limits = Limits {
            program: 100,
            data: 20,
            total: 60,
            files: 3,
        };
        Reader::new(Farm::folder(folder, "ci.star").with_limits(limits))
    }

    #[test]
    fn paths_start_at_the_farm_or_beside_the_file() {
        assert_eq!(resolve("ci.star", "lib/a.star").unwrap(), "lib/a.star");
        assert_eq!(resolve("lib/a.star", "b.star").unwrap(), "lib/b.star");
        assert_eq!(resolve("lib/a.star", "//b.star").unwrap(), "b.star");
        assert_eq!(resolve("lib/a.star", "../data//x.json").unwrap(), "data/x.json");
        for wrong in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "//../x",
            "a\\b",
            "a\0",
            "x/",
            "//",
            "@repo//a.star",
            ":a",
        ] {
            assert!(resolve("ci.star", wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_path_leads_out(from in "[a.]{1,2}(/[a.]{1,2}){0,2}", written in "/{0,2}[a.]{0,2}(/[a.]{0,2}){0,4}") {
            if let Ok(path) = resolve(&format!("{}x", from.replace('.', "d")), &written) {
                prop_assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".." && !part.is_empty()));
            }
        }
    }

    #[test]
    fn files_outside_the_farm_cannot_be_read_even_through_links() {
        let outer = tempfile::tempdir().unwrap();
        let farm = outer.path().join("farm");
        std::fs::create_dir(&farm).unwrap();
        std::fs::write(outer.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), farm.join("link")).unwrap();
        std::fs::write(farm.join("inside"), "i").unwrap();
        std::os::unix::fs::symlink("inside", farm.join("alias")).unwrap();
        let mut reader = reader(&farm);
        insta::assert_snapshot!(reader.text("link", Sort::Data).unwrap_err(), @"expected a path inside the farm's folder, found `link`, which leads out of it");
        assert_eq!(reader.text("alias", Sort::Data).unwrap(), "i");
    }

    #[test]
    fn large_many_binary_and_special_files_are_refused() {
        let farm = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(farm.path().join(name), bytes).unwrap();
        write("large", &[b'x'; 21]);
        write("binary", b"one\ntwo\xff");
        std::fs::create_dir(farm.path().join("folder")).unwrap();
        for name in ["a", "b", "c", "d"] {
            write(name, b"x");
        }
        let mut reader = reader(farm.path());
        insta::assert_snapshot!(reader.text("large", Sort::Data).unwrap_err(), @"expected `large` to be at most 20 bytes long, found a longer file");
        insta::assert_snapshot!(reader.text("folder", Sort::Data).unwrap_err(), @"expected a file, found `folder`, which is something else");
        insta::assert_snapshot!(reader.text("gone", Sort::Data).unwrap_err(), @"expected a file in the farm's folder, found `gone`, which does not exist");
        insta::assert_snapshot!(reader.text("binary", Sort::Data).unwrap_err(), @"expected UTF-8 text in `binary`, found another byte in line 2");
        reader.text("a", Sort::Data).unwrap();
        reader.text("b", Sort::Data).unwrap();
        insta::assert_snapshot!(reader.text("c", Sort::Data).unwrap_err(), @"expected a configuration of at most 3 files, found more");
    }

    #[test]
    fn data_and_secrets_of_the_farm_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/token"), "t").unwrap();
        std::fs::write(folder.path().join("capstan.toml"), "").unwrap();
        let operator = Operator::load(folder.path()).unwrap();
        let mut reader = Reader::new(operator.farm());
        insta::assert_snapshot!(reader.text("secrets/token", Sort::Data).unwrap_err(), @"expected a file that configurations may read, found `secrets/token`, which holds the farm's data or secrets");
        assert!(reader.text("capstan.toml", Sort::Data).is_err());
    }
}
