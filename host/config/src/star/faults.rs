//! Errors of the Starlark interpreter in our form and words.

use capstan_model::plan::Location;
use starlark::ErrorKind;
use starlark::codemap::FileSpan;

use super::collector::Reported;
use super::functions::CallLimits;
use super::limits::{CALL_DEPTH, HEAP_EXCEEDED};
use super::site::{called_from, location, snippet};
use crate::diagnostic::Diagnostic;

/// The diagnostic for an error; `None` if it was reported before. `statement` is where it is if the error does not say.
pub(super) fn explain(
    error: &starlark::Error,
    file: &str,
    statement: Option<FileSpan>,
    limits: &CallLimits,
) -> Option<Diagnostic> {
    if let ErrorKind::Native(inner) = error.kind()
        && inner.downcast_ref::<Reported>().is_some()
    {
        return None;
    }
    let here = Location {
        file: file.to_owned(),
        line: 1,
        column: 1,
    };
    let mut diagnostic = reword(Diagnostic::error(here, ""), error, limits);
    // The stack starts where the file that the user looks at led to it.
    let frames = error.call_stack().frames.iter().rev();
    let callers: Vec<_> = frames.filter_map(|frame| frame.location.clone()).collect();
    let span = error
        .span()
        .cloned()
        .or(statement)
        .or_else(|| callers.last().cloned());
    if let Some(span) = span {
        diagnostic.location = location(&span);
        diagnostic.snippet = Some(snippet(&span));
    }
    Some(called_from(diagnostic, &callers))
}

fn reword(diagnostic: Diagnostic, error: &starlark::Error, limits: &CallLimits) -> Diagnostic {
    let text = error.without_diagnostic().to_string();
    if matches!(error.kind(), ErrorKind::StackOverflow(_)) {
        return diagnostic
            .expected(format!("calls at most {} deep", CALL_DEPTH))
            .found("more")
            .hint("does a function call itself without end?");
    }
    // The interpreter's limits have no error types of their own.
    if text.contains("ticks has been exceeded") {
        return diagnostic
            .expected(format!("at most {} calls and rounds of loops", limits.ticks))
            .found("more")
            .hint("does a loop run without end?");
    }
    if text.contains(HEAP_EXCEEDED) {
        return diagnostic
            .expected(format!("values of at most {} MiB", limits.heap >> 20))
            .found("more")
            .hint("does a value grow without end?");
    }
    if text.contains("Evaluation cancelled") {
        return diagnostic
            .expected(format!(
                "an evaluation of at most {} seconds",
                limits.time.as_secs()
            ))
            .found("a longer one");
    }
    if let Some(rest) = text.strip_prefix("Variable `") {
        let mut names = rest.split('`').step_by(2);
        let wrong = names.next().unwrap_or_default();
        let hint = names.next().map(|name| format!("did you mean `{name}`?"));
        return diagnostic
            .expected("a name that is defined")
            .found(format!("`{wrong}`"))
            .maybe_hint(hint);
    }
    let mut diagnostic = diagnostic;
    diagnostic.message = one_line(&text);
    diagnostic
}

/// The first letter small, as a fragment; several lines in one.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("Parse error: ").unwrap_or(text).trim();
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text,
    }
}
