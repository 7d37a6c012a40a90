//! The page of one change: what it says, which files it touches, and what became of it.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_model::ChangeId;

use super::{Fault, Layout, format, glance, render};
use crate::api::builds::Build;
use crate::api::changes::{self, Change};
use crate::extract::Path;
use crate::guard::Visitor;
use crate::{App, Error};

/// Builds that are listed; a change of a large farm leads to some hundred.
const BUILDS: u32 = 200;
/// Files that are listed.
const FILES: usize = 500;

pub(super) fn router() -> Router<App> {
    Router::new().route("/changes/{id}", get(change))
}

#[derive(Template)]
#[template(path = "change.html")]
struct ChangePage {
    layout: Layout,
    change: Change,
    /// Newest first.
    builds: Vec<Build>,
}

impl ChangePage {
    /// How its builds ended: `2 success, 1 failure`.
    fn verdict(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for build in &self.builds {
            match counts.iter_mut().find(|(word, _)| *word == build.word()) {
                Some((_, count)) => *count += 1,
                None => counts.push((build.word(), 1)),
            }
        }
        let counts: Vec<_> = counts
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        counts.join(", ")
    }
}

async fn change(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<i64>, Error>,
) -> Result<Response, Fault> {
    let id = path?.0;
    let layout = Layout::new(&app, "change", &visitor);
    let change = Change::from(changes::find(&app, id).await?);
    let builds = app.store().builds_of_change(ChangeId(id), BUILDS).await?;
    Ok(render(&ChangePage {
        layout,
        change,
        builds: builds.into_iter().map(Build::from).collect(),
    }))
}
