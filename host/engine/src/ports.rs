//! What plugins other than steps reach of the world outside, as traits that the master implements. Rights are checked
//! before a port is called; a port does not check them again.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, ready};

/// The ports of one master. Cloning it is cheap.
#[derive(Clone)]
pub struct Ports {
    /// Git repositories.
    pub git: Arc<dyn GitPort>,
    /// HTTP servers.
    pub http: Arc<dyn HttpPort>,
    /// Files that reporters append to.
    pub files: Arc<dyn FilesPort>,
    /// What reporters keep.
    pub state: Arc<dyn StatePort>,
    /// Mail.
    pub mail: Arc<dyn MailPort>,
}

impl Ports {
    /// Where nothing can be reached: for plugins that have no business outside, and for measuring and trying them.
    pub fn nowhere() -> Self {
        let nowhere = Arc::new(Nowhere);
        Self {
            git: nowhere.clone(),
            http: nowhere.clone(),
            files: nowhere.clone(),
            state: nowhere.clone(),
            mail: nowhere,
        }
    }
}

struct Nowhere;

const NOWHERE: &str = "nothing can be reached from here";

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
    /// Whether the operator's grant names this host, so that it may be one of the operator's own network. Otherwise the
    /// port connects to public addresses only.
    pub allow_private: bool,
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
    /// The host is at an address of the operator's own network, and the grant does not name it. The text says which.
    #[error("{0}")]
    Denied(String),
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

/// Why a value cannot be kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// There are too many keys.
    #[error("{0}")]
    Invalid(String),
    /// The store cannot be reached.
    #[error("{0}")]
    Unavailable(String),
}

/// Small values by the name of a reporter in the configuration, and a key. Keys and values are bounded already; how many
/// keys there are is bounded by the port.
pub trait StatePort: Send + Sync {
    /// The value of a key.
    fn get(&self, owner: String, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateFault>>;
    /// Sets the value of a key, or removes it. Durable when it returns.
    fn set(
        &self,
        owner: String,
        key: String,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StateFault>>;
}

/// Who gets a message. Neither part holds control characters; the address is ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// A name for people.
    pub name: Option<String>,
    /// `user@host`.
    pub address: String,
}

/// A file within a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The name of the file, on one line.
    pub name: String,
    /// `text/plain`; never `multipart/…`.
    pub media_type: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A message, 8 MiB at most, with a recipient at least. Who sends it is the port's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Recipients.
    pub to: Vec<Mailbox>,
    /// Recipients of a copy.
    pub cc: Vec<Mailbox>,
    /// Recipients whom no other sees.
    pub bcc: Vec<Mailbox>,
    /// One line.
    pub subject: String,
    /// The plain form.
    pub text: Option<String>,
    /// The form with markup.
    pub html: Option<String>,
    /// More headers, each on one line; none says who sends, who gets it or how it is written.
    pub headers: Vec<(String, String)>,
    /// Files.
    pub attachments: Vec<Attachment>,
}

impl Mail {
    /// Everybody who gets it.
    pub fn recipients(&self) -> impl Iterator<Item = &Mailbox> {
        self.to.iter().chain(&self.cc).chain(&self.bcc)
    }
}

/// Why a message was not taken. Nobody has got it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailFault {
    /// It cannot be sent as it is.
    #[error("{0}")]
    Invalid(String),
    /// No server is configured, or it does not take the message now.
    #[error("{0}")]
    Unavailable(String),
    /// The server refuses it for good.
    #[error("{0}")]
    Rejected(String),
}

/// Mail, under the operator's address.
pub trait MailPort: Send + Sync {
    /// Hands a message to the server.
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), MailFault>>;
}

impl GitPort for Nowhere {
    fn fetch(&self, _repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        ready(Err(GitFault::Unavailable(NOWHERE.to_owned()))).boxed()
    }

    fn commits(
        &self,
        _repository: String,
        _since: Vec<String>,
        _until: String,
        _limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        ready(Err(GitFault::Unavailable(NOWHERE.to_owned()))).boxed()
    }
}

impl HttpPort for Nowhere {
    fn fetch(&self, _request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        ready(Err(HttpFault::Transport(NOWHERE.to_owned()))).boxed()
    }
}

impl FilesPort for Nowhere {
    fn append_line(&self, _path: String, _line: String) -> BoxFuture<'_, Result<(), FileFault>> {
        ready(Err(FileFault(NOWHERE.to_owned()))).boxed()
    }
}

impl StatePort for Nowhere {
    fn get(&self, _owner: String, _key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateFault>> {
        ready(Err(StateFault::Unavailable(NOWHERE.to_owned()))).boxed()
    }

    fn set(
        &self,
        _owner: String,
        _key: String,
        _value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StateFault>> {
        ready(Err(StateFault::Unavailable(NOWHERE.to_owned()))).boxed()
    }
}

impl MailPort for Nowhere {
    fn send(&self, _mail: Mail) -> BoxFuture<'_, Result<(), MailFault>> {
        ready(Err(MailFault::Unavailable(NOWHERE.to_owned()))).boxed()
    }
}
