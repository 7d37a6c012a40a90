//! What is wrong with the file, in our words: serde's `unknown field x, expected …` with place and remedy.

use std::ops::Range;

use capstan_model::plan::Location;

use super::FILE;
use crate::diagnostic::{Diagnostic, Snippet, locate};
use crate::nearest::{choices, did_you_mean};

/// Turns serde's words into ours: `unknown field x, expected …` and `invalid type: …, expected …`.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let (location, line) = locate(FILE, text, span.start);
    let diagnostic = describe(location, error.message());
    diagnostic.snippet(Some(Snippet::new(&line, marked(text, &span))))
}

fn marked(text: &str, span: &Range<usize>) -> usize {
    let marked = text.get(span.clone()).unwrap_or_default();
    marked.lines().next().map_or(1, |first| first.chars().count())
}

fn describe(location: Location, message: &str) -> Diagnostic {
    if let Some(rest) = message
        .strip_prefix("unknown field ")
        .or(message.strip_prefix("unknown variant "))
    {
        // serde lists every right name in backticks after the wrong one.
        let names: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        if let [wrong, known @ ..] = names.as_slice() {
            let what = if message.starts_with("unknown field") {
                "unknown key"
            } else {
                "unknown word"
            };
            return Diagnostic::error(location, what)
                .expected(choices(known.iter().copied()))
                .found(format!("`{wrong}`"))
                .maybe_hint(did_you_mean(wrong, known.iter().copied()));
        }
    }
    let comparison = message
        .strip_prefix("invalid type: ")
        .or(message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = comparison.and_then(|rest| rest.rsplit_once(", expected ")) {
        return Diagnostic::error(location, "").expected(expected).found(found);
    }
    let mut lines = message.lines();
    let first = lines.next().unwrap_or("malformed");
    let diagnostic = Diagnostic::error(location, first);
    match lines.next() {
        Some(expected) => diagnostic.expected(expected.trim_start_matches("expected ")),
        None => diagnostic,
    }
}
