//! Secrets: named values that plugins may use but nobody may see. The master asks for one at the moment it is needed
//! (a command's environment, a request's header) and keeps none.
//!
//! A secret is a file in the secrets folder, or an environment variable of the master. The file wins.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The largest secret: keys and certificates fit, a wrong file does not.
const MAX_SIZE: u64 = 64 * 1024;

/// Where secrets come from.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
    env_prefix: Option<String>,
}

/// A secret's value. It is wiped from memory when dropped; formatting it shows nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why there is no secret. No text here holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name could lead out of the folder or be no variable's name.
    #[error(
        "expected a secret's name of 1 to 100 letters, digits, `.`, `_` and `-` (not first `.`), found {0:?}"
    )]
    Name(String),
    /// Neither the folder nor the environment has it.
    #[error("there is no secret `{name}`; write it to `{}` with mode 600{}", .path.display(), or_variable(.variable))]
    Missing {
        /// The secret.
        name: String,
        /// Where its file would be.
        path: PathBuf,
        /// What its environment variable would be called.
        variable: Option<String>,
    },
    /// Everybody on the machine can read the file.
    #[error("expected a secret that not everybody can read, found mode {mode:03o} of `{0}`; run `chmod 600 {0}`", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is no secret.
    #[error("expected a file of at most {MAX_SIZE} bytes, found a larger one or none at `{}`", .0.display())]
    Unfit(PathBuf),
    /// The operating system refused.
    #[error("failed to read `{}`: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

fn or_variable(variable: &Option<String>) -> String {
    variable.as_ref().map_or_else(String::new, |name| {
        format!(", or set the environment variable {name}")
    })
}

impl Secrets {
    /// Secrets from `folder`, which need not exist, and from variables whose names start with `env_prefix` (the rest is
    /// the secret's name in capitals, with `_` for `.` and `-`). An empty prefix turns the variables off.
    pub fn new(folder: impl Into<PathBuf>, env_prefix: &str) -> Self {
        let env_prefix = (!env_prefix.is_empty()).then(|| env_prefix.to_owned());
        Self {
            folder: folder.into(),
            env_prefix,
        }
    }

    /// The secret of that name, without the line's end that editors put behind it.
    pub fn get(&self, name: &str) -> Result<Secret, Error> {
        if !is_name(name) {
            return Err(Error::Name(name.chars().take(120).collect()));
        }
        let path = self.folder.join(name);
        if let Some(secret) = read(&path)? {
            return Ok(secret);
        }
        let variable = self.variable(name);
        match variable.as_ref().and_then(std::env::var_os) {
            Some(value) => Ok(Secret::from_variable(value)),
            None => Err(Error::Missing {
                name: name.to_owned(),
                path,
                variable,
            }),
        }
    }

    /// The names of the files in the folder, sorted. Variables cannot be listed: their names are ambiguous.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |source| Error::Io {
            path: self.folder.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().filter(|name| is_name(name)).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let prefix = self.env_prefix.as_ref()?;
        Some(prefix.clone() + &name.to_ascii_uppercase().replace(['.', '-'], "_"))
    }
}

impl Secret {
    /// A secret that came another way, for example from a test.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        let mut value = Zeroizing::new(value.into());
        let end = value.strip_suffix(b"\n").map_or(value.len(), <[u8]>::len);
        let end = if end < value.len() && value[..end].ends_with(b"\r") {
            end - 1
        } else {
            end
        };
        value[end..].fill(0);
        value.truncate(end);
        Self(value)
    }

    fn from_variable(value: OsString) -> Self {
        use std::os::unix::ffi::OsStringExt;
        Self::new(value.into_vec())
    }

    /// The value, for the place that uses it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value, if it is text.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    matches!(name.len(), 1..=100) && !name.starts_with('.') && name.bytes().all(allowed)
}

fn read(path: &Path) -> Result<Option<Secret>, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let before = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(failed)?,
    };
    let mode = before.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(Error::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    if !before.is_file() || before.len() > MAX_SIZE {
        return Err(Error::Unfit(path.to_owned()));
    }
    // With the room known beforehand no reallocation leaves a copy behind.
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_SIZE as usize + 1));
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut value).map_err(failed)?;
    if value.len() as u64 > MAX_SIZE {
        return Err(Error::Unfit(path.to_owned()));
    }
    Ok(Some(Secret::new(std::mem::take(&mut *value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(name: &str, value: &[u8], mode: u32) -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let secrets = Secrets::new(folder.path(), "");
        (folder, secrets)
    }

    #[test]
    fn a_file_gives_its_value_without_the_line_end_of_an_editor() {
        for (written, value) in [
            ("s3cret\n", "s3cret"),
            ("a\r\n", "a"),
            ("two\nlines\n", "two\nlines"),
            ("", ""),
            ("x\n\n", "x\n"),
        ] {
            let (_folder, secrets) = folder_with("hook", written.as_bytes(), 0o600);
            assert_eq!(secrets.get("hook").unwrap().expose_text(), Some(value));
            assert_eq!(secrets.names().unwrap(), ["hook"]);
        }
    }

    #[test]
    fn formatting_a_secret_shows_nothing_of_it() {
        let secret = Secret::new("s3cret");
        assert!(!format!("{secret} {secret:?}").contains("s3cret"));
    }

    #[test]
    fn a_file_that_everybody_can_read_is_refused_with_the_cure() {
        let (folder, secrets) = folder_with("hook", b"x", 0o644);
        let text = secrets.get("hook").unwrap_err().to_string();
        let text = text.replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(text, @"expected a secret that not everybody can read, found mode 644 of `FOLDER/hook`; run `chmod 600 FOLDER/hook`");
    }

    #[test]
    fn a_missing_secret_says_where_to_put_it() {
        let text = Secrets::new("/srv/secrets", "CAPSTAN_SECRET_")
            .get("mail.password")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(text, @"there is no secret `mail.password`; write it to `/srv/secrets/mail.password` with mode 600, or set the environment variable CAPSTAN_SECRET_MAIL_PASSWORD");
        assert!(Secrets::new("/srv/secrets", "").names().unwrap().is_empty());
    }

    #[test]
    fn the_environment_is_asked_when_there_is_no_file() {
        // Cargo sets this for every test: CARGO_PKG_NAME.
        let secrets = Secrets::new("/nonexistent", "CARGO_");
        assert_eq!(secrets.get("pkg-name").unwrap().expose(), b"capstan-secrets");
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let (_folder, secrets) = folder_with("hook", b"x", 0o600);
        for name in [
            "",
            "..",
            ".hidden",
            "a/b",
            "../hook",
            "a b",
            "a\0b",
            "ä",
            &"x".repeat(101),
        ] {
            assert!(matches!(secrets.get(name), Err(Error::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_small_file_is_refused() {
        let (folder, secrets) = folder_with("big", &vec![b'x'; MAX_SIZE as usize + 1], 0o600);
        assert!(matches!(secrets.get("big"), Err(Error::Unfit(_))));
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        std::fs::set_permissions(folder.path().join("dir"), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(secrets.get("dir"), Err(Error::Unfit(_))));
    }
}
