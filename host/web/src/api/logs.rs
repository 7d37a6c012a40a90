//! Logs: what there is of one, its bytes, its lines, and following it while it grows.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use capstan_logs::{Channels, Lines};
use capstan_model::{Channel, LogId};
use capstan_store::Log as Row;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::retention;
use crate::extract::{Path, Query};
use crate::pages::ansi::{self, Span};
use crate::{App, Error, stream};

/// Lines of one answer when nobody says how many, and of one event.
const PAGE: usize = 1000;

/// A log of a step.
#[derive(Serialize, ToSchema)]
pub(crate) struct Log {
    pub(crate) id: i64,
    step: i64,
    pub(crate) name: String,
    /// Bytes as stored, with the frames around the output.
    length: u64,
    pub(crate) lines: u64,
    /// Whether nothing follows.
    pub(crate) complete: bool,
    /// Whether it is compressed and indexed.
    sealed: bool,
}

impl Log {
    /// A log as the store and the log store know it: while it grows, the log store knows more.
    pub(crate) async fn of(app: &App, row: Row) -> Result<Self, Error> {
        let (mut length, mut lines, mut complete) = (row.length, row.lines, row.complete);
        if !row.sealed {
            let progress = *app.logs().watch(row.id).await?.borrow();
            (length, lines, complete) = (progress.length, progress.lines, complete || progress.complete);
        }
        let (id, step, name, sealed) = (row.id.0, row.step.0, row.name, row.sealed);
        Ok(Self {
            id,
            step,
            name,
            length,
            lines,
            complete,
            sealed,
        })
    }
}

/// A complete log that has lost its end is an error: half of it would pass for all.
pub(crate) async fn find(app: &App, id: i64) -> Result<Row, Error> {
    let row = app.store().log(LogId(id)).await?;
    let row = row.ok_or_else(|| {
        Error::not_found("log", id).hint("if there was one, retention has removed it with its build")
    })?;
    if row.complete {
        let whole = app.logs().whole(row.id, row.length).await;
        if whole.is_err()
            && let Some(gone) = app.store().removed_log(row.id).await?
        {
            return Err(retention::removed(&format!("the log `{}`", row.name), gone));
        }
        whole?;
    }
    Ok(row)
}

/// Shows how much there is of a log.
#[utoipa::path(get, path = "/logs/{id}", tag = "logs", params(("id" = i64, Path)), responses((status = 200, body = Log)))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Log>, Error> {
    let row = find(&app, id).await?;
    Ok(Json(Log::of(&app, row).await?))
}

/// Which bytes of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RawQuery {
    /// `stdout`, `stderr` or `header`; if absent, `stdout` and `stderr` in the order in which they were seen.
    #[param(value_type = Option<String>)]
    channel: Option<Channel>,
    /// If present, a browser saves it as a file.
    download: Option<String>,
}

/// Gives the bytes of a log as they were printed, up to what there is now.
#[utoipa::path(get, path = "/logs/{id}/raw", tag = "logs", params(("id" = i64, Path), RawQuery),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn raw(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<RawQuery>,
) -> Result<Response, Error> {
    let row = find(&app, id).await?;
    let bytes = app
        .logs()
        .raw(row.id, query.channel.map_or(Channels::OUTPUT, Channels::only))
        .await?;
    let plain = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    let saved = query
        .download
        .map(|_| (header::CONTENT_DISPOSITION, attachment(&row)));
    let headers = HeaderMap::from_iter(saved.into_iter().chain([plain]));
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// `stdio` of log 7 is saved as `stdio-7.txt`; a name that could mean something else loses that.
fn attachment(row: &Row) -> HeaderValue {
    let harmless = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = row.name.chars().filter(harmless).take(100).collect();
    let name = name.trim_start_matches('.');
    HeaderValue::from_str(&format!("attachment; filename=\"{name}-{}.txt\"", row.id))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// Which lines of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LinesQuery {
    /// The first line's number, from 0.
    #[serde(default)]
    from: u64,
    /// How many; 1000 if absent, 10,000 at most.
    count: Option<usize>,
    /// Whether each line has `spans`: what a terminal would show of it.
    #[serde(default)]
    styled: bool,
}

/// A range of lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Lines)]
pub(crate) struct Range {
    /// The number of the first line that was asked for.
    pub(crate) first: u64,
    /// Fewer than asked for at the end of the log and when they are very long.
    pub(crate) lines: Vec<Line>,
    /// How many lines there are now.
    pub(crate) total: u64,
    /// Whether the log has all its lines.
    pub(crate) complete: bool,
}

/// A line of a log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Line {
    pub(crate) number: u64,
    /// `stdout`, `stderr` or `header`.
    #[schema(value_type = String)]
    channel: Channel,
    /// When it began, in milliseconds since the command started.
    pub(crate) elapsed_ms: u64,
    /// What is not UTF-8 is replaced; what exceeds 64 KiB is cut off and counted.
    pub(crate) text: String,
    /// If asked for: what a terminal would show of it, as `[class, text]` or `[class, text, link]`. The classes are
    /// those of the pages: `f0` to `f15` and `g0` to `g15` for the colours, `bold`, `dim`, `italic`, `underline`, `strike`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<String>>>)]
    spans: Option<Vec<Span>>,
    /// How much of `text` is the line's own; a remark about what was cut off may follow.
    #[serde(skip)]
    own: usize,
}

impl Line {
    pub(crate) fn channel(&self) -> &'static str {
        match self.channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
            Channel::Header => "header",
        }
    }

    /// What a terminal would show of it.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let (own, remark) = self.text.split_at_checked(self.own).unwrap_or((&self.text, ""));
        let mut spans = ansi::spans(own);
        spans.extend(ansi::spans(remark));
        spans
    }
}

impl Line {
    /// Whether it has this text as a terminal would show it; `text` is in small letters unless `exact`.
    fn says(&self, text: &str, exact: bool) -> bool {
        let shown = if self.text.bytes().any(|byte| byte < b' ') {
            Cow::Owned(self.spans().into_iter().map(|span| span.text).collect::<String>())
        } else {
            Cow::Borrowed(self.text.as_str())
        };
        if exact {
            shown.contains(text)
        } else {
            shown.to_lowercase().contains(text)
        }
    }
}

impl From<capstan_logs::Line> for Line {
    fn from(line: capstan_logs::Line) -> Self {
        let text = line.to_text();
        let own = match line.omitted {
            0 => text.len(),
            _ => String::from_utf8_lossy(&line.text).len(),
        };
        let capstan_logs::Line {
            number,
            channel,
            elapsed_ms,
            ..
        } = line;
        Self {
            number,
            channel,
            elapsed_ms,
            text,
            spans: None,
            own,
        }
    }
}

impl Range {
    /// Says of each line what a terminal would show of it.
    fn styled(mut self, wanted: bool) -> Self {
        for line in self.lines.iter_mut().filter(|_| wanted) {
            line.spans = Some(line.spans());
        }
        self
    }
}

impl From<Lines> for Range {
    fn from(found: Lines) -> Self {
        let Lines {
            first,
            lines,
            total,
            complete,
        } = found;
        Self {
            first,
            lines: lines.into_iter().map(Line::from).collect(),
            total,
            complete,
        }
    }
}

/// Gives a range of a log's lines.
#[utoipa::path(get, path = "/logs/{id}/lines", tag = "logs", params(("id" = i64, Path), LinesQuery),
    responses((status = 200, body = Range)))]
pub(super) async fn lines(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<LinesQuery>,
) -> Result<Json<Range>, Error> {
    let row = find(&app, id).await?;
    let count = query.count.unwrap_or(PAGE);
    let found = app.logs().read_lines(row.id, query.from, count).await?;
    Ok(Json(Range::from(found).styled(query.styled)))
}

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// A part of a line as a terminal would show it. Large and small letters are the same unless it has large ones.
    text: String,
    /// The first line's number, from 0.
    #[serde(default)]
    from: u64,
}

/// Where it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Found {
    /// The number of the first line that has it.
    line: Option<u64>,
    /// Where to go on: there are more lines than one call looks at.
    next: Option<u64>,
}

/// Looks for a text in a log's lines: at most at 200,000 lines or 32 MiB of them per call, whichever is less.
#[utoipa::path(get, path = "/logs/{id}/search", tag = "logs", params(("id" = i64, Path), SearchQuery),
    responses((status = 200, body = Found)))]
pub(super) async fn search(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Found>, Error> {
    const LINES: u64 = 200_000;
    const BYTES: usize = 32 * 1024 * 1024;
    const BATCH: usize = 10_000;
    if query.text.is_empty() || query.text.len() > 1000 {
        return Err(Error::invalid("expected a text of 1 to 1000 bytes to look for"));
    }
    let row = find(&app, id).await?;
    let exact = query.text.chars().any(char::is_uppercase);
    let (mut next, mut bytes) = (query.from, 0);
    while next < query.from.saturating_add(LINES) && bytes < BYTES {
        let range = Range::from(app.logs().read_lines(row.id, next, BATCH).await?);
        let Some(last) = range.lines.last() else {
            return Ok(Json(Found {
                line: None,
                next: None,
            }));
        };
        if let Some(line) = range.lines.iter().find(|line| line.says(&query.text, exact)) {
            let line = Some(line.number);
            return Ok(Json(Found { line, next: None }));
        }
        next = last.number + 1;
        bytes += range.lines.iter().map(|line| line.text.len()).sum::<usize>();
    }
    let next = Some(next);
    Ok(Json(Found { line: None, next }))
}

/// From which line on, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowQuery {
    /// The first line's number; the header `Last-Event-ID` beats it.
    from: Option<i64>,
    /// Whether each line has `spans`: what a terminal would show of it.
    #[serde(default)]
    styled: bool,
    /// Whether a reader that is behind goes on with the newest lines instead of all: `first` says where.
    #[serde(default)]
    newest: bool,
}

/// Follows a log: an event `lines` with each range (its id is the next line's number), an event `complete` at the end.
///
/// Lines that are printed one soon after another come together: about twenty events a second, however fast a log grows.
#[utoipa::path(get, path = "/logs/{id}/follow", tag = "logs", params(("id" = i64, Path), FollowQuery),
    responses((status = 200, body = Range, content_type = "text/event-stream")))]
pub(super) async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Query(query): Query<FollowQuery>,
) -> Result<Response, Error> {
    let row = find(&app, id).await?;
    let from = stream::resume(&headers, query.from)?.unwrap_or(0);
    let next = u64::try_from(from).map_err(|_| Error::invalid("expected a line's number from 0 on"))?;
    let reader = Reader {
        log: row.id,
        next,
        styled: query.styled,
        newest: query.newest,
    };
    stream::respond(&app, events(app.clone(), reader))
}

/// Somebody who follows a log.
struct Reader {
    log: LogId,
    next: u64,
    styled: bool,
    newest: bool,
}

impl Reader {
    /// The next lines, if there are any yet.
    async fn read(&mut self, app: &App) -> Result<Range, Error> {
        let logs = app.logs();
        if self.newest {
            let lines = logs.totals(self.log).await?.lines;
            self.next = self.next.max(lines.saturating_sub(PAGE as u64));
        }
        let range = Range::from(logs.read_lines(self.log, self.next, PAGE).await?).styled(self.styled);
        self.next = range.lines.last().map_or(self.next, |line| line.number + 1);
        Ok(range)
    }

    fn event(&self, kind: &str, range: &Range) -> Option<Event> {
        stream::event(kind, i64::try_from(self.next).ok(), range)
    }
}

fn events(app: App, mut reader: Reader) -> impl Stream<Item = Event> + Send {
    async_stream::stream! {
        let Ok(mut bell) = app.logs().watch(reader.log).await else { return };
        let mut pace = Pace::new();
        loop {
            bell.mark_unchanged();
            let range = match reader.read(&app).await {
                Ok(range) => range,
                Err(error) => {
                    tracing::error!(error = error.message(), log = %reader.log, "could not follow a log");
                    return;
                }
            };
            if range.lines.is_empty() {
                if range.complete {
                    if let Some(event) = reader.event("complete", &range) {
                        yield event;
                    }
                    return;
                }
                if bell.changed().await.is_err() {
                    // The log left the memory; that happens once it is complete.
                    let Ok(newer) = app.logs().watch(reader.log).await else { return };
                    bell = newer;
                }
                continue;
            }
            if let Some(event) = reader.event("lines", &range) {
                yield event;
            }
            // Who is behind catches up as fast as the connection takes it.
            if reader.newest || reader.next == range.total {
                pace.wait().await;
            }
        }
    }
}

/// Spreads events over time: the first ones of a burst at once, then one in a while.
struct Pace {
    /// When the next event would be in time, had they been spread evenly.
    due: Instant,
}

impl Pace {
    /// Between events of a log that grows all the time. Half of it is what a line then waits in the middle.
    const GAP: Duration = Duration::from_millis(50);
    /// Events at once after some quiet.
    const BURST: u32 = 10;

    fn new() -> Self {
        Self { due: Instant::now() }
    }

    /// After an event: until the next one may come.
    async fn wait(&mut self) {
        let now = Instant::now();
        let earliest = now.checked_sub(Self::GAP * Self::BURST).unwrap_or(now);
        self.due = self.due.max(earliest) + Self::GAP;
        tokio::time::sleep_until(self.due).await;
    }
}
