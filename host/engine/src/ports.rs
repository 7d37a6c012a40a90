//! What plugins other than steps reach of the world outside, as traits that the master implements. Rights are checked
//! before a port is called; a port does not check them again.

use std::sync::Arc;

use futures::future::BoxFuture;

/// The ports of one master. Cloning it is cheap.
#[derive(Clone)]
pub struct Ports {
    /// Git repositories.
    pub git: Arc<dyn GitPort>,
    /// HTTP servers.
    pub http: Arc<dyn HttpPort>,
    /// Files that reporters append to.
    pub files: Arc<dyn FilesPort>,
}

/// A branch or tag, by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `refs/heads/main`.
    pub name: String,
    /// The object that it names.
    pub revision: String,
}

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its full hash.
    pub revision: String,
    /// The hashes of its parents, first parent first.
    pub parents: Vec<String>,
    /// `Name <address>`.
    pub author: String,
    /// Milliseconds since the Unix epoch.
    pub when_ms: i64,
    /// The whole message.
    pub comments: String,
    /// The files that it touches against its first parent; bounded by the port.
    pub files: Vec<String>,
}

/// Why git could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitFault {
    /// The repository cannot be reached, or a name means nothing in it.
    #[error("{0}")]
    Unavailable(String),
    /// The URL or a name is malformed.
    #[error("{0}")]
    Invalid(String),
}

/// Bare mirrors that the master keeps.
pub trait GitPort: Send + Sync {
    /// Brings the mirror up to date and answers its branches and tags.
    fn fetch(&self, repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>>;
    /// The commits that `until` reaches and none of `since` does, oldest first, along first parents; at most `limit`,
    /// the newest. No name begins with `-` or holds white space or control characters.
    fn commits(
        &self,
        repository: String,
        since: Vec<String>,
        until: String,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>>;
}

/// One HTTP request. The URL is normalised; no header holds a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST` …
    pub method: String,
    /// `http` or `https`, without user name, password and fragment.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Names of headers and, for each, the name of the secret whose value the port fills in.
    pub secret_headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long to wait for the whole answer.
    pub timeout_ms: u32,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Names and values; what is not text is left out.
    pub headers: Vec<(String, String)>,
    /// The body; at most a MiB.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpFault {
    /// It took too long.
    #[error("timed out")]
    Timeout,
    /// It is larger than the limit.
    #[error("the answer is too large")]
    TooLarge,
    /// The request cannot be sent as it is; a secret that does not exist counts here.
    #[error("{0}")]
    Invalid(String),
    /// The server cannot be reached.
    #[error("{0}")]
    Transport(String),
}

/// HTTP, without following redirections.
pub trait HttpPort: Send + Sync {
    /// Sends one request.
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>>;
}

/// The file cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileFault(pub String);

/// Files under the farm's folder.
pub trait FilesPort: Send + Sync {
    /// Appends `line` and a newline, and syncs. The path is relative and does not climb; the line holds no newline.
    fn append_line(&self, path: String, line: String) -> BoxFuture<'_, Result<(), FileFault>>;
}
