//! A build in one sentence: what it does, or why it ended as it did.

use crate::api::builds::Build;
use crate::api::steps::Step;

/// What somebody who opens the page wants to know first.
pub(super) struct Verdict {
    pub(super) text: String,
    /// The step that is the reason.
    pub(super) step: Option<i64>,
}

impl Verdict {
    pub(super) fn of(build: &Build, steps: &[Step]) -> Self {
        match build.word() {
            "running" => running(steps),
            "success" => Self::plain(match steps {
                [] => "It had no steps.".to_owned(),
                [_] => "Its only step went well.".to_owned(),
                _ => format!("All {} steps went well.", steps.len()),
            }),
            "warnings" => Self::blame(build, steps, "warnings", "has warnings"),
            "failure" => Self::blame(build, steps, "failure", "failed"),
            "exception" => Self::blame(build, steps, "exception", "broke"),
            _ => Self::plain(build.summary.clone()),
        }
    }

    fn plain(text: String) -> Self {
        Self { text, step: None }
    }

    /// The first step with that result is why the build has it.
    fn blame(build: &Build, steps: &[Step], word: &str, did: &str) -> Self {
        let mut guilty = steps.iter().filter(|step| step.word() == word);
        let Some(first) = guilty.next() else {
            return Self::plain(build.summary.clone());
        };
        let mut text = format!("{} {did}", first.name);
        if !first.summary.is_empty() {
            text = format!("{text}: {}", first.summary);
        }
        match guilty.count() {
            0 => {}
            1 => text.push_str(", and so did another step"),
            others => text.push_str(&format!(", and so did {others} other steps")),
        }
        Self {
            text,
            step: Some(first.id),
        }
    }
}

fn running(steps: &[Step]) -> Verdict {
    let total = steps.len();
    let now = steps.iter().enumerate().find(|(_, step)| step.state == "running");
    let Some((place, step)) = now else {
        return Verdict::plain("It is about to start its next step.".to_owned());
    };
    let said = if step.summary.is_empty() {
        String::new()
    } else {
        format!(": {}", step.summary)
    };
    Verdict {
        text: format!("{} runs, step {} of {total}{said}", step.name, place + 1),
        step: Some(step.id),
    }
}
