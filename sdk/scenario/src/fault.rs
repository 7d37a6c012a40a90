//! What is wrong: with a scenario file, or with a plugin that does not do what the file expects. With its line.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// How many known names are listed for a wrong one.
const LISTED: usize = 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as it was named.
    pub file: String,
    /// The line in it, from 1; none where it is about the whole.
    pub line: Option<usize>,
    /// What was expected and what was found. Further lines are details.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// A file and where its lines begin.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: String,
    starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            file: file.to_owned(),
            starts: std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect(),
        }
    }

    /// A fault at a place of the file.
    pub(crate) fn fault(&self, span: Option<Range<usize>>, message: impl Into<String>) -> Fault {
        let line = span.map(|span| self.starts.partition_point(|start| *start <= span.start));
        Fault {
            file: self.file.clone(),
            line,
            message: message.into(),
        }
    }

    /// Why a file cannot be read, in our words.
    pub(crate) fn malformed(&self, error: &toml::de::Error) -> Fault {
        self.fault(error.span(), explain(error.message()))
    }
}

/// Turns serde's words into ours: ``unknown field `x`, expected one of …``.
fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return message.replace('\n', " ");
    };
    // Every right name stands in backticks after the wrong one.
    let names: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    match names.as_slice() {
        [wrong, known @ ..] => unknown("key", wrong, known),
        [] => message.to_owned(),
    }
}

/// ``unknown key `x`; did you mean `y`?`` or the list of those that there are.
pub(crate) fn unknown(what: &str, wrong: &str, known: &[&str]) -> String {
    let tolerance = (wrong.chars().count() / 3).clamp(1, 4);
    let near = known
        .iter()
        .map(|name| (strsim::osa_distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, name)) => format!("unknown {what} `{wrong}`; did you mean `{name}`?"),
        None => {
            let shown: Vec<String> = known
                .iter()
                .take(LISTED)
                .map(|name| format!("`{name}`"))
                .collect();
            format!("unknown {what} `{wrong}`; expected one of {}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_counted_from_one() {
        let source = Source::new("a.toml", "one\ntwo\nthree");
        for (at, line) in [(0, 1), (3, 1), (4, 2), (8, 3), (12, 3)] {
            let fault = source.fault(Some(at..at), "x");
            assert_eq!(fault.line, Some(line), "{at}");
        }
        assert_eq!(source.fault(Some(4..5), "wrong").to_string(), "a.toml:2: wrong");
        assert_eq!(source.fault(None, "wrong").to_string(), "a.toml: wrong");
    }
}
