//! The scheduler `triggerable`: builds when a step of another build, or a person, asks for it.

use capstan_sdk::problem;
use capstan_sdk::scheduler::{
    Answer, Call, Calls, Event, PluginError, Problem, Scheduler, SourceStamp, TimestampMs,
};
use scheduling::{Request, Sources, trigger_faults};
use serde::Deserialize;
use serde_json::{Value, json};

/// The parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Triggerable {
    sources: Sources,
    #[serde(flatten)]
    request: Request,
}

impl Scheduler for Triggerable {
    type State = ();

    fn check(&self) -> Result<(), Vec<Problem>> {
        self.sources
            .fault()
            .map_or(Ok(()), |fault| Err(vec![problem("sources", fault)]))
    }

    fn handle(&self, (): &mut (), _: TimestampMs, _: Event) -> Result<Answer, PluginError> {
        Ok(Answer::default())
    }
}

impl Calls for Triggerable {
    fn describe(&self) -> Value {
        json!({ "kind": "trigger", "fields": [] })
    }

    fn call(&self, (): &mut (), _: TimestampMs, call: Call) -> Result<Answer, PluginError> {
        let faults = trigger_faults(&call);
        if !faults.is_empty() {
            return Err(PluginError::InvalidConfig(faults));
        }
        let sources = self.sources.over(call.sources.into_iter().map(SourceStamp::from));
        let reason = call.reason.unwrap_or_else(|| "triggered".to_owned());
        let set = self.request.of(sources, reason, Vec::new());
        let mut set = Request::with(set, &call.properties, "trigger");
        set.builders = call.builders;
        set.priority = call.priority.unwrap_or(set.priority);
        let mut answer = Answer::default();
        answer.submit.push(set);
        Ok(answer)
    }
}

capstan_sdk::scheduler!(Triggerable, calls);

#[cfg(test)]
mod tests {
    use capstan_sdk::test::Host;

    use super::*;

    fn call(json: Value) -> Call {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn it_builds_what_it_is_asked_for() {
        let parameters = json!({
            "sources": [{"codebase": "lib", "branch": "main"}],
            "properties": {"a": 1, "b": 1}, "priority": 3,
        });
        let mut timeline = Host::new().scheduler::<Triggerable>(parameters);
        timeline
            .call(&call(json!({
                "kind": "trigger", "reason": "linux/7 asked for it", "builders": ["x"],
                "sources": [{"codebase": "app", "revision": "r1"}], "properties": {"b": 2, "c": [3]},
            })))
            .unwrap();
        let set = &timeline.requests()[0].buildset;
        let codebases: Vec<_> = set.sources.iter().map(|s| s.codebase.as_str()).collect();
        assert_eq!(codebases, ["lib", "app"]);
        let properties: Vec<_> = set
            .properties
            .iter()
            .map(|p| format!("{}={} {}", p.name, p.value, p.source))
            .collect();
        assert_eq!(properties, ["a=1 scheduler", "b=2 trigger", "c=[3] trigger"]);
        assert_eq!((set.reason.as_str(), set.priority), ("linux/7 asked for it", 3));
        assert_eq!(set.builders.as_deref(), Some(&["x".to_owned()][..]));
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        let mut timeline = Host::new().scheduler::<Triggerable>(json!({}));
        for asked in [
            json!({"kind": "try"}),
            json!({"kind": "trigger", "values": {"a": 1}}),
        ] {
            assert!(
                matches!(timeline.call(&call(asked)), Err(PluginError::InvalidConfig(_))),
                "{:?}",
                timeline.requests()
            );
        }
    }
}
