//! The scheduler `try-build`: builds a patch that is not committed, as its author hands it in from a command line.

use capstan_sdk::problem;
use capstan_sdk::scheduler::{
    Answer, Call, CallKind, Calls, Event, PluginError, Problem, Scheduler, SourceStamp, TimestampMs,
};
use scheduling::{Request, Sources, form_faults};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The largest patch that the master takes, in bytes.
const MAX_PATCH: u64 = 1 << 20;

/// The parameters.
#[derive(Debug, Deserialize)]
pub struct TryBuild {
    #[serde(default)]
    sources: Sources,
    #[serde(default = "most")]
    max_patch: u64,
    #[serde(flatten)]
    request: Request,
}

fn most() -> u64 {
    MAX_PATCH
}

impl Scheduler for TryBuild {
    type State = ();

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(self.sources.fault().map(|fault| problem("sources", fault)));
        if !(1..=MAX_PATCH).contains(&self.max_patch) {
            let found = self.max_patch;
            let text = format!("expected 1 to {MAX_PATCH} bytes, found {found}");
            problems.push(problem("max_patch", text));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, (): &mut (), _: TimestampMs, _: Event) -> Result<Answer, PluginError> {
        Ok(Answer::default())
    }
}

impl TryBuild {
    fn faults(&self, call: &Call) -> Vec<Problem> {
        let mut faults = Vec::new();
        if call.kind != CallKind::Try {
            faults.push(problem("kind", "expected a patch to try, found another call"));
        }
        match &call.patch {
            None => faults.push(problem("patch", "expected a patch, found none")),
            Some(patch) if patch.bytes > self.max_patch => {
                let (most, found) = (self.max_patch, patch.bytes);
                let text = format!("expected at most {most} bytes (`max_patch`), found {found}");
                faults.push(problem("patch.body", text));
            }
            Some(_) => {}
        }
        faults.extend(form_faults(call));
        faults
    }
}

impl Calls for TryBuild {
    fn describe(&self) -> Value {
        json!({ "kind": "try", "fields": [], "max_patch": self.max_patch })
    }

    fn call(&self, (): &mut (), _: TimestampMs, call: Call) -> Result<Answer, PluginError> {
        let faults = self.faults(&call);
        if !faults.is_empty() {
            return Err(PluginError::InvalidConfig(faults));
        }
        let sources = self.sources.over(call.sources.into_iter().map(SourceStamp::from));
        let who = call.owner.unwrap_or_else(|| "somebody".to_owned());
        let reason = call.reason.unwrap_or_else(|| format!("{who} tries a patch"));
        let set = self.request.of(sources, reason, Vec::new());
        let set = Request::with(set, &call.properties, "try");
        let own = Map::from_iter([("owner".to_owned(), json!(who))]);
        let mut set = Request::with(set, &own, "try");
        set.builders = call.builders;
        set.priority = call.priority.unwrap_or(set.priority);
        let mut answer = Answer::default();
        answer.submit.push(set);
        Ok(answer)
    }
}

capstan_sdk::scheduler!(TryBuild, calls);

#[cfg(test)]
mod tests {
    use capstan_sdk::test::Host;

    use super::*;

    fn tried(parameters: Value, call: Value) -> Result<Vec<capstan_sdk::scheduler::Buildset>, String> {
        let mut timeline = Host::new().scheduler::<TryBuild>(parameters);
        match timeline.call(&serde_json::from_value(call).unwrap()) {
            Ok(decision) => Ok(decision.submit),
            Err(PluginError::InvalidConfig(faults)) => {
                Err(format!("{}: {}", faults[0].path, faults[0].message))
            }
            Err(other) => panic!("expected faults, found {other:?}"),
        }
    }

    #[test]
    fn a_patch_becomes_a_build_on_its_base() {
        let call = json!({
            "kind": "try", "owner": "ann", "sources": [{"branch": "main", "revision": "r1"}],
            "patch": {"bytes": 12}, "builders": ["linux"],
        });
        let sets = tried(json!({"sources": [{"repository": "r"}]}), call).unwrap();
        let set = &sets[0];
        assert_eq!(set.reason, "ann tries a patch");
        assert_eq!(
            (
                set.sources[0].repository.as_str(),
                set.sources[0].revision.as_deref()
            ),
            ("r", Some("r1"))
        );
        let owner = set.properties.iter().find(|p| p.name == "owner").unwrap();
        assert_eq!(owner.value, r#""ann""#);
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        for (call, text) in [
            (json!({"kind": "try"}), "patch: expected a patch, found none"),
            (
                json!({"kind": "try", "patch": {"bytes": 9}}),
                "patch.body: expected at most 8 bytes",
            ),
            (
                json!({"kind": "force", "patch": {"bytes": 1}}),
                "kind: expected a patch to try",
            ),
            (
                json!({"kind": "try", "patch": {"bytes": 1}, "values": {"x": 1}}),
                "values.x",
            ),
        ] {
            let found = tried(json!({"max_patch": 8}), call.clone()).unwrap_err();
            assert!(found.starts_with(text), "{call}: {found}");
        }
        let problems = Host::new().check_scheduler::<TryBuild>(json!({"max_patch": 10_000_000}));
        assert_eq!(problems[0].path, "max_patch");
    }
}
