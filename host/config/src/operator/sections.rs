//! The sections that every farm has: what may stand in each, and what holds where nothing does.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use capstan_model::plugin;
use serde::{Deserialize, Serialize};

use super::forms::{address, backend, duration, host_ports, idle, size, web_address};
use super::vault::Vault;

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
