//! The page of all builders, filtered by tag, name and state.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::glance::{self, Glance, Word};
use super::{Fault, Layout, format, render};
use crate::extract::Query;
use crate::guard::Visitor;
use crate::{App, Error};

pub(super) fn router() -> Router<App> {
    Router::new().route("/builders", get(builders))
}

/// Which builders. An empty field of the form is none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BuildersQuery {
    tag: String,
    /// A part of the name or the description.
    q: String,
    state: Condition,
}

/// What a builder is like now.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Condition {
    #[default]
    #[serde(rename = "")]
    Any,
    Red,
    Running,
    Waiting,
    /// In no configuration any more.
    Gone,
}

impl Condition {
    /// Each with its value in the form and what the form calls it.
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Any, "", "any"),
        (Self::Red, "red", "red"),
        (Self::Running, "running", "running"),
        (Self::Waiting, "waiting", "with requests waiting"),
        (Self::Gone, "gone", "no longer configured"),
    ];

    fn fits(self, glance: &Glance) -> bool {
        match self {
            Self::Any => true,
            Self::Red => glance.red_since.is_some() && glance.configured,
            Self::Running => glance.running() > 0,
            Self::Waiting => glance.waiting > 0,
            Self::Gone => !glance.configured,
        }
    }
}

impl BuildersQuery {
    fn is_empty(&self) -> bool {
        self.tag.is_empty() && self.q.is_empty() && self.state == Condition::Any
    }

    fn fits(&self, glance: &Glance) -> bool {
        let wanted = self.q.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        (self.tag.is_empty() || glance.tags.contains(&self.tag))
            && (has(&glance.name) || has(&glance.description))
            && self.state.fits(glance)
    }

    /// The same query with another tag; with none if it is this one.
    fn with_tag(&self, tag: &str) -> String {
        let tag = if self.tag == tag { "" } else { tag };
        format!(
            "/builders?tag={}&q={}",
            format::encode(tag),
            format::encode(&self.q)
        )
    }
}

#[derive(Template)]
#[template(path = "builders.html")]
struct BuildersPage {
    layout: Layout,
    query: BuildersQuery,
    rows: Vec<Glance>,
    total: usize,
    /// Every tag, with how many builders have it.
    tags: BTreeMap<String, usize>,
}

async fn builders(
    State(app): State<App>,
    visitor: Visitor,
    query: Result<Query<BuildersQuery>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "builders", &visitor);
    let Query(query) = query?;
    let mut rows = Glance::all(&app).await?;
    let total = rows.len();
    let mut tags = BTreeMap::new();
    for tag in rows.iter().flat_map(|glance| &glance.tags) {
        *tags.entry(tag.clone()).or_insert(0) += 1;
    }
    rows.retain(|glance| query.fits(glance));
    Ok(render(&BuildersPage {
        layout,
        query,
        rows,
        total,
        tags,
    }))
}
