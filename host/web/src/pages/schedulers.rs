//! The schedulers, the form of each that can be asked for builds, and what came of a call.

use askama::Template;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use capstan_master::{Called, SchedulerStatus};
use capstan_model::CallId;
use serde_json::{Map, Value, json};

use super::force::sign_in;
use super::{Fault, Layout, encode, format, render};
use crate::extract::{Answers, Path, Query};
use crate::guard::{self, Visitor};
use crate::{App, Error};

mod form;

use form::{Row, Typed};

/// A call is smaller; a page's form takes more room than that.
const MAX_FORM: usize = 2 << 20;

/// What the page itself asks for, whose faults stand beside it.
const OWN: [&str; 5] = ["reason", "owner", "builders", "branch", "revision"];

pub(super) fn router() -> Router<App> {
    let form = get(form).post(send).layer(DefaultBodyLimit::max(MAX_FORM));
    Router::new()
        .route("/schedulers", get(list))
        .route("/schedulers/{name}/force", form)
        .route("/schedulers/{name}/calls/{id}", get(called))
}

/// Where a scheduler's form is.
pub(super) fn form_link(name: &str) -> String {
    format!("/schedulers/{}/force", encode(name))
}

#[derive(Template)]
#[template(path = "schedulers.html")]
struct SchedulersPage {
    layout: Layout,
    schedulers: Vec<SchedulerStatus>,
}

impl SchedulersPage {
    fn form(&self, name: &str) -> String {
        form_link(name)
    }

    fn word(&self, status: &SchedulerStatus) -> &'static str {
        match (status.enabled, &status.failed) {
            (false, _) => "disabled",
            (true, Some(_)) => "failed",
            (true, None) => "on",
        }
    }
}

async fn list(State(app): State<App>, visitor: Visitor) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "schedulers", &visitor);
    let schedulers = app.control().schedulers().await?;
    Ok(render(&SchedulersPage { layout, schedulers }))
}

#[derive(Template)]
#[template(path = "form.html")]
struct FormPage {
    layout: Layout,
    name: String,
    /// What the form is called.
    label: String,
    rows: Vec<Row>,
    reason: Own,
    owner: Own,
    branch: Own,
    revision: Own,
    /// Whether no field asks what to build.
    asks_source: bool,
    /// The scheduler's builders, and whether each is wanted.
    builders: Vec<(String, bool)>,
    builders_error: Option<String>,
    /// What is wrong and belongs to nothing on the page.
    unplaced: Vec<(String, String)>,
    wrong: bool,
    /// Whether a field has choices that may be other ones by now.
    has_files: bool,
    sign_in: Option<String>,
}

/// A field of the page itself.
struct Own {
    name: &'static str,
    value: String,
    required: bool,
    error: Option<String>,
}

impl FormPage {
    fn link(&self) -> String {
        form_link(&self.name)
    }

    /// Whether what few people change was changed or is wrong.
    fn is_special(&self) -> bool {
        self.builders_error.is_some() || self.builders.iter().any(|(_, wanted)| !wanted)
    }
}

/// What a scheduler asks for, with what was typed and what is wrong with it.
struct Opened {
    name: String,
    form: Value,
    typed: Typed,
    problems: Vec<(String, String)>,
}

impl Opened {
    async fn new(app: &App, name: String, typed: Typed) -> Result<Self, Error> {
        let mut form = app.control().describe_scheduler(&name, &Value::Null).await?;
        if !typed.is_empty() {
            // What there is to choose may depend on what was typed.
            let values = typed.values(&form["fields"]);
            form = app.control().describe_scheduler(&name, &values).await?;
        }
        Ok(Self {
            name,
            form,
            typed,
            problems: Vec::new(),
        })
    }

    fn call(&self) -> Value {
        let given = |name: &str| {
            self.typed
                .text(name)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let mut call = json!({ "kind": "force", "values": self.typed.values(&self.form["fields"]) });
        let mut set = |name: &str, value: Option<Value>| {
            if let (Value::Object(call), Some(value)) = (&mut call, value) {
                call.insert(name.to_owned(), value);
            }
        };
        set("reason", given("reason").map(Value::from));
        set("owner", given("owner").map(Value::from));
        let source: Map<String, Value> = ["branch", "revision"]
            .into_iter()
            .filter_map(|part| Some((part.to_owned(), given(part)?.into())))
            .collect();
        if self.asks_source() && !source.is_empty() {
            set("sources", Some(json!([source])));
        }
        let wanted = self.typed.all("builder");
        let all = self.builders();
        if !all.iter().all(|name| wanted.contains(name)) {
            set("builders", Some(json!(wanted)));
        }
        call
    }

    fn builders(&self) -> Vec<String> {
        let all = self.form["builders"].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A form without a codebase leaves it to the page to ask for a branch.
    fn asks_source(&self) -> bool {
        fn has_codebase(fields: &Value) -> bool {
            let mut fields = fields.as_array().into_iter().flatten();
            fields.any(|field| field["type"] == "codebase" || has_codebase(&field["fields"]))
        }
        !has_codebase(&self.form["fields"])
    }

    fn page(self, app: &App, visitor: &Visitor, uri: &Uri) -> FormPage {
        let rows = form::rows(&self.form["fields"], &self.typed, &self.problems);
        let error = |name: &str| {
            let at = |path: &str| path == name || path.starts_with(&format!("{name}["));
            let found = self.problems.iter().find(|(path, _)| at(path));
            found.map(|(_, message)| message.clone())
        };
        let own = |name: &'static str, default: &Value, required: bool| Own {
            name,
            value: match self.typed.text(name) {
                Some(text) => text.to_owned(),
                None => default.as_str().unwrap_or_default().to_owned(),
            },
            required,
            error: error(name),
        };
        let reason = &self.form["reason"];
        let wanted = self.typed.all("builder");
        // A link may fill in some fields, and says nothing of builders then.
        let all = wanted.is_empty() && self.problems.is_empty();
        let builders = self.builders().into_iter().map(|name| {
            let is_wanted = all || wanted.contains(&name);
            (name, is_wanted)
        });
        FormPage {
            layout: Layout::new(app, "form", visitor).still(),
            label: self.form["label"].as_str().unwrap_or_default().to_owned(),
            reason: own("reason", &reason["default"], reason["required"] == true),
            owner: own("owner", &Value::Null, false),
            branch: own("branch", &Value::Null, false),
            revision: own("revision", &Value::Null, false),
            asks_source: self.asks_source(),
            builders: builders.collect(),
            builders_error: error("builders"),
            unplaced: form::unplaced(&rows, &OWN, &self.problems),
            wrong: !self.problems.is_empty(),
            has_files: rows
                .iter()
                .any(|row| matches!(row, Row::Field(field) if field.kind == "file")),
            sign_in: (!visitor.operator).then(|| sign_in(uri)),
            name: self.name,
            rows,
        }
    }
}

async fn form(
    State(app): State<App>,
    visitor: Visitor,
    uri: Uri,
    path: Result<Path<String>, Error>,
    query: Result<Query<Vec<(String, String)>>, Error>,
) -> Result<Response, Fault> {
    let opened = Opened::new(&app, path?.0, Typed::new(query?.0)).await?;
    Ok(render(&opened.page(&app, &visitor, &uri)))
}

async fn send(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    uri: Uri,
    path: Result<Path<String>, Error>,
    answers: Result<Answers, Error>,
) -> Result<Response, Fault> {
    guard::same_origin(&app, &headers)?;
    let (name, answers) = (path?.0, answers?);
    let mut opened = Opened::new(&app, name, Typed::new(answers.pairs)).await?;
    if !visitor.operator {
        // The session ended while the form was filled in.
        return Ok((
            StatusCode::UNAUTHORIZED,
            render(&opened.page(&app, &visitor, &uri)),
        )
            .into_response());
    }
    if opened.typed.text("again").is_some() {
        return Ok(render(&opened.page(&app, &visitor, &uri)));
    }
    let at = |name: &str| format!("values.{}", name.strip_prefix("v.").unwrap_or(name));
    opened.problems = answers
        .faults
        .into_iter()
        .map(|(name, fault)| (at(&name), fault))
        .collect();
    if !opened.builders().is_empty() && opened.typed.all("builder").is_empty() {
        let none = "expected at least one builder, found none".to_owned();
        opened.problems.push(("builders".to_owned(), none));
    }
    if opened.problems.is_empty() {
        match app
            .control()
            .call_scheduler(&opened.name, None, opened.call())
            .await
        {
            Ok(called) => return Ok(Redirect::to(&result_link(&opened.name, &called)).into_response()),
            Err(refused) => {
                opened.problems = refused
                    .problems()
                    .map(|(path, text)| (path.to_owned(), text.to_owned()))
                    .collect();
                if opened.problems.is_empty() {
                    return Err(refused.into());
                }
            }
        }
    }
    Ok((
        StatusCode::UNPROCESSABLE_ENTITY,
        render(&opened.page(&app, &visitor, &uri)),
    )
        .into_response())
}

/// The page of a request shows those that were made together with it.
fn result_link(name: &str, called: &Called) -> String {
    if let Some([made]) = called.made.as_deref()
        && let Some(request) = made.requests.first()
    {
        return format!("/requests/{request}");
    }
    format!("/schedulers/{}/calls/{}", encode(name), called.id)
}

#[derive(Template)]
#[template(path = "called.html")]
struct CalledPage {
    layout: Layout,
    name: String,
    called: Called,
}

impl CalledPage {
    fn form(&self) -> String {
        form_link(&self.name)
    }
}

async fn called(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<(String, i64)>, Error>,
) -> Result<Response, Fault> {
    let Path((name, id)) = path?;
    let layout = Layout::new(&app, "called", &visitor);
    let called = app.control().scheduler_call(&name, CallId(id)).await?;
    Ok(render(&CalledPage { layout, name, called }))
}
