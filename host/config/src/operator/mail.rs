//! `[mail]`: the server that takes the mail of reporters, and under which address.

use std::path::PathBuf;

use serde::Deserialize;

use super::forms::{Form, host_port};

/// `[mail]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Mail {
    /// The server, `host:port`.
    pub server: String,
    /// Who mail is from: `ci@example.org` or `CI <ci@example.org>`.
    pub from: String,
    /// How the connection is protected.
    pub security: Security,
    /// The name to log in with, and the name of the secret that is its password.
    pub login: Option<(String, String)>,
    /// A file of certificates (PEM) that may have signed the server's, beside those that the machine trusts.
    pub authority: Option<PathBuf>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// It begins in clear and must change to TLS before anything is said; port 587 as a rule.
    #[default]
    StartTls,
    /// TLS from the first byte; port 465 as a rule.
    Tls,
    /// Not at all.
    None,
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "host_port")]
    server: String,
    #[serde(deserialize_with = "sender")]
    from: String,
    #[serde(default)]
    security: Security,
    user: Option<String>,
    password: Option<String>,
    authority: Option<PathBuf>,
}

impl TryFrom<Written> for Mail {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let login = match (written.user, written.password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => {
                return Err(
                    "expected both `user` and `password`, the name of a secret, or neither; found one",
                );
            }
        };
        let (host, _) = written.server.rsplit_once(':').unwrap_or_default();
        let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if login.is_some() && written.security == Security::None && !here {
            return Err(
                "expected security = \"starttls\" or \"tls\" where a password is sent, found \"none\"",
            );
        }
        if written.authority.is_some() && written.security == Security::None {
            return Err("expected security = \"starttls\" or \"tls\" beside `authority`, found \"none\"");
        }
        Ok(Self {
            server: written.server,
            from: written.from,
            security: written.security,
            login,
            authority: written.authority,
        })
    }
}

fn sender<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "an address such as \"ci@example.org\" or \"CI <ci@example.org>\"",
        parse: |text| {
            let address = match text.strip_suffix('>') {
                Some(rest) => rest.split_once('<')?.1,
                None => text,
            };
            let (user, host) = address.split_once('@')?;
            let plain = |part: &str| {
                !part.is_empty()
                    && part.is_ascii()
                    && !part.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '@' | ','))
            };
            (plain(user) && plain(host) && !text.contains(char::is_control)).then(|| text.to_owned())
        },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::operator::Operator;

    fn read(text: &str) -> Result<Option<Mail>, String> {
        let read = Operator::parse(text, Path::new("/farm"));
        read.map(|operator| operator.mail)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_farm_without_a_mail_server_has_none() {
        assert_eq!(read(""), Ok(None));
    }

    #[test]
    fn a_server_and_an_address_are_enough() {
        let mail = read("[mail]\nserver = \"mail.example.org:587\"\nfrom = \"CI <ci@example.org>\"");
        let mail = mail.unwrap().unwrap();
        assert_eq!((mail.security, mail.login), (Security::StartTls, None));
        assert_eq!(mail.authority, None);
    }

    #[test]
    fn the_authority_is_a_file_of_the_farm() {
        let mail = read(
            "[mail]\nserver = \"mail.example.org:587\"\nfrom = \"ci@example.org\"\nauthority = \"mail.pem\"",
        );
        assert_eq!(
            mail.unwrap().unwrap().authority.as_deref(),
            Some(Path::new("/farm/mail.pem"))
        );
    }

    #[test]
    fn what_cannot_work_is_said_when_the_file_is_read() {
        let refused = |lines: &str| read(&format!("[mail]\n{lines}")).unwrap_err();
        let server = "server = \"mail.example.org:25\"\nfrom = \"ci@example.org\"\n";
        assert!(refused("from = \"ci@example.org\"").contains("missing field `server`"));
        assert!(refused("server = \"mail.example.org\"").contains("a host and port"));
        for from in [
            "ci",
            "@example.org",
            "a@b@c",
            "CI <ci@example.org",
            "a b@example.org",
            "a@b, c@d",
        ] {
            let text = refused(&format!("server = \"mail.example.org:25\"\nfrom = \"{from}\""));
            assert!(text.contains("an address such as"), "{from}: {text}");
        }
        assert!(refused(&format!("{server}security = \"ssl\"")).contains("`starttls`, `tls` or `none`"));
        assert!(refused(&format!("{server}user = \"ci\"")).contains("expected both `user` and `password`"));
        let authority = "security = \"none\"\nauthority = \"mail.pem\"";
        assert!(refused(&format!("{server}{authority}")).contains("beside `authority`"));
        let login = "user = \"ci\"\npassword = \"mail-password\"\nsecurity = \"none\"";
        assert!(refused(&format!("{server}{login}")).contains("where a password is sent"));
    }
}
