//! Calls into reporters: one report, delivered or not. The master calls from its outbox.

use capstan_model::plugin::Kind;
use capstan_model::{Outcome, Properties, SourceStamp, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::component::Resource;

use crate::bindings::reporter::capstan::plugin::reports;
use crate::bindings::types;
use crate::call::{CallError, CallState, Caller, Trap, call_guest};
use crate::plugin::{Code, Plugin};
use crate::step::canonical;

/// One moment of one build, as a reporter sees it. Its JSON form is what `report.to-json` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The same on every attempt to deliver this report.
    pub delivery_id: String,
    /// Which moment.
    pub phase: Phase,
    /// The builder that the build is shown under.
    pub builder: String,
    /// The configured builder that it was made from, whose secrets the reporter may use. Not told to it.
    pub made_by: String,
    /// The build's number within the builder that it is shown under.
    pub number: u64,
    /// The build's page.
    pub url: String,
    /// The worker.
    pub worker: String,
    /// Why the build was asked for.
    pub reason: String,
    /// `None` until it has ended.
    pub outcome: Option<Outcome>,
    /// How the builder's build before this one ended.
    pub previous_outcome: Option<Outcome>,
    /// A few words.
    pub summary: String,
    /// What it was asked to check out.
    pub sources: Vec<SourceStamp>,
    /// The build's properties.
    pub properties: Properties,
    /// Its steps so far.
    pub steps: Vec<StepResult>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// The moments of a build that are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It began.
    Started,
    /// It ended.
    Finished,
}

/// One step of a reported build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// Its name.
    pub name: String,
    /// `None` until it has ended.
    pub outcome: Option<Outcome>,
    /// A few words.
    pub summary: String,
}

impl Plugin {
    /// Lets a reporter deliver one report. `Transient` means to try again.
    pub async fn deliver(&self, caller: &Caller, config: &Value, report: &Report) -> Result<(), CallError> {
        let Code::Reporter(pre) = self.code() else {
            return Err(self.wrong_kind(Kind::Reporter));
        };
        let config = canonical::text(config);
        let mut data = CallState::new(self.facts(), Some(caller));
        data.guest.place.builder = Some(report.made_by.clone());
        data.guest.place.delivery = Some(report.delivery_id.clone());
        let pushed = data.table.push(report.clone());
        let report = pushed.map_err(|error| CallError::Trap(Trap::Other(error.to_string())))?;
        call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_reporter()
            .call_deliver(&mut store, &config, Resource::new_borrow(report.rep())))
    }
}

impl reports::Host for CallState {}

impl reports::HostReport for CallState {
    async fn delivery_id(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(self.table.get(&report)?.delivery_id.clone())
    }

    async fn phase(&mut self, report: Resource<Report>) -> wasmtime::Result<reports::Phase> {
        Ok(match self.table.get(&report)?.phase {
            Phase::Started => reports::Phase::Started,
            Phase::Finished => reports::Phase::Finished,
        })
    }

    async fn builder(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(self.table.get(&report)?.builder.clone())
    }

    async fn number(&mut self, report: Resource<Report>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&report)?.number)
    }

    async fn url(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(self.table.get(&report)?.url.clone())
    }

    async fn worker(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(self.table.get(&report)?.worker.clone())
    }

    async fn reason(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(self.table.get(&report)?.reason.clone())
    }

    async fn outcome(&mut self, report: Resource<Report>) -> wasmtime::Result<Option<types::Outcome>> {
        Ok(self.table.get(&report)?.outcome.map(types::Outcome::from))
    }

    async fn previous_outcome(
        &mut self,
        report: Resource<Report>,
    ) -> wasmtime::Result<Option<types::Outcome>> {
        Ok(self
            .table
            .get(&report)?
            .previous_outcome
            .map(types::Outcome::from))
    }

    async fn summary(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(self.table.get(&report)?.summary.clone())
    }

    async fn sources(&mut self, report: Resource<Report>) -> wasmtime::Result<Vec<types::SourceStamp>> {
        Ok(self
            .table
            .get(&report)?
            .sources
            .iter()
            .cloned()
            .map(types::SourceStamp::from)
            .collect())
    }

    async fn properties(&mut self, report: Resource<Report>) -> wasmtime::Result<Vec<types::Property>> {
        Ok(self
            .table
            .get(&report)?
            .properties
            .iter()
            .map(types::Property::from)
            .collect())
    }

    async fn steps(&mut self, report: Resource<Report>) -> wasmtime::Result<Vec<reports::StepResult>> {
        let step = |step: &StepResult| reports::StepResult {
            name: step.name.clone(),
            outcome: step.outcome.map(types::Outcome::from),
            summary: step.summary.clone(),
        };
        Ok(self.table.get(&report)?.steps.iter().map(step).collect())
    }

    async fn started(&mut self, report: Resource<Report>) -> wasmtime::Result<i64> {
        Ok(self.table.get(&report)?.started.0)
    }

    async fn finished(&mut self, report: Resource<Report>) -> wasmtime::Result<Option<i64>> {
        Ok(self.table.get(&report)?.finished.map(|at| at.0))
    }

    async fn to_json(&mut self, report: Resource<Report>) -> wasmtime::Result<String> {
        Ok(serde_json::to_string(self.table.get(&report)?)?)
    }

    async fn drop(&mut self, report: Resource<Report>) -> wasmtime::Result<()> {
        self.table.delete(report)?;
        Ok(())
    }
}
