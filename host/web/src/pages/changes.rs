//! The page of changes: what was pushed, and how the builds that took it ended.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_model::ChangeId;
use capstan_store::BuildGlance;
use serde::Deserialize;

use super::glance::{Word, dot_title};
use super::{Fault, Layout, format, render};
use crate::api::changes::{ListQuery, Page};
use crate::extract::Query;
use crate::guard::Visitor;
use crate::{App, Error};

/// Changes on a page.
const PAGE: u32 = 40;
/// Builds shown of one change.
const DOTS: usize = 24;

pub(super) fn router() -> Router<App> {
    Router::new().route("/changes", get(changes))
}

/// Which changes. An empty field of the form is none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ChangesQuery {
    branch: String,
    author: String,
    repository: String,
    before: Option<i64>,
}

impl ChangesQuery {
    fn list(&self) -> ListQuery {
        let text = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        ListQuery {
            branch: text(&self.branch),
            repository: text(&self.repository),
            author: text(&self.author),
            codebase: None,
            before: self.before,
            limit: Some(PAGE),
        }
    }

    fn is_filter(&self) -> bool {
        !(self.branch.is_empty() && self.author.is_empty() && self.repository.is_empty())
    }

    /// The filter's part of an address.
    fn filter(&self) -> String {
        format!(
            "branch={}&author={}&repository={}",
            format::encode(&self.branch),
            format::encode(&self.author),
            format::encode(&self.repository)
        )
    }
}

/// A build that took a change.
struct Taken {
    builder: String,
    build: BuildGlance,
}

impl Taken {
    fn title(&self, now: &i64) -> String {
        format!("{}/{}", self.builder, dot_title(&self.build, now))
    }
}

#[derive(Template)]
#[template(path = "changes.html")]
struct ChangesPage {
    layout: Layout,
    query: ChangesQuery,
    page: Page,
    taken: HashMap<i64, Vec<Taken>>,
    /// Whether a change source is configured.
    watched: bool,
}

impl ChangesPage {
    fn taken(&self, change: &i64) -> &[Taken] {
        self.taken.get(change).map_or(&[], Vec::as_slice)
    }
}

async fn changes(
    State(app): State<App>,
    visitor: Visitor,
    query: Result<Query<ChangesQuery>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "changes", &visitor);
    let Query(query) = query?;
    let page = Page::read(&app, query.list()).await?;
    let ids: Vec<_> = page.changes.iter().map(|change| ChangeId(change.id)).collect();
    let mut taken: HashMap<i64, Vec<Taken>> = HashMap::new();
    for (change, builder, build) in app.store().builds_of_changes(&ids).await? {
        taken.entry(change.0).or_default().push(Taken { builder, build });
    }
    Ok(render(&ChangesPage {
        layout,
        query,
        page,
        taken,
        watched: !app.control().plan().sources.is_empty(),
    }))
}
