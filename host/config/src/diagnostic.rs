//! What is wrong with a configuration, where, and what to do: one shape for both configuration files.
//!
//! The command line prints [`Diagnostic::render`], logs and the API take the one-line form.

use std::collections::HashMap;
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
    /// What kind of fault or remark it is, for programs: `unused-worker`. `invalid` and `remark` are all that have no word of
    /// their own.
    pub code: &'static str,
    /// Where it is.
    #[serde(flatten)]
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
    /// What the configuration itself printed, or what is as it should be but good to know.
    Note,
}

/// Another place that belongs to a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
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
            code: "invalid",
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
            code: "remark",
            ..Self::error(location, message)
        }
    }

    /// A remark on what is as it should be.
    pub(crate) fn note(mut self) -> Self {
        self.severity = Severity::Note;
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
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

/// Remarks of one kind at one place as one, which says how many more there are: a loop makes a thousand of them. Faults, and
/// what the configuration printed, stay as they are.
pub fn grouped(diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
    let alone = |d: &Diagnostic| d.severity == Severity::Error || d.code == PRINTED;
    let mut groups: Vec<(&Diagnostic, usize)> = Vec::new();
    let mut known = HashMap::new();
    for diagnostic in diagnostics {
        let Location { file, line, column } = &diagnostic.location;
        let key = (diagnostic.severity as u8, diagnostic.code, file, line, column);
        if !alone(diagnostic)
            && let Some(&at) = known.get(&key)
        {
            let group: &mut (&Diagnostic, usize) = &mut groups[at];
            group.1 += 1;
            continue;
        }
        known.insert(key, groups.len());
        groups.push((diagnostic, 0));
    }
    let shown = groups.into_iter().map(|(first, more)| {
        let mut shown = first.clone();
        if more > 0 {
            shown.message = format!("{} (and {more} more like it)", first.message);
        }
        shown
    });
    shown.collect()
}

/// The code of what the configuration printed.
pub(crate) const PRINTED: &str = "printed";

/// All of them for a terminal, [grouped], errors last so that they stay in sight.
pub fn render_all(diagnostics: &[Diagnostic]) -> String {
    let diagnostics = grouped(diagnostics);
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

    #[test]
    fn what_a_loop_repeats_is_said_once_and_counted() {
        let at = |line: u32| Location {
            file: "ci.star".to_owned(),
            line,
            column: 1,
        };
        let unused = |name: &str, line| {
            Diagnostic::warning(at(line), format!("no builder uses `{name}`")).code("unused")
        };
        let said = |text: &str| Diagnostic::warning(at(1), text).note().code(PRINTED);
        let all = [
            unused("a", 1),
            said("one"),
            unused("b", 1),
            unused("c", 2),
            said("two"),
            unused("d", 1),
            Diagnostic::error(at(1), "x"),
            Diagnostic::error(at(1), "y"),
            Diagnostic::warning(at(1), "of another kind").code("other"),
        ];
        let texts: Vec<_> = grouped(&all).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        ci.star:1:1: no builder uses `a` (and 2 more like it)
        ci.star:1:1: one
        ci.star:2:1: no builder uses `c`
        ci.star:1:1: two
        ci.star:1:1: x
        ci.star:1:1: y
        ci.star:1:1: of another kind
        ");
    }

    #[test]
    fn a_program_finds_the_place_beside_the_code() {
        let (location, _) = locate("ci.star", "x", 0);
        let value = serde_json::to_value(Diagnostic::error(location, "m").code("unknown-name")).unwrap();
        for (key, expected) in [
            ("severity", "error"),
            ("code", "unknown-name"),
            ("file", "ci.star"),
            ("message", "m"),
        ] {
            assert_eq!(value[key], expected, "{key}");
        }
        assert_eq!((&value["line"], &value["column"]), (&1.into(), &1.into()));
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
