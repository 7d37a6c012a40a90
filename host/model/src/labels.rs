//! What builders ask of workers: expressions over labels, such as `os=linux and (gpu or arch=x86_64|aarch64) and not slow`. Written in
//! configurations, read once for each plan, asked by pairing.
//!
//! ```text
//! any   = all ("or" all)*
//! all   = one ("and" one)*
//! one   = ("not" | "!") one | "(" any ")" | label ("|" label)*
//! label = a word without spaces and without ( ) ! | ' or a text in '…'
//! ```
//!
//! In `arch=x86_64|aarch64` the later words are further values of `arch`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// An expression over labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// This one.
    Has(String),
    /// Not that.
    Not(Box<Labels>),
    /// All of these.
    All(Vec<Labels>),
    /// One of these.
    Any(Vec<Labels>),
}

/// What is known of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is there.
    Yes,
    /// It is not there.
    No,
    /// Nobody can tell yet.
    Unknown,
}

/// Why a text is no expression over labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLabels {
    /// Something else should stand there.
    #[error("expected {expected} at character {at}, found {found}")]
    Unexpected {
        /// What should.
        expected: &'static str,
        /// What does.
        found: String,
        /// Where, from 1.
        at: usize,
    },
    /// It is too long.
    #[error("expected at most {MAX_LENGTH} bytes, found {0}")]
    Length(usize),
    /// It is nested too deeply.
    #[error("expected at most {MAX_DEPTH} levels of `(` and `not`, found more")]
    Depth,
}

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 4000;
/// So deep they may be nested.
const MAX_DEPTH: usize = 32;

const LABEL: &str = "a label, `not` or `(`";

impl Labels {
    /// Whether a worker with these labels is meant.
    pub fn holds(&self, labels: &BTreeSet<String>) -> bool {
        let look = |label: &str| match labels.contains(label) {
            true => Asked::Yes,
            false => Asked::No,
        };
        self.ask(&look) == Asked::Yes
    }

    /// What comes of it when `look` says what is known of each label.
    pub fn ask(&self, look: &dyn Fn(&str) -> Asked) -> Asked {
        let among = |parts: &[Self], decides: Asked, otherwise: Asked| {
            let mut answer = otherwise;
            for part in parts {
                match part.ask(look) {
                    found if found == decides => return decides,
                    Asked::Unknown => answer = Asked::Unknown,
                    _ => {}
                }
            }
            answer
        };
        match self {
            Self::Has(label) => look(label),
            Self::Not(inner) => match inner.ask(look) {
                Asked::Yes => Asked::No,
                Asked::No => Asked::Yes,
                Asked::Unknown => Asked::Unknown,
            },
            Self::All(parts) => among(parts, Asked::No, Asked::Yes),
            Self::Any(parts) => among(parts, Asked::Yes, Asked::No),
        }
    }

    /// Every label in it.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Has(label) => vec![label],
            Self::Not(inner) => inner.names(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::names).collect(),
        }
    }

    /// Its parts that these labels do not fulfil, as what is to be said of a worker that has them.
    pub fn lacking(&self, labels: &BTreeSet<String>) -> Vec<String> {
        if self.holds(labels) {
            return Vec::new();
        }
        match self {
            Self::Has(label) => vec![format!("lacks the label {label}")],
            Self::Not(inner) => match &**inner {
                Self::Has(label) => vec![format!("has the label {label}")],
                other => vec![format!("is one of `{other}`")],
            },
            Self::All(parts) => parts.iter().flat_map(|part| part.lacking(labels)).collect(),
            Self::Any(parts) if parts.iter().all(|part| matches!(part, Self::Has(_))) => {
                vec![format!("has none of the labels {}", self.names().join(", "))]
            }
            Self::Any(_) => vec![format!("is none of `{self}`")],
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], between: &str| {
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    write!(f, " {between} ")?;
                }
                match part {
                    Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Has(label) if is_plain(label) => f.write_str(label),
            Self::Has(label) => write!(f, "'{label}'"),
            Self::Not(inner) => match **inner {
                Self::All(_) | Self::Any(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Self::All(parts) => list(f, parts, "and"),
            Self::Any(parts) => list(f, parts, "or"),
        }
    }
}

fn is_plain(label: &str) -> bool {
    !label.is_empty() && !label.contains(is_special) && !matches!(label, "and" | "or" | "not")
}

fn is_special(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '!' | '|' | '\'')
}

impl FromStr for Labels {
    type Err = BadLabels;

    fn from_str(text: &str) -> Result<Self, BadLabels> {
        if text.len() > MAX_LENGTH {
            return Err(BadLabels::Length(text.len()));
        }
        let mut reader = Reader {
            words: words(text)?,
            end: text.chars().count() + 1,
            next: 0,
        };
        let labels = reader.any(0)?;
        match reader.peek() {
            None => Ok(labels),
            Some(_) => Err(reader.unexpected("`and`, `or` or the end")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Open,
    Close,
    Not,
    Pipe,
    And,
    Or,
    Label(String),
}

impl Word {
    fn shown(&self) -> String {
        match self {
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Not => "`not`".to_owned(),
            Self::Pipe => "`|`".to_owned(),
            Self::And => "`and`".to_owned(),
            Self::Or => "`or`".to_owned(),
            Self::Label(label) => format!("`{label}`"),
        }
    }
}

/// Each word with its place, from 1.
fn words(text: &str) -> Result<Vec<(usize, Word)>, BadLabels> {
    let mut words = Vec::new();
    let mut rest = text.chars().zip(1..).peekable();
    while let Some(&(c, at)) = rest.peek() {
        let word = match c {
            c if c.is_whitespace() => {
                rest.next();
                continue;
            }
            '(' => Word::Open,
            ')' => Word::Close,
            '!' => Word::Not,
            '|' => Word::Pipe,
            '\'' => {
                rest.next();
                let label: String = rest.by_ref().map(|(c, _)| c).take_while(|&c| c != '\'').collect();
                if label.is_empty() || at + label.chars().count() + 1 > text.chars().count() {
                    return Err(BadLabels::Unexpected {
                        expected: "a label between two `'`",
                        found: "no end of it, or nothing".to_owned(),
                        at,
                    });
                }
                words.push((at, Word::Label(label)));
                continue;
            }
            _ => {
                let mut word = String::new();
                while let Some((c, _)) = rest.next_if(|(c, _)| !is_special(*c)) {
                    word.push(c);
                }
                words.push((
                    at,
                    match word.as_str() {
                        "and" => Word::And,
                        "or" => Word::Or,
                        "not" => Word::Not,
                        _ => Word::Label(word),
                    },
                ));
                continue;
            }
        };
        rest.next();
        words.push((at, word));
    }
    Ok(words)
}

struct Reader {
    words: Vec<(usize, Word)>,
    /// Where the text ends.
    end: usize,
    next: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next).map(|(_, word)| word)
    }

    fn take(&mut self, wanted: &Word) -> bool {
        let taken = self.peek() == Some(wanted);
        self.next += usize::from(taken);
        taken
    }

    fn unexpected(&self, expected: &'static str) -> BadLabels {
        let found = self.words.get(self.next);
        BadLabels::Unexpected {
            expected,
            found: found.map_or_else(|| "the end".to_owned(), |(_, word)| word.shown()),
            at: found.map_or(self.end, |(at, _)| *at),
        }
    }

    fn any(&mut self, depth: usize) -> Result<Labels, BadLabels> {
        let mut parts = vec![self.all(depth)?];
        while self.take(&Word::Or) {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Labels::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Labels, BadLabels> {
        let mut parts = vec![self.one(depth)?];
        while self.take(&Word::And) {
            parts.push(self.one(depth)?);
        }
        Ok(one_or(parts, Labels::All))
    }

    fn one(&mut self, depth: usize) -> Result<Labels, BadLabels> {
        if depth >= MAX_DEPTH {
            return Err(BadLabels::Depth);
        }
        if self.take(&Word::Not) {
            return Ok(Labels::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take(&Word::Open) {
            let inner = self.any(depth + 1)?;
            return match self.take(&Word::Close) {
                true => Ok(inner),
                false => Err(self.unexpected("`and`, `or` or `)`")),
            };
        }
        let first = self.label(LABEL)?;
        let key = first.split_once('=').map(|(key, _)| key.to_owned());
        let mut parts = vec![Labels::Has(first)];
        while self.take(&Word::Pipe) {
            let word = self.label("another label")?;
            parts.push(Labels::Has(match &key {
                Some(key) if !word.contains('=') => format!("{key}={word}"),
                _ => word,
            }));
        }
        Ok(one_or(parts, Labels::Any))
    }

    fn label(&mut self, expected: &'static str) -> Result<String, BadLabels> {
        let Some(Word::Label(label)) = self.peek() else {
            return Err(self.unexpected(expected));
        };
        let label = label.clone();
        self.next += 1;
        Ok(label)
    }
}

fn one_or(mut parts: Vec<Labels>, many: fn(Vec<Labels>) -> Labels) -> Labels {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &str) -> BTreeSet<String> {
        labels.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn expressions_mean_what_they_say() {
        let table = [
            ("gpu", "gpu linux", true),
            ("gpu", "linux", false),
            ("!slow", "linux", true),
            ("not slow", "slow", false),
            ("arch=x86_64|aarch64", "arch=aarch64", true),
            ("arch=x86_64|aarch64", "aarch64", false),
            ("arch=x86_64|aarch64", "arch=riscv", false),
            ("a|b", "b", true),
            ("a and b", "a", false),
            ("a or b and c", "a", true),
            ("(a or b) and c", "a", false),
            ("not a or b", "b a", true),
            ("not (a or b)", "b", false),
            ("! ! a", "a", true),
            ("'and'", "and", true),
            (
                "os=linux and (gpu or arch=x86_64|aarch64) and not slow",
                "os=linux arch=x86_64",
                true,
            ),
            (
                "os=linux and (gpu or arch=x86_64|aarch64) and not slow",
                "os=linux gpu slow",
                false,
            ),
        ];
        for (text, labels, expected) in table {
            let read: Labels = text.parse().unwrap();
            assert_eq!(read.holds(&set(labels)), expected, "{text} with {labels}");
            assert_eq!(read.to_string().parse::<Labels>().unwrap(), read, "{read}");
            assert_eq!(read.lacking(&set(labels)).is_empty(), expected, "{text}");
        }
        assert!(
            "'two words'"
                .parse::<Labels>()
                .unwrap()
                .holds(&["two words".to_owned()].into())
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let lacking =
            |text: &str, labels: &str| text.parse::<Labels>().unwrap().lacking(&set(labels)).join("; ");
        assert_eq!(
            lacking("gpu and os=linux", "slow"),
            "lacks the label gpu; lacks the label os=linux"
        );
        assert_eq!(lacking("!slow and gpu", "slow gpu"), "has the label slow");
        assert_eq!(
            lacking("arch=x86_64|aarch64", ""),
            "has none of the labels arch=x86_64, arch=aarch64"
        );
        assert_eq!(lacking("a or not b", "b"), "is none of `a or not b`");
    }

    #[test]
    fn what_nobody_knows_decides_nothing_by_itself() {
        let look = |label: &str| match label {
            "yes" => Asked::Yes,
            "no" => Asked::No,
            _ => Asked::Unknown,
        };
        let table = [
            ("yes and x", Asked::Unknown),
            ("no and x", Asked::No),
            ("yes or x", Asked::Yes),
            ("no or x", Asked::Unknown),
            ("not x", Asked::Unknown),
            ("not no", Asked::Yes),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Labels>().unwrap().ask(&look), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_its_place() {
        let refused = |text: &str| text.parse::<Labels>().unwrap_err().to_string();
        let table = [
            ("", "expected a label, `not` or `(` at character 1, found the end"),
            ("a b", "expected `and`, `or` or the end at character 3, found `b`"),
            (
                "a and",
                "expected a label, `not` or `(` at character 6, found the end",
            ),
            (
                "(a or b",
                "expected `and`, `or` or `)` at character 8, found the end",
            ),
            ("a)", "expected `and`, `or` or the end at character 2, found `)`"),
            ("a|", "expected another label at character 3, found the end"),
            ("a | | b", "expected another label at character 5, found `|`"),
            ("or", "expected a label, `not` or `(` at character 1, found `or`"),
            (
                "'a",
                "expected a label between two `'` at character 1, found no end of it, or nothing",
            ),
            (
                "''",
                "expected a label between two `'` at character 1, found no end of it, or nothing",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(refused(text), expected, "{text:?}");
        }
        assert_eq!(refused(&"(".repeat(100)), BadLabels::Depth.to_string());
        assert!(refused(&"a".repeat(5000)).contains("5000"));
    }
}
