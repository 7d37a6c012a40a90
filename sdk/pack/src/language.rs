//! The languages that a plugin project can be written in. Each has a file of its own, with what finds its tools and
//! makes a component.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with the crate `capstan-sdk`.
    Rust,
    /// Python, with componentize-py.
    Python,
    /// JavaScript, with a QuickJS in the component.
    Javascript,
    /// C, with clang or zig.
    C,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Python, Self::Javascript, Self::C];

    /// The word in `plugin.toml`, on the command line, and the name of the folder of its templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::C => "c",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|language| language.as_str() == word);
        known.ok_or_else(|| format!("expected rust, python, javascript or c, found `{word}`"))
    }
}
