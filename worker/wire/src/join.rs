//! Join strings: what an invitation hands to the person who sets up a worker, as one word to copy.
//!
//! The master makes them ([`Join::encode`]); `capstan-worker join` reads them. A join string names the addresses to
//! dial, pins the master's authority, and holds a secret that is good for one use.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use capstan_model::Digest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How every join string begins.
pub const PREFIX: &str = "capstan-join-";

/// The longest join string that is looked at.
const MAX_LENGTH: usize = 8 * 1024;

/// The one-time secret. The master keeps only its [digest](Secret::digest).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(#[serde(with = "serde_bytes")] [u8; 32]);

impl Secret {
    /// A secret of 32 random bytes, which the caller has drawn.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// What the master stores and looks up.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// What a join string says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Where the master is reached, `host:port`, the best first.
    pub addresses: Vec<String>,
    /// SHA-256 of the authority's certificate (DER).
    pub authority: Digest,
    /// Good for one use.
    pub secret: Secret,
    /// The worker's name.
    pub name: String,
}

/// Why text is no join string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else altogether.
    #[error(
        "expected a join string, which begins with `{PREFIX}`, found {found:?}; `capstan worker invite NAME` prints one"
    )]
    Prefix {
        /// How the text begins.
        found: String,
    },
    /// Far too long.
    #[error(
        "expected a join string of at most {MAX_LENGTH} characters, found {0}; was it pasted with something else?"
    )]
    Length(usize),
    /// It was cut, or changed on the way.
    #[error("the join string is damaged ({0}); copy it again, from `{PREFIX}` to its end")]
    Damaged(String),
    /// Whole, but of no use.
    #[error("the join string names no {0}; ask for a new one")]
    Empty(&'static str),
}

/// The bytes of a join string. Short names, because people copy it.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(rename = "a")]
    addresses: Vec<String>,
    #[serde(rename = "f", with = "serde_bytes")]
    authority: [u8; 32],
    #[serde(rename = "s")]
    secret: Secret,
    #[serde(rename = "n")]
    name: String,
}

impl Join {
    /// The join string. It holds the secret: show it once, to the one who asked.
    pub fn encode(&self) -> String {
        let body = Body {
            addresses: self.addresses.clone(),
            authority: *self.authority.as_bytes(),
            secret: self.secret.clone(),
            name: self.name.clone(),
        };
        let mut bytes = Zeroizing::new(Vec::new());
        ciborium::into_writer(&body, &mut *bytes).expect("writing to memory does not fail");
        // A mistyped or cut string must not pass for a foreign authority: the check comes first.
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*bytes))
    }
}

impl FromStr for Join {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(Error::Length(text.len()));
        }
        // At most the prefix is shown: a string with a damaged prefix still holds a secret.
        let found = || Error::Prefix {
            found: text.chars().take(PREFIX.len()).collect(),
        };
        let body = decode(text.strip_prefix(PREFIX).ok_or_else(found)?).map_err(Error::Damaged)?;
        if body.addresses.is_empty() {
            return Err(Error::Empty("address"));
        }
        if body.name.is_empty() {
            return Err(Error::Empty("worker"));
        }
        let Body {
            addresses,
            authority,
            secret,
            name,
        } = body;
        Ok(Self {
            addresses,
            authority: authority.into(),
            secret,
            name,
        })
    }
}

fn decode(text: &str) -> Result<Body, String> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|e| e.to_string())?);
    let (body, sum) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
    if crc32fast::hash(body).to_be_bytes() != *sum {
        return Err("its checksum does not fit".to_owned());
    }
    ciborium::de::from_reader_with_recursion_limit(body, 16).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join() -> Join {
        Join {
            addresses: vec!["ci.example.org:9010".to_owned(), "[::1]:9010".to_owned()],
            authority: Digest::of(b"authority"),
            secret: Secret::new([7; 32]),
            name: "w1".to_owned(),
        }
    }

    fn error(text: &str) -> String {
        text.parse::<Join>().unwrap_err().to_string()
    }

    #[test]
    fn an_invitation_arrives_as_it_was_sent_and_hides_its_secret_from_logs() {
        let sent = join();
        let text = sent.encode();
        assert!(
            text[PREFIX.len()..]
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
            "{text}"
        );
        assert_eq!(format!(" {text}\n").parse(), Ok(sent.clone()));
        assert!(format!("{sent:?}").contains("secret: Secret(…)"), "{sent:?}");
    }

    #[test]
    fn every_cut_or_changed_character_is_noticed() {
        let text = join().encode();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Join>().is_err(), "cut at {end}");
        }
        for at in PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<Join>().is_err(), "changed at {at}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        insta::assert_snapshot!(error("hunter2"), @r#"expected a join string, which begins with `capstan-join-`, found "hunter2"; `capstan worker invite NAME` prints one"#);
        insta::assert_snapshot!(error("capstan-join-AAAA"), @"the join string is damaged (it is too short); copy it again, from `capstan-join-` to its end");
        insta::assert_snapshot!(error("capstan-join-a b"), @"the join string is damaged (Invalid symbol 32, offset 1.); copy it again, from `capstan-join-` to its end");
        insta::assert_snapshot!(error(&"x".repeat(9000)), @"expected a join string of at most 8192 characters, found 9000; was it pasted with something else?");
        insta::assert_snapshot!(error(&Join { addresses: vec![], ..join() }.encode()), @"the join string names no address; ask for a new one");
        insta::assert_snapshot!(error(&Join { name: String::new(), ..join() }.encode()), @"the join string names no worker; ask for a new one");
    }
}
