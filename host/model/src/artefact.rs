//! Artefacts: files that a step stores at the master under a name of the build, to be fetched later. The engine checks names
//! here, the store keeps the rows, `logs` the bytes.

use serde::{Deserialize, Serialize};

use crate::{BuildId, Digest, StepId, Timestamp};

/// The longest name, in bytes.
pub const MAX_ARTEFACT_NAME: usize = 200;

/// An artefact of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// The key.
    pub id: i64,
    /// Its build.
    pub build: BuildId,
    /// The step that stored it.
    pub step: StepId,
    /// Its name, unique within the build: words joined by `/`.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// The digest of its bytes, by which they are found.
    pub sha256: Digest,
    /// When it was stored.
    pub created: Timestamp,
}

/// What is known of an artefact's bytes once they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its name within the build.
    pub name: String,
    /// How many bytes.
    pub size: u64,
    /// Their digest.
    pub sha256: Digest,
}

/// Why a text is no name of an artefact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the name of an artefact: words joined by `/`, at most {MAX_ARTEFACT_NAME} bytes; {why}: {name:?}"
)]
pub struct BadName {
    /// The text, shortened.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Checks the name of an artefact: it serves as the end of an address and as the path of a file.
pub fn check_artefact_name(name: &str) -> Result<(), BadName> {
    let odd = |c: char| c.is_control() || c == '\\' || is_invisible(c);
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_ARTEFACT_NAME {
        "it is longer"
    } else if name.starts_with('/') {
        "it begins with `/`"
    } else if name.chars().any(odd) {
        "it holds a control character or a `\\`"
    } else if name.split('/').any(|word| word.trim().is_empty()) {
        "one of its words is empty"
    } else if name.split('/').any(|word| word == "." || word == "..") {
        "`.` and `..` are no words"
    } else {
        return Ok(());
    };
    Err(BadName {
        name: name.chars().take(100).collect(),
        why,
    })
}

/// What turns the reading direction of a text around, or splits its line.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for name in [
            "x",
            "dist/app 1.0.tar.gz",
            ".hidden",
            "a/..b/c",
            "größe/日本.txt",
            "a..b",
        ] {
            assert_eq!(check_artefact_name(name), Ok(()), "{name}");
        }
        let long = "x".repeat(MAX_ARTEFACT_NAME + 1);
        for name in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a/.",
            "a//b",
            "a/",
            "a\\b",
            "a\nb",
            "a\0",
            " ",
            "a/ /b",
            "gnp.\u{202e}exe",
            &long,
        ] {
            assert!(check_artefact_name(name).is_err(), "{name:?}");
        }
    }
}
