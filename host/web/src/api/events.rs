//! The feed of everything that happens on the farm.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use capstan_model::EventId;
use capstan_store::{Event as Row, EventFilter};
use futures::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::extract::Query;
use crate::{App, Error, stream};

/// Events that are read at a time.
const BATCH: u32 = 500;

/// Something happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct Happened {
    id: i64,
    at: i64,
    /// `build.started`, `step.finished` …
    kind: String,
    builder: Option<String>,
    build: Option<i64>,
    step: Option<i64>,
    request: Option<i64>,
    /// What else there is to say, by kind.
    payload: Value,
}

impl From<Row> for Happened {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            at: row.at.0,
            kind: row.kind,
            builder: row.builder,
            build: row.build.map(|id| id.0),
            step: row.step.map(|id| id.0),
            request: row.request.map(|id| id.0),
            payload: row.payload,
        }
    }
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowQuery {
    /// The last event that is known; the header `Last-Event-ID` beats it. If absent, only what happens from now on.
    after: Option<i64>,
    /// Only of this builder.
    builder: Option<String>,
    /// Only of this build.
    build: Option<i64>,
}

/// Follows the feed: the event's name is its kind, its id can be resumed from.
#[utoipa::path(get, path = "/events", tag = "farm", params(FollowQuery),
    responses((status = 200, body = Happened, content_type = "text/event-stream")))]
pub(super) async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<FollowQuery>,
) -> Result<Response, Error> {
    let after = match stream::resume(&headers, query.after)? {
        Some(after) => EventId(after),
        None => app.store().last_event_id().await?,
    };
    let filter = EventFilter {
        builder: query.builder,
        build: query.build.map(Into::into),
        ..EventFilter::default()
    };
    stream::respond(&app, events(app.clone(), after, filter))
}

fn events(app: App, mut after: EventId, filter: EventFilter) -> impl Stream<Item = Event> + Send {
    async_stream::stream! {
        let mut bell = app.store().bell();
        loop {
            bell.mark_unchanged();
            let rows = match app.store().events_after(after, &filter, BATCH).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(%error, "could not follow the events");
                    return;
                }
            };
            let caught_up = rows.is_empty();
            for row in rows {
                after = row.id;
                let happened = Happened::from(row);
                if let Some(event) = stream::event(&happened.kind, Some(happened.id), &happened) {
                    yield event;
                }
            }
            if caught_up && bell.changed().await.is_err() {
                return;
            }
        }
    }
}
