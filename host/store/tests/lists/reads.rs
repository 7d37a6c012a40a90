//! What pages read, each as one call on a filled store: what `plans` looks into and `timing` measures.

use capstan_model::{BuildId, ChangeId, EventId, Outcome, RequestId, StepId};
use capstan_store::{
    BuildFilter, BuildState, ChangeFilter, Error, EventFilter, RequestFilter, RequestState, Store,
};
use futures::future::BoxFuture;

use crate::filling::Filled;

/// A page, and the one row that tells that there is another.
const PAGE: u32 = 51;

type Call = Box<dyn Fn(Store) -> BoxFuture<'static, Result<usize, Error>> + Send + Sync>;

/// A call, which answers how many rows it got.
pub struct Read {
    pub name: &'static str,
    pub call: Call,
}

macro_rules! reads {
    ($($name:literal: $store:ident => $rows:expr;)*) => {
        vec![$(Read {
            name: $name,
            call: Box::new(move |$store: Store| Box::pin(async move { Ok($rows.await?.len()) })),
        }),*]
    };
}

macro_rules! builds {
    ($store:ident, $($field:ident: $value:expr),*) => {
        $store.builds(&BuildFilter { $($field: $value,)* ..BuildFilter::default() }, PAGE)
    };
}

macro_rules! requests {
    ($store:ident, $($field:ident: $value:expr),*) => {
        $store.requests(&RequestFilter { $($field: $value,)* ..RequestFilter::default() }, PAGE)
    };
}

macro_rules! changes {
    ($store:ident, $($field:ident: $value:expr),*) => {
        $store.changes(&ChangeFilter { $($field: $value,)* ..ChangeFilter::default() }, PAGE)
    };
}

macro_rules! events {
    ($store:ident, $($field:ident: $value:expr),*) => {
        $store.events_after(EventId(0), &EventFilter { $($field: $value,)* ..EventFilter::default() }, 500)
    };
}

fn text(word: &str) -> Option<String> {
    Some(word.to_owned())
}

/// Every read. Those of everything are named "all …": they follow the key itself.
pub fn all(farm: &Filled) -> Vec<Read> {
    let newest = farm.builds;
    let running: Vec<_> = (newest - 19..=newest).map(BuildId).collect();
    let changes: Vec<_> = (newest / 2 - 49..=newest / 2).map(ChangeId).collect();
    let (middle, repository) = (Some(BuildId(newest / 2)), text("https://example.org/3.git"));
    let bad = vec![Outcome::Failure, Outcome::Exception];
    // Each call owns what it asks for.
    let (running, changes, bad, repository) =
        (leak(running), leak(changes), leak(bad), leak(vec![repository]));
    reads! {
        "histories of all builders": store => store.builder_histories(10);
        "history of a builder": store => async { store.builder_history("builder-30", 10).await.map(Vec::from_iter) };
        "all builds": store => builds!(store, before: middle);
        "builds that run": store => builds!(store, state: Some(BuildState::Running));
        "builds of a builder": store => builds!(store, builder: text("builder-3"));
        "bad builds": store => builds!(store, outcomes: bad.to_vec());
        "bad builds of a builder": store => builds!(store, builder: text("builder-3"), outcomes: bad.to_vec());
        "builds on a worker": store => builds!(store, worker: text("worker-3"));
        "bad builds on a worker": store => builds!(store, worker: text("worker-3"), outcomes: bad.to_vec());
        "builds of a builder on a worker": store => builds!(store, builder: text("builder-3"), worker: text("worker-1"));
        "builds of a branch": store => builds!(store, branch: text("main"));
        "builds of a branch and builder": store => builds!(store, branch: text("main"), builder: text("builder-4"));
        "no builds of a branch on a worker": store => builds!(store, branch: text("main"), worker: text("worker-1"),
            outcomes: vec![Outcome::Retry]);
        "progress": store => store.progress(running);
        "all changes": store => changes!(store, before: Some(ChangeId(newest / 4)));
        "changes by an author": store => changes!(store, author: text("Author 3"));
        "changes of a branch": store => changes!(store, branch: text("release"));
        "changes of a repository": store => changes!(store, repository: repository[0].clone());
        "changes of a branch and repository": store => changes!(store, branch: text("main"),
            repository: repository[0].clone());
        "changes of a codebase": store => changes!(store, codebase: text("lib"));
        "no changes of a branch by an author": store => changes!(store, author: text("Author 3"),
            branch: text("nowhere"), codebase: text("lib"));
        "builds of a change": store => store.builds_of_change(ChangeId(newest / 4), PAGE);
        "requests of a change": store => store.requests_of_change(ChangeId(newest / 4), PAGE);
        "builds of changes": store => store.builds_of_changes(changes);
        "journal": store => store.journal_glance(StepId(1), Some(500), PAGE);
        "all events": store => events!(store,);
        "events of a build": store => events!(store, build: middle);
        "events of a builder": store => events!(store, builder: text("builder-3"));
        "events of a step": store => events!(store, step: Some(StepId(newest)));
        "events of a request": store => events!(store, request: Some(RequestId(newest / 2)));
        "all requests": store => requests!(store, before: Some(RequestId(newest / 2)));
        "requests that wait": store => requests!(store, state: Some(RequestState::Pending));
        "requests that ended": store => requests!(store, state: Some(RequestState::Complete));
        "requests of a builder": store => requests!(store, builder: text("builder-3"));
        "requests of a builder that wait": store => requests!(store, builder: text("builder-3"),
            state: Some(RequestState::Pending));
        "queue": store => store.queue(None, PAGE);
        "queue of a builder": store => store.queue(Some("builder-3"), PAGE);
        "queue for the dispatcher": store => store.queue_entries();
        "queue that a commit was about": store => store.queue_entries_of(leak_ids(&[RequestId(1), RequestId(newest + 7)]));
        "a request to be built": store => async { store.pending_request(RequestId(newest + 7)).await.map(Vec::from_iter) };
        "no logs to seal": store => store.unsealed_logs(None, PAGE);
    }
}

fn leak<T>(values: Vec<T>) -> &'static [T] {
    values.leak()
}

fn leak_ids(ids: &[RequestId]) -> &'static std::collections::BTreeSet<RequestId> {
    Box::leak(Box::new(ids.iter().copied().collect()))
}
