//! Which database to use, and how.

use std::fmt;

/// Where the database is: `sqlite:path/to/file` or `postgres://user:password@host/name`. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The address as it was written.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    /// The password may stand before the host or among the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str(&self.0);
        };
        // The last `@`, as a password that nobody escaped may hold one.
        let (address, parameters) = rest.split_once('?').map_or((rest, None), |(a, p)| (a, Some(p)));
        let (user, host) = address
            .rsplit_once('@')
            .map_or((None, address), |(user, host)| (Some(user), host));
        write!(f, "{scheme}://")?;
        if let Some(user) = user {
            match user.split_once(':') {
                Some((name, _)) => write!(f, "{name}:…@")?,
                None => write!(f, "{user}@")?,
            }
        }
        f.write_str(host)?;
        for (i, parameter) in parameters.into_iter().flat_map(|p| p.split('&')).enumerate() {
            f.write_str(if i == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name, _)) if name.to_lowercase().contains("password") => write!(f, "{name}=…")?,
                _ => f.write_str(parameter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How SQLite syncs; PostgreSQL has its own configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Each commit reaches the disk before anybody is told: survives power failure.
    #[default]
    Full,
    /// Survives a killed process; power failure may cost the newest commits. Several times as fast.
    Normal,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub url: DatabaseUrl,
    /// How SQLite syncs.
    pub synchronous: Synchronous,
    /// How many connections read; one more writes.
    pub readers: u32,
}

impl Options {
    /// That database, with full syncs and four readers.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: DatabaseUrl::new(url),
            synchronous: Synchronous::Full,
            readers: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_a_password() {
        for (url, shown) in [
            ("sqlite:farm.db", "sqlite:farm.db"),
            ("postgres://capstan@db/farm", "postgres://capstan@db/farm"),
            (
                "postgres://capstan:hush@db:5432/farm",
                "postgres://capstan:…@db:5432/farm",
            ),
            ("postgres://capstan:hu@sh@db/farm", "postgres://capstan:…@db/farm"),
            (
                "postgres://db/farm?user=a&password=hush",
                "postgres://db/farm?user=a&password=…",
            ),
        ] {
            assert_eq!(DatabaseUrl::new(url).to_string(), shown);
            assert!(!format!("{:?}", Options::new(url)).contains("hush"), "{url}");
        }
    }
}
