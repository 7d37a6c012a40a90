//! The step `{{name}}`: runs make.

use capstan_sdk::prelude::*;

/// The parameters.
#[parameters]
struct Plugin {
    /// What to make.
    target: String,
    /// How many jobs at once.
    #[serde(default = "two")]
    jobs: u32,
}

fn two() -> u32 {
    2
}

impl Step for Plugin {
    fn run(self) -> Result<Outcome, Stop> {
        let done = Program::argv(["make", &format!("-j{}", self.jobs), &self.target]).run()?;
        set_summary(&done.summary());
        Ok(done.outcome())
    }
}

capstan_sdk::step!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_sdk::test::{Ends, Host};

    #[test]
    fn a_make_that_fails_fails_the_step() {
        let host = Host::new().command("make *", Ends::code(2));
        let run = host.step::<Plugin>(json!({ "target": "all" }));
        assert_eq!(run.outcome(), Outcome::Failure);
        run.assert_calls(&["commands.run make -j2 all", "build.set-summary exit code 2"]);
    }
}
