//! axum's extractors with this server's form of errors.

use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Error;

/// The variable parts of an address.
pub(crate) struct Path<T>(pub(crate) T);

/// What follows the `?`.
pub(crate) struct Query<T>(pub(crate) T);

/// The fields of a form that a page sends.
pub(crate) struct Form<T>(pub(crate) T);

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
