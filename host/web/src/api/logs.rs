//! Logs: what there is of one, its bytes, its lines, and following it while it grows.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use capstan_logs::{Channels, Lines};
use capstan_model::{Channel, LogId};
use capstan_store::Log as Row;
use futures::Stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Path, Query};
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

pub(crate) async fn find(app: &App, id: i64) -> Result<Row, Error> {
    app.store()
        .log(LogId(id))
        .await?
        .ok_or_else(|| Error::not_found("log", id))
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
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((plain, Body::from_stream(bytes)).into_response())
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
}

/// A range of lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Lines)]
pub(crate) struct Range {
    /// The number of the first line that was asked for.
    first: u64,
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
    elapsed_ms: u64,
    /// What is not UTF-8 is replaced; what exceeds 64 KiB is cut off and counted.
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn channel(&self) -> &'static str {
        match self.channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
            Channel::Header => "header",
        }
    }
}

impl From<Lines> for Range {
    fn from(found: Lines) -> Self {
        let line = |line: capstan_logs::Line| Line {
            number: line.number,
            channel: line.channel,
            elapsed_ms: line.elapsed_ms,
            text: line.to_text(),
        };
        let Lines {
            first,
            lines,
            total,
            complete,
        } = found;
        Self {
            first,
            lines: lines.into_iter().map(line).collect(),
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
    Ok(Json(
        app.logs()
            .read_lines(row.id, query.from, query.count.unwrap_or(PAGE))
            .await?
            .into(),
    ))
}

/// From which line on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowQuery {
    /// The first line's number; the header `Last-Event-ID` beats it.
    from: Option<i64>,
}

/// Follows a log: an event `lines` with each range (its id is the next line's number), an event `complete` at the end.
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
    let from = u64::try_from(from).map_err(|_| Error::invalid("expected a line's number from 0 on"))?;
    stream::respond(&app, events(app.clone(), row.id, from))
}

fn events(app: App, log: LogId, from: u64) -> impl Stream<Item = Event> + Send {
    async_stream::stream! {
        let logs = app.logs();
        let mut next = from;
        let Ok(mut bell) = logs.watch(log).await else { return };
        loop {
            bell.mark_unchanged();
            let range = match logs.read_lines(log, next, PAGE).await {
                Ok(found) => Range::from(found),
                Err(error) => {
                    tracing::error!(%error, %log, "could not follow a log");
                    return;
                }
            };
            if let Some(last) = range.lines.last() {
                next = last.number + 1;
                if let Some(event) = stream::event("lines", i64::try_from(next).ok(), &range) {
                    yield event;
                }
            } else if range.complete {
                if let Some(event) = stream::event("complete", i64::try_from(next).ok(), &range) {
                    yield event;
                }
                return;
            } else if bell.changed().await.is_err() {
                // The log left the memory; that happens once it is complete.
                let Ok(newer) = logs.watch(log).await else { return };
                bell = newer;
            }
        }
    }
}
