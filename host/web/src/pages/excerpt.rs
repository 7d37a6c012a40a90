//! The last lines of a log, beside the step or the builder that they explain.

use std::collections::HashMap;

use capstan_model::LogId;

use super::ansi::Span;
use super::format;
use crate::api::logs::{Line, Log, Range};
use crate::api::steps::Step;
use crate::{App, Error};

/// Lines for a step that went wrong, and for one that runs.
const WRONG: u64 = 20;
const RUNNING: u64 = 10;
/// Steps that get one: after a common cause many fail, and the first ones tell.
const STEPS: usize = 5;
/// Characters of a line; the log's own page has all of it.
const LINE: usize = 2000;

/// The end of a log.
pub(super) struct Excerpt {
    pub(super) log: i64,
    pub(super) name: String,
    pub(super) lines: Vec<Shown>,
    total: u64,
}

/// A line of it.
pub(super) struct Shown {
    /// From 1, as people count.
    pub(super) number: u64,
    pub(super) channel: &'static str,
    pub(super) spans: Vec<Span>,
}

impl From<Line> for Shown {
    fn from(mut line: Line) -> Self {
        if let Some((end, _)) = line.text.char_indices().nth(LINE) {
            line.text.truncate(end);
            line.text.push('…');
        }
        Self {
            number: line.number + 1,
            channel: line.channel(),
            spans: line.spans(),
        }
    }
}

impl Excerpt {
    /// `Last 20 of 1,204 lines of stdio`.
    pub(super) fn heading(&self) -> String {
        let shown = self.lines.len() as u64;
        let total = format::count(self.total, "line");
        if shown < self.total {
            format!("Last {shown} of {total} of {}", self.name)
        } else {
            format!("{total} of {}", self.name)
        }
    }
}

/// What to show, by step.
pub(super) async fn of_steps(app: &App, steps: &[Step]) -> Result<HashMap<i64, Excerpt>, Error> {
    let mut found = HashMap::new();
    for step in steps {
        let count = match step.word() {
            "failure" | "exception" | "retry" => WRONG,
            "running" => RUNNING,
            _ => continue,
        };
        let Some(log) = newest(step) else {
            continue;
        };
        found.insert(step.id, read(app, log, count).await?);
        if found.len() == STEPS {
            break;
        }
    }
    Ok(found)
}

/// The last words of a step: what was printed last, without the worker's own remarks.
pub(super) async fn last_words(app: &App, step: &Step, count: usize) -> Result<Vec<Shown>, Error> {
    let Some(log) = newest(step) else {
        return Ok(Vec::new());
    };
    // The remarks are few and around the output.
    let Excerpt { mut lines, .. } = read(app, log, count as u64 + 4).await?;
    lines.retain(|line| line.channel != "header" && !line.spans.is_empty());
    Ok(lines.split_off(lines.len().saturating_sub(count)))
}

/// The newest log with anything in it is the one that a step stopped in.
fn newest(step: &Step) -> Option<&Log> {
    step.logs.iter().rev().find(|log| log.lines > 0)
}

async fn read(app: &App, log: &Log, count: u64) -> Result<Excerpt, Error> {
    let from = log.lines.saturating_sub(count);
    let lines = app
        .logs()
        .read_lines(LogId(log.id), from, usize::try_from(count).unwrap_or(0))
        .await?;
    Ok(Excerpt {
        log: log.id,
        name: log.name.clone(),
        lines: Range::from(lines).lines.into_iter().map(Shown::from).collect(),
        total: log.lines,
    })
}
