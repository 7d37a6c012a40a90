//! The step `finish`: ends the build with a chosen result before its last step.

use capstan_sdk::params::Verdict;
use capstan_sdk::step::{self, Outcome, Step, Stop};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    #[serde(default = "success")]
    outcome: Verdict,
    #[serde(default)]
    reason: String,
}

fn success() -> Verdict {
    Verdict(Outcome::Success)
}

impl Step for Finish {
    fn run(self) -> Result<Outcome, Stop> {
        let outcome = self.outcome.0;
        let reason = match self.reason.trim() {
            "" => format!("ended by {}", step::name()),
            reason => reason.to_owned(),
        };
        step::set_summary(&reason);
        step::end_build(outcome, &reason);
        // The step has done what it was asked for, whatever it means to the build.
        Ok(Outcome::Success)
    }
}

capstan_sdk::step!(Finish);

#[cfg(test)]
mod tests {
    use capstan_sdk::test::Host;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_build_ends_as_it_was_said() {
        let given = json!({ "outcome": "skipped", "reason": "only documents changed" });
        let run = Host::new().step::<Finish>(given);
        assert_eq!(run.outcome(), Outcome::Success);
        let ends = Some((Outcome::Skipped, "only documents changed".to_owned()));
        assert_eq!(run.ends_build, ends);
        run.assert_calls(&[
            "build.set-summary only documents changed",
            "ending.end-build skipped only documents changed",
        ]);
    }

    #[test]
    fn without_parameters_it_went_well() {
        let run = Host::new().step::<Finish>(json!({}));
        assert_eq!(
            run.ends_build,
            Some((Outcome::Success, "ended by test".to_owned()))
        );
    }
}
