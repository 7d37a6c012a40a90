//! What a request gets when it cannot be answered: `{"error":{"code":…,"message":…,"hint":…}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A request that was not answered as asked.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    /// Boxed: every handler answers with a `Result` of this.
    body: Box<Fault>,
    challenge: Option<&'static str>,
}

/// The body of every answer with a status from 400 on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct Body {
    error: Box<Fault>,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct Fault {
    /// For programs: `not-found`, `invalid`, `unauthorized` …
    code: &'static str,
    /// For people.
    message: String,
    /// Which part of the request is at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Each fault of a configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnostics: Vec<String>,
    /// What is wrong in a call of a scheduler, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

/// Something that is wrong in a call of a scheduler.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallProblem)]
struct Problem {
    /// Where in the call: `values.branch`; empty for the whole.
    path: String,
    message: String,
}

impl Error {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let body = Fault {
            code,
            message: message.into(),
            field: None,
            hint: None,
            diagnostics: Vec::new(),
            problems: Vec::new(),
        };
        Self {
            status,
            body: Box::new(body),
            challenge: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    /// Names the part of the request that is at fault.
    pub(crate) fn field(mut self, field: &'static str) -> Self {
        self.body.field = Some(field);
        self
    }

    pub(crate) fn diagnostics(mut self, diagnostics: Vec<String>) -> Self {
        self.body.diagnostics = diagnostics;
        self
    }

    /// A scheduler does not do what it was asked for.
    pub(crate) fn refused(message: String, problems: Vec<(String, String)>) -> Self {
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", message);
        let problem = |(path, message)| Problem { path, message };
        error.body.problems = problems.into_iter().map(problem).collect();
        error
    }

    /// Tells the browser or program which credentials are awaited.
    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    pub(crate) fn not_found(what: &str, which: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("there is no {what} {which}"),
        )
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    pub(crate) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "expected another method for this address",
        )
        .hint("GET /api/v1/openapi.json lists them")
    }

    /// A fault of the machine: logged with its reason, told without it.
    pub(crate) fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "failed to {what}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("failed to {what}"),
        )
        .hint("the master's log has the reason")
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.body.message
    }

    /// The part of the request that is at fault, and what is wrong with it.
    pub(crate) fn at_fault(&self) -> Option<(&'static str, &str)> {
        let (field, message) = (self.body.field?, &self.body.message);
        let reason = message
            .strip_prefix(field)
            .and_then(|rest| rest.strip_prefix(": "));
        Some((field, reason.unwrap_or(message)))
    }

    /// What is wrong in a call of a scheduler: where, and what.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.body.problems.iter();
        all.map(|problem| (problem.path.as_str(), problem.message.as_str()))
    }

    /// Each fault of a configuration.
    pub(crate) fn faults(&self) -> &[String] {
        &self.body.diagnostics
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.body.hint.as_deref()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { error: self.body })).into_response();
        if let Some(challenge) = self.challenge {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<capstan_store::Error> for Error {
    fn from(error: capstan_store::Error) -> Self {
        Self::internal("use the store", &error)
    }
}

impl From<capstan_logs::Error> for Error {
    fn from(error: capstan_logs::Error) -> Self {
        match error {
            // Somebody has to act, and the text says how; it names no file.
            capstan_logs::Error::Short { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "log-damaged",
                error.to_string(),
            ),
            _ => Self::internal("read the log", &error),
        }
    }
}
