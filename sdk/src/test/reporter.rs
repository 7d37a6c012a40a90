//! Running reporters, report by report.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Serialize;

use super::call::{Call, compare};
use super::mail::Mail;
use super::repeat::once_more;
use super::reports::{Facts, Report};
use super::session::Session;
use super::{Host, config, problems, text_of};
use crate::reporter::{Reporter, entry};
use crate::{PluginError, Problem};

/// A reporter and what it has told the world.
#[derive(Debug)]
pub struct Deliveries<R> {
    config: String,
    /// The world that it tells; change it between reports.
    pub host: Host,
    kind: PhantomData<fn() -> R>,
}

/// What came of one report.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Whether it was delivered.
    pub result: Result<(), PluginError>,
    /// All that it asked of the host, in order.
    pub calls: Vec<Call>,
}

impl Host {
    /// A reporter with these parameters. A fault of the parameters is a panic.
    pub fn reporter<R: Reporter>(&self, parameters: impl Serialize) -> Deliveries<R> {
        let config = config(parameters);
        if let Err(error) = entry::check::<R>(&config) {
            panic!("the parameters are refused: {}", text_of(&error));
        }
        Deliveries {
            config,
            host: self.clone(),
            kind: PhantomData,
        }
    }

    /// What the reporter's own check says of parameters.
    pub fn check_reporter<R: Reporter>(&self, parameters: impl Serialize) -> Vec<Problem> {
        problems(entry::check::<R>(&config(parameters)))
    }
}

impl<R: Reporter> Deliveries<R> {
    /// Delivers one report. It is delivered a second time with the same answers, and must do the same.
    pub fn deliver(&mut self, facts: Facts) -> Delivered {
        let report = Report(facts);
        let session = Session::new(self.host.world.clone());
        let (session, result) = once_more(session, || entry::deliver::<R>(&self.config, &report))
            .unwrap_or_else(|difference| panic!("the reporter does not repeat itself: {difference}"));
        let calls = session.calls();
        self.host.world = session.world;
        Delivered { result, calls }
    }

    /// What it appended, by file.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.host.world.files
    }

    /// What it remembers, by key.
    pub fn state(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.host.world.state
    }

    /// The mails that it sent.
    pub fn mails(&self) -> &[Mail] {
        &self.host.world.mails
    }
}

impl Delivered {
    /// As `StepRun::assert_calls`.
    #[track_caller]
    pub fn assert_calls(&self, expected: &[&str]) {
        if let Err(text) = compare(expected, &self.calls) {
            panic!("{text}");
        }
    }
}
