//! Retention: what there is, what the rules would remove, having them carried out, keeping a build; and what is said to whoever asks
//! for something that was removed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_master::{Forecast, Removed};
use capstan_model::{BuildId, Timestamp};
use capstan_store::Gone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{builds, check_reason};
use crate::extract::{Json as Body, Path};
use crate::guard::Operator;
use crate::{App, Error};

/// How much there is of something.
#[derive(Serialize, ToSchema)]
struct Weighed {
    count: u64,
    /// Of what has files.
    bytes: u64,
}

/// One time that the rules were carried out.
#[derive(Serialize, ToSchema)]
#[schema(as = RetentionRun)]
struct Run {
    /// Counts from 1 since the master was started.
    number: u64,
    began: i64,
    took_ms: u64,
    removed: BTreeMap<String, Weighed>,
    /// Why it stopped before its end, if it did.
    error: Option<String>,
}

/// What there is, what the rules would remove, and what they did last.
#[derive(Serialize, ToSchema)]
#[schema(as = Retention)]
pub(super) struct Retention {
    /// By what it is: `builds`, `logs`, `artefacts` …
    there: BTreeMap<String, Weighed>,
    /// The same of what would go now.
    would_remove: BTreeMap<String, Weighed>,
    /// Whether the rules are carried out by themselves.
    automatic: bool,
    /// How often, in milliseconds.
    every_ms: u64,
    /// How many rules there are for builds.
    rules: usize,
    #[serde(flatten)]
    progress: Progress,
}

/// How far it is with carrying the rules out.
#[derive(Serialize, ToSchema)]
#[schema(as = RetentionProgress)]
pub(super) struct Progress {
    /// What was removed so far, if they are being carried out now.
    running: Option<BTreeMap<String, Weighed>>,
    /// The last time.
    last: Option<Run>,
}

fn weighed(removed: Removed) -> BTreeMap<String, Weighed> {
    let sum = |(name, sum): (String, capstan_master::Weighed)| {
        let (count, bytes) = (sum.count, sum.bytes);
        (name, Weighed { count, bytes })
    };
    removed.into_iter().map(sum).collect()
}

impl From<Forecast> for Retention {
    fn from(forecast: Forecast) -> Self {
        Self {
            there: weighed(forecast.there),
            would_remove: weighed(forecast.would_remove),
            automatic: forecast.automatic,
            every_ms: forecast.every_ms,
            rules: forecast.rules,
            progress: forecast.progress.into(),
        }
    }
}

impl From<capstan_master::Progress> for Progress {
    fn from(progress: capstan_master::Progress) -> Self {
        Self {
            running: progress.running.map(weighed),
            last: progress.last.map(|run| Run {
                number: run.number,
                began: run.began.0,
                took_ms: run.took_ms,
                removed: weighed(run.removed),
                error: run.error,
            }),
        }
    }
}

/// Shows what there is and what the rules of retention would remove. Looks at everything, so it takes the token.
#[utoipa::path(get, path = "/retention", tag = "retention", security(("token" = [])),
    responses((status = 200, body = Retention)))]
pub(super) async fn get(State(app): State<App>, _operator: Operator) -> Result<Json<Retention>, Error> {
    Ok(Json(app.control().retention().await?.into()))
}

/// Shows how far it is with carrying the rules out.
#[utoipa::path(get, path = "/retention/progress", tag = "retention", security(("token" = [])),
    responses((status = 200, body = Progress)))]
pub(super) async fn progress(State(app): State<App>, _operator: Operator) -> Json<Progress> {
    Json(app.control().retention_progress().into())
}

/// The time that was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = RetentionAsked)]
pub(super) struct Asked {
    /// The number that it has in `last` when it is over.
    number: u64,
}

/// Has the rules of retention carried out now.
#[utoipa::path(post, path = "/retention/run", tag = "retention", security(("token" = [])),
    responses((status = 202, body = Asked)))]
pub(super) async fn run(State(app): State<App>, _operator: Operator) -> (StatusCode, Json<Asked>) {
    let number = app.control().run_retention();
    (StatusCode::ACCEPTED, Json(Asked { number }))
}

/// Why a build is kept.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Keep)]
pub(super) struct Keep {
    /// For people.
    reason: Option<String>,
}

/// Keeps a build whatever the rules of retention say.
#[utoipa::path(post, path = "/builds/{id}/keep", tag = "retention", security(("token" = [])),
    params(("id" = i64, Path)), request_body = Keep,
    responses((status = 204), (status = 404, body = crate::error::Body), (status = 410, body = crate::error::Body)))]
pub(super) async fn keep(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
    Body(body): Body<Keep>,
) -> Result<StatusCode, Error> {
    let reason = check_reason(body.reason.as_deref())?;
    let build = builds::find(&app, id).await?.id;
    app.control()
        .keep(build, Some(reason.unwrap_or("kept by the operator")))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Leaves a build to the rules of retention again.
#[utoipa::path(post, path = "/builds/{id}/unkeep", tag = "retention", security(("token" = [])),
    params(("id" = i64, Path)), responses((status = 204), (status = 404, body = crate::error::Body)))]
pub(super) async fn unkeep(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
) -> Result<StatusCode, Error> {
    let build = builds::find(&app, id).await?.id;
    app.control().keep(build, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// There is no build of that id: was there one?
pub(crate) async fn no_build(app: &App, id: i64) -> Result<Error, Error> {
    let gone = app.store().removed_build(BuildId(id)).await?;
    Ok(gone.map_or_else(
        || Error::not_found("build", id),
        |gone| removed(&format!("build {id}"), gone),
    ))
}

/// The same for builder and number.
pub(crate) async fn no_build_of(app: &App, builder: &str, number: u64) -> Result<Error, Error> {
    let name = format!("`{builder}/{number}`");
    let gone = match i64::try_from(number) {
        Ok(_) => app.store().removed_build_by_number(builder, number).await?,
        Err(_) => None,
    };
    Ok(gone.map_or_else(
        || Error::not_found("build", &name),
        |gone| removed(&format!("build {name}"), gone),
    ))
}

/// `build 7 was removed by retention, 90 days after it had ended`
pub(crate) fn removed(what: &str, gone: Gone) -> Error {
    let words = format!(
        "{what} was removed by retention, {} after its build had ended",
        after(gone.finished, gone.removed)
    );
    Error::new(StatusCode::GONE, "removed", words)
        .hint("[retention] in capstan.toml says how long what is kept; `capstan build keep` keeps a build")
}

fn after(finished: Timestamp, removed: Timestamp) -> String {
    const DAY: u64 = 86_400_000;
    match removed.since(finished) {
        ms @ DAY.. => capstan_model::counted(ms / DAY, "day"),
        ms => crate::pages::span(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_says_since_when() {
        let gone = |removed| Gone {
            build: BuildId(7),
            finished: Timestamp(1000),
            removed: Timestamp(removed),
        };
        let words = |removed_at| removed("build 7", gone(removed_at)).message().to_owned();
        assert_eq!(
            words(90 * 86_400_000 + 5000),
            "build 7 was removed by retention, 90 days after its build had ended"
        );
        assert_eq!(
            words(61_000),
            "build 7 was removed by retention, 1 min 0 s after its build had ended"
        );
        assert_eq!(removed("build 7", gone(61_000)).status(), StatusCode::GONE);
    }
}
