//! The master itself: whether it lives, the plan in force, and reloading its configuration.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use capstan_model::Digest;
use capstan_model::plan::Plan;
use serde::Serialize;
use utoipa::ToSchema;

use crate::guard::Operator;
use crate::{App, Error};

/// That the master lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
    /// The newest event's id: where to start following `/events` from now on.
    event: i64,
    /// How often a master was started on this farm.
    epoch: u64,
    /// The version of the program.
    version: String,
    /// The farm's title.
    title: String,
    /// When this master was started.
    started: i64,
}

/// Says that the master lives and can read its store.
#[utoipa::path(get, path = "/health", tag = "farm", responses((status = 200, body = Health)))]
pub(super) async fn health(State(app): State<App>) -> Result<Json<Health>, Error> {
    let event = app.store().last_event_id().await?.0;
    let about = app.control().about();
    let (epoch, version, title, started) = (about.epoch, about.version, about.title, about.started.0);
    Ok(Json(Health {
        status: "ok",
        event,
        epoch,
        version,
        title,
        started,
    }))
}

/// The plan in force.
#[derive(Serialize, ToSchema)]
pub(super) struct InForce {
    /// What the configuration means, without the contents of its files.
    #[schema(value_type = Object)]
    plan: Plan,
    /// The files that it was made from, and their digests.
    #[schema(value_type = BTreeMap<String, String>)]
    files: BTreeMap<String, Digest>,
}

/// Shows the plan in force. It names what steps run, so it takes the token.
#[utoipa::path(get, path = "/plan", tag = "farm", security(("token" = [])), responses((status = 200, body = InForce)))]
pub(super) async fn plan(State(app): State<App>, _operator: Operator) -> Json<InForce> {
    let mut plan = (*app.control().plan()).clone();
    let files = std::mem::take(&mut plan.bundle.files).into_iter();
    let files = files.map(|(path, bytes)| (path, Digest::of(&bytes))).collect();
    Json(InForce { plan, files })
}

/// What a reload changed.
#[derive(Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// What was added, removed or changed, a line each.
    changes: Vec<String>,
    /// What is allowed but looks wrong.
    warnings: Vec<String>,
}

/// Reads plugins and configuration again and applies them, all or nothing. Running builds are not touched.
#[utoipa::path(post, path = "/reload", tag = "farm", security(("token" = [])), responses(
    (status = 200, body = Reloaded),
    (status = 422, body = crate::error::Body, description = "the configuration has faults; nothing was changed")
))]
pub(super) async fn reload(State(app): State<App>, _operator: Operator) -> Result<Json<Reloaded>, Error> {
    let reloaded = app.control().reload().await?;
    Ok(Json(Reloaded {
        changes: reloaded.changes,
        warnings: reloaded.warnings,
    }))
}
