//! `[secrets.vault]`: the Vault server that has the secrets which this machine does not.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::forms::{Form, duration};

/// The longest that a step waits for a secret.
const LONGEST: Duration = Duration::from_secs(60);

/// `[secrets.vault]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Vault {
    /// The server: `https://vault.example.org:8200`.
    pub address: String,
    /// The namespace, where the server has such.
    pub namespace: Option<String>,
    /// Where the key/value engine (version 2) is mounted.
    pub mount: String,
    /// The folder in it that holds the secrets; empty for the top.
    pub folder: String,
    /// The field of a stored secret that is its value.
    pub field: String,
    /// Who asks.
    pub login: VaultLogin,
    /// A file of certificates (PEM) that may have signed the server's, beside those that the machine trusts.
    pub authority: Option<PathBuf>,
    /// How long it may take to give a secret.
    pub timeout: Duration,
}

/// Who asks Vault. The secrets named here are files or environment variables of the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultLogin {
    /// Whoever has the token that is the secret of this name.
    Token(String),
    /// A role of the method AppRole.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role's id.
        role: String,
        /// The secret of this name is the `secret_id`.
        secret_id: String,
    },
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "address")]
    address: String,
    #[serde(default, deserialize_with = "optional_path")]
    namespace: Option<String>,
    #[serde(default, deserialize_with = "optional_path")]
    mount: Option<String>,
    #[serde(default, deserialize_with = "optional_path")]
    folder: Option<String>,
    field: Option<String>,
    token: Option<String>,
    role: Option<String>,
    secret_id: Option<String>,
    #[serde(default, deserialize_with = "optional_path")]
    login: Option<String>,
    authority: Option<PathBuf>,
    #[serde(default = "patience", deserialize_with = "timeout")]
    timeout: Duration,
}

impl TryFrom<Written> for Vault {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let login = match (written.token, written.role, written.secret_id) {
            (Some(_), None, None) if written.login.is_some() => {
                return Err("expected `login` beside `role` and `secret_id`, found it beside `token`");
            }
            (Some(token), None, None) => VaultLogin::Token(token),
            (None, Some(role), Some(secret_id)) => VaultLogin::AppRole {
                mount: written.login.unwrap_or_else(|| "approle".to_owned()),
                role,
                secret_id,
            },
            _ => {
                return Err(
                    "expected `token`, the name of a secret, or both `role` and `secret_id`, the name of a secret; found \
                     something else",
                );
            }
        };
        if written.authority.is_some() && written.address.starts_with("http:") {
            return Err("expected an https address beside `authority`, found http");
        }
        Ok(Self {
            address: written.address,
            namespace: written.namespace,
            mount: written.mount.unwrap_or_else(|| "secret".to_owned()),
            folder: written.folder.unwrap_or_default(),
            field: written.field.unwrap_or_else(|| "value".to_owned()),
            login,
            authority: written.authority,
            timeout: written.timeout,
        })
    }
}

fn patience() -> Duration {
    Duration::from_secs(10)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let length = duration(deserializer)?;
    if length.is_zero() || length > LONGEST {
        return Err(serde::de::Error::custom(
            "expected a duration of at most \"60s\" and more than none",
        ));
    }
    Ok(length)
}

/// Tokens travel there: in clear only within this machine.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "an address such as \"https://vault.example.org:8200\", or http on this very machine",
        parse: |text| {
            let text = text.trim_end_matches('/');
            let here = text.strip_prefix("http://");
            let host = text.strip_prefix("https://").or(here)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
            let (name, port) = match host.rsplit_once(':') {
                Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
                _ => (host, None),
            };
            let local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
            let sound = !name.is_empty()
                && host.chars().all(plain)
                && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
            (sound && (here.is_none() || local)).then(|| text.to_owned())
        },
    })
}

/// Segments that go into a URL as they are.
fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let form = Form {
        expecting: "a path such as \"team/ci\" of letters, digits, `.`, `_` and `-`",
        parse: |text| {
            let text = text.trim_matches('/');
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let sound = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
            text.split('/').all(sound).then(|| text.to_owned())
        },
    };
    deserializer.deserialize_str(form).map(Some)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::operator::Operator;

    fn read(lines: &str) -> Result<Vault, String> {
        let text = format!("[secrets.vault]\n{lines}");
        let read = Operator::parse(&text, Path::new("/farm"));
        read.map(|operator| operator.secrets.vault.unwrap())
            .map_err(|error| error.to_string())
    }

    const SERVER: &str = "address = \"https://vault.example.org:8200/\"\n";

    #[test]
    fn a_farm_without_vault_has_none() {
        assert_eq!(
            Operator::parse("", Path::new("/farm")).unwrap().secrets.vault,
            None
        );
    }

    #[test]
    fn an_address_and_a_login_are_enough() {
        let vault = read(&format!("{SERVER}token = \"vault-token\"")).unwrap();
        assert_eq!(vault.address, "https://vault.example.org:8200");
        assert_eq!(vault.login, VaultLogin::Token("vault-token".to_owned()));
        assert_eq!(
            (vault.mount.as_str(), vault.folder.as_str(), vault.field.as_str()),
            ("secret", "", "value")
        );
        assert_eq!(vault.timeout, Duration::from_secs(10));
        let vault = read(&format!(
            "{SERVER}role = \"r\"\nsecret_id = \"vault-id\"\nmount = \"/team/kv/\"\nauthority = \"vault.pem\""
        ));
        let vault = vault.unwrap();
        assert!(matches!(&vault.login, VaultLogin::AppRole { mount, .. } if mount == "approle"));
        assert_eq!(vault.mount, "team/kv");
        assert_eq!(vault.authority.as_deref(), Some(Path::new("/farm/vault.pem")));
    }

    #[test]
    fn a_token_travels_in_clear_only_within_this_machine() {
        for good in [
            "http://127.0.0.1:8200",
            "http://localhost",
            "http://[::1]:1",
            "https://10.0.0.1:8200",
        ] {
            assert!(
                read(&format!("address = {good:?}\ntoken = \"t\"")).is_ok(),
                "{good}"
            );
        }
        for bad in [
            "http://vault.example.org:8200",
            "http://localhost.example.org",
            "vault.example.org",
            "https://",
            "https://user@host",
            "https://host/v1",
            "https://host:0",
            "https://host:99999",
        ] {
            let text = read(&format!("address = {bad:?}\ntoken = \"t\"")).unwrap_err();
            assert!(text.contains("an address such as"), "{bad}: {text}");
        }
    }

    #[test]
    fn what_cannot_work_is_said_when_the_file_is_read() {
        let refused = |lines: &str| read(&format!("{SERVER}{lines}")).unwrap_err();
        for login in [
            "",
            "role = \"r\"",
            "secret_id = \"s\"",
            "token = \"t\"\nrole = \"r\"\nsecret_id = \"s\"",
        ] {
            assert!(refused(login).contains("expected `token`"), "{login}");
        }
        assert!(refused("token = \"t\"\nlogin = \"a\"").contains("beside `token`"));
        for path in ["..", "a/../b", "a//b", "a b", "a?b", ""] {
            let text = refused(&format!("token = \"t\"\nfolder = {path:?}"));
            assert!(text.contains("a path such as"), "{path}: {text}");
        }
        for time in ["0s", "2min"] {
            assert!(
                refused(&format!("token = \"t\"\ntimeout = {time:?}")).contains("at most"),
                "{time}"
            );
        }
        assert!(refused("token = \"t\"\ntokn = \"x\"").contains("did you mean `token`"));
    }
}
