//! Texts that have a form of their own: durations, sizes, addresses. An error says which form.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::sections::Backend;
use crate::text;

/// Reads a text that has a form of its own; errors say which form.
pub(super) struct Form<T> {
    pub(super) expecting: &'static str,
    pub(super) parse: fn(&str) -> Option<T>,
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

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let expecting = "a duration such as \"30s\", \"5min\" or \"2h\"";
    deserializer.deserialize_str(Form {
        expecting,
        parse: text::duration,
    })
}

/// Less than a second is the jitter of a busy machine; workers themselves give up after a minute.
pub(super) fn idle<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a duration from \"1s\" to \"60s\"",
        parse: |text| {
            let sensible = Duration::from_secs(1)..=Duration::from_secs(60);
            text::duration(text).filter(|length| sensible.contains(length))
        },
    })
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a size such as \"64MiB\" or \"4GiB\"",
        parse: text::size,
    })
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let expecting = "an address and port such as \"127.0.0.1:8010\" or \"[::]:8010\"";
    deserializer.deserialize_str(Form {
        expecting,
        parse: |text| text.parse().ok(),
    })
}

pub(super) fn web_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a web address such as \"https://ci.example.org\"",
        parse: |text| {
            let host = text.strip_prefix("https://").or(text.strip_prefix("http://"))?;
            let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
            plain.then(|| text.trim_end_matches('/').to_owned())
        },
    })
}

pub(super) fn host_ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct HostPort(#[serde(deserialize_with = "host_port")] String);
    let list = Vec::<HostPort>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|HostPort(text)| text).collect())
}

pub(super) fn host_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
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

pub(super) fn backend<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backend, D::Error> {
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
