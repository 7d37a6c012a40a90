//! The seven results, with Buildbot's names, numbers and order of badness.

use serde::{Deserialize, Serialize};

/// How a step, a build, a request or a buildset ended. In order of Buildbot's numbers; for badness see [`Outcome::worst`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything went well.
    Success,
    /// It went well enough, but somebody should look.
    Warnings,
    /// The code under test is at fault.
    Failure,
    /// It was not necessary to run.
    Skipped,
    /// The farm, a plugin or a step's definition is at fault.
    Exception,
    /// A fault that running again may cure, such as a lost worker.
    Retry,
    /// Somebody stopped it.
    Cancelled,
}

/// Text that names no result.
#[derive(Debug, thiserror::Error)]
#[error("expected success, warnings, failure, skipped, exception, retry or cancelled, found {0:?}")]
pub struct UnknownOutcome(String);

impl Outcome {
    /// Every result, in the order of Buildbot's numbers (0 to 6).
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::Warnings,
        Self::Failure,
        Self::Skipped,
        Self::Exception,
        Self::Retry,
        Self::Cancelled,
    ];

    /// The word that people and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warnings => "warnings",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Exception => "exception",
            Self::Retry => "retry",
            Self::Cancelled => "cancelled",
        }
    }

    /// Buildbot's number for this result, as its clients expect it.
    pub fn number(self) -> i64 {
        Self::ALL.iter().position(|&o| o == self).map_or(-1, |i| i as i64)
    }

    /// The worse of two results: skipped, success, warnings, failure, exception, retry, cancelled
    /// (Buildbot's `worst_status`).
    pub fn worst(self, other: Self) -> Self {
        if other.badness() > self.badness() {
            other
        } else {
            self
        }
    }

    /// Whether a build may go on after a step that ended so.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Warnings | Self::Skipped)
    }

    fn badness(self) -> u8 {
        match self {
            Self::Skipped => 0,
            Self::Success => 1,
            Self::Warnings => 2,
            Self::Failure => 3,
            Self::Exception => 4,
            Self::Retry => 5,
            Self::Cancelled => 6,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Outcome {
    type Err = UnknownOutcome;
    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        let found = Self::ALL.into_iter().find(|o| o.as_str() == text);
        found.ok_or_else(|| UnknownOutcome(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_agree_with_buildbot() {
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.number(), number as i64);
            assert_eq!(outcome.as_str().parse::<Outcome>().unwrap(), outcome);
        }
    }

    #[test]
    fn the_worse_result_wins_in_either_order() {
        for (a, b, worse) in [
            (Outcome::Success, Outcome::Warnings, Outcome::Warnings),
            (Outcome::Success, Outcome::Skipped, Outcome::Success),
            (Outcome::Failure, Outcome::Exception, Outcome::Exception),
            (Outcome::Exception, Outcome::Retry, Outcome::Retry),
            (Outcome::Retry, Outcome::Cancelled, Outcome::Cancelled),
        ] {
            assert_eq!(a.worst(b), worse);
            assert_eq!(b.worst(a), worse);
        }
    }
}
