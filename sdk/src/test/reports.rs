//! A report as a test makes it. In a component its values live at the host, so a reporter reads it through methods.

use serde_json::{Map, Value, json};

pub use crate::bindings::reporter::capstan::plugin::reports::{Phase, StepResult};
use crate::{Outcome, Property, SourceStamp, TimestampMs};

/// One moment of one build.
#[derive(Clone, Debug)]
pub struct Report(pub(crate) Facts);

/// What a report says; make one with `Facts { outcome: Some(Outcome::Failure), ..Facts::default() }`. The default is build 1 of `hello`
/// by the worker `w1`, which ended well after a minute.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The same on every attempt to deliver this report.
    pub delivery_id: String,
    /// Which moment.
    pub phase: Phase,
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// The build's page.
    pub url: String,
    /// The worker.
    pub worker: String,
    /// Why the build was asked for.
    pub reason: String,
    /// None until it has ended.
    pub outcome: Option<Outcome>,
    /// How the builder's build before this one ended.
    pub previous_outcome: Option<Outcome>,
    /// A few words.
    pub summary: String,
    /// What it was asked to check out.
    pub sources: Vec<SourceStamp>,
    /// The build's properties.
    pub properties: Vec<Property>,
    /// Its steps so far.
    pub steps: Vec<StepResult>,
    /// When it began.
    pub started: TimestampMs,
    /// When it ended.
    pub finished: Option<TimestampMs>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            delivery_id: "delivery-1".to_owned(),
            phase: Phase::Finished,
            builder: "hello".to_owned(),
            number: 1,
            url: "https://ci.example.org/builders/hello/1".to_owned(),
            worker: "w1".to_owned(),
            reason: String::new(),
            outcome: Some(Outcome::Success),
            previous_outcome: None,
            summary: String::new(),
            sources: Vec::new(),
            properties: Vec::new(),
            steps: Vec::new(),
            started: 1_767_225_600_000,
            finished: Some(1_767_225_660_000),
        }
    }
}

macro_rules! getters {
    ($($name:ident: $kind:ty, $doc:literal;)*) => {
        impl Report {
            $(
                #[doc = $doc]
                pub fn $name(&self) -> $kind {
                    self.0.$name.clone()
                }
            )*
        }
    };
}

getters! {
    delivery_id: String, "The same on every attempt to deliver this report.";
    phase: Phase, "Which moment.";
    builder: String, "The builder.";
    number: u64, "The build's number within its builder.";
    url: String, "The build's page.";
    worker: String, "The worker.";
    reason: String, "Why the build was asked for.";
    outcome: Option<Outcome>, "None until it has ended.";
    previous_outcome: Option<Outcome>, "How the builder's build before this one ended.";
    summary: String, "A few words.";
    sources: Vec<SourceStamp>, "What it was asked to check out.";
    properties: Vec<Property>, "The build's properties.";
    steps: Vec<StepResult>, "Its steps so far.";
    started: TimestampMs, "When it began.";
    finished: Option<TimestampMs>, "When it ended.";
}

impl Report {
    /// The whole report as one JSON object with the members above.
    pub fn to_json(&self) -> String {
        let facts = &self.0;
        let phase = match facts.phase {
            Phase::Started => "started",
            Phase::Finished => "finished",
        };
        let steps = facts
            .steps
            .iter()
            .map(|step| json!({ "name": step.name, "outcome": word(step.outcome), "summary": step.summary }));
        let json = json!({
            "delivery_id": facts.delivery_id, "phase": phase, "builder": facts.builder, "number": facts.number,
            "url": facts.url, "worker": facts.worker, "reason": facts.reason, "outcome": word(facts.outcome),
            "previous_outcome": word(facts.previous_outcome), "summary": facts.summary,
            "sources": facts.sources.iter().map(source).collect::<Vec<_>>(),
            "properties": properties(&facts.properties), "steps": steps.collect::<Vec<_>>(),
            "started": facts.started, "finished": facts.finished,
        });
        json.to_string()
    }
}

fn word(outcome: Option<Outcome>) -> Value {
    json!(outcome.map(|outcome| outcome.to_string()))
}

fn source(stamp: &SourceStamp) -> Value {
    json!({
        "codebase": stamp.codebase, "repository": stamp.repository, "project": stamp.project,
        "branch": stamp.branch, "revision": stamp.revision,
    })
}

fn properties(all: &[Property]) -> Vec<Map<String, Value>> {
    let one = |property: &Property| {
        let value = serde_json::from_str(&property.value).unwrap_or_default();
        Map::from_iter([
            ("name".to_owned(), json!(property.name)),
            ("value".to_owned(), value),
            ("source".to_owned(), json!(property.source)),
        ])
    };
    all.iter().map(one).collect()
}
