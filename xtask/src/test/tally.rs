//! The sum of many test programs' results.

use std::fmt;

/// What was counted so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    left_out: Vec<String>,
    bad_suites: Vec<String>,
}

impl Tally {
    /// Takes up one line of a test program's output; all but `test result:` lines say nothing.
    pub fn read(&mut self, line: &str) {
        let Some((_, counts)) = line
            .trim_start()
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split(';') {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.skipped += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// Notes a part that does not run here.
    pub fn leave_out(&mut self, part: String) {
        self.left_out.push(part);
    }

    /// Notes that cargo itself failed: a test, or something before any test ran.
    pub fn fail(&mut self, suite: &str) {
        self.bad_suites.push(suite.to_owned());
    }

    /// Whether everything that ran was good, and something ran.
    pub fn succeeded(&self) -> bool {
        self.failed == 0 && self.bad_suites.is_empty() && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.bad_suites.is_empty() {
            write!(f, "failed: {}; ", self.bad_suites.join(", "))?;
        }
        if !self.left_out.is_empty() {
            write!(f, "left out: {}; ", self.left_out.join(", "))?;
        }
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_failures_show() {
        let mut tally = Tally::default();
        assert!(!tally.succeeded(), "no test at all is no success");
        tally.read("running 3 tests");
        tally.read(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s",
        );
        tally.read("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.leave_out("PostgreSQL".to_owned());
        assert!(!tally.succeeded());
        assert_eq!(
            tally.to_string(),
            "left out: PostgreSQL; 7 passed, 1 failed, 1 skipped"
        );
    }

    #[test]
    fn a_suite_that_does_not_compile_is_a_failure() {
        let mut tally = Tally::default();
        tally.read(
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        );
        assert!(tally.succeeded());
        tally.fail("sdk");
        assert!(!tally.succeeded());
        assert_eq!(tally.to_string(), "failed: sdk; 5 passed, 0 failed, 0 skipped");
    }
}
