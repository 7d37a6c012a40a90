//! What has become of a build so far: each step's result, and what they make together. Rebuilt from the rows of the steps when a
//! build is taken up.

use capstan_model::{Outcome, Standing};

use super::options::StepOptions;

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Became {
    pub outcome: Outcome,
    /// The result that it wants its build to end with, and why.
    pub ends: Option<(Outcome, String)>,
}

impl From<Outcome> for Became {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, ends: None }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub standing: Standing,
    /// The name and the result of each step that has had its turn.
    pub results: Vec<(String, Outcome)>,
    /// Why the build ended before its last step, if a step wanted that.
    pub ended: Option<String>,
}

impl Course {
    pub fn beginning() -> Self {
        Self {
            standing: Standing::BEGINNING,
            results: Vec::new(),
            ended: None,
        }
    }

    /// One more step has had its turn. One that could not do its work does not choose the build's result by itself: what it
    /// wanted may be half done.
    pub fn add(&mut self, name: String, options: &StepOptions, became: Became) {
        let Became { outcome, ends } = became;
        self.standing = self.standing.after(outcome, options.rules);
        let broken = matches!(outcome, Outcome::Exception | Outcome::Retry | Outcome::Cancelled);
        let chosen = options.end_build_on.get(&outcome).map(|chosen| {
            let reason = format!("{name} ended as {outcome}");
            (*chosen, reason)
        });
        if let Some((chosen, reason)) = ends.filter(|_| !broken).or(chosen) {
            self.standing = Standing::ended(chosen);
            self.ended = Some(reason);
        }
        self.results.push((name, outcome));
    }

    /// A few words about how the build ended.
    pub fn summary(&self, outcome: Outcome, stopped: Option<&str>) -> String {
        if let Some(reason) = stopped {
            return format!("stopped: {reason}");
        }
        if let Some(reason) = &self.ended {
            return format!("{outcome}: {reason}");
        }
        let failed = self.results.iter().filter(|(_, result)| !result.is_good());
        let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
        match (failed.as_slice(), outcome) {
            ([], Outcome::Success) => "build successful".to_owned(),
            ([], outcome) => format!("build {outcome}"),
            (names, outcome) => format!("{outcome}: {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use capstan_model::{Condition, Rules};

    use super::*;

    fn options(end_build_on: &[(Outcome, Outcome)]) -> StepOptions {
        StepOptions {
            rules: Rules::default(),
            always_run: false,
            run_if: Condition::always(),
            hide_if: Condition::never(),
            end_build_on: end_build_on.iter().copied().collect(),
            env: BTreeMap::new(),
            layers: vec![],
            fault: None,
            location: None,
            locks: capstan_model::plan::LockList::default(),
            builder_dir: String::new(),
            secrets: None,
        }
    }

    fn ends(outcome: Outcome, chosen: Outcome) -> Became {
        Became {
            outcome,
            ends: Some((chosen, "nothing to do".to_owned())),
        }
    }

    #[test]
    fn a_step_chooses_the_result_of_its_build() {
        let mut course = Course::beginning();
        course.add("lint".to_owned(), &options(&[]), Outcome::Failure.into());
        course.add(
            "look".to_owned(),
            &options(&[]),
            ends(Outcome::Success, Outcome::Skipped),
        );
        assert_eq!(course.standing, Standing::ended(Outcome::Skipped));
        assert_eq!(course.summary(Outcome::Skipped, None), "skipped: nothing to do");
        assert_eq!(
            course.summary(Outcome::Cancelled, Some("a mistake")),
            "stopped: a mistake"
        );
    }

    #[test]
    fn a_step_that_broke_chooses_nothing_by_itself_and_its_options_still_do() {
        let mut course = Course::beginning();
        course.add(
            "look".to_owned(),
            &options(&[]),
            ends(Outcome::Exception, Outcome::Success),
        );
        assert_eq!(
            (course.standing.outcome, course.standing.halted),
            (Outcome::Exception, true)
        );
        let mut course = Course::beginning();
        let tolerant = options(&[(Outcome::Exception, Outcome::Warnings)]);
        course.add("look".to_owned(), &tolerant, Outcome::Exception.into());
        assert_eq!(course.standing, Standing::ended(Outcome::Warnings));
        assert_eq!(
            course.summary(Outcome::Warnings, None),
            "warnings: look ended as exception"
        );
    }

    #[test]
    fn a_result_without_a_rule_ends_nothing() {
        let mut course = Course::beginning();
        course.add(
            "look".to_owned(),
            &options(&[(Outcome::Warnings, Outcome::Failure)]),
            Outcome::Success.into(),
        );
        assert_eq!(course.standing, Standing::BEGINNING);
        assert_eq!(course.summary(Outcome::Success, None), "build successful");
    }

    #[test]
    fn what_failed_is_named() {
        let mut course = Course::beginning();
        for (name, outcome) in [
            ("fetch", Outcome::Success),
            ("test", Outcome::Failure),
            ("upload", Outcome::Skipped),
        ] {
            course.add(name.to_owned(), &options(&[]), outcome.into());
        }
        assert_eq!(course.summary(course.standing.outcome, None), "failure: test");
    }
}
