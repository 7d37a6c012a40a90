//! What pages load: embedded in the program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::App;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const SHEET: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

pub(super) fn router() -> Router<App> {
    let assets = [
        ("/assets/style.css", SHEET, include_str!("../../assets/style.css")),
        ("/assets/live.js", SCRIPT, include_str!("../../assets/live.js")),
        ("/assets/log.js", SCRIPT, include_str!("../../assets/log.js")),
        ("/assets/mark.svg", IMAGE, include_str!("../../assets/mark.svg")),
    ];
    assets
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(async move || asset(kind, text)))
        })
}

/// Always asked for again: after an upgrade of the master, pages and scripts must fit each other.
fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")],
        text,
    )
}
