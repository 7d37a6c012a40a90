//! Plugins: every file that the master found, loaded or not.

use axum::Json;
use axum::extract::State;
use capstan_master::{PluginStatus, RefusedUse as Refused};
use capstan_model::plugin::{Limits, Rights, Side};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;

/// A plugin file.
#[derive(Serialize, ToSchema)]
struct Plugin {
    /// `built in`, or the file's name in the plugin folder.
    origin: String,
    /// `step`, `scheduler`, `change-source` or `reporter`.
    kind: Option<String>,
    name: Option<String>,
    version: Option<String>,
    description: String,
    /// SHA-256 of the file.
    digest: Option<String>,
    /// Whether configurations get this one.
    active: bool,
    /// `in-force`; `kept`: in force although the folder has another file, or none, in its place; `overridden` by another one of
    /// its kind and name; `waiting` until somebody accepts its rights; `refused`; `broken`.
    state: &'static str,
    /// Since when it is in force.
    since: Option<i64>,
    /// Why it is still in force although the folder says otherwise.
    note: Option<String>,
    /// What its manifest asks for, by capability.
    #[schema(value_type = Object)]
    asks: Rights,
    /// What the operator granted, by capability.
    #[schema(value_type = Object)]
    granted: Rights,
    /// The size of the file in bytes.
    size: Option<u64>,
    /// What one call may use: `memory_mib`, `call_ms`, `journal_rows`.
    #[schema(value_type = Object)]
    limits: Limits,
    /// Calls since this version was loaded. A step that waits without an instance makes several.
    calls: u64,
    /// Calls that ended without a good answer, traps among them.
    failures: u64,
    /// Calls that ended in a trap.
    traps: u64,
    /// The time of a call on average, without what it waited for, in microseconds.
    mean_us: u64,
    /// The longest of these times, in microseconds.
    longest_us: u64,
    /// Uses that were refused for want of a right.
    refusals: u64,
    /// The last values that were refused, the last first.
    refused: Vec<RefusedUse>,
    /// Why it cannot be used.
    error: Option<String>,
}

/// Something that a plugin was not allowed to use.
#[derive(Serialize, ToSchema)]
struct RefusedUse {
    /// `commands`, `http`, `git`, `secrets`, `files`, `mail` or `state`.
    right: &'static str,
    /// What it wanted to use.
    value: String,
    /// Who did not allow it: `manifest` or `operator`.
    #[schema(value_type = String)]
    side: Side,
    /// How often.
    count: u64,
    /// When it happened last.
    last: i64,
}

impl From<Refused> for RefusedUse {
    fn from(refused: Refused) -> Self {
        Self {
            right: refused.right.as_str(),
            value: refused.value,
            side: refused.side,
            count: refused.count,
            last: refused.last.0,
        }
    }
}

impl From<PluginStatus> for Plugin {
    fn from(status: PluginStatus) -> Self {
        Self {
            origin: status.origin,
            kind: status.kind.map(|kind| kind.to_string()),
            name: status.name,
            version: status.version,
            description: status.description,
            digest: status.digest.map(|digest| digest.to_string()),
            active: status.active,
            state: status.state.as_str(),
            since: status.since.map(|since| since.0),
            note: status.note,
            asks: status.asks,
            granted: status.granted,
            size: status.size,
            limits: status.limits,
            calls: status.calls,
            failures: status.failures,
            traps: status.traps,
            mean_us: status.mean_us,
            longest_us: status.longest_us,
            refusals: status.refusals,
            refused: status.refused.into_iter().map(RefusedUse::from).collect(),
            error: status.error,
        }
    }
}

/// Every plugin file.
#[derive(Serialize, ToSchema)]
#[schema(as = Plugins)]
pub(super) struct Page {
    plugins: Vec<Plugin>,
}

/// Lists the plugins, with the reason where one cannot be used.
#[utoipa::path(get, path = "/plugins", tag = "plugins", responses((status = 200, body = Page)))]
pub(super) async fn list(State(app): State<App>) -> Json<Page> {
    Json(Page {
        plugins: app.control().plugins().into_iter().map(Plugin::from).collect(),
    })
}
