//! The web server: REST under `/api/v1`, event streams, and pages that are useful before any script runs.
//!
//! It answers from the store and the logs, and asks the master for everything that changes something (see [`Control`]).
//! The `capstan` binary serves [`router`]. Whoever looks for a URL finds it in `api` (one file per resource) or `pages`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use capstan_logs::{Artefacts, Logs};
use capstan_master::Handle;
use capstan_model::Digest;
use capstan_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::trace::TraceLayer;

pub mod api;
mod control;
mod error;
mod extract;
mod guard;
mod pages;
mod session;
mod stream;

pub use control::Control;
pub use error::Error;
use session::{Sessions, Tries};

/// The largest body of a request, where nothing else is said.
const MAX_BODY: usize = 1024 * 1024;
/// The largest body where properties come along: larger than all that they may be, so that it is their own limit that is told.
const MAX_VALUES: usize = 4 * MAX_BODY;
/// Event streams that are open at a time.
const MAX_STREAMS: usize = 1000;

/// What the web server is made of.
pub struct Options {
    /// The master.
    pub handle: Handle,
    /// What a request that changes something must show, as `Authorization: Bearer TOKEN`.
    pub token: String,
    /// Where it is served. On a loopback address reading is open to everybody on the machine; elsewhere reading needs the
    /// token or a session too.
    pub listen: SocketAddr,
    /// Ends the event streams, which have no end of their own.
    pub shutdown: CancellationToken,
}

/// Everything that is served.
pub fn router(options: Options) -> Router {
    let Options {
        handle,
        token,
        listen,
        shutdown,
    } = options;
    let (store, logs) = (handle.store().clone(), handle.logs().clone());
    let artefacts = handle.artefacts().clone();
    let control = Arc::new(handle);
    serve(App::new(
        store,
        (logs, artefacts),
        control,
        &token,
        listen,
        shutdown,
    ))
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
struct App(Arc<Parts>);

struct Parts {
    store: Store,
    logs: Logs,
    artefacts: Artefacts,
    control: Arc<dyn Control>,
    /// The digests of two tokens are compared, not the tokens: how long that takes tells nothing about them.
    token: Digest,
    sessions: Sessions,
    tries: Tries,
    memory: pages::Memory,
    listen: SocketAddr,
    shutdown: CancellationToken,
    streams: Arc<Semaphore>,
}

impl App {
    fn new(
        store: Store,
        (logs, artefacts): (Logs, Artefacts),
        control: Arc<dyn Control>,
        token: &str,
        listen: SocketAddr,
        shutdown: CancellationToken,
    ) -> Self {
        let sessions = Sessions::new(token, listen.port());
        let token = Digest::of(token.as_bytes());
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self(Arc::new(Parts {
            store,
            logs,
            artefacts,
            control,
            token,
            sessions,
            tries: Tries::default(),
            memory: pages::Memory::default(),
            listen,
            shutdown,
            streams,
        }))
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn memory(&self) -> &pages::Memory {
        &self.0.memory
    }

    fn logs(&self) -> &Logs {
        &self.0.logs
    }

    fn artefacts(&self) -> &Artefacts {
        &self.0.artefacts
    }

    fn control(&self) -> &dyn Control {
        &*self.0.control
    }
}

fn serve(app: App) -> Router {
    Router::new()
        .merge(api::router())
        .merge(pages::router())
        .fallback(pages::unknown)
        .method_not_allowed_fallback(async || Error::method())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // What a route takes is its own limit; nobody takes more than this.
        .layer(RequestBodyLimitLayer::new(MAX_VALUES))
        .layer(middleware::from_fn_with_state(app.clone(), guard::reading))
        .layer(middleware::from_fn_with_state(app.clone(), guard::host))
        .layer(CatchPanicLayer::custom(|_panic| -> Response {
            let message = "the server failed while it answered; its log says where";
            Error::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).into_response()
        }))
        .layer(middleware::map_response(guard::headers))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

#[cfg(test)]
mod tests;
