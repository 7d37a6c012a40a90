//! Running change sources, poll by poll.

use std::marker::PhantomData;

use serde::Serialize;

use super::call::{Call, compare};
use super::repeat::once_more;
use super::session::Session;
use super::{Host, config, problems, text_of};
use crate::change_source::{ChangeSource, NewChange, entry};
use crate::{PluginError, Problem};

/// A change source and how far it has looked.
#[derive(Debug)]
pub struct Polls<S> {
    config: String,
    cursor: Vec<u8>,
    /// The world that it looks at; change it between polls.
    pub host: Host,
    kind: PhantomData<fn() -> S>,
}

/// What a poll found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The changes, oldest first.
    pub changes: Vec<NewChange>,
    /// When to look again, in milliseconds.
    pub poll_again_ms: u64,
    /// All that it asked of the host, in order.
    pub calls: Vec<Call>,
}

impl Host {
    /// A change source with these parameters, which has not looked yet. A fault of the parameters is a panic.
    pub fn change_source<S: ChangeSource>(&self, parameters: impl Serialize) -> Polls<S> {
        let config = config(parameters);
        if let Err(error) = entry::check::<S>(&config) {
            panic!("the parameters are refused: {}", text_of(&error));
        }
        Polls {
            config,
            cursor: Vec::new(),
            host: self.clone(),
            kind: PhantomData,
        }
    }

    /// What the change source's own check says of parameters.
    pub fn check_change_source<S: ChangeSource>(&self, parameters: impl Serialize) -> Vec<Problem> {
        problems(entry::check::<S>(&config(parameters)))
    }
}

impl<S: ChangeSource> Polls<S> {
    /// Looks once. The poll is made a second time with the same answers and must do the same; one that fails changes nothing.
    pub fn poll(&mut self) -> Result<Found, PluginError> {
        let session = Session::new(self.host.world.clone());
        let (session, result) = once_more(session, || entry::poll::<S>(&self.config, &self.cursor))
            .unwrap_or_else(|difference| panic!("the change source does not repeat itself: {difference}"));
        let calls = session.calls();
        self.host.world = session.world;
        let found = result?;
        self.cursor = found.cursor;
        Ok(Found {
            changes: found.changes,
            poll_again_ms: found.poll_again_ms,
            calls,
        })
    }
}

impl Found {
    /// The revisions of the changes.
    pub fn revisions(&self) -> Vec<&str> {
        self.changes
            .iter()
            .map(|change| change.revision.as_str())
            .collect()
    }

    /// As `StepRun::assert_calls`.
    #[track_caller]
    pub fn assert_calls(&self, expected: &[&str]) {
        if let Err(text) = compare(expected, &self.calls) {
            panic!("{text}");
        }
    }
}
