//! The audit of rights: what plugins were refused, and where.

use axum::Json;
use axum::extract::State;
use capstan_model::plugin::{Kind, Rights, Side};
use capstan_store::Refusal as Row;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page;
use crate::extract::{Path, Query};
use crate::{App, Error};

/// Something that a plugin was refused. The same within an hour is counted in one.
#[derive(Serialize, ToSchema)]
struct Refusal {
    id: i64,
    /// SHA-256 of the plugin's file.
    digest: String,
    /// `commands`, `http`, `git`, `secrets`, `files`, `mail` or `state`.
    right: &'static str,
    /// What it wanted to use; a request without its query.
    value: String,
    /// Who did not allow it: `manifest` or `operator`.
    side: &'static str,
    /// The name in the configuration of what ran it; of a step, its name.
    owner: String,
    /// The builder whose build ran or was reported.
    builder: Option<String>,
    /// The build.
    build: Option<i64>,
    /// The builder that the build is shown under: `builder`, or a virtual one.
    shown_under: Option<String>,
    /// The build's number within that.
    number: Option<u64>,
    /// The step.
    step: Option<i64>,
    /// The report that was delivered.
    delivery: Option<String>,
    /// How often.
    times: u64,
    first: i64,
    last: i64,
    /// The lines for capstan.toml that grant it; `null` where the plugin's manifest does not ask for it.
    remedy: Option<String>,
}

impl Refusal {
    fn new(row: Row, granted: &Rights) -> Self {
        let refused = row.refused;
        let refusal = capstan_model::plugin::Refusal {
            plugin: refused.name,
            right: refused.right,
            value: refused.value.clone(),
            side: refused.side,
        };
        Self {
            id: row.id,
            digest: refused.digest.to_string(),
            right: refused.right.as_str(),
            remedy: refusal.remedy(granted),
            value: refused.value,
            side: match refused.side {
                Side::Manifest => "manifest",
                Side::Operator => "operator",
            },
            owner: refused.owner,
            builder: refused.builder,
            build: row.build.as_ref().map(|(build, ..)| build.0),
            number: row.build.as_ref().map(|(.., number)| *number),
            shown_under: row.build.map(|(_, name, _)| name),
            step: refused.step.map(|step| step.0),
            delivery: refused.delivery,
            times: refused.times,
            first: row.began.0,
            last: refused.at.0,
        }
    }
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Limit {
    /// At most so many; 50 if it is not given, 500 at most.
    limit: Option<u32>,
}

/// The audit of one plugin, the last refusal first.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(super) struct Page {
    refusals: Vec<Refusal>,
}

/// Lists what a plugin was refused.
#[utoipa::path(
    get,
    path = "/plugins/{kind}/{name}/audit",
    tag = "plugins",
    params(("kind" = String, Path, description = "`step`, `scheduler`, `change-source` or `reporter`"),
        ("name" = String, Path, description = "The plugin's name"), Limit),
    responses((status = 200, body = Page), (status = 404, body = crate::error::Body))
)]
pub(super) async fn audit(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
    Query(query): Query<Limit>,
) -> Result<Json<Page>, Error> {
    let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    let kind = known.ok_or_else(|| Error::not_found("kind of plugin", &kind))?;
    let rows = app
        .store()
        .refusals(Some((kind, &name)), page(query.limit))
        .await?;
    let mut plugins = app.control().plugins().into_iter();
    let granted = plugins.find(|plugin| plugin.name.as_deref() == Some(&name));
    let granted = granted.map(|plugin| plugin.granted).unwrap_or_default();
    Ok(Json(Page {
        refusals: rows.into_iter().map(|row| Refusal::new(row, &granted)).collect(),
    }))
}
