//! The REST interface under `/api/v1`: JSON, times in milliseconds UTC, the OpenAPI document made from the handlers.

#![expect(
    unused_qualifications,
    reason = "what utoipa makes of `params(…)` names the traits in full"
)]

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{App, MAX_VALUES};

pub(crate) mod artefacts;
mod audit;
pub(crate) mod blame;
mod builders;
pub(crate) mod builds;
mod buildsets;
pub(crate) mod changes;
mod events;
pub(crate) mod family;
mod farm;
pub(crate) mod interruptions;
mod locks;
pub(crate) mod logs;
pub(crate) mod plugins;
mod replay;
pub(crate) mod reports;
pub(crate) mod requests;
pub(crate) mod retention;
mod schedulers;
pub(crate) mod steps;
mod why;
mod workers;

/// Rows of one page when nobody says how many.
const PAGE: u32 = 50;
/// Rows of one page at most.
const MAX_PAGE: u32 = 500;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Capstan",
        version = "1",
        description = "The interface of a Capstan master. Times are milliseconds \
        since 1970, UTC. Calls that change something need the control token as `Authorization: Bearer TOKEN`. \
        Answers with a status from 400 on have the body `{\"error\":{\"code\",\"message\",\"hint\"}}`."
    ),
    components(schemas(crate::error::Body))
)]
struct Document;

/// The routes, and the document that describes them.
fn routes() -> (Router<App>, utoipa::openapi::OpenApi) {
    // They are looked at by their own limits, which are named.
    let with_properties = OpenApiRouter::new()
        .routes(routes!(builders::force))
        .routes(routes!(schedulers::call))
        .routes(routes!(changes::list, changes::send))
        .layer(DefaultBodyLimit::max(MAX_VALUES));
    let resources = OpenApiRouter::new()
        .merge(with_properties)
        .routes(routes!(builds::list))
        .routes(routes!(builds::get))
        .routes(routes!(builds::stop))
        .routes(routes!(builds::rebuild))
        .routes(routes!(blame::blame))
        .routes(routes!(blame::patch))
        .routes(routes!(retention::get))
        .routes(routes!(retention::progress))
        .routes(routes!(retention::run))
        .routes(routes!(retention::keep))
        .routes(routes!(retention::unkeep))
        .routes(routes!(buildsets::get))
        .routes(routes!(buildsets::cancel))
        .routes(routes!(buildsets::rebuild))
        .routes(routes!(artefacts::list))
        .routes(routes!(artefacts::get))
        .routes(routes!(builders::list))
        .routes(routes!(builders::get))
        .routes(routes!(builders::build))
        .routes(routes!(steps::logs))
        .routes(routes!(steps::journal))
        .routes(routes!(replay::rows))
        .routes(routes!(replay::component))
        .routes(routes!(logs::get))
        .routes(routes!(logs::raw))
        .routes(routes!(logs::lines))
        .routes(routes!(logs::search))
        .routes(routes!(logs::follow))
        .routes(routes!(events::follow))
        .routes(routes!(changes::get))
        .routes(routes!(requests::list))
        .routes(routes!(requests::get))
        .routes(routes!(requests::cancel))
        .routes(routes!(why::why))
        .routes(routes!(schedulers::list))
        .routes(routes!(schedulers::describe))
        .routes(routes!(schedulers::called))
        .routes(routes!(schedulers::enable))
        .routes(routes!(schedulers::disable))
        .routes(routes!(locks::list))
        .routes(routes!(workers::list))
        .routes(routes!(workers::get))
        .routes(routes!(workers::invite))
        .routes(routes!(workers::pause))
        .routes(routes!(workers::unpause))
        .routes(routes!(workers::revoke))
        .routes(routes!(plugins::list))
        .routes(routes!(audit::audit))
        .routes(routes!(reports::list))
        .routes(routes!(reports::retry))
        .routes(routes!(reports::retry_all))
        .routes(routes!(farm::health))
        .routes(routes!(farm::plan))
        .routes(routes!(farm::reload));
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", resources)
        .split_for_parts();
    // A part with slashes is the router's own notation.
    let paths = std::mem::take(&mut document.paths.paths).into_iter();
    document.paths.paths = paths
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    for (tag, operation) in document.paths.paths.values_mut().flat_map(operations) {
        // Handlers are called `list`, `get` … in each file; generated clients need names that are unique.
        operation.operation_id = operation.operation_id.take().map(|name| format!("{tag}_{name}"));
    }
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(token));
    (router, document)
}

/// The operations of a path with their first tags.
fn operations(path: &mut PathItem) -> impl Iterator<Item = (String, &mut Operation)> {
    [&mut path.get, &mut path.post]
        .into_iter()
        .flatten()
        .map(|operation| {
            let tag = operation
                .tags
                .iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default();
            (tag, operation)
        })
}

/// The OpenAPI document, as it is served.
pub fn document() -> String {
    routes().1.to_pretty_json().unwrap_or_default()
}

pub(crate) fn router() -> Router<App> {
    let (router, document) = routes();
    let text = document.to_pretty_json().unwrap_or_default();
    let answer = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text).into_response() }
    };
    router.route("/api/v1/openapi.json", get(answer))
}

/// The longest reason, in bytes.
const MAX_REASON: usize = 2000;

/// A reason that somebody gave: kept with what it is about, shown on pages.
pub(crate) fn check_reason(reason: Option<&str>) -> Result<Option<&str>, crate::Error> {
    match reason {
        Some(reason) if reason.len() > MAX_REASON => Err(crate::Error::invalid(format!(
            "expected a reason of at most {MAX_REASON} bytes, found {}",
            reason.len()
        ))
        .field("reason")),
        reason => Ok(reason),
    }
}

/// How many rows to read for a page, one more than shown: whether it is there says whether there is a next page.
fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)
}
