//! The scheduler `dependent`: when a buildset of another scheduler has come out well, asks for its own builders with the same
//! sources, at the revision that was really built.

use capstan_sdk::params::{Texts, Verdict};
use capstan_sdk::problem;
use capstan_sdk::scheduler::{
    Answer, CompletedBuildset, Event, Follows, Outcome, PluginError, Problem, Scheduler, SourceStamp,
    TimestampMs,
};
use scheduling::Request;
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Deserialize)]
pub struct Dependent {
    upstream: Texts,
    #[serde(default = "good")]
    on: Vec<Verdict>,
    #[serde(flatten)]
    request: Request,
}

fn good() -> Vec<Verdict> {
    vec![Verdict(Outcome::Success), Verdict(Outcome::Warnings)]
}

impl Scheduler for Dependent {
    /// Each buildset is judged by itself.
    type State = ();

    fn check(&self) -> Result<(), Vec<Problem>> {
        let empty = |name: &str| vec![problem(name, "expected at least one, found an empty list")];
        if self.upstream.is_empty() {
            return Err(empty("upstream"));
        }
        if self.on.is_empty() {
            Err(empty("on"))
        } else {
            Ok(())
        }
    }

    fn handle(&self, (): &mut (), _: TimestampMs, _: Event) -> Result<Answer, PluginError> {
        Ok(Answer::default())
    }
}

impl Follows for Dependent {
    fn completed(
        &self,
        (): &mut (),
        _: TimestampMs,
        buildset: CompletedBuildset,
    ) -> Result<Answer, PluginError> {
        let wanted =
            self.upstream.contains(&buildset.scheduler) && self.on.contains(&Verdict(buildset.outcome));
        let mut answer = Answer::default();
        if wanted {
            let reason = format!("downstream of {}", buildset.scheduler);
            let sources = built(&buildset);
            answer
                .submit
                .push(self.request.of(sources, reason, buildset.changes));
        }
        Ok(answer)
    }
}

/// The buildset's sources; one without a revision at the revision that its first build found there.
fn built(buildset: &CompletedBuildset) -> Vec<SourceStamp> {
    let pinned = |stamp: &SourceStamp| {
        let found = || {
            let sources = buildset.builds.iter().flat_map(|build| &build.sources);
            let mut same = sources.filter(|source| source.codebase == stamp.codebase);
            same.find_map(|source| source.revision.clone())
        };
        SourceStamp {
            revision: stamp.revision.clone().or_else(found),
            ..stamp.clone()
        }
    };
    buildset.sources.iter().map(pinned).collect()
}

capstan_sdk::scheduler!(Dependent, follows);

#[cfg(test)]
mod tests {
    use capstan_sdk::scheduler::CompletedBuild;
    use capstan_sdk::test::Host;
    use serde_json::json;

    use super::*;

    fn stamp(codebase: &str, revision: Option<&str>) -> SourceStamp {
        SourceStamp {
            codebase: codebase.to_owned(),
            repository: "r".to_owned(),
            project: String::new(),
            branch: Some("main".to_owned()),
            revision: revision.map(str::to_owned),
        }
    }

    fn set(scheduler: &str, outcome: Outcome) -> CompletedBuildset {
        let build = |number, sources| CompletedBuild {
            builder: "linux".to_owned(),
            number,
            outcome,
            sources,
        };
        CompletedBuildset {
            id: 7,
            scheduler: scheduler.to_owned(),
            outcome,
            reason: "1 change".to_owned(),
            sources: vec![stamp("app", None), stamp("lib", Some("l1")), stamp("doc", None)],
            properties: Vec::new(),
            changes: vec![3],
            builds: vec![
                build(1, vec![stamp("app", Some("a1")), stamp("lib", Some("l9"))]),
                build(2, vec![stamp("app", Some("a2"))]),
            ],
        }
    }

    #[test]
    fn it_builds_what_was_really_built_and_nothing_newer() {
        let parameters = json!({"upstream": "ci", "priority": 2, "properties": {"stage": "two"}});
        let mut timeline = Host::new().scheduler::<Dependent>(parameters);
        timeline.completed(set("ci", Outcome::Warnings)).unwrap();
        let asked = &timeline.requests()[0].buildset;
        let revisions: Vec<_> = asked.sources.iter().map(|s| s.revision.as_deref()).collect();
        assert_eq!(revisions, [Some("a1"), Some("l1"), None]);
        assert_eq!((asked.reason.as_str(), asked.priority), ("downstream of ci", 2));
        assert_eq!(asked.changes, [3]);
        assert_eq!(asked.properties[0].value, "\"two\"");
    }

    #[test]
    fn only_the_results_and_schedulers_that_are_named_count() {
        let mut timeline = Host::new().scheduler::<Dependent>(json!({"upstream": ["ci", "docs"]}));
        for (scheduler, outcome, builds) in [
            ("ci", Outcome::Success, 1),
            ("other", Outcome::Success, 1),
            ("docs", Outcome::Success, 2),
            ("ci", Outcome::Failure, 2),
            ("ci", Outcome::Skipped, 2),
            ("ci", Outcome::Cancelled, 2),
        ] {
            timeline.completed(set(scheduler, outcome)).unwrap();
            assert_eq!(timeline.requests().len(), builds, "{scheduler} {outcome}");
        }
        let mut timeline = Host::new().scheduler::<Dependent>(json!({"upstream": "ci", "on": ["failure"]}));
        timeline.completed(set("ci", Outcome::Success)).unwrap();
        assert!(timeline.requests().is_empty());
        timeline.completed(set("ci", Outcome::Failure)).unwrap();
        assert_eq!(timeline.requests().len(), 1);
        let problems = Host::new().check_scheduler::<Dependent>(json!({"upstream": []}));
        assert_eq!(problems[0].path, "upstream");
    }
}
