//! What is wrong with a configuration, where, and what to do: one shape for both configuration files.
//!
//! The command line prints [`Diagnostic::render`], logs and the API take the one-line form.

use std::fmt;

use capstan_model::plan::Location;
use serde::Serialize;

/// The longest source line that a diagnostic carries, in characters.
const MAX_LINE: usize = 160;

/// One fault or remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the configuration can be used in spite of it.
    pub severity: Severity,
    /// Where it is.
    pub location: Location,
    /// What it is about, as a fragment: ``unknown parameter of `step.git` ``.
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// What was there instead.
    pub found: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Other places that matter: the first definition of a name, the caller of a function.
    pub related: Vec<Related>,
    /// The source line, if it is known.
    pub snippet: Option<Snippet>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is a plan, but probably not the intended one.
    Warning,
    /// What the configuration itself printed.
    Note,
}

/// Another place that belongs to a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    pub location: Location,
    /// What is there, as a fragment: `first defined here`.
    pub message: String,
}

/// A source line with a mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// The line, without its end; control characters replaced, cut if very long.
    pub line: String,
    /// How many characters to mark, from the location's column; at least 1.
    pub width: u32,
}

impl Snippet {
    /// A snippet of `line` with `width` marked characters.
    pub(crate) fn new(line: &str, width: usize) -> Self {
        let line: String = line
            .chars()
            .take(MAX_LINE)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self {
            width: u32::try_from(width.clamp(1, MAX_LINE)).unwrap_or(1),
            line,
        }
    }
}

impl Diagnostic {
    /// A fault at a place.
    pub(crate) fn error(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            location,
            message: message.into(),
            expected: None,
            found: None,
            hint: None,
            related: Vec::new(),
            snippet: None,
        }
    }

    /// A remark at a place.
    pub(crate) fn warning(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(location, message)
        }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn related(mut self, location: Location, message: impl Into<String>) -> Self {
        self.related.push(Related {
            location,
            message: message.into(),
        });
        self
    }

    pub(crate) fn snippet(mut self, snippet: Option<Snippet>) -> Self {
        self.snippet = snippet;
        self
    }

    /// The text after the location: `message: expected …, found …; hint`.
    pub fn text(&self) -> String {
        let comparison = match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => Some(format!("expected {expected}, found {found}")),
            (Some(expected), None) => Some(format!("expected {expected}")),
            (None, Some(found)) => Some(format!("found {found}")),
            (None, None) => None,
        };
        let mut text = self.message.clone();
        for (separator, part) in [(": ", &comparison), ("; ", &self.hint)] {
            if let Some(part) = part {
                if !text.is_empty() {
                    text.push_str(separator);
                }
                text.push_str(part);
            }
        }
        text
    }

    /// Several lines for a terminal: the one-line form, the source line with a mark, the other places.
    pub fn render(&self) -> String {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut out = format!("{word}: {}: {}\n", self.location, self.text());
        if let Some(snippet) = &self.snippet {
            let number = self.location.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat((self.location.column.max(1) - 1) as usize);
            let room = snippet.line.chars().count().saturating_sub(indent.len()).max(1);
            let mark = "^".repeat((snippet.width as usize).min(room));
            out.push_str(&format!(
                "{margin} |\n{number} | {}\n{margin} | {indent}{mark}\n",
                snippet.line
            ));
        }
        for related in &self.related {
            out.push_str(&format!("  {}: {}\n", related.location, related.message));
        }
        out
    }
}

/// `file:line:column: message: expected …, found …; hint (file:line:column: …)`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.text())?;
        self.related
            .iter()
            .try_for_each(|other| write!(f, " ({}: {})", other.location, other.message))
    }
}

/// All of them for a terminal, errors last so that they stay in sight.
pub fn render_all(diagnostics: &[Diagnostic]) -> String {
    let mut sorted: Vec<_> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| match d.severity {
        Severity::Note => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
    });
    sorted.into_iter().map(Diagnostic::render).collect()
}

/// The location of a byte offset in a text, and the line that it is in.
pub(crate) fn locate(file: &str, text: &str, offset: usize) -> (Location, String) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    let location = Location {
        file: file.to_owned(),
        line: number(text[..start].matches('\n').count()),
        column: number(text[start..offset].chars().count()),
    };
    (location, line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_sees_the_line_and_the_mark() {
        let (location, line) = locate("capstan.toml", "[web]\nlisen = 1\n", 6);
        let diagnostic = Diagnostic::error(location.clone(), "unknown key")
            .expected("`listen`")
            .found("`lisen`")
            .hint("did you mean `listen`?")
            .related(location, "here too")
            .snippet(Some(Snippet::new(&line, 5)));
        insta::assert_snapshot!(diagnostic, @"capstan.toml:2:1: unknown key: expected `listen`, found `lisen`; did you mean `listen`? (capstan.toml:2:1: here too)");
        insta::assert_snapshot!(diagnostic.render(), @r"
        error: capstan.toml:2:1: unknown key: expected `listen`, found `lisen`; did you mean `listen`?
          |
        2 | lisen = 1
          | ^^^^^
          capstan.toml:2:1: here too
        ");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_offset_has_a_place(text in "[a-zé\n\r\t]{0,40}", offset in 0usize..100) {
            let (location, line) = locate("f", &text, offset);
            prop_assert!(location.line >= 1 && location.column >= 1);
            prop_assert!(location.line as usize <= text.matches('\n').count() + 1);
            prop_assert!(!line.contains('\n'));
        }
    }
}
