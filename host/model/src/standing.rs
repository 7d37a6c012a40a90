//! What the result of a step means to its build: Buildbot's rules, as pure functions. The build machine folds the steps with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Outcome;

/// What a step's result means to its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Whether a failure ends the build (later steps run only if they always run).
    pub halt_on_failure: bool,
    /// Whether a failure makes the build fail.
    pub flunk_on_failure: bool,
    /// Whether a failure leaves the build at least at warnings.
    pub warn_on_failure: bool,
    /// Whether warnings end the build.
    #[serde(skip_serializing_if = "is_false")]
    pub halt_on_warnings: bool,
    /// Whether warnings make the build fail.
    #[serde(skip_serializing_if = "is_false")]
    pub flunk_on_warnings: bool,
    /// Whether warnings leave the build at least at warnings.
    #[serde(skip_serializing_if = "is_false")]
    pub warn_on_warnings: bool,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            halt_on_failure: true,
            flunk_on_failure: true,
            warn_on_failure: false,
            halt_on_warnings: false,
            flunk_on_warnings: false,
            warn_on_warnings: false,
        }
    }
}

/// How a build stands after some of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The result, if nothing else came.
    pub outcome: Outcome,
    /// Whether only steps that always run still run.
    pub halted: bool,
    /// Whether a step chose the result: that another goes well does not change it then, though it be `skipped`.
    pub chosen: bool,
}

impl Standing {
    /// Before the first step.
    pub const BEGINNING: Self = Self {
        outcome: Outcome::Success,
        halted: false,
        chosen: false,
    };

    /// After one more step: a failure and warnings count as the step's rules say; exception, retry and cancelled always count,
    /// and end the build (Buildbot's `computeResultAndTermination`).
    pub fn after(self, result: Outcome, rules: Rules) -> Self {
        let (counts_as, halts) = match result {
            Outcome::Success | Outcome::Skipped => (result, false),
            Outcome::Warnings => (
                counted(rules.flunk_on_warnings, rules.warn_on_warnings),
                rules.halt_on_warnings,
            ),
            Outcome::Failure => (
                counted(rules.flunk_on_failure, rules.warn_on_failure),
                rules.halt_on_failure,
            ),
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => (result, true),
        };
        let unchanged = self.chosen && matches!(counts_as, Outcome::Success | Outcome::Skipped);
        Self {
            outcome: if unchanged {
                self.outcome
            } else {
                self.outcome.worst(counts_as)
            },
            halted: self.halted || halts,
            chosen: self.chosen,
        }
    }

    /// After a step that ended the build with this result, whatever came before. Steps that always run still count.
    pub fn ended(outcome: Outcome) -> Self {
        Self {
            outcome,
            halted: true,
            chosen: true,
        }
    }
}

fn counted(flunk: bool, warn: bool) -> Outcome {
    match (flunk, warn) {
        (true, _) => Outcome::Failure,
        (false, true) => Outcome::Warnings,
        (false, false) => Outcome::Success,
    }
}

/// The results of a step that end its build, each with the build's result.
pub type EndBuildOn = BTreeMap<Outcome, Outcome>;

/// Yes or no, said when the configuration was loaded or found out when it matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// Said.
    Known(bool),
    /// A [deferred value](crate::Deferred), as it stands in the plan.
    Deferred(Value),
}

impl Condition {
    /// Always.
    pub fn always() -> Self {
        Self::Known(true)
    }

    /// Never.
    pub fn never() -> Self {
        Self::Known(false)
    }

    /// Whether it is always so.
    pub fn is_always(&self) -> bool {
        *self == Self::Known(true)
    }

    /// Whether it is never so.
    pub fn is_never(&self) -> bool {
        *self == Self::Known(false)
    }

    /// What a rendered value says. As in Python, nothing, zero and what is empty are no; text that reads like a no is refused.
    pub fn truth(value: &Value) -> Result<bool, String> {
        match value {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
            Value::Array(items) => Ok(!items.is_empty()),
            Value::Object(map) => Ok(!map.is_empty()),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "" => Ok(false),
                "false" | "no" | "off" | "0" => Err(format!(
                    "expected True or False, found the text {text:?}, which is not empty and so would be a yes"
                )),
                _ => Ok(true),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use Outcome::{Cancelled, Exception, Failure, Retry, Skipped, Success, Warnings};

    /// `h`, `f`, `w`: halt, flunk, warn on failure; in capitals on warnings.
    fn rules(letters: &str) -> Rules {
        assert!(letters.chars().all(|c| "hfwHFW".contains(c)));
        Rules {
            halt_on_failure: letters.contains('h'),
            flunk_on_failure: letters.contains('f'),
            warn_on_failure: letters.contains('w'),
            halt_on_warnings: letters.contains('H'),
            flunk_on_warnings: letters.contains('F'),
            warn_on_warnings: letters.contains('W'),
        }
    }

    /// What Buildbot makes of one step of a build that is successful so far: rules, the step's result, the build's result,
    /// and whether the build is halted. Its manual has no halting on warnings; that is ours.
    const FIRST_STEP: [(&str, Outcome, Outcome, bool); 36] = [
        ("", Success, Success, false),
        ("hfwHFW", Success, Success, false),
        ("", Skipped, Success, false),
        ("hfwHFW", Skipped, Success, false),
        ("", Failure, Success, false),
        ("h", Failure, Success, true),
        ("f", Failure, Failure, false),
        ("w", Failure, Warnings, false),
        ("hf", Failure, Failure, true),
        ("hw", Failure, Warnings, true),
        ("fw", Failure, Failure, false),
        ("hfw", Failure, Failure, true),
        ("HFW", Failure, Success, false),
        ("F", Failure, Success, false),
        ("W", Failure, Success, false),
        ("H", Failure, Success, false),
        ("", Warnings, Success, false),
        ("H", Warnings, Success, true),
        ("F", Warnings, Failure, false),
        ("W", Warnings, Warnings, false),
        ("HF", Warnings, Failure, true),
        ("HW", Warnings, Warnings, true),
        ("FW", Warnings, Failure, false),
        ("HFW", Warnings, Failure, true),
        ("hfw", Warnings, Success, false),
        ("h", Warnings, Success, false),
        ("f", Warnings, Success, false),
        ("w", Warnings, Success, false),
        ("", Exception, Exception, true),
        ("hfwHFW", Exception, Exception, true),
        ("", Retry, Retry, true),
        ("hfwHFW", Retry, Retry, true),
        ("", Cancelled, Cancelled, true),
        ("hfwHFW", Cancelled, Cancelled, true),
        ("w", Exception, Exception, true),
        ("f", Retry, Retry, true),
    ];

    #[test]
    fn the_first_step_counts_as_in_buildbot() {
        for (letters, result, outcome, halted) in FIRST_STEP {
            let after = Standing::BEGINNING.after(result, rules(letters));
            assert_eq!(
                (after.outcome, after.halted),
                (outcome, halted),
                "{letters:?}, {result}"
            );
        }
    }

    #[test]
    fn whole_builds_come_out_as_in_buildbot() {
        let cases: [(&[(&str, Outcome)], Outcome); 9] = [
            (&[], Success),
            (&[("hf", Success), ("hf", Success)], Success),
            (&[("hf", Skipped)], Success),
            (&[("w", Failure), ("hf", Success)], Warnings),
            (&[("w", Failure), ("f", Failure), ("", Success)], Failure),
            (&[("f", Failure), ("W", Warnings)], Failure),
            (&[("f", Failure), ("f", Exception)], Exception),
            (&[("", Exception), ("f", Retry)], Retry),
            (&[("", Retry), ("f", Cancelled), ("f", Failure)], Cancelled),
        ];
        for (steps, expected) in cases {
            let fold = |standing: Standing, &(letters, result): &(&str, Outcome)| {
                standing.after(result, rules(letters))
            };
            let standing = steps.iter().fold(Standing::BEGINNING, fold);
            assert_eq!(standing.outcome, expected, "{steps:?}");
        }
    }

    #[test]
    fn an_end_that_was_chosen_forgets_what_came_before_and_not_what_comes_after() {
        let chosen = Standing::ended(Success);
        assert!(chosen.halted);
        assert_eq!(chosen.after(Success, rules("hf")).outcome, Success);
        assert_eq!(chosen.after(Failure, rules("f")).outcome, Failure);
        let skipped = Standing::ended(Skipped);
        for (result, letters) in [(Success, "hf"), (Skipped, ""), (Warnings, ""), (Failure, "")] {
            assert_eq!(skipped.after(result, rules(letters)).outcome, Skipped, "{result}");
        }
        assert_eq!(skipped.after(Warnings, rules("W")).outcome, Warnings);
    }

    #[test]
    fn rows_of_older_masters_keep_their_meaning() {
        let row = json!({ "halt_on_failure": false, "flunk_on_failure": true, "warn_on_failure": true });
        assert_eq!(serde_json::from_value::<Rules>(row.clone()).unwrap(), rules("fw"));
        assert_eq!(serde_json::to_value(rules("fw")).unwrap(), row);
    }

    #[test]
    fn values_are_true_as_in_python_and_a_no_in_words_is_refused() {
        for (value, truth) in [
            (json!(null), false),
            (json!(false), false),
            (json!(true), true),
            (json!(0), false),
            (json!(0.0), false),
            (json!(-1), true),
            (json!(""), false),
            (json!("x"), true),
            (json!([]), false),
            (json!([0]), true),
            (json!({}), false),
            (json!({ "a": 0 }), true),
        ] {
            assert_eq!(Condition::truth(&value), Ok(truth), "{value}");
        }
        for text in ["false", "False", "no", "0", "OFF"] {
            assert!(Condition::truth(&json!(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_are_read_back() {
        let deferred = Condition::Deferred(json!({ "$deferred": { "function": 3 } }));
        for condition in [Condition::always(), Condition::never(), deferred] {
            let text = serde_json::to_string(&condition).unwrap();
            assert_eq!(serde_json::from_str::<Condition>(&text).unwrap(), condition);
        }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(&Outcome::ALL[..])
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        prop::collection::vec(any::<bool>(), 6).prop_map(|on| {
            let letters = "hfwHFW".chars().zip(on).filter(|(_, on)| *on);
            rules(&letters.map(|(letter, _)| letter).collect::<String>())
        })
    }

    proptest! {
        #[test]
        fn the_worse_of_several_does_not_depend_on_their_order(a in outcome(), b in outcome(), c in outcome()) {
            prop_assert_eq!(a.worst(b), b.worst(a));
            prop_assert_eq!(a.worst(b).worst(c), a.worst(b.worst(c)));
            prop_assert_eq!(a.worst(a), a);
            prop_assert_eq!(a.worst(Skipped), a);
            prop_assert_eq!(a.worst(Cancelled), Cancelled);
        }

        #[test]
        fn no_step_makes_a_build_better(
            steps in prop::collection::vec((outcome(), any_rules()), 0..8), last in (outcome(), any_rules()),
        ) {
            let fold = |standing: Standing, &(result, rules): &(Outcome, Rules)| standing.after(result, rules);
            let before = steps.iter().fold(Standing::BEGINNING, fold);
            let after = before.after(last.0, last.1);
            prop_assert_eq!(before.outcome.worst(after.outcome), after.outcome);
            prop_assert!(after.halted || !before.halted);
        }

        #[test]
        fn the_order_of_steps_does_not_change_the_result(
            mut steps in prop::collection::vec((outcome(), any_rules()), 0..8),
        ) {
            let fold = |standing: Standing, &(result, rules): &(Outcome, Rules)| standing.after(result, rules);
            let forwards = steps.iter().fold(Standing::BEGINNING, fold);
            steps.reverse();
            prop_assert_eq!(steps.iter().fold(Standing::BEGINNING, fold), forwards);
        }

        #[test]
        fn a_stricter_rule_never_makes_a_build_better(result in outcome(), rules in any_rules()) {
            let lenient = Standing::BEGINNING.after(result, rules);
            for stricter in [
                Rules { halt_on_failure: true, ..rules },
                Rules { flunk_on_failure: true, ..rules },
                Rules { warn_on_failure: true, ..rules },
                Rules { halt_on_warnings: true, ..rules },
                Rules { flunk_on_warnings: true, ..rules },
                Rules { warn_on_warnings: true, ..rules },
            ] {
                let strict = Standing::BEGINNING.after(result, stricter);
                prop_assert_eq!(lenient.outcome.worst(strict.outcome), strict.outcome);
                prop_assert!(strict.halted || !lenient.halted);
            }
        }
    }
}
