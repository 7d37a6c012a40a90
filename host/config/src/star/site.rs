//! Where a call stands in the user's files, made when the call is executed and looked at only when something is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use capstan_model::plan::Location;
use starlark::codemap::{FileSpan, Pos, Span};
use starlark::eval::Evaluator;

use super::scan;
use crate::diagnostic::{Diagnostic, Snippet};

/// The place of a call.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    call: Option<FileSpan>,
    /// The calls that led to it, if it is inside a function, the nearest one first.
    callers: Arc<[FileSpan]>,
    /// What stands behind it, if no file contains the call itself.
    made: Option<Arc<Made>>,
    /// Where arguments come from that a preset says.
    preset: Option<Arc<BTreeMap<String, Location>>>,
}

/// Where in the answer of a generator a call stands.
#[derive(Debug)]
pub(super) struct Made {
    /// The generator's function: `generate.packages`.
    pub(super) generator: String,
    /// `builders[3].steps[0]`.
    pub(super) path: String,
    /// The arguments that stand in the object `parameters` there.
    pub(super) parameters: BTreeSet<String>,
}

impl Made {
    fn path_of(&self, argument: Option<&str>) -> String {
        let path = &self.path;
        match argument {
            None => path.clone(),
            Some(argument) if self.parameters.contains(argument) => format!("{path}.parameters.{argument}"),
            Some(argument) if path.is_empty() => argument.to_owned(),
            Some(argument) => format!("{path}.{argument}"),
        }
    }
}

impl Site {
    /// The call that is being executed.
    pub(super) fn of(eval: &Evaluator<'_, '_, '_>) -> Self {
        let call = eval.call_stack_top_location();
        let callers = (1..eval.call_stack_count()).filter_map(|n| eval.call_stack_nth_location(n));
        Self {
            call,
            callers: callers.collect(),
            made: None,
            preset: None,
        }
    }

    /// The same place, for what a generator made there.
    pub(super) fn made(&self, made: Made) -> Self {
        Self {
            made: Some(Arc::new(made)),
            ..self.clone()
        }
    }

    /// The same place, for a call that is the value of one of its arguments.
    pub(super) fn deeper(&self, argument: &str) -> Self {
        let Some(made) = &self.made else {
            return self.clone();
        };
        self.made(Made {
            generator: made.generator.clone(),
            path: made.path_of(Some(argument)),
            parameters: BTreeSet::new(),
        })
    }

    /// The same place, where arguments come from presets.
    pub(super) fn with_preset(self, arguments: BTreeMap<String, Location>) -> Self {
        Self {
            preset: Some(Arc::new(arguments)),
            ..self
        }
    }

    /// The file of the call.
    pub(super) fn file(&self) -> &str {
        self.call.as_ref().map_or("", FileSpan::filename)
    }

    /// The start of the call.
    pub(crate) fn location(&self) -> Location {
        self.call.as_ref().map(location).unwrap_or_default()
    }

    /// A fault of the call as a whole.
    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        self.mark(
            self.call.clone(),
            Diagnostic::error(Location::default(), self.told(None, message)),
        )
    }

    /// A fault of one argument; of the call if the argument is not written there.
    pub(crate) fn error_at(&self, argument: &str, message: impl Into<String>) -> Diagnostic {
        let span = self.argument(argument).or_else(|| self.call.clone());
        let fault = Diagnostic::error(Location::default(), self.told(Some(argument), message));
        self.of_preset(argument, self.mark(span, fault))
    }

    /// A fault of one text in an argument: a name in a list.
    pub(crate) fn error_in(&self, argument: &str, text: &str, message: impl Into<String>) -> Diagnostic {
        let span = self
            .literal(argument, text)
            .or_else(|| self.argument(argument))
            .or_else(|| self.call.clone());
        let fault = Diagnostic::error(Location::default(), self.told(Some(argument), message));
        self.of_preset(argument, self.mark(span, fault))
    }

    /// The message, behind where in a generator's answer it belongs.
    fn told(&self, argument: Option<&str>, message: impl Into<String>) -> String {
        let message = message.into();
        let Some(made) = &self.made else {
            return message;
        };
        match made.path_of(argument).as_str() {
            "" => format!("{}: {message}", made.generator),
            path => format!("{}: `{path}`: {message}", made.generator),
        }
    }

    fn of_preset(&self, argument: &str, fault: Diagnostic) -> Diagnostic {
        match self.preset.as_ref().and_then(|arguments| arguments.get(argument)) {
            Some(place) => fault.related(place.clone(), format!("`{argument}` comes from this preset")),
            None => fault,
        }
    }

    /// A fault at a place within a text that the call gives; of the call if the text is not written there as it is.
    pub(crate) fn error_within(
        &self,
        text: &str,
        at: usize,
        width: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        let within = self.call.as_ref().and_then(|call| {
            let source = call.source_span();
            let literal = scan::literal(source, 0..source.len(), text)?;
            let start = literal.start + 1 + at;
            part(call, start..(start + width).min(literal.end))
        });
        self.mark(
            within.or_else(|| self.call.clone()),
            Diagnostic::error(Location::default(), self.told(None, message)),
        )
    }

    /// A remark on the call.
    pub(crate) fn warning(&self, message: impl Into<String>) -> Diagnostic {
        self.mark(
            self.call.clone(),
            Diagnostic::warning(Location::default(), self.told(None, message)),
        )
    }

    fn mark(&self, span: Option<FileSpan>, mut diagnostic: Diagnostic) -> Diagnostic {
        if let Some(span) = span {
            diagnostic.location = location(&span);
            diagnostic.snippet = Some(snippet(&span));
        }
        called_from(diagnostic, &self.callers)
    }

    fn argument(&self, name: &str) -> Option<FileSpan> {
        if self.made.is_some() {
            return None;
        }
        let call = self.call.as_ref()?;
        scan::argument(call.source_span(), name).and_then(|range| part(call, range))
    }

    fn literal(&self, argument: &str, text: &str) -> Option<FileSpan> {
        if self.made.is_some() {
            return None;
        }
        let call = self.call.as_ref()?;
        let source = call.source_span();
        let within = scan::argument(source, argument)?;
        scan::literal(source, within, text).and_then(|range| part(call, range))
    }
}

/// The calls in a chain that a fault names: the nearest ones, and the last, which stands in a file itself.
const CHAIN: usize = 10;

/// The fault with the calls that led to its place, the nearest one first; one in the fault's own line says nothing.
pub(super) fn called_from(mut diagnostic: Diagnostic, callers: &[FileSpan]) -> Diagnostic {
    let mut places: Vec<Location> = callers.iter().map(location).collect();
    places.dedup();
    let here =
        |place: &Location| (&place.file, place.line) == (&diagnostic.location.file, diagnostic.location.line);
    if places.first().is_some_and(here) {
        places.remove(0);
    }
    let left_out = places.len().saturating_sub(CHAIN);
    for (n, place) in places.into_iter().enumerate() {
        if n < CHAIN - 1 || n == CHAIN - 1 + left_out {
            let message = match n >= CHAIN && left_out > 0 {
                true => format!("called from here, over {left_out} more calls"),
                false => "called from here".to_owned(),
            };
            diagnostic = diagnostic.related(place, message);
        }
    }
    diagnostic
}

fn part(call: &FileSpan, range: std::ops::Range<usize>) -> Option<FileSpan> {
    let at = |offset: usize| {
        Some(Pos::new(
            call.span.begin().get().checked_add(u32::try_from(offset).ok()?)?,
        ))
    };
    Some(FileSpan {
        file: call.file.clone(),
        span: Span::new(at(range.start)?, at(range.end)?),
    })
}

/// The start of a span, counted from 1.
pub(super) fn location(span: &FileSpan) -> Location {
    let begin = span.resolve_span().begin;
    let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Location {
        file: span.filename().to_owned(),
        line: number(begin.line),
        column: number(begin.column),
    }
}

/// The first line of a span.
pub(super) fn snippet(span: &FileSpan) -> Snippet {
    let line = span.file.source_line(span.resolve_span().begin.line);
    let width = span
        .source_span()
        .lines()
        .next()
        .map_or(1, |first| first.trim_end().chars().count());
    Snippet::new(line.trim_end(), width)
}
