//! Event streams (SSE): what they share.
//!
//! A stream reads from the store or the log up to what there is, then waits for a bell that carries no data. So there is
//! no hole between history and live, and a slow reader costs itself only.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;

use crate::{App, Error};

const PING: Duration = Duration::from_secs(15);

/// Answers with `events` until they or the server end.
pub(crate) fn respond(
    app: &App,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Result<Response, Error> {
    let permit = std::sync::Arc::clone(&app.0.streams)
        .try_acquire_owned()
        .map_err(|_| {
            Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "expected fewer event streams at a time",
            )
            .hint("close some, or read by page")
        })?;
    let end = app.0.shutdown.clone().cancelled_owned();
    let events = events.take_until(end).map(move |event| {
        let _open = &permit;
        Ok::<_, Infallible>(event)
    });
    let alive = KeepAlive::new().interval(PING).text("ping");
    // Proxies that collect an answer before they pass it on would show nothing.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(alive)).into_response())
}

/// One event. What cannot be encoded is left out and logged; nothing that is served here has such parts.
pub(crate) fn event(kind: &str, id: Option<i64>, data: &impl Serialize) -> Option<Event> {
    // A line's end in a kind would be a panic; kinds come from the store.
    let kind: String = kind.chars().filter(|c| !c.is_control()).collect();
    let event = Event::default().event(kind).json_data(data);
    let event = event
        .inspect_err(|error| tracing::error!(%error, "could not encode an event"))
        .ok()?;
    Some(match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    })
}

/// Where a reader that was cut off goes on: what it last saw beats what it first asked for.
pub(crate) fn resume(headers: &HeaderMap, asked: Option<i64>) -> Result<Option<i64>, Error> {
    let Some(last) = headers.get("last-event-id") else {
        return Ok(asked);
    };
    let last = last.to_str().ok().and_then(|id| id.parse().ok());
    last.map(Some)
        .ok_or_else(|| Error::invalid("expected a number in the header last-event-id"))
}
