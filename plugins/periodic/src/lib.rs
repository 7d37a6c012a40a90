//! The scheduler `periodic`: builds when it is configured first, and then every so often.

use capstan_sdk::params::Span;
use capstan_sdk::problem;
use capstan_sdk::scheduler::{Answer, Event, PluginError, Problem, Scheduler, TimestampMs};
use scheduling::{Due, Timed, Times};
use serde::Deserialize;

/// More often than this nobody can want a build by the clock alone.
const SHORTEST_MS: u64 = 1000;

/// The parameters.
#[derive(Debug, Deserialize)]
pub struct Periodic {
    every: Span,
    #[serde(flatten)]
    timed: Timed,
}

struct Period {
    ms: i64,
    shown: Span,
}

impl Times for Period {
    /// A period that is shorter now ends earlier; after a time that was missed the periods begin anew.
    fn next(&self, due: Option<TimestampMs>, now: TimestampMs) -> Option<TimestampMs> {
        Some(match due {
            None => now,
            Some(due) if due > now => due.min(now.saturating_add(self.ms)),
            Some(due) => Some(due.saturating_add(self.ms))
                .filter(|&next| next > now)
                .unwrap_or(now.saturating_add(self.ms)),
        })
    }

    fn show(&self, _: TimestampMs) -> String {
        format!("every {}", self.shown)
    }
}

impl Scheduler for Periodic {
    type State = Due;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.timed.faults();
        if self.every.ms() < SHORTEST_MS {
            let found = self.every;
            problems.push(problem("every", format!("expected at least 1s, found {found}")));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, state: &mut Due, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let period = Period {
            ms: i64::try_from(self.every.ms()).unwrap_or(i64::MAX),
            shown: self.every,
        };
        Ok(self.timed.handle(state, &period, now, &event))
    }
}

capstan_sdk::scheduler!(Periodic);

#[cfg(test)]
mod tests {
    use capstan_sdk::test::{Host, change};
    use serde_json::json;

    use super::*;

    fn span(text: &str) -> Span {
        Span::parse(text).unwrap()
    }

    #[test]
    fn it_builds_at_once_and_then_every_period() {
        let mut timeline = Host::new().scheduler::<Periodic>(json!({"every": "2h", "branches": ["main"]}));
        let began = timeline.now();
        timeline.started();
        timeline.advance(span("5h"));
        let at: Vec<_> = timeline
            .requests()
            .iter()
            .map(|r| (r.at - began) / 3_600_000)
            .collect();
        assert_eq!(at, [0, 2, 4]);
        let set = &timeline.requests()[1].buildset;
        assert_eq!(
            (set.reason.as_str(), set.sources[0].branch.as_deref()),
            ("every 2 h", Some("main"))
        );
        // A restart of the master is no reason to build.
        timeline.started();
        timeline.advance(span("30min"));
        assert_eq!(timeline.requests().len(), 3);
    }

    #[test]
    fn what_did_not_change_is_not_built() {
        let parameters = json!({"every": 3600, "only_if_changed": true, "files": "src/**"});
        let mut timeline = Host::new().scheduler::<Periodic>(parameters);
        timeline.started();
        timeline.advance(span("3h"));
        let mut docs = change("r1");
        docs.files = vec!["docs/a.md".to_owned()];
        timeline.change(docs);
        timeline.advance(span("3h"));
        assert!(
            timeline.requests().is_empty(),
            "an unimportant change is no reason"
        );
        timeline.change(change("r2"));
        timeline.advance(span("3h"));
        let sets: Vec<_> = timeline
            .requests()
            .iter()
            .map(|r| r.buildset.changes.clone())
            .collect();
        assert_eq!(sets, [vec![1, 2]]);
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (parameters, path) in [
            (json!({"every": 0}), "every"),
            (json!({"every": "1h", "branches": []}), "branches"),
            (json!({"every": "1h", "authors": "~("}), "authors"),
        ] {
            let problems = Host::new().check_scheduler::<Periodic>(&parameters);
            assert_eq!(problems[0].path, path, "{parameters}");
        }
    }
}
