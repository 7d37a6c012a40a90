//! Plugins: every file that the master found, loaded or not.

use axum::Json;
use axum::extract::State;
use capstan_master::PluginStatus;
use capstan_model::plugin::Rights;
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
    /// What its manifest asks for, by capability.
    #[schema(value_type = Object)]
    asks: Rights,
    /// What the operator granted, by capability.
    #[schema(value_type = Object)]
    granted: Rights,
    /// Calls since the master was started.
    calls: u64,
    /// Calls that ended in a trap.
    traps: u64,
    /// Uses that were refused for want of a right.
    refusals: u64,
    /// Why it cannot be used.
    error: Option<String>,
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
            asks: status.asks,
            granted: status.granted,
            calls: status.calls,
            traps: status.traps,
            refusals: status.refusals,
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
