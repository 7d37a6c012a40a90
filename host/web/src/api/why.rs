//! Why a request has not started: from the code that decides.

use axum::Json;
use axum::extract::State;
use capstan_master::{Hindrance, Queued, Running, Why};
use capstan_model::{Outcome, RequestId};
use capstan_store::{Request, RequestState};
use serde::Serialize;
use utoipa::ToSchema;

use super::requests;
use crate::extract::Path;
use crate::{App, Error};

/// How a request stands.
#[derive(Serialize, ToSchema)]
#[schema(as = WhyRequest)]
pub(super) struct Answer {
    request: i64,
    builder: String,
    /// `pending`, `claimed` or `complete`.
    state: &'static str,
    outcome: Option<String>,
    /// In one sentence, for people.
    text: String,
    /// Its place in the whole queue, from 1, while it waits.
    place: Option<usize>,
    /// While it waits: `unknown-builder`, `no-worker`, `hindered`, `busy`, `kept` (by a lock or a function), `with` (another
    /// request), `next`.
    reason: Option<&'static str>,
    /// Requests that come before it for the same workers.
    ahead: Option<usize>,
    /// The request that it becomes or became one build with.
    with: Option<i64>,
    /// The builds that it waits for; once it waits no more, those that served it.
    builds: Vec<Build>,
    /// The workers that could have taken it, and what keeps each.
    workers: Vec<Worker>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WhyBuild)]
struct Build {
    id: i64,
    builder: String,
    number: u64,
    worker: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WhyWorker)]
struct Worker {
    name: String,
    /// `never-joined`, `revoked`, `silent`, `paused`, `quarantined` or `lacks`.
    reason: &'static str,
    text: String,
}

/// Says why a request waits, or what became of it.
#[utoipa::path(get, path = "/requests/{id}/why", tag = "requests", params(("id" = i64, Path)),
    responses((status = 200, body = Answer)))]
pub(super) async fn why(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Answer>, Error> {
    // Asked first: one that gets a build meanwhile is shown with it.
    let queued = app.control().why(&[RequestId(id)]).await?.pop();
    let row = requests::find(&app, id).await?;
    let answer = match (row.state, queued) {
        (RequestState::Pending, Some(queued)) => waiting(row, queued),
        (RequestState::Pending, None) => about(row, "it starts at once".to_owned()),
        _ => served(&app, row).await?,
    };
    Ok(Json(answer))
}

fn about(row: Request, text: String) -> Answer {
    Answer {
        request: row.id.0,
        builder: row.builder,
        state: row.state.as_str(),
        outcome: row.outcome.map(|outcome| outcome.to_string()),
        text,
        place: None,
        reason: None,
        ahead: None,
        with: None,
        builds: Vec::new(),
        workers: Vec::new(),
    }
}

fn waiting(row: Request, queued: Queued) -> Answer {
    let Queued { place, why, .. } = queued;
    let mut answer = about(row, why.to_string());
    answer.place = Some(place);
    answer.reason = Some(why.kind());
    match why {
        Why::Busy { builds, ahead } => {
            answer.ahead = Some(ahead);
            answer.builds = builds.into_iter().map(Build::from).collect();
        }
        Why::Hindered(workers) => answer.workers = workers.into_iter().map(Worker::from).collect(),
        Why::With(older) => answer.with = Some(older.0),
        Why::UnknownBuilder | Why::NoWorker | Why::Kept(_) | Why::Next => {}
    }
    answer
}

/// One that waits no more: which build served it, and whether that was made for another one.
async fn served(app: &App, row: Request) -> Result<Answer, Error> {
    let (own, last) = (row.id, row.builds.last().copied());
    let Some(build) = (match last {
        Some(id) => app.store().build(id).await?,
        None => None,
    }) else {
        let text = alone(&row);
        return Ok(about(row, text));
    };
    // It may have waited for another build when it was cancelled.
    if row.outcome == Some(Outcome::Cancelled) && build.outcome == Some(Outcome::Retry) {
        let text = format!(
            "{}; before, build {}/{} had to be done again",
            alone(&row),
            build.builder,
            build.number
        );
        return Ok(about(row, text));
    }
    // The newest is what was built.
    let with = build
        .requests
        .iter()
        .max()
        .copied()
        .filter(|newest| *newest != own);
    let name = format!("{}/{}", build.builder, build.number);
    let mut text = match build.outcome {
        None => format!("build {name} runs it on {}", build.worker),
        Some(outcome) => format!("build {name} ended: {outcome}"),
    };
    if let Some(newest) = with {
        text += &format!("; it was made for request {newest}, with which this one was merged");
    }
    let mut answer = about(row, text);
    answer.with = with.map(|id| id.0);
    answer.builds.push(Build {
        id: build.id.0,
        builder: build.builder,
        number: build.number,
        worker: build.worker,
    });
    Ok(answer)
}

/// What became of a request that no build ended.
fn alone(row: &Request) -> String {
    match (&row.outcome, &row.note) {
        (Some(outcome), Some(note)) => format!("it ended without a build: {outcome} ({note})"),
        (Some(outcome), None) => format!("it ended without a build: {outcome}"),
        (None, _) => "it has a build".to_owned(),
    }
}

impl From<Running> for Build {
    fn from(build: Running) -> Self {
        Self {
            id: build.build.0,
            builder: build.builder,
            number: build.number,
            worker: build.worker,
        }
    }
}

impl From<(String, Hindrance)> for Worker {
    fn from((name, hindrance): (String, Hindrance)) -> Self {
        let reason = match hindrance {
            Hindrance::NeverJoined => "never-joined",
            Hindrance::Revoked => "revoked",
            Hindrance::Silent(_) => "silent",
            Hindrance::Paused(_) => "paused",
            Hindrance::Quarantined(_) => "quarantined",
            Hindrance::Lacks(_) | Hindrance::Unfit(_) => "lacks",
        };
        let text = hindrance.to_string();
        Self { name, reason, text }
    }
}
