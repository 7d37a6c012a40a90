//! `capstan.lock`: which plugin files the operator accepted, and with which rights. The master reads it at every look at the
//! plugin folder and notes what it accepts by itself; `capstan plugin install`, `grant` and `remove` write it, too.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use capstan_model::Digest;
use capstan_model::plugin::{Kind, Rights};
use serde::{Deserialize, Serialize};

/// The file's name in the farm's folder.
pub const LOCK_FILE: &str = "capstan.lock";

/// A farm has tens of plugins, each a few hundred bytes here.
const MAX_BYTES: u64 = 1 << 20;

/// The shape of the file.
const VERSION: u32 = 1;

const HEADER: &str = "\
# The plugin files that this farm accepted: what each is, and the rights that it asked for when that was decided. Written by the
# master and by `capstan plugin install`, `grant` and `remove`; keep it with capstan.toml. A plugin may use what capstan.toml
# grants it, whatever stands here.
";

/// What the operator accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    plugins: BTreeMap<(Kind, String), Accepted>,
    other: toml::Table,
}

/// One accepted plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// The file that was accepted.
    pub digest: Digest,
    /// A file that may take its place as soon as the rights that it asks for beyond `rights` are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Digest>,
    /// A file that kept failing: it is not taken again before it is accepted once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Digest>,
    /// Where the file came from, if it was installed from somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The rights that it asked for when that was decided; what it may use stands in capstan.toml.
    #[serde(default, skip_serializing_if = "Rights::is_empty", serialize_with = "sparse")]
    pub rights: Rights,
    /// What a newer Capstan wrote.
    #[serde(flatten)]
    pub other: toml::Table,
}

/// Rights without the capabilities that they do not name.
fn sparse<S: serde::Serializer>(rights: &Rights, serializer: S) -> Result<S::Ok, S::Error> {
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (right, text) in rights.each() {
        lists.entry(right.as_str()).or_default().push(text);
    }
    lists.serialize(serializer)
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(flatten)]
    other: toml::Table,
    #[serde(default, rename = "plugin")]
    plugins: Vec<Accepted>,
}

/// Why there is no lock to work with.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("expected to read and write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It says nothing that makes sense.
    #[error("expected {} as `capstan` writes it: {reason}; mend it, or delete it and accept the plugins anew", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Lock {
    /// Reads the lock of a farm's folder; one that is missing is empty.
    pub fn load(farm: &Path) -> Result<Self, LockError> {
        let path = farm.join(LOCK_FILE);
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        let malformed = |reason: String| LockError::Malformed {
            path: path.clone(),
            reason,
        };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(malformed(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| malformed("it is no UTF-8 text".to_owned()))?;
        Self::parse(&text).map_err(malformed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!("expected version {VERSION}, found {}", file.version));
        }
        let mut plugins = BTreeMap::new();
        for accepted in file.plugins {
            let key = (accepted.kind, accepted.name.clone());
            if let Some(twice) = plugins.insert(key, accepted) {
                return Err(format!("expected one {} `{}`, found two", twice.kind, twice.name));
            }
        }
        Ok(Self {
            plugins,
            other: file.other,
        })
    }

    /// Changes the lock of a farm's folder: reads it, lets `change` work on it, and puts it back whole if it differs then.
    /// One at a time, whichever program does it.
    pub fn update<T>(farm: &Path, change: impl FnOnce(&mut Self) -> T) -> Result<T, LockError> {
        let path = farm.join(LOCK_FILE);
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        // The folder itself is what is locked: the file is replaced.
        let turn = std::fs::File::open(farm).map_err(io)?;
        turn.lock().map_err(io)?;
        let before = Self::load(farm)?;
        let mut after = before.clone();
        let answer = change(&mut after);
        if after != before {
            after.write(farm, &path).map_err(io)?;
        }
        Ok(answer)
    }

    fn write(&self, farm: &Path, path: &Path) -> std::io::Result<()> {
        let text = self.text().map_err(std::io::Error::other)?;
        let new = farm.join(format!(".{LOCK_FILE}.new"));
        let mut file = std::fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        std::fs::File::open(farm)?.sync_all()
    }

    fn text(&self) -> Result<String, toml::ser::Error> {
        let file = File {
            version: VERSION,
            other: self.other.clone(),
            plugins: self.plugins.values().cloned().collect(),
        };
        Ok(format!("{HEADER}\n{}", toml::to_string(&file)?))
    }

    /// What was accepted of that plugin.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Accepted> {
        self.plugins.get(&(kind, name.to_owned()))
    }

    /// Every accepted plugin, by kind and name.
    pub fn plugins(&self) -> impl Iterator<Item = &Accepted> {
        self.plugins.values()
    }

    /// Accepts this very file with these rights, whatever else it asks for: the operator has decided.
    pub fn accept(&mut self, kind: Kind, name: &str, digest: Digest, version: &str, rights: Rights) {
        let before = self.plugins.remove(&(kind, name.to_owned()));
        let accepted = Accepted {
            kind,
            name: name.to_owned(),
            version: version.to_owned(),
            digest,
            installed: None,
            withdrawn: None,
            source: before.as_ref().and_then(|before| before.source.clone()),
            rights,
            other: before.map(|before| before.other).unwrap_or_default(),
        };
        self.plugins.insert((kind, name.to_owned()), accepted);
    }

    /// Accepts this file as the plugin's next one. Answers what it asks for beyond what was accepted before: if that is
    /// anything, the file waits for [`Lock::accept`].
    pub fn install(
        &mut self,
        kind: Kind,
        name: &str,
        digest: Digest,
        version: &str,
        asks: &Rights,
    ) -> Rights {
        let known = self.plugins.get_mut(&(kind, name.to_owned()));
        let rights = known
            .as_ref()
            .map(|known| known.rights.clone())
            .unwrap_or_default();
        let more = asks.beyond(&rights);
        match known {
            Some(known) if known.digest == digest => {
                known.installed = None;
                known.withdrawn = None;
                return Rights::default();
            }
            Some(known) if !more.is_empty() => {
                known.installed = Some(digest);
                known.withdrawn = known.withdrawn.filter(|&withdrawn| withdrawn != digest);
            }
            _ if more.is_empty() => self.accept(kind, name, digest, version, rights),
            _ => {}
        }
        more
    }

    /// Notes where a plugin's file came from.
    pub fn set_source(&mut self, kind: Kind, name: &str, source: &str) {
        if let Some(known) = self.plugins.get_mut(&(kind, name.to_owned())) {
            known.source = Some(source.to_owned());
        }
    }

    /// Goes back to the version `digest`: `failing` is not taken again before it is accepted once more.
    pub fn withdraw(&mut self, kind: Kind, name: &str, failing: Digest, back_to: Option<(Digest, &str)>) {
        if let Some(known) = self.plugins.get_mut(&(kind, name.to_owned())) {
            known.withdrawn = Some(failing);
            if let Some((digest, version)) = back_to {
                // It stays accepted, for when it is forgiven.
                known.installed.get_or_insert(failing);
                known.digest = digest;
                known.version = version.to_owned();
            }
        }
    }

    /// Lets every file that was withdrawn be tried again.
    pub fn forgive(&mut self) {
        for known in self.plugins.values_mut() {
            known.withdrawn = None;
        }
    }

    /// Forgets a plugin. Answers whether it was known.
    pub fn forget(&mut self, kind: Kind, name: &str) -> bool {
        self.plugins.remove(&(kind, name.to_owned())).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(http: &[&str]) -> Rights {
        Rights {
            http: http.iter().map(|&text| text.to_owned()).collect(),
            ..Rights::default()
        }
    }

    #[test]
    fn what_was_accepted_is_read_again_and_reads_well() {
        let farm = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"one");
        Lock::update(farm.path(), |lock| {
            lock.accept(
                Kind::Reporter,
                "chat",
                digest,
                "0.2.0",
                rights(&["https://chat.example.org/*"]),
            );
            lock.accept(Kind::Step, "make", digest, "1.0.0", Rights::default());
        })
        .unwrap();
        let text = std::fs::read_to_string(farm.path().join(LOCK_FILE)).unwrap();
        insta::assert_snapshot!(text, @r#"
        # The plugin files that this farm accepted: what each is, and the rights that it asked for when that was decided. Written by the
        # master and by `capstan plugin install`, `grant` and `remove`; keep it with capstan.toml. A plugin may use what capstan.toml
        # grants it, whatever stands here.

        version = 1

        [[plugin]]
        kind = "step"
        name = "make"
        version = "1.0.0"
        digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"

        [[plugin]]
        kind = "reporter"
        name = "chat"
        version = "0.2.0"
        digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"

        [plugin.rights]
        http = ["https://chat.example.org/*"]
        "#);
        let lock = Lock::load(farm.path()).unwrap();
        let chat = lock.get(Kind::Reporter, "chat").unwrap();
        assert_eq!((chat.digest, &*chat.version), (digest, "0.2.0"));
        assert_eq!(chat.rights, rights(&["https://chat.example.org/*"]));
        assert!(lock.get(Kind::Step, "chat").is_none());
    }

    #[test]
    fn what_a_newer_program_wrote_is_kept() {
        let farm = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"one");
        let text = format!(
            "version = 1\nregistry = \"r\"\n\n[[plugin]]\nkind = \"step\"\nname = \"make\"\nversion = \"1\"\n\
             digest = \"{digest}\"\nsignature = \"s\"\n"
        );
        std::fs::write(farm.path().join(LOCK_FILE), text).unwrap();
        let next = Digest::of(b"two");
        Lock::update(farm.path(), |lock| {
            lock.accept(Kind::Step, "make", next, "2", Rights::default());
        })
        .unwrap();
        let text = std::fs::read_to_string(farm.path().join(LOCK_FILE)).unwrap();
        assert!(
            text.contains("registry = \"r\"") && text.contains("signature = \"s\""),
            "{text}"
        );
        assert!(text.contains(&next.to_string()), "{text}");
    }

    #[test]
    fn a_lock_that_makes_no_sense_is_an_error_and_is_left_alone() {
        let farm = tempfile::tempdir().unwrap();
        let path = farm.path().join(LOCK_FILE);
        let twice = "[[plugin]]\nkind = \"step\"\nname = \"a\"\nversion = \"1\"\ndigest = \"00\"\n"
            .replace("\"00\"", &format!("\"{}\"", Digest::of(b"")));
        for wrong in [
            "version = 2".to_owned(),
            "plugin = 3".to_owned(),
            format!("version = 1\n{twice}{twice}"),
            "\u{0}".to_owned(),
            "x".repeat(2 << 20),
        ] {
            std::fs::write(&path, &wrong).unwrap();
            assert!(
                matches!(Lock::load(farm.path()), Err(LockError::Malformed { .. })),
                "{wrong:.40}"
            );
            Lock::update(farm.path(), |lock| lock.forgive()).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);
        }
    }

    #[test]
    fn an_update_that_asks_for_more_waits_until_it_is_accepted() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let asks = rights(&["https://a.example.org/*"]);
        let mut lock = Lock::default();
        assert_eq!(lock.install(Kind::Reporter, "chat", one, "1", &asks), asks);
        assert!(
            lock.get(Kind::Reporter, "chat").is_none(),
            "a new one that asks waits"
        );
        assert!(
            lock.install(Kind::Reporter, "chat", one, "1", &Rights::default())
                .is_empty()
        );
        assert_eq!(lock.install(Kind::Reporter, "chat", two, "2", &asks), asks);
        let known = lock.get(Kind::Reporter, "chat").unwrap();
        assert_eq!((known.digest, known.installed), (one, Some(two)));
        lock.accept(Kind::Reporter, "chat", two, "2", asks.clone());
        let known = lock.get(Kind::Reporter, "chat").unwrap();
        assert_eq!((known.digest, known.installed), (two, None));
        assert!(lock.install(Kind::Reporter, "chat", one, "3", &asks).is_empty());
    }

    #[test]
    fn a_version_that_was_withdrawn_comes_back_by_hand_only() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let mut lock = Lock::default();
        lock.accept(Kind::Step, "make", two, "2", Rights::default());
        lock.withdraw(Kind::Step, "make", two, Some((one, "1")));
        let known = lock.get(Kind::Step, "make").unwrap();
        assert_eq!((known.digest, known.withdrawn), (one, Some(two)));
        let mut forgiven = lock.clone();
        forgiven.forgive();
        let known = forgiven.get(Kind::Step, "make").unwrap();
        assert_eq!(
            (known.installed, known.withdrawn),
            (Some(two), None),
            "it was accepted, and still is"
        );
        lock.install(Kind::Step, "make", two, "2", &Rights::default());
        let known = lock.get(Kind::Step, "make").unwrap();
        assert_eq!((known.digest, known.withdrawn), (two, None));
    }
}
