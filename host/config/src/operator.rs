//! `capstan.toml`, the operator's file: where to listen, where to keep things, what plugins may do.
//!
//! Read once at the start of every command. Static: it says nothing about what is built (that is `ci.star`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capstan_model::plan::Location;
use capstan_model::plugin::{self, Rights};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Snippet, locate};
use crate::nearest::{choices, did_you_mean};
use crate::text;

mod mail;
mod plugins;
mod vault;

pub use mail::{Mail, Security};
pub use plugins::Plugins;
pub use vault::{Vault, VaultLogin};

/// The file's name in the farm's folder.
pub(crate) const FILE: &str = "capstan.toml";

/// More than any operator writes by hand.
const MAX_BYTES: u64 = 1 << 20;

/// The operator's file, with defaults filled in and paths made absolute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    /// The farm's folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The farm itself.
    pub master: Master,
    /// The web server.
    pub web: Web,
    /// The door for workers.
    pub link: Link,
    /// Where builds are remembered.
    pub database: Database,
    /// Where secrets come from.
    pub secrets: Secrets,
    /// What each plugin may do, by its name.
    pub grants: BTreeMap<String, Rights>,
    /// Where that is written.
    #[serde(skip)]
    pub(crate) granted_at: BTreeMap<String, Location>,
    /// How much a build may use.
    pub limits: Limits,
    /// What happens to the files of the plugin folder.
    pub plugins: Plugins,
    /// The server for the mail of reporters, if there is one.
    pub mail: Option<Mail>,
}

/// `[master]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Master {
    /// The farm's name on its pages.
    pub title: String,
    /// The address under which people reach the pages, for links in reports; without a slash at the end.
    #[serde(deserialize_with = "web_address")]
    pub url: String,
    /// The file that says what to build, relative to the farm's folder.
    pub config: String,
    /// The folder of logs, mirrors, keys.
    pub data: PathBuf,
    /// The folder of plugins, beside the built-in ones.
    pub plugins: PathBuf,
}

/// `[web]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Where pages and API are served.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

/// `[link]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Where workers are awaited (UDP).
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The addresses that join strings name, `host:port`; where workers are awaited, if none are given.
    #[serde(deserialize_with = "host_ports")]
    pub advertise: Vec<String>,
    /// How long a connected worker may be silent before its connection is given up.
    #[serde(deserialize_with = "idle")]
    pub idle: Duration,
    /// How long a worker may be away before its builds are given up.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Which database.
    #[serde(rename = "url", deserialize_with = "backend")]
    pub backend: Backend,
    /// What a commit survives (SQLite only).
    pub synchronous: Synchronous,
}

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite(PathBuf),
    /// A server, by its URL, which may hold a password.
    Postgres(String),
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A power failure.
    Full,
    /// A killed master, but perhaps not a power failure.
    Normal,
}

/// `[secrets]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// A folder with one file per secret.
    pub folder: PathBuf,
    /// A secret is also the environment variable of its name with this prefix, if one is given.
    pub environment_prefix: Option<String>,
    /// The server that has what neither of them has.
    pub vault: Option<Vault>,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How long a step's plugin stays in memory while the step waits; after that it is run again from its journal when the
    /// answer is there.
    #[serde(deserialize_with = "duration")]
    pub keep_instances: Duration,
    /// The largest log, in bytes; a command that prints more is stopped.
    #[serde(deserialize_with = "size")]
    pub max_log: u64,
    /// The largest file that a step may store as an artefact, in bytes.
    #[serde(deserialize_with = "size")]
    pub max_artefact: u64,
    /// Limits of plugins whose manifests name none.
    pub plugin: plugin::Limits,
}

/// Why there is no operator's file to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is no farm.
    #[error("expected {FILE} in {}, found no such file; `capstan init` makes one", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("expected to read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("expected {} to be at most {MAX_BYTES} bytes long, found a longer file", .0.display())]
    TooLarge(PathBuf),
    /// It is no text.
    #[error("expected UTF-8 text in {}, found other bytes at offset {offset}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the first of them is.
        offset: usize,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

impl Default for Master {
    fn default() -> Self {
        Self {
            title: "Capstan".to_owned(),
            url: String::new(),
            config: "ci.star".to_owned(),
            data: "data".into(),
            plugins: "plugins".into(),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8010)),
        }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9010)),
            advertise: Vec::new(),
            // Long enough for a moving laptop or a router's restart, short enough that people are told soon.
            idle: Duration::from_secs(20),
            // Long enough for a master's restart or a short network failure; builds go on meanwhile.
            grace: Duration::from_secs(300),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            backend: Backend::Sqlite("data/capstan.db".into()),
            synchronous: Synchronous::Full,
        }
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            folder: "secrets".into(),
            environment_prefix: None,
            vault: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Most commands are shorter: those cost no second run. One that lasts for hours costs no memory.
            keep_instances: Duration::from_secs(30),
            max_log: 4 << 30,
            max_artefact: 1 << 30,
            plugin: plugin::Limits::default(),
        }
    }
}

impl Backend {
    /// The URL that names it: `sqlite:/farm/data/capstan.db`, `postgres://…`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// Without the password that a URL may hold.
impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.debug_tuple("Postgres").finish_non_exhaustive(),
        }
    }
}

impl Operator {
    /// Reads `capstan.toml` in the farm's folder.
    pub fn load(farm: &Path) -> Result<Self, Error> {
        let path = farm.join(FILE);
        let unreadable = |source| Error::Unreadable {
            path: path.clone(),
            source,
        };
        let folder = match farm.canonicalize() {
            Ok(folder) if path.is_file() => folder,
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(unreadable(source)),
            _ => return Err(Error::Missing(farm.to_owned())),
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge(path));
        }
        let text = String::from_utf8(bytes).map_err(|e| Error::NotText {
            path: path.clone(),
            offset: e.utf8_error().valid_up_to(),
        })?;
        Self::parse(&text, &folder)
    }

    /// Reads the file's text; relative paths are relative to `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Error> {
        let mut parsed: Self =
            toml::from_str(text).map_err(|error| Error::Invalid(Box::new(explain(text, &error))))?;
        parsed.granted_at = granted_at(text);
        Ok(parsed.settle(folder))
    }

    /// The commented file that `capstan init` writes: the defaults, and what the built-in plugins need.
    pub fn template() -> String {
        include_str!("operator/capstan.toml").to_owned()
    }

    fn settle(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.master.data,
            &mut self.master.plugins,
            &mut self.secrets.folder,
        ] {
            *path = folder.join(&path);
        }
        if let Backend::Sqlite(path) = &mut self.database.backend {
            *path = folder.join(&path);
        }
        if let Some(path) = self.mail.as_mut().and_then(|mail| mail.authority.as_mut()) {
            *path = folder.join(&path);
        }
        if let Some(path) = self
            .secrets
            .vault
            .as_mut()
            .and_then(|vault| vault.authority.as_mut())
        {
            *path = folder.join(&path);
        }
        if self.master.url.is_empty() {
            self.master.url = format!("http://{}", self.web.listen);
        }
        if self.link.advertise.is_empty() {
            self.link.advertise.push(self.link.listen.to_string());
        }
        self.folder = folder.to_owned();
        self
    }
}

/// The commented `ci.star` that `capstan init` writes.
pub fn starter_star() -> String {
    include_str!("operator/ci.star").to_owned()
}

/// Where each plugin's grants stand in the file.
fn granted_at(text: &str) -> BTreeMap<String, Location> {
    #[derive(Default, Deserialize)]
    struct Places {
        #[serde(default)]
        grants: BTreeMap<toml::Spanned<String>, de::IgnoredAny>,
    }
    let places: Places = toml::from_str(text).unwrap_or_default();
    let names = places.grants.into_keys();
    names
        .map(|name| {
            let at = locate(FILE, text, name.span().start).0;
            (name.into_inner(), at)
        })
        .collect()
}

/// Turns serde's words into ours: `unknown field x, expected …` and `invalid type: …, expected …`.
fn explain(text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let (location, line) = locate(FILE, text, span.start);
    let diagnostic = describe(location, error.message());
    diagnostic.snippet(Some(Snippet::new(&line, marked(text, &span))))
}

fn marked(text: &str, span: &Range<usize>) -> usize {
    let marked = text.get(span.clone()).unwrap_or_default();
    marked.lines().next().map_or(1, |first| first.chars().count())
}

fn describe(location: Location, message: &str) -> Diagnostic {
    if let Some(rest) = message
        .strip_prefix("unknown field ")
        .or(message.strip_prefix("unknown variant "))
    {
        // serde lists every right name in backticks after the wrong one.
        let names: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        if let [wrong, known @ ..] = names.as_slice() {
            let what = if message.starts_with("unknown field") {
                "unknown key"
            } else {
                "unknown word"
            };
            return Diagnostic::error(location, what)
                .expected(choices(known.iter().copied()))
                .found(format!("`{wrong}`"))
                .maybe_hint(did_you_mean(wrong, known.iter().copied()));
        }
    }
    let comparison = message
        .strip_prefix("invalid type: ")
        .or(message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = comparison.and_then(|rest| rest.rsplit_once(", expected ")) {
        return Diagnostic::error(location, "").expected(expected).found(found);
    }
    let mut lines = message.lines();
    let first = lines.next().unwrap_or("malformed");
    let diagnostic = Diagnostic::error(location, first);
    match lines.next() {
        Some(expected) => diagnostic.expected(expected.trim_start_matches("expected ")),
        None => diagnostic,
    }
}

/// Reads a text that has a form of its own; errors say which form.
struct Form<T> {
    expecting: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Form<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let expecting = "a duration such as \"30s\", \"5min\" or \"2h\"";
    deserializer.deserialize_str(Form {
        expecting,
        parse: text::duration,
    })
}

/// Less than a second is the jitter of a busy machine; workers themselves give up after a minute.
fn idle<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a duration from \"1s\" to \"60s\"",
        parse: |text| {
            let sensible = Duration::from_secs(1)..=Duration::from_secs(60);
            text::duration(text).filter(|length| sensible.contains(length))
        },
    })
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a size such as \"64MiB\" or \"4GiB\"",
        parse: text::size,
    })
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let expecting = "an address and port such as \"127.0.0.1:8010\" or \"[::]:8010\"";
    deserializer.deserialize_str(Form {
        expecting,
        parse: |text| text.parse().ok(),
    })
}

fn web_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a web address such as \"https://ci.example.org\"",
        parse: |text| {
            let host = text.strip_prefix("https://").or(text.strip_prefix("http://"))?;
            let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
            plain.then(|| text.trim_end_matches('/').to_owned())
        },
    })
}

fn host_ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct HostPort(#[serde(deserialize_with = "host_port")] String);
    let list = Vec::<HostPort>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|HostPort(text)| text).collect())
}

fn host_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a host and port such as \"ci.example.org:9010\"",
        parse: |text| {
            let (host, port) = text.rsplit_once(':')?;
            let plain =
                !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
            (plain && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| text.to_owned())
        },
    })
}

fn backend<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backend, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "\"sqlite:data/capstan.db\" or \"postgres://user@host/database\"",
        parse: |text| {
            if text.starts_with("postgres://") || text.starts_with("postgresql://") {
                return Some(Backend::Postgres(text.to_owned()));
            }
            let path = text.strip_prefix("sqlite:")?;
            let path = path.strip_prefix("//").unwrap_or(path);
            (!path.is_empty() && !path.contains(['?', '#'])).then(|| Backend::Sqlite(path.into()))
        },
    })
}

#[cfg(test)]
mod tests;
