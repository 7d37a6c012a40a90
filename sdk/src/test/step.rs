//! Running steps.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::call::{Call, compare};
use super::repeat::{Difference, from_every_prefix};
use super::{Host, config, text_of};
use crate::host::log::Level;
use crate::step::{Step, entry};
use crate::{Outcome, PluginError, Problem};

/// What came of a step.
#[derive(Clone, Debug)]
pub struct StepRun {
    /// Its result, or its error.
    pub result: Result<Outcome, PluginError>,
    /// The few words that it set last.
    pub summary: Option<String>,
    /// All that it asked of the host, in order.
    pub calls: Vec<Call>,
    /// The properties that it set.
    pub properties: BTreeMap<String, Value>,
    /// Labels and addresses.
    pub links: Vec<(String, String)>,
    /// Text that it wrote itself, by log.
    pub logs: BTreeMap<String, String>,
    /// What it stored, by name. In a test the digests that it was answered are stand-ins.
    pub artefacts: BTreeMap<String, Vec<u8>>,
    /// The result that it wants its build to end with, and why.
    pub ends_build: Option<(Outcome, String)>,
    /// What it said through `log`.
    pub said: Vec<(Level, String)>,
    /// How long it took, in virtual time.
    pub took_ms: u64,
}

impl Host {
    /// Runs a step with these parameters, then again from every prefix of its calls. Panics, with both calls, if it does not do the
    /// same each time; a fault of the parameters is a panic too.
    pub fn step<S: Step>(&self, parameters: impl Serialize) -> StepRun {
        self.try_step::<S>(parameters)
            .unwrap_or_else(|difference| panic!("the step does not repeat itself: {difference}"))
    }

    /// As [`Host::step`], for a test that looks at the difference.
    pub fn try_step<S: Step>(&self, parameters: impl Serialize) -> Result<StepRun, Difference> {
        let config = config(parameters);
        if let Err(error) = entry::check::<S>(&config) {
            panic!("the parameters are refused: {}", text_of(&error));
        }
        let began = self.world.now;
        let (session, result) = from_every_prefix(&self.world, || entry::run::<S>(&config))?;
        let (calls, said) = (session.calls(), session.said());
        let set = calls.iter().filter(|call| call.name == "build.set-property");
        let property = |call: &Call| {
            let name = call.asked["name"].as_str().unwrap_or_default();
            (name.to_owned(), call.asked["value"].clone())
        };
        Ok(StepRun {
            result,
            properties: set.map(property).collect(),
            summary: session.world.summary,
            links: session.world.links,
            logs: session.world.logs,
            artefacts: session.world.artefacts,
            ends_build: session.world.ends_build,
            took_ms: session.world.now.abs_diff(began),
            calls,
            said,
        })
    }

    /// What the step's own check says of parameters.
    pub fn check_step<S: Step>(&self, parameters: impl Serialize) -> Vec<Problem> {
        super::problems(entry::check::<S>(&config(parameters)))
    }
}

impl StepRun {
    /// Its result. Panics if it failed without one.
    pub fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(outcome) => *outcome,
            Err(error) => panic!("expected an outcome, found an error: {}", text_of(error)),
        }
    }

    /// Panics unless these are its calls, in order: texts such as `commands.run make all`, where `*` is any run of characters and
    /// `...` any number of calls.
    #[track_caller]
    pub fn assert_calls(&self, expected: &[&str]) {
        if let Err(text) = compare(expected, &self.calls) {
            panic!("{text}");
        }
    }
}
