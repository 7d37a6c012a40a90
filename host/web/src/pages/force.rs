//! The form that asks for a build.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use capstan_master::Force;
use capstan_store::RequestFilter;
use serde::Deserialize;
use serde_json::Value;

use super::{Fault, Layout, encode, render};
use crate::extract::{Form, Path, Query};
use crate::guard::{self, Visitor};
use crate::{App, Error};

pub(super) fn router() -> Router<App> {
    Router::new().route("/builders/{name}/force", get(form).post(force))
}

/// What was typed, as it was typed: a form that is shown again keeps it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Typed {
    branch: String,
    revision: String,
    repository: String,
    codebase: String,
    reason: String,
    priority: String,
    /// A line each: `name=value`.
    properties: String,
}

/// A part of the form and what is wrong with it.
type Wrong = (&'static str, String);

impl Typed {
    /// What it means.
    fn read(&self) -> Result<Force, Vec<Wrong>> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (priority, properties) = (priority(&self.priority), properties(&self.properties));
        match (priority, properties) {
            (Ok(priority), Ok(properties)) => Ok(Force {
                branch: given(&self.branch),
                revision: given(&self.revision),
                repository: self.repository.trim().to_owned(),
                codebase: self.codebase.trim().to_owned(),
                reason: given(&self.reason),
                properties,
                priority,
            }),
            (priority, properties) => {
                let priority = priority.err().map(|wrong| ("priority", wrong));
                let properties = properties.err().map(|wrong| ("properties", wrong));
                Err(priority.into_iter().chain(properties).collect())
            }
        }
    }

    /// What the query says, completed with what the builder was last asked for. A revision or branch that is given
    /// stands for itself: the last request's would make another thing of it.
    async fn prefilled(mut self, app: &App, builder: &str) -> Result<Self, Error> {
        // Its requests, for its builds may be shown under virtual builders.
        let filter = RequestFilter {
            builder: Some(builder.to_owned()),
            ..RequestFilter::default()
        };
        let last = app.store().requests(&filter, 1).await?.pop();
        let Some(source) = last.and_then(|request| request.sources.into_iter().next()) else {
            return Ok(self);
        };
        if self.branch.is_empty() && self.revision.is_empty() {
            self.branch = source.branch.unwrap_or_default();
        }
        for (field, value) in [
            (&mut self.repository, source.repository),
            (&mut self.codebase, source.codebase),
        ] {
            if field.is_empty() {
                *field = value;
            }
        }
        Ok(self)
    }
}

fn priority(text: &str) -> Result<i32, String> {
    match text.trim() {
        "" => Ok(0),
        text => text.parse().map_err(|_| {
            format!(
                "expected a whole number from {} to {}, found {text:?}",
                i32::MIN,
                i32::MAX
            )
        }),
    }
}

/// A value that is JSON is taken as that, anything else as text.
fn properties(text: &str) -> Result<BTreeMap<String, Value>, String> {
    let mut found = BTreeMap::new();
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("expected name=value in line {number}, found {:?}", line.trim()))?;
        let (name, value) = (name.trim().to_owned(), value.trim());
        if name.is_empty() {
            return Err(format!(
                "expected a name before `=` in line {number}, found nothing"
            ));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        if found.insert(name.clone(), value).is_some() {
            return Err(format!(
                "expected each name once, found {name:?} again in line {number}"
            ));
        }
    }
    Ok(found)
}

#[derive(Template)]
#[template(path = "force.html")]
struct ForcePage {
    layout: Layout,
    builder: String,
    description: String,
    typed: Typed,
    wrong: Vec<Wrong>,
    /// Where to sign in and come back from, for who has not.
    sign_in: Option<String>,
}

impl ForcePage {
    fn new(app: &App, visitor: &Visitor, builder: &str) -> Result<Self, Error> {
        let plan = app.control().plan();
        let found = plan
            .builder(builder)
            .ok_or_else(|| Error::not_found("builder", format_args!("`{builder}` in the configuration")))?;
        Ok(Self {
            layout: Layout::new(app, "force", visitor).still(),
            builder: builder.to_owned(),
            description: found.description.clone(),
            typed: Typed::default(),
            wrong: Vec::new(),
            sign_in: None,
        })
    }

    fn link(&self) -> String {
        format!("/builders/{}", encode(&self.builder))
    }

    /// Whether what few people need was typed or is wrong.
    fn is_special(&self) -> bool {
        let rest = ["repository", "codebase", "priority", "properties"];
        let wrong = rest.iter().any(|field| self.error(field).is_some());
        wrong
            || [&self.typed.codebase, &self.typed.priority, &self.typed.properties]
                .iter()
                .any(|text| !text.is_empty())
    }

    fn error(&self, field: &str) -> Option<&str> {
        let wrong = self.wrong.iter().find(|(name, _)| *name == field);
        wrong.map(|(_, reason)| reason.as_str())
    }
}

pub(super) fn sign_in(back: &Uri) -> String {
    let back = back.path_and_query().map_or("/", |asked| asked.as_str());
    format!("/sign-in?next={}", encode(back))
}

async fn form(
    State(app): State<App>,
    visitor: Visitor,
    uri: Uri,
    path: Result<Path<String>, Error>,
    query: Result<Query<Typed>, Error>,
) -> Result<Response, Fault> {
    let Path(name) = path?;
    let mut page = ForcePage::new(&app, &visitor, &name)?;
    page.typed = query?.0.prefilled(&app, &name).await?;
    page.sign_in = (!visitor.operator).then(|| sign_in(&uri));
    Ok(render(&page))
}

async fn force(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    uri: Uri,
    path: Result<Path<String>, Error>,
    fields: Result<Form<Typed>, Error>,
) -> Result<Response, Fault> {
    guard::same_origin(&app, &headers)?;
    let Path(name) = path?;
    let mut page = ForcePage::new(&app, &visitor, &name)?;
    page.typed = fields?.0;
    if !visitor.operator {
        // The session ended while the form was filled in.
        page.sign_in = Some(sign_in(&uri));
        return Ok((StatusCode::UNAUTHORIZED, render(&page)).into_response());
    }
    match ask(&app, &name, &page.typed).await? {
        Ok(request) => Ok(Redirect::to(&format!("/requests/{request}")).into_response()),
        Err(wrong) => {
            page.wrong = wrong;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, render(&page)).into_response())
        }
    }
}

/// Asks the master. What it refuses because of one part comes back as that part's fault.
async fn ask(app: &App, builder: &str, typed: &Typed) -> Result<Result<i64, Vec<Wrong>>, Error> {
    let force = match typed.read() {
        Ok(force) => force,
        Err(wrong) => return Ok(Err(wrong)),
    };
    match app.control().force(builder, force).await {
        Ok(forced) => {
            let request = forced.requests.first();
            let request =
                request.ok_or_else(|| Error::internal("ask for a build", &"there is no request"))?;
            Ok(Ok(request.0))
        }
        Err(refused) => match refused.at_fault() {
            Some((field, reason)) => Ok(Err(vec![(field, reason.to_owned())])),
            None => Err(refused),
        },
    }
}
