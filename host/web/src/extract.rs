//! axum's extractors with this server's form of errors.

use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Multipart, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::Error;

/// The variable parts of an address.
pub(crate) struct Path<T>(pub(crate) T);

/// What follows the `?`.
pub(crate) struct Query<T>(pub(crate) T);

/// The fields of a form that a page sends.
pub(crate) struct Form<T>(pub(crate) T);

/// The fields of a form of which only the page that is sent knows the names; files are among them.
#[derive(Default)]
pub(crate) struct Answers {
    /// By name, in the page's order.
    pub(crate) pairs: Vec<(String, String)>,
    /// What cannot be taken, by name.
    pub(crate) faults: Vec<(String, String)>,
}

/// The most fields of a form.
const MAX_ANSWERS: usize = 10_000;

/// A JSON body. A request without a body is `{}`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let found = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(path) = found.map_err(|e: PathRejection| {
            Error::not_found("resource", format_args!("there ({})", e.body_text()))
        })?;
        Ok(Self(path))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let found = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(query) = found.map_err(|e: QueryRejection| Error::invalid(e.body_text()))?;
        Ok(Self(query))
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        use axum::body::HttpBody;
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match axum::Form::from_request(request, state).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(form_refusal(&rejection)),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Answers {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let has_files = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
        let answers = if has_files {
            let form = Multipart::from_request(request, state).await;
            let form = form.map_err(|refused| Error::invalid(refused.body_text()))?;
            files(form).await?
        } else {
            let Form(pairs) = Form::from_request(request, state).await?;
            Self {
                pairs,
                faults: Vec::new(),
            }
        };
        if answers.pairs.len() > MAX_ANSWERS {
            return Err(too_many());
        }
        Ok(answers)
    }
}

fn too_many() -> Error {
    Error::invalid(format!(
        "expected at most {MAX_ANSWERS} fields of a form, found more"
    ))
}

async fn files(mut form: Multipart) -> Result<Answers, Error> {
    let mut answers = Answers::default();
    let refused = |error: axum::extract::multipart::MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Error::invalid(error.body_text()),
    };
    while let Some(field) = form.next_field().await.map_err(refused)? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(str::to_owned);
        let bytes = field.bytes().await.map_err(refused)?;
        if answers.pairs.len() + answers.faults.len() >= MAX_ANSWERS {
            return Err(too_many());
        }
        match (String::from_utf8(bytes.into()), file) {
            // No file was chosen.
            (_, Some(file)) if file.is_empty() => {}
            (Ok(text), _) => answers.pairs.push((name, text)),
            (Err(_), file) => {
                let found = file.map_or("other bytes".to_owned(), |file| format!("other bytes in {file}"));
                answers
                    .faults
                    .push((name, format!("expected text in UTF-8, found {found}")));
            }
        }
    }
    Ok(answers)
}

fn form_refusal(rejection: &FormRejection) -> Error {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let message = "expected a form's fields, found another type";
            Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", message)
                .hint("programs use the interface under /api/v1")
        }
        _ => Error::invalid(rejection.body_text()),
    }
}

fn too_large() -> Error {
    Error::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "expected a smaller body",
    )
}

fn refusal(rejection: &JsonRejection) -> Error {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let message = "expected a JSON body, found another type";
            Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", message)
                .hint("send `content-type: application/json`")
        }
        _ => Error::invalid(rejection.body_text()),
    }
}
