//! Calls into schedulers: (state, event) to (state, build requests, timers). The master calls and commits the answer.

use capstan_model::plugin::Kind;
use capstan_model::{Change, ChangeId, Digest, Outcome, Properties, SourceStamp, Timestamp};
use serde_json::Value;

use crate::bindings::scheduler::exports::capstan::plugin::scheduler as wit;
use crate::bindings::types;
use crate::call::{CallError, CallState, Caller, call_guest};
use crate::convert::{MAX_ITEMS, MAX_NAME, bound, properties};
use crate::limits::MAX_PAYLOAD;
use crate::plugin::{Code, Plugin};
use crate::step::canonical;
use crate::wasi::{Beginning, World};

/// The longest reason of a build, in bytes; it is shown beside each.
const MAX_REASON: usize = 16 << 10;

/// What a scheduler is told.
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerEvent {
    /// It was configured, or configured anew, or the master was started.
    Started,
    /// A change was accepted.
    Change(Box<Change>),
    /// The timer of this name is due.
    Timer(String),
    /// A build ended.
    Finished(Finished),
}

/// A build that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was asked to check out.
    pub sources: Vec<SourceStamp>,
}

/// A request for one build on each of some builders.
#[derive(Clone, Debug, PartialEq)]
pub struct Buildset {
    /// `None` means all builders of the scheduler. The master checks that names are among them.
    pub builders: Option<Vec<String>>,
    /// What to check out.
    pub sources: Vec<SourceStamp>,
    /// Higher is sooner.
    pub priority: i32,
    /// For people.
    pub reason: String,
    /// For the builds.
    pub properties: Properties,
    /// The changes that led to it.
    pub changes: Vec<ChangeId>,
}

/// A timer that is to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name; replaces the one of the same name.
    pub name: String,
    /// When it is due.
    pub at: Timestamp,
}

/// All that an event leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The new state; at most a MiB.
    pub state: Vec<u8>,
    /// Requests.
    pub submit: Vec<Buildset>,
    /// Timers to set.
    pub set_timers: Vec<Timer>,
    /// Names of timers to clear.
    pub clear_timers: Vec<String>,
}

impl Plugin {
    /// Lets a scheduler handle one event. Nothing has happened until the decision is committed.
    pub async fn handle(
        &self,
        caller: &Caller,
        config: &Value,
        state: &[u8],
        now: Timestamp,
        event: SchedulerEvent,
    ) -> Result<Decision, CallError> {
        let Code::Scheduler(pre) = self.code() else {
            return Err(self.wrong_kind(Kind::Scheduler));
        };
        let (config, event) = (canonical::text(config), wit::Event::from(event));
        let mut data = CallState::new(self.facts(), Some(caller));
        if self.manifest().plugin.wasi.is_some() {
            // A call that was cut off is made again, and is to come to the same.
            let seed = Digest::of(&[state, format!(" {} {config}", now.0).as_bytes()].concat());
            data.guest.world = World::new(Beginning::Given { at: now, seed });
        }
        let decision = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_scheduler()
            .call_handle(&mut store, &config, state, now.0, &event))?;
        read(decision).map_err(CallError::Malformed)
    }
}

pub(crate) fn read(decision: wit::Decision) -> Result<Decision, String> {
    bound("state", decision.state.len(), MAX_PAYLOAD)?;
    bound("set-timers", decision.set_timers.len(), MAX_ITEMS)?;
    bound("clear-timers", decision.clear_timers.len(), MAX_ITEMS)?;
    let names = decision.set_timers.iter().map(|timer| &timer.name);
    for name in names.chain(&decision.clear_timers) {
        bound("the name of a timer", name.len(), MAX_NAME)?;
    }
    let timer = |timer: wit::Timer| Timer {
        name: timer.name,
        at: Timestamp(timer.at),
    };
    Ok(Decision {
        state: decision.state,
        submit: sets(decision.submit)?,
        set_timers: decision.set_timers.into_iter().map(timer).collect(),
        clear_timers: decision.clear_timers,
    })
}

/// What is asked for.
pub(crate) fn sets(submit: Vec<wit::Buildset>) -> Result<Vec<Buildset>, String> {
    bound("submit", submit.len(), MAX_ITEMS)?;
    submit.into_iter().map(buildset).collect()
}

fn buildset(set: wit::Buildset) -> Result<Buildset, String> {
    bound("reason", set.reason.len(), MAX_REASON)?;
    bound("builders", set.builders.iter().flatten().count(), MAX_ITEMS)?;
    bound("sources", set.sources.len(), MAX_ITEMS)?;
    Ok(Buildset {
        builders: set.builders,
        sources: set.sources.into_iter().map(SourceStamp::from).collect(),
        priority: set.priority,
        reason: set.reason,
        properties: properties(set.properties)?,
        changes: set.changes.into_iter().map(ChangeId).collect(),
    })
}

impl From<SchedulerEvent> for wit::Event {
    fn from(event: SchedulerEvent) -> Self {
        match event {
            SchedulerEvent::Started => Self::Started,
            SchedulerEvent::Change(change) => Self::Change((*change).into()),
            SchedulerEvent::Timer(name) => Self::Timer(name),
            SchedulerEvent::Finished(finished) => Self::Finished(wit::Finished {
                builder: finished.builder,
                number: finished.number,
                outcome: finished.outcome.into(),
                sources: finished
                    .sources
                    .into_iter()
                    .map(types::SourceStamp::from)
                    .collect(),
            }),
        }
    }
}

impl From<Change> for wit::Change {
    fn from(change: Change) -> Self {
        let facts = change.facts;
        Self {
            id: change.id.0,
            source: change.source,
            codebase: facts.codebase,
            repository: facts.repository,
            project: facts.project,
            branch: facts.branch,
            revision: facts.revision,
            author: facts.author,
            comments: facts.comments,
            files: facts.files,
            category: facts.category,
            when: facts.when.0,
            properties: facts.properties.iter().map(types::Property::from).collect(),
        }
    }
}
