//! Running schedulers along a virtual timeline.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Host, config, problems, text_of};
use crate::params::Span;
use crate::scheduler::{
    Buildset, Call, Calls, Change, CompletedBuildset, Decision, Event, Finished, Follows, Migrate, Scheduler,
    entry,
};
use crate::{PluginError, Problem, TimestampMs};

/// More timers than a day has seconds mean that time does not go on.
const MOST_TIMERS: u32 = 100_000;

/// A scheduler, its state, its timers, and what it has requested.
#[derive(Debug)]
pub struct Timeline<S> {
    config: String,
    state: Vec<u8>,
    now: TimestampMs,
    timers: BTreeMap<String, TimestampMs>,
    requests: Vec<Requested>,
    next_change: i64,
    kind: PhantomData<fn() -> S>,
}

/// A request, and when it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Requested {
    /// The virtual time.
    pub at: TimestampMs,
    /// What was asked for.
    pub buildset: Buildset,
}

impl Host {
    /// A scheduler with these parameters, which knows nothing yet. A fault of the parameters is a panic.
    pub fn scheduler<S: Scheduler>(&self, parameters: impl Serialize) -> Timeline<S> {
        let config = config(parameters);
        if let Err(error) = entry::check::<S>(&config) {
            panic!("the parameters are refused: {}", text_of(&error));
        }
        Timeline {
            config,
            state: Vec::new(),
            now: self.world.now,
            timers: BTreeMap::new(),
            requests: Vec::new(),
            next_change: 1,
            kind: PhantomData,
        }
    }

    /// What a scheduler or a change source makes of what its version `from_version` left, which is JSON here.
    pub fn migrate<T: DeserializeOwned + Migrate>(
        &self,
        parameters: impl Serialize,
        from_version: &str,
        old: &Value,
    ) -> Result<Value, PluginError> {
        let old = old.to_string().into_bytes();
        let new = entry::migrate::<T>(&config(parameters), from_version, old)?;
        serde_json::from_slice(&new)
            .map_err(|error| PluginError::Permanent(format!("expected JSON of the migration: {error}")))
    }

    /// What the scheduler's own check says of parameters.
    pub fn check_scheduler<S: Scheduler>(&self, parameters: impl Serialize) -> Vec<Problem> {
        problems(entry::check::<S>(&config(parameters)))
    }
}

impl<S: Scheduler> Timeline<S> {
    /// With this state instead of none.
    pub fn with_state(mut self, state: &S::State) -> Self {
        self.state = serde_json::to_vec(state).expect("a state is JSON");
        self
    }

    /// Hands it one event. The call is made twice and must decide the same; a failure changes nothing.
    pub fn handle(&mut self, event: Event) -> Result<Decision, PluginError> {
        let decide = |event| entry::handle::<S>(&self.config, &self.state, self.now, event);
        let both = (decide(event.clone()), decide(event.clone()));
        self.take(&event, both)
    }

    /// Asks it for builds, as a step, a person or a command line does.
    pub fn call(&mut self, call: &Call) -> Result<Decision, PluginError>
    where
        S: Calls,
    {
        let text = serde_json::to_string(call).expect("a call is JSON");
        let decide = || entry::call::<S>(&self.config, &self.state, self.now, &text);
        let both = (decide(), decide());
        self.take(call, both)
    }

    /// What it asks a person for.
    pub fn describe(&self) -> Value
    where
        S: Calls,
    {
        let form = entry::describe::<S>(&self.config).expect("the parameters were checked");
        serde_json::from_str(&form).expect("a form is JSON")
    }

    /// A buildset of a scheduler that it follows is complete.
    pub fn completed(&mut self, buildset: CompletedBuildset) -> Result<Decision, PluginError>
    where
        S: Follows,
    {
        let decide = |set| entry::completed::<S>(&self.config, &self.state, self.now, set);
        let both = (decide(buildset.clone()), decide(buildset.clone()));
        self.take(&buildset, both)
    }

    /// Takes a decision that was made twice.
    fn take(
        &mut self,
        what: &impl std::fmt::Debug,
        (first, second): (Result<Decision, PluginError>, Result<Decision, PluginError>),
    ) -> Result<Decision, PluginError> {
        let shown = format!("{what:?}");
        assert!(
            first == second,
            "the scheduler does not repeat itself: {shown}\n  first:  {first:?}\n  second: {second:?}"
        );
        let decision = first?;
        self.state.clone_from(&decision.state);
        for name in &decision.clear_timers {
            self.timers.remove(name);
        }
        for timer in &decision.set_timers {
            self.timers.insert(timer.name.clone(), timer.at);
        }
        let requested = |buildset: &Buildset| Requested {
            at: self.now,
            buildset: buildset.clone(),
        };
        self.requests.extend(decision.submit.iter().map(requested));
        Ok(decision)
    }

    /// It was configured, or the master was started.
    pub fn started(&mut self) -> Decision {
        self.expect(Event::Started)
    }

    /// A change came; it gets the next number from 1 unless it has one.
    pub fn change(&mut self, mut change: Change) -> Decision {
        if change.id == 0 {
            change.id = self.next_change;
        }
        self.next_change = change.id + 1;
        self.expect(Event::Change(change))
    }

    /// A build has ended.
    pub fn finished(&mut self, finished: Finished) -> Decision {
        self.expect(Event::Finished(finished))
    }

    /// Lets time pass; timers that become due meanwhile fire at their time.
    pub fn advance(&mut self, span: Span) {
        let until = self.now.saturating_add_unsigned(span.ms());
        for _ in 0..MOST_TIMERS {
            let due = self.timers.iter().filter(|(_, at)| **at <= until);
            let Some((name, at)) = due
                .min_by_key(|(_, at)| **at)
                .map(|(name, at)| (name.clone(), *at))
            else {
                self.now = until;
                return;
            };
            self.timers.remove(&name);
            self.now = self.now.max(at);
            self.expect(Event::Timer(name));
        }
        panic!("more than {MOST_TIMERS} timers fired: time does not go on");
    }

    fn expect(&mut self, event: Event) -> Decision {
        let shown = format!("{event:?}");
        self.handle(event)
            .unwrap_or_else(|error| panic!("{shown}: {}", text_of(&error)))
    }

    /// The virtual time.
    pub fn now(&self) -> TimestampMs {
        self.now
    }

    /// All that was requested so far, in order.
    pub fn requests(&self) -> &[Requested] {
        &self.requests
    }

    /// The timers that are set.
    pub fn timers(&self) -> &BTreeMap<String, TimestampMs> {
        &self.timers
    }

    /// What it remembers.
    pub fn state(&self) -> S::State {
        match self.state.as_slice() {
            [] => S::State::default(),
            bytes => serde_json::from_slice(bytes).expect("the scheduler wrote its state"),
        }
    }
}

/// A change of the branch `main` with its fields empty, for `Change { files: …, ..change("a1") }`.
pub fn change(revision: &str) -> Change {
    Change {
        id: 0,
        source: "test".to_owned(),
        codebase: String::new(),
        repository: "https://git.example.org/a".to_owned(),
        project: String::new(),
        branch: Some("main".to_owned()),
        revision: revision.to_owned(),
        author: "Ann <ann@example.org>".to_owned(),
        comments: String::new(),
        files: Vec::new(),
        category: None,
        when: 1_767_225_600_000,
        properties: Vec::new(),
    }
}
