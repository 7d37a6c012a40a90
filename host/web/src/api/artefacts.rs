//! Artefacts: what the steps of a build stored, and their bytes.
//!
//! The bytes are somebody else's: they are handed over to be saved, never to be shown by a browser as a page of this server.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use capstan_model::{Artefact as Row, BuildId, sized};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::{builds, retention};
use crate::extract::Path;
use crate::pages::encode;
use crate::{App, Error};

mod range;

use range::Asked;

/// How much is read from the file at a time.
const CHUNK: usize = 64 * 1024;

/// A file that a step of a build stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct Artefact {
    id: i64,
    build: i64,
    pub(crate) step: i64,
    /// Words joined by `/`; unique within the build.
    pub(crate) name: String,
    /// In bytes.
    size: u64,
    /// Of its bytes.
    pub(crate) sha256: String,
    pub(crate) created: i64,
    /// Where its bytes are, from the server's root.
    pub(crate) path: String,
}

impl From<Row> for Artefact {
    fn from(row: Row) -> Self {
        let words: Vec<_> = row.name.split('/').map(encode).collect();
        Self {
            id: row.id,
            build: row.build.0,
            step: row.step.0,
            path: format!("/api/v1/builds/{}/artefacts/{}", row.build, words.join("/")),
            name: row.name,
            size: row.size,
            sha256: row.sha256.to_string(),
            created: row.created.0,
        }
    }
}

impl Artefact {
    /// Its size, for people.
    pub(crate) fn said(&self) -> String {
        sized(self.size)
    }

    /// What the steps of a build stored, by name.
    pub(crate) async fn of_build(app: &App, build: BuildId) -> Result<Vec<Self>, Error> {
        let rows = app.store().artefacts(build).await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }
}

/// The artefacts of a build, by name.
#[derive(Serialize, ToSchema)]
#[schema(as = Artefacts)]
pub(super) struct Page {
    artefacts: Vec<Artefact>,
}

/// Lists the artefacts of a build.
#[utoipa::path(get, path = "/builds/{id}/artefacts", tag = "artefacts", params(("id" = i64, Path)),
    responses((status = 200, body = Page), (status = 404, body = crate::error::Body)))]
pub(super) async fn list(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Page>, Error> {
    let build = builds::find(&app, id).await?.id;
    Ok(Json(Page {
        artefacts: Artefact::of_build(&app, build).await?,
    }))
}

/// Gives the bytes of an artefact, or the range of them that a `Range` header asks for.
#[utoipa::path(get, path = "/builds/{id}/artefacts/{*name}", tag = "artefacts",
    params(("id" = i64, Path), ("name" = String, Path, description = "Its name, with its slashes"),
        ("Range" = Option<String>, Header, description = "One range of bytes, as `bytes=FROM-TO`; several give the whole"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what one has")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream",
            description = "all of it; `ETag` is its SHA-256"),
        (status = 206, description = "the range"), (status = 304, description = "one has it"),
        (status = 404, body = crate::error::Body), (status = 416, body = crate::error::Body, description = "it has no such bytes")))]
pub(super) async fn get(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    Path((id, name)): Path<(i64, String)>,
) -> Result<Response, Error> {
    let row = app.store().artefact(BuildId(id), &name).await?;
    let Some(row) = row else {
        let what = format!("`{name}` of build {id}");
        builds::find(&app, id).await?;
        return Err(match app.store().removed_artefacts(BuildId(id)).await? {
            Some(gone) => retention::removed(&format!("what may have been the artefact {what}"), gone),
            None => Error::not_found("artefact", what),
        });
    };
    let tag = format!("\"{}\"", row.sha256);
    if range::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, value(tag))]).into_response());
    }
    // A HEAD is answered as if there were no range.
    let asked = match method {
        Method::GET => range::asked(&headers, &tag, row.size),
        _ => Asked::All,
    };
    let (status, first, length) = match asked {
        Asked::All => (StatusCode::OK, 0, row.size),
        Asked::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Asked::Nothing => return Ok(nothing(row.size)),
    };
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => bytes(&app, &row, first, length).await?,
    };
    let mut response = (status, body).into_response();
    let answer = response.headers_mut();
    answer.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    answer.insert(header::CONTENT_DISPOSITION, value(disposition(&row.name)));
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Whoever keeps it asks before it is used again: reading may need a session.
    answer.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    answer.insert(header::ETAG, value(tag));
    if status == StatusCode::PARTIAL_CONTENT {
        let shown = format!("bytes {first}-{}/{}", first + length - 1, row.size);
        answer.insert(header::CONTENT_RANGE, value(shown));
    }
    Ok(response)
}

/// `length` bytes from `first` on.
async fn bytes(app: &App, row: &Row, first: u64, length: u64) -> Result<Body, Error> {
    let damaged = |error: &dyn std::fmt::Display| Error::internal("read the artefact", error);
    let opened = app.artefacts().open(row.sha256).await;
    let (mut file, size) = opened.map_err(|error| damaged(&error))?;
    if size != row.size {
        let reason = format!("expected {} bytes under {}, found {size}", row.size, row.sha256);
        return Err(damaged(&reason));
    }
    let placed = file.seek(std::io::SeekFrom::Start(first)).await;
    placed.map_err(|error| damaged(&error))?;
    Ok(Body::from_stream(ReaderStream::with_capacity(
        file.take(length),
        CHUNK,
    )))
}

fn nothing(size: u64) -> Response {
    let message = format!("expected a range of the artefact's {size} bytes, found one beyond them");
    let mut response = Error::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", message).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_RANGE, value(format!("bytes */{size}")));
    response
}

/// The last word of the name, to be saved under. Both forms of RFC 6266: the first is what everybody understands.
fn disposition(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let simple: String = file.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    format!(
        "attachment; filename=\"{simple}\"; filename*=UTF-8''{}",
        encode(file)
    )
}

/// Made of visible ASCII only.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
