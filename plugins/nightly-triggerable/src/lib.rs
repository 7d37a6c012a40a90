//! The scheduler `nightly-triggerable`: is triggered like a `triggerable`, and builds at set times what it was triggered with last.

use capstan_sdk::problem;
use capstan_sdk::scheduler::{
    Answer, Call, Calls, Event, PluginError, Problem, Scheduler, SourceStamp, Stamp, TimestampMs,
};
use scheduling::{Calendar, Due, Request, Sources, trigger_faults};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The state is stored with every event.
const MOST_BYTES: usize = 256 << 10;

/// The parameters.
#[derive(Debug, Deserialize)]
pub struct NightlyTriggerable {
    #[serde(flatten)]
    calendar: Calendar,
    #[serde(default)]
    sources: Sources,
    #[serde(flatten)]
    request: Request,
}

/// When it is due, and what it was triggered with since it built last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    due: Due,
    last: Option<Trigger>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Trigger {
    sources: Vec<Stamp>,
    properties: Map<String, Value>,
    builders: Option<Vec<String>>,
    reason: Option<String>,
    priority: Option<i32>,
}

impl Scheduler for NightlyTriggerable {
    type State = State;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let sources = self.sources.fault().map(|fault| problem("sources", fault));
        let problems: Vec<_> = self.calendar.fault().into_iter().chain(sources).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, state: &mut State, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let schedule = self.calendar.schedule();
        let schedule = schedule.map_err(|fault| PluginError::InvalidConfig(vec![fault]))?;
        let mut answer = Answer::default();
        let reason = state.due.look(&schedule, true, now, &event, &mut answer);
        if let Some((reason, trigger)) = reason.and_then(|reason| Some((reason, state.last.take()?))) {
            let sources = trigger.sources.into_iter().map(SourceStamp::from);
            let reason = trigger.reason.unwrap_or(reason);
            let set = self.request.of(self.sources.over(sources), reason, Vec::new());
            let mut set = Request::with(set, &trigger.properties, "trigger");
            set.builders = trigger.builders;
            set.priority = trigger.priority.unwrap_or(set.priority);
            answer.submit.push(set);
        }
        Ok(answer)
    }
}

impl Calls for NightlyTriggerable {
    fn describe(&self) -> Value {
        json!({ "kind": "trigger", "fields": [] })
    }

    fn call(&self, state: &mut State, _: TimestampMs, call: Call) -> Result<Answer, PluginError> {
        let faults = trigger_faults(&call);
        if !faults.is_empty() {
            return Err(PluginError::InvalidConfig(faults));
        }
        let trigger = Trigger {
            sources: call.sources,
            properties: call.properties,
            builders: call.builders,
            reason: call.reason,
            priority: call.priority,
        };
        if serde_json::to_string(&trigger).map_or(usize::MAX, |text| text.len()) > MOST_BYTES {
            let text = "expected at most 256 KiB of properties and sources, found more";
            return Err(PluginError::InvalidConfig(vec![problem("properties", text)]));
        }
        state.last = Some(trigger);
        Ok(Answer::default())
    }
}

capstan_sdk::scheduler!(NightlyTriggerable, calls);

#[cfg(test)]
mod tests {
    use capstan_sdk::params::Span;
    use capstan_sdk::test::Host;

    use super::*;

    #[test]
    fn it_builds_at_its_time_what_it_was_triggered_with_last() {
        let parameters = json!({"at": "03:30", "properties": {"p": 0}});
        let mut timeline = Host::new().scheduler::<NightlyTriggerable>(parameters);
        timeline.started();
        timeline.advance(Span::parse("2d").unwrap());
        assert!(timeline.requests().is_empty(), "nobody triggered it");
        for revision in ["r1", "r2"] {
            let call =
                json!({"kind": "trigger", "sources": [{"revision": revision}], "properties": {"p": 1}});
            timeline.call(&serde_json::from_value(call).unwrap()).unwrap();
        }
        assert!(timeline.requests().is_empty(), "it is not time");
        timeline.advance(Span::parse("3d").unwrap());
        let [request] = timeline.requests() else {
            panic!("expected one request, found {:?}", timeline.requests())
        };
        let set = &request.buildset;
        assert_eq!(set.sources[0].revision.as_deref(), Some("r2"));
        assert_eq!((set.properties.len(), set.properties[0].value.as_str()), (1, "1"));
    }

    #[test]
    fn reason_and_priority_are_those_of_the_call() {
        let mut timeline = Host::new().scheduler::<NightlyTriggerable>(json!({"at": "03:30", "priority": 2}));
        timeline.started();
        for (call, reason, priority) in [
            (
                json!({"kind": "trigger", "reason": "release", "priority": 7}),
                Some("release"),
                7,
            ),
            (json!({"kind": "trigger"}), None, 2),
        ] {
            timeline.call(&serde_json::from_value(call).unwrap()).unwrap();
            timeline.advance(Span::parse("1d").unwrap());
            let set = &timeline.requests().last().unwrap().buildset;
            assert_eq!(set.priority, priority);
            assert!(reason.is_none_or(|reason| reason == set.reason), "{}", set.reason);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problems = Host::new()
            .check_scheduler::<NightlyTriggerable>(json!({"at": "03:30", "timezone": "Mars/Base"}));
        assert_eq!(problems[0].path, "timezone");
        let mut timeline = Host::new().scheduler::<NightlyTriggerable>(json!({"at": "03:30"}));
        let large = json!({"kind": "trigger", "properties": {"p": "x".repeat(300_000)}});
        assert!(timeline.call(&serde_json::from_value(large).unwrap()).is_err());
        let form = json!({"kind": "trigger", "values": {"version": "1"}});
        let refused = timeline.call(&serde_json::from_value(form).unwrap()).unwrap_err();
        assert!(format!("{refused:?}").contains("values.version"), "{refused:?}");
    }
}
