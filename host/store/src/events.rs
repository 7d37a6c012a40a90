//! The event feed: what the server-sent events are made of. Each transaction that changes something visible adds its
//! events itself, so that the feed tells all that happened and nothing else.

use capstan_model::{BuildId, EventId, RequestId, StepId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dialect::Sql;
use crate::sql::{Conn, Json, Row, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// Something visible happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The place in the feed.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What: `build.started`, `step.updated` …
    pub kind: String,
    /// The builder, if it is about one.
    pub builder: Option<String>,
    /// The build, if it is about one.
    pub build: Option<BuildId>,
    /// The step, if it is about one.
    pub step: Option<StepId>,
    /// The request, if it is about one.
    pub request: Option<RequestId>,
    /// What else there is to say, by kind.
    pub payload: Value,
}

/// Which events to read: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this builder.
    pub builder: Option<String>,
    /// Only of this build.
    pub build: Option<BuildId>,
    /// Only of this step.
    pub step: Option<StepId>,
    /// Only of this request.
    pub request: Option<RequestId>,
}

macro_rules! events {
    ($index:literal) => {
        concat!(
            "SELECT id, at, kind, builder, build, step, request, payload FROM events WHERE id > $1",
            $index,
            " AND ($3 IS NULL OR build = $3) AND ($4 IS NULL OR request = $4) AND ($5 IS NULL OR builder = $5)
             AND ($6 IS NULL OR step = $6) ORDER BY id LIMIT $2"
        )
    };
}

impl EventFilter {
    /// The statement that reads them, by the index that says most. An event of a step is one of its build.
    fn statement(&self) -> &'static str {
        match self {
            Self { build: Some(_), .. } => events!(" AND build = $3"),
            Self { step: Some(_), .. } => {
                events!(" AND build = (SELECT steps.build FROM steps WHERE steps.id = $6)")
            }
            Self { request: Some(_), .. } => events!(" AND request = $4"),
            Self { builder: Some(_), .. } => events!(" AND builder = $5"),
            _ => events!(""),
        }
    }
}

/// An event in the making.
pub(crate) struct Draft {
    kind: String,
    builder: Option<String>,
    build: Option<BuildId>,
    step: Option<StepId>,
    request: Option<RequestId>,
    payload: Value,
}

impl Draft {
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            builder: None,
            build: None,
            step: None,
            request: None,
            payload: json!({}),
        }
    }

    pub fn builder(mut self, name: &str) -> Self {
        self.builder = Some(name.to_owned());
        self
    }

    pub fn build(mut self, id: BuildId) -> Self {
        self.build = Some(id);
        self
    }

    pub fn step(mut self, id: StepId) -> Self {
        self.step = Some(id);
        self
    }

    pub fn request(mut self, id: RequestId) -> Self {
        self.request = Some(id);
        self
    }

    /// The request that it is about.
    pub fn about(&self) -> Option<RequestId> {
        self.request
    }

    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = payload;
        self
    }

    /// Adds the event to the transaction. It is written before the commit, with the others of that: one statement for all.
    pub fn add(self, tx: &mut Tx, now: Timestamp) {
        // What a step does is for those who look on: no request, report or event for a scheduler comes with it.
        if self.step.is_none() {
            tx.ring_for_work();
        }
        tx.events.push((now, self));
    }
}

/// Writes events in their order; answers the id of the newest.
pub(crate) async fn write(
    conn: &mut Conn,
    events: Vec<(Timestamp, Draft)>,
) -> Result<Option<EventId>, Error> {
    const INSERT: Sql = Sql {
        sqlite: "INSERT INTO events (at, kind, builder, build, step, request, payload)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
                 FROM json_each($1) ORDER BY key RETURNING id",
        postgres: "INSERT INTO events (at, kind, builder, build, step, request, payload)
                   SELECT (event ->> 0)::bigint, event ->> 1, event ->> 2, (event ->> 3)::bigint, (event ->> 4)::bigint,
                   (event ->> 5)::bigint, event ->> 6
                   FROM json_array_elements($1::json) WITH ORDINALITY AS list (event, place) ORDER BY place RETURNING id",
    };
    let rows = events.into_iter().map(|(at, event)| {
        let (build, step, request) = (event.build, event.step, event.request);
        let payload = event.payload.to_string();
        (at, event.kind, event.builder, build, step, request, payload)
    });
    let rows: Vec<_> = rows.collect();
    let mut newest = None;
    for row in conn.rows(INSERT, args![Json(&rows)]).await? {
        newest = newest.max(Some(row.get("id")?));
    }
    Ok(newest)
}

pub(crate) async fn last(conn: &mut Conn) -> Result<i64, Error> {
    conn.one("SELECT COALESCE(MAX(id), 0) AS last FROM events", args![])
        .await?
        .get("last")
}

impl Store {
    /// The events after that one, oldest first, at most `limit`. Who asks for those of a build, a builder or a request
    /// is not held up by the others.
    pub async fn events_after(
        &self,
        after: EventId,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let sql = filter.statement();
        let args = args![
            after,
            limit,
            filter.build,
            filter.request,
            filter.builder.as_deref(),
            filter.step
        ];
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, args).await?;
        rows.iter().map(event).collect()
    }

    /// The newest event's id; 0 when there is none.
    pub async fn last_event_id(&self) -> Result<EventId, Error> {
        last(&mut self.reader().await?).await.map(EventId)
    }

    /// Adds an event of the master itself: a configuration was loaded, a plugin failed …
    pub async fn record_event(&self, kind: &str, payload: Value, now: Timestamp) -> Result<(), Error> {
        let draft = Draft::new(kind).payload(payload);
        self.write(move |tx| {
            draft.add(tx, now);
            std::future::ready(Ok(())).boxed()
        })
        .await
    }
}

fn event(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        id: row.get("id")?,
        at: row.get("at")?,
        kind: row.get("kind")?,
        builder: row.maybe("builder")?,
        build: row.maybe("build")?,
        step: row.maybe("step")?,
        request: row.maybe("request")?,
        payload: row.get::<Json<Value>>("payload")?.0,
    })
}
