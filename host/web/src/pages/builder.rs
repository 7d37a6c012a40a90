//! The page of one builder: what it is, how it is, and its history.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_model::{Outcome, plan};
use serde::Deserialize;

use super::glance::{self, Glance, Word};
use super::schedulers::form_link;
use super::{Fault, Layout, format, render};
use crate::api::builds::{ListQuery, Page};
use crate::extract::{Path, Query};
use crate::guard::Visitor;
use crate::{App, Error};

mod chart;

use chart::Chart;

/// Builds in the chart.
const CHART: u32 = 40;
/// Builds on a page of the history.
const PAGE: u32 = 25;
/// Virtual builders that are named on the page of what their builds are made from.
const SHOWN: usize = 50;

pub(super) fn router() -> Router<App> {
    Router::new().route("/builders/{name}", get(builder))
}

/// Which part of the history. An empty field of the form is none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HistoryQuery {
    /// A result, or `running`.
    result: String,
    branch: String,
    before: Option<i64>,
}

impl HistoryQuery {
    /// The choices of the form.
    fn results() -> impl Iterator<Item = &'static str> {
        Outcome::ALL.into_iter().map(Outcome::as_str).chain(["running"])
    }

    fn list(&self, builder: &str) -> Result<ListQuery, Error> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let outcome = text(&self.result).filter(|result| result != "running");
        let outcome = outcome.map(|result| result.parse::<Outcome>()).transpose();
        Ok(ListQuery {
            builder: Some(builder.to_owned()),
            outcome: outcome.map_err(|error| Error::invalid(error.to_string()))?,
            worker: None,
            branch: text(&self.branch),
            state: (self.result == "running").then(|| "running".to_owned()),
            before: self.before,
            limit: Some(PAGE),
        })
    }

    fn is_filter(&self) -> bool {
        !self.result.is_empty() || !self.branch.is_empty()
    }

    fn older(&self, before: &i64) -> String {
        let (result, branch) = (format::encode(&self.result), format::encode(&self.branch));
        format!("?result={result}&branch={branch}&before={before}#history")
    }
}

#[derive(Template)]
#[template(path = "builder.html")]
struct BuilderPage {
    layout: Layout,
    glance: Glance,
    /// What the plan in force says of it.
    plan: Option<plan::Builder>,
    chart: Option<Chart>,
    query: HistoryQuery,
    history: Page,
    /// The schedulers that can be asked for builds of it.
    forms: Vec<String>,
    /// The builders under which its builds are shown, the newest ones first, at most [`SHOWN`].
    shown: Vec<String>,
}

impl BuilderPage {
    fn form(&self, scheduler: &str) -> String {
        form_link(scheduler)
    }
}

/// A scheduler whose builders a function names may have this one among them: it is left to the list of schedulers.
async fn forms(app: &App, builder: &str) -> Result<Vec<String>, Error> {
    let all = app.control().schedulers().await?.into_iter();
    let asked = all.filter(|status| status.takes_calls && status.enabled);
    let own = asked.filter(|status| status.scheduler.builders.iter().any(|name| name == builder));
    Ok(own.map(|status| status.scheduler.name).collect())
}

async fn shown(app: &App, maker: Option<&plan::Builder>) -> Result<Vec<String>, Error> {
    let Some(maker) = maker.filter(|maker| !maker.virtual_builder.is_empty()) else {
        return Ok(Vec::new());
    };
    let plan = app.control().plan();
    let mut all = app.store().virtual_builders(None).await?;
    all.retain(|about| about.made_by == maker.name && plan.builder(&about.name).is_none());
    Ok(all.into_iter().take(SHOWN).map(|about| about.name).collect())
}

async fn builder(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<String>, Error>,
    query: Result<Query<HistoryQuery>, Error>,
) -> Result<Response, Fault> {
    let name = path?.0;
    let layout = Layout::new(&app, "builder", &visitor).about(format!("builder={}", format::encode(&name)));
    let Query(query) = query?;
    let glance = Glance::one(&app, &name, CHART).await?;
    let glance = glance.ok_or_else(|| Error::not_found("builder", format_args!("`{name}`")))?;
    let history = Page::read(&app, query.list(&name)?).await?;
    let plan = app.control().plan().builder(&name).cloned();
    let shown = shown(&app, plan.as_ref()).await?;
    Ok(render(&BuilderPage {
        plan,
        chart: Chart::new(&glance.recent, glance.usual, layout.now),
        forms: forms(&app, &name).await?,
        shown,
        layout,
        glance,
        query,
        history,
    }))
}
