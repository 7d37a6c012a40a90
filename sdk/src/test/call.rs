//! A call of the host as tests see it: its name, a few words, and all that was asked.

use std::fmt;

use serde_json::{Value, json};

/// One call that a plugin made. It is shown as its name and a few words: `commands.run make all`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `commands.run`, `http.fetch` …
    pub name: &'static str,
    /// The few words: the program and its arguments, the method and the URL.
    pub words: String,
    /// All that was asked, by its name in the interface: `argv`, `workdir`, `headers` …
    pub asked: Value,
}

impl Call {
    pub(crate) fn new(name: &'static str, words: impl Into<String>, asked: Value) -> Self {
        Self {
            name,
            words: words.into(),
            asked,
        }
    }

    pub(crate) fn bare(name: &'static str) -> Self {
        Self::new(name, "", json!({}))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.words.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.words)
        }
    }
}

/// Two calls that should be the same, with everything where the few words do not tell them apart.
pub(crate) fn told_apart(one: &Call, other: &Call) -> (String, String) {
    let (short, other_short) = (one.to_string(), other.to_string());
    if short == other_short {
        (
            format!("{short} {}", one.asked),
            format!("{other_short} {}", other.asked),
        )
    } else {
        (short, other_short)
    }
}

/// Whether a text fits a pattern in which `*` is any run of characters.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let Some(last) = pieces.pop() else {
        return true;
    };
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// Compares calls with a list of patterns, in which `...` stands for any number of calls. The error shows both.
pub(crate) fn compare(expected: &[&str], found: &[Call]) -> Result<(), String> {
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    if all_fit(expected, &texts) {
        return Ok(());
    }
    let list = |lines: Vec<String>| match lines.is_empty() {
        true => "  none".to_owned(),
        false => lines.join("\n"),
    };
    let numbered = texts.iter().enumerate();
    Err(format!(
        "expected these calls of the host:\n{}\nfound:\n{}",
        list(expected.iter().map(|text| format!("  {text}")).collect()),
        list(
            numbered
                .map(|(place, text)| format!("  {}. {text}", place + 1))
                .collect()
        )
    ))
}

fn all_fit(expected: &[&str], found: &[String]) -> bool {
    // Which of the found ones may be next, for each number of expected ones that are through.
    let mut open = vec![false; found.len() + 1];
    open[0] = true;
    for pattern in expected {
        let mut next = vec![false; found.len() + 1];
        for at in 0..=found.len() {
            if !open[at] {
                continue;
            }
            if *pattern == "..." {
                next[at..].fill(true);
                break;
            }
            if found.get(at).is_some_and(|text| fits(pattern, text)) {
                next[at + 1] = true;
            }
        }
        open = next;
    }
    open[found.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("make", "make", true),
            ("make", "make all", false),
            ("make *", "make all", true),
            ("make *", "make", false),
            ("*", "", true),
            ("*all", "make all", true),
            ("*a*l*", "make all", true),
            ("m*k*x", "make all", false),
            ("ab*ba", "aba", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn three_dots_stand_for_any_number_of_calls() {
        let found = ["a 1", "b 2", "c 3", "b 4"].map(|text| {
            let (name, words) = text.split_once(' ').unwrap();
            Call::new(
                match name {
                    "a" => "a",
                    "b" => "b",
                    _ => "c",
                },
                words,
                json!({}),
            )
        });
        for (expected, fit) in [
            (vec!["a 1", "b 2", "c 3", "b 4"], true),
            (vec!["...", "b 4"], true),
            (vec!["...", "b *", "...", "b *"], true),
            (vec!["..."], true),
            (vec!["a 1", "..."], true),
            (vec!["a 1"], false),
            (vec!["...", "c 3"], false),
            (vec!["b 2", "..."], false),
            (vec![], false),
        ] {
            let compared = compare(&expected, &found);
            assert_eq!(compared.is_ok(), fit, "{expected:?}: {compared:?}");
        }
        let error = compare(&[], &found[..1]).unwrap_err();
        assert_eq!(
            error,
            "expected these calls of the host:\n  none\nfound:\n  1. a 1"
        );
    }
}
