//! The scheduler `{{name}}`: builds every so many changes of a branch.

use capstan_sdk::prelude::*;

/// The parameters.
#[parameters]
struct Plugin {
    /// The branch.
    branch: String,
    /// How many changes make a build.
    #[serde(default = "one")]
    every: usize,
}

fn one() -> usize {
    1
}

/// What it remembers from event to event.
#[remembered]
#[derive(Default)]
struct Waiting {
    changes: Vec<i64>,
}

impl Scheduler for Plugin {
    type State = Waiting;

    fn handle(
        &self,
        state: &mut Waiting,
        _: TimestampMs,
        event: Event,
    ) -> Result<Answer, PluginError> {
        let Event::Change(change) = event else {
            return Ok(Answer::default());
        };
        if change.branch.as_deref() != Some(&self.branch) {
            return Ok(Answer::default());
        }
        state.changes.push(change.id);
        if state.changes.len() < self.every {
            return Ok(Answer::default());
        }
        let newest = SourceStamp {
            codebase: change.codebase,
            repository: change.repository,
            project: change.project,
            branch: change.branch,
            revision: Some(change.revision),
        };
        let buildset = Buildset {
            builders: None,
            sources: vec![newest],
            priority: 0,
            reason: format!("{} changes of {}", state.changes.len(), self.branch),
            properties: Vec::new(),
            changes: std::mem::take(&mut state.changes),
        };
        Ok(Answer {
            submit: vec![buildset],
            ..Answer::default()
        })
    }
}

capstan_sdk::scheduler!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_sdk::test::{Host, change};

    #[test]
    fn every_second_change_is_built() {
        let mut timeline = Host::new().scheduler::<Plugin>(json!({ "branch": "main", "every": 2 }));
        timeline.started();
        timeline.change(change("a1"));
        assert!(timeline.requests().is_empty());
        timeline.change(change("a2"));
        assert_eq!(timeline.requests()[0].buildset.changes, [1, 2]);
    }
}
