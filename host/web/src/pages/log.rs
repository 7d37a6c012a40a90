//! The page of a log: what a step printed, as a terminal would show it, live while it grows. Whole without a script: so
//! many lines and links to the others. With one (`log.js`) it becomes a view of all lines at once.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_model::{StepId, sized};
use capstan_store::{Build, Step};

use super::ansi::Span;
use super::{Fault, Layout, format, render};
use crate::api::interruptions::Interruption;
use crate::api::logs::{Line, Log, Range};
use crate::api::{builds, logs};
use crate::extract::{Path, Query};
use crate::guard::Visitor;
use crate::{App, Error};

/// Lines on the page; the script fetches others.
const LINES: usize = 1000;
/// Lines above the one that was asked for.
const ABOVE: u64 = 20;
/// Lines at the end among which the worker's last word about its command is: after them, only lines without an end.
const LAST_WORDS: u64 = 4;

pub(super) fn router() -> Router<App> {
    Router::new().route("/logs/{id}", get(log))
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    layout: Layout,
    build: i64,
    /// The build as people write it.
    owner: String,
    step: Step,
    log: Log,
    /// The other logs of the step: key and name.
    others: Vec<(i64, String)>,
    command: Command,
    /// Bytes of output.
    size: String,
    lines: Vec<Shown>,
    range: Range,
    /// What interrupted the step.
    interruptions: Vec<Interruption>,
}

impl LogPage {
    /// The step's result, or how far it is.
    fn word(&self) -> &'static str {
        self.step
            .outcome
            .map_or(self.step.state.as_str(), capstan_model::Outcome::as_str)
    }

    /// Where the lines before these start.
    fn earlier(&self) -> Option<u64> {
        (self.range.first > 0).then(|| self.range.first.saturating_sub(LINES as u64))
    }

    /// Where the lines after these start.
    fn later(&self) -> Option<u64> {
        let next = self.range.first + self.lines.len() as u64;
        (next < self.range.total).then_some(next)
    }
}

/// A line as people count and time it.
struct Shown {
    /// From 1.
    number: u64,
    channel: &'static str,
    elapsed_ms: u64,
    /// Since the start of the command, and since the line before.
    times: String,
    spans: Vec<Span>,
}

impl Shown {
    fn all(lines: &[Line]) -> Vec<Self> {
        let before = std::iter::once(None).chain(lines.iter().map(Some));
        lines
            .iter()
            .zip(before)
            .map(|(line, before)| Self::new(line, before))
            .collect()
    }

    fn new(line: &Line, before: Option<&Line>) -> Self {
        let mut times = format!("{} after the start", elapsed(line.elapsed_ms));
        if let Some(before) = before {
            let gap = line.elapsed_ms.saturating_sub(before.elapsed_ms);
            times += &format!(", {} after the line before", elapsed(gap));
        }
        if line.channel() == "stderr" {
            times += ", standard error";
        }
        Self {
            number: line.number + 1,
            channel: line.channel(),
            elapsed_ms: line.elapsed_ms,
            times,
            spans: line.spans(),
        }
    }

    fn elapsed(&self) -> String {
        elapsed(self.elapsed_ms)
    }
}

/// `0.012`, `2:05.123`, `1:02:05.123`: what a column of them is easily compared by. The script writes it alike.
fn elapsed(ms: u64) -> String {
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{ms:03}"),
        (0, _) => format!("{minutes}:{seconds:02}.{ms:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{ms:03}"),
    }
}

/// What the worker says about the command whose output this is.
#[derive(Default)]
struct Command {
    /// The command as one would type it.
    line: Option<String>,
    /// How it ended.
    exit: Option<String>,
}

impl Command {
    async fn of(app: &App, log: capstan_model::LogId, total: u64, complete: bool) -> Result<Self, Error> {
        let header = |lines: Range| lines.lines.into_iter().filter(|line| line.channel() == "header");
        let first = app.logs().read_lines(log, 0, 1).await?;
        let mut line = header(first.into()).map(|line| line.text);
        let Some(line) = line
            .next()
            .and_then(|line| Some(line.strip_prefix("$ ")?.to_owned()))
        else {
            return Ok(Self::default());
        };
        let mut exit = None;
        if complete {
            let from = total.saturating_sub(LAST_WORDS).max(1);
            let last = app.logs().read_lines(log, from, LAST_WORDS as usize).await?;
            exit = header(last.into()).next_back().map(|line| line.text);
        }
        Ok(Self {
            line: Some(line),
            exit,
        })
    }
}

/// Which lines the page shows; the last ones if nothing is said.
#[derive(serde::Deserialize)]
struct LogQuery {
    /// The first one's number as programs count, from 0.
    from: Option<u64>,
    /// One's number as people count, from 1: it and what is around it.
    line: Option<u64>,
}

impl LogQuery {
    fn start(&self) -> Option<u64> {
        self.from.or(self.line.map(|line| line.saturating_sub(1 + ABOVE)))
    }
}

async fn log(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<i64>, Error>,
    query: Result<Query<LogQuery>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "log", &visitor).still();
    let Query(query) = query?;
    let row = logs::find(&app, path?.0).await?;
    let (id, step) = (row.id, row.step);
    let step = step_of(&app, step).await?;
    let build = builds::find(&app, step.build.0).await?;
    let others = app
        .store()
        .logs(step.id)
        .await?
        .into_iter()
        .filter(|other| other.id != id);
    let others = others.map(|other| (other.id.0, other.name)).collect();
    let log = Log::of(&app, row).await?;
    let range = match query.start() {
        Some(from) => Range::from(app.logs().read_lines(id, from, LINES).await?),
        None => end(&app, id).await?,
    };
    let interruptions = interruptions(&app, &build, &step).await?;
    let totals = app.logs().totals(id).await?;
    let command = Command::of(&app, id, range.total, range.complete).await?;
    Ok(render(&LogPage {
        layout,
        build: build.id.0,
        owner: format!("{}/{}", build.builder, build.number),
        step,
        log,
        others,
        command,
        size: sized(totals.stdout + totals.stderr),
        lines: Shown::all(&range.lines),
        range,
        interruptions,
    }))
}

/// What interrupted the build while the step ran, the newest ones. Not among the lines: those are what was printed, and no
/// clock but the worker's knows where between them it would be.
async fn interruptions(app: &App, build: &Build, step: &Step) -> Result<Vec<Interruption>, Error> {
    const MOST: usize = 3;
    let Some(began) = step.started else {
        return Ok(Vec::new());
    };
    let mut found = Interruption::of_build(app, build).await?;
    // A clock that was turned back meanwhile says nothing of the end.
    let ended = step.finished.filter(|ended| *ended >= began);
    let ended = ended.map_or(i64::MAX, |time| time.0);
    found.retain(|away| away.touches(began.0, ended));
    found.drain(..found.len().saturating_sub(MOST));
    Ok(found)
}

/// The last lines: the end is what people come for. Fewer where they are so long that one answer does not hold them.
async fn end(app: &App, log: capstan_model::LogId) -> Result<Range, Error> {
    let mut count = LINES;
    loop {
        let total = app.logs().totals(log).await?.lines;
        let from = total.saturating_sub(count as u64);
        let range = Range::from(app.logs().read_lines(log, from, count).await?);
        let last = range.lines.last().map_or(total, |line| line.number + 1);
        if last >= total || count <= 1 {
            return Ok(range);
        }
        count /= 8;
    }
}

async fn step_of(app: &App, step: StepId) -> Result<Step, Error> {
    let found = app.store().step(step).await?;
    found.ok_or_else(|| Error::not_found("step", step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        for (ms, text) in [
            (0, "0.000"),
            (12_345, "12.345"),
            (125_001, "2:05.001"),
            (3_725_123, "1:02:05.123"),
        ] {
            assert_eq!(elapsed(ms), text);
        }
    }
}
