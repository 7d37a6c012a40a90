//! Tells an open page when it is out of date. The page then fetches itself again, so what it shows is made in one place;
//! this stream carries no more than the newest event's id, from which a page that was cut off goes on.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use axum::routing::get;
use capstan_model::EventId;
use capstan_store::EventFilter;
use futures::Stream;
use serde::Deserialize;

use crate::extract::Query;
use crate::{App, Error, stream};

/// A busy farm puts a page out of date hundreds of times a second; nobody reads that fast.
const PAUSE: Duration = Duration::from_millis(300);
/// Events that are looked through at a time.
const BATCH: u32 = 1000;

pub(super) fn router() -> Router<App> {
    Router::new().route("/live", get(follow))
}

/// What a page is about, and the newest event that it knows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LiveQuery {
    after: i64,
    builder: Option<String>,
    build: Option<i64>,
}

async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<LiveQuery>, Error>,
) -> Result<Response, Error> {
    let Query(query) = query?;
    let after = stream::resume(&headers, Some(query.after))?.unwrap_or(query.after);
    let filter = EventFilter {
        builder: query.builder,
        build: query.build.map(Into::into),
        ..EventFilter::default()
    };
    stream::respond(&app, changes(app.clone(), after, filter))
}

fn changes(app: App, mut after: i64, filter: EventFilter) -> impl Stream<Item = Event> + Send {
    async_stream::stream! {
        let mut bell = app.store().bell();
        loop {
            let rung = *bell.borrow_and_update();
            let newest = match newest(&app, after, &filter, rung).await {
                Ok(newest) => newest,
                Err(error) => {
                    tracing::error!(%error, "could not follow the events");
                    return;
                }
            };
            if newest != after {
                after = newest;
                yield Event::default().event("change").id(after.to_string()).data("new");
                tokio::time::sleep(PAUSE).await;
            }
            if bell.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The newest event that matters to the page, or `after` if there is none. The bell alone answers for pages about all.
async fn newest(
    app: &App,
    mut after: i64,
    filter: &EventFilter,
    bell: i64,
) -> Result<i64, capstan_store::Error> {
    if *filter == EventFilter::default() {
        return Ok(bell);
    }
    loop {
        let rows = app.store().events_after(EventId(after), filter, BATCH).await?;
        let Some(last) = rows.last() else {
            return Ok(after);
        };
        after = last.id.0;
    }
}
