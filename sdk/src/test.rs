//! A host for tests, natively: it answers a plugin's calls as a script says, in virtual time, and keeps them.
//!
//! ```
//! use capstan_sdk::prelude::*;
//! use capstan_sdk::test::{Ends, Host};
//!
//! #[parameters]
//! struct Make {
//!     target: String,
//! }
//!
//! impl Step for Make {
//!     fn run(self) -> Result<Outcome, Stop> {
//!         let done = Program::argv(["make", &self.target]).run()?;
//!         set_summary(&done.summary());
//!         Ok(done.outcome())
//!     }
//! }
//!
//! let host = Host::new().command("make *", Ends::code(2).after(Span::from_secs(3)));
//! let run = host.step::<Make>(json!({ "target": "all" }));
//! assert_eq!(run.outcome(), Outcome::Failure);
//! assert_eq!(run.took_ms, 3000);
//! run.assert_calls(&["commands.run make all", "build.set-summary exit code 2"]);
//! ```
//!
//! [`Host::step`] runs the step again from every prefix of its calls, as a master does after a restart, and panics with both
//! calls if it did not do the same. A call of a scheduler, change source or reporter is made twice. So a plugin that is not
//! deterministic fails any test that runs it.

mod answers;
pub(crate) mod call;
mod generator;
pub(crate) mod mail;
mod repeat;
mod reporter;
pub(crate) mod reports;
mod repository;
mod scheduler;
pub(crate) mod session;
mod source;
pub(crate) mod spec;
mod step;
mod world;

use serde::Serialize;
use serde_json::Value;

use crate::host::artefacts::ArtefactError;
use crate::host::http::HttpError;
use crate::host::mail::MailError;
use crate::host::report_files::FileError;
use crate::host::triggers::TriggerError;
use crate::params::Span;
use crate::{Outcome, PluginError, Problem, Property, SourceStamp, TimestampMs};
pub use answers::{Answers, Ends};
pub use call::Call;
pub use mail::Mail;
pub use repeat::Difference;
pub use reporter::{Delivered, Deliveries};
pub use reports::Facts;
pub use repository::Repository;
pub use scheduler::{Requested, Timeline, change};
pub use source::{Found, Polls};
pub use step::StepRun;
use world::World;

/// A scripted host. Rules are tried in the order in which they were added; the first that fits a call and is not used up
/// answers it. A pattern is a text where `*` is any run of characters.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub(crate) world: World,
}

impl Host {
    /// A host where every command ends well at once and every request is answered with 200. As soon as there is a rule for
    /// commands (or requests), each of them needs one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How commands end whose words, with blanks between, fit the pattern.
    pub fn command(mut self, pattern: &str, ends: Ends) -> Self {
        self.world.commands.add(pattern, ends.times, ends);
        self
    }

    /// What servers answer to requests whose method and URL fit the pattern: `POST https://*`.
    pub fn http(mut self, pattern: &str, answers: Answers) -> Self {
        self.world.http.add(pattern, answers.times, answers.answer);
        self
    }

    /// What a request gets that cannot be sent.
    pub fn http_error(self, pattern: &str, error: HttpError) -> Self {
        self.http(pattern, Answers::error(error))
    }

    /// A repository as it is from now on.
    pub fn git(mut self, url: &str, repository: Repository) -> Self {
        self.world.git.insert(url.to_owned(), repository);
        self
    }

    /// Files that cannot be written.
    pub fn file_error(mut self, pattern: &str, error: FileError) -> Self {
        self.world.file_faults.add(pattern, None, error);
        self
    }

    /// Mails that cannot be sent, by their subject.
    pub fn mail_error(mut self, pattern: &str, error: MailError) -> Self {
        self.world.mail_faults.add(pattern, None, error);
        self
    }

    /// A file of the build's worker, by its path from the builder's directory. As soon as there is one, a step finds no others;
    /// before, each path is that of an empty file.
    pub fn worker_file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.world.worker_files.insert(path.to_owned(), content.into());
        self
    }

    /// Artefacts that cannot be stored, by their name.
    pub fn artefact_error(mut self, pattern: &str, error: ArtefactError) -> Self {
        self.world.artefact_faults.add(pattern, None, error);
        self
    }

    /// How the builds end that schedulers make whose names fit the pattern; well by default, one build each.
    pub fn scheduler_makes(mut self, pattern: &str, outcome: Outcome) -> Self {
        self.world.schedulers.add(pattern, None, Ok(outcome));
        self
    }

    /// Schedulers that make nothing, by their names.
    pub fn scheduler_error(mut self, pattern: &str, error: TriggerError) -> Self {
        self.world.schedulers.add(pattern, None, Err(error));
        self
    }

    /// What a reporter remembers.
    pub fn state(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.world.state.insert(key.to_owned(), value.into());
        self
    }

    /// A property of the build.
    pub fn property(mut self, name: &str, value: impl Into<Value>) -> Self {
        let property = Property {
            name: name.to_owned(),
            value: value.into().to_string(),
            source: "test".to_owned(),
        };
        self.world.properties.insert(name.to_owned(), property);
        self
    }

    /// Something that the build is asked to check out.
    pub fn source(mut self, stamp: SourceStamp) -> Self {
        self.world.sources.push(stamp);
        self
    }

    /// The step's name in the configuration; `test` by default.
    pub fn step_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.world.step);
        self
    }

    /// The seed of a step's randomness; 1 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.world.seed = seed;
        self
    }

    /// When it begins: milliseconds since the Unix epoch; the beginning of 2026 by default.
    pub fn now(mut self, now: TimestampMs) -> Self {
        self.world.now = now;
        self
    }

    /// The build is stopped so long after the beginning.
    pub fn stopped_after(mut self, span: Span, reason: &str) -> Self {
        let at = self.world.now.saturating_add_unsigned(span.ms());
        self.world.stop = Some((at, reason.to_owned()));
        self
    }
}

/// Parameters as the host hands them to a plugin.
fn config(parameters: impl Serialize) -> String {
    match serde_json::to_string(&parameters) {
        Ok(json) => json,
        Err(error) => panic!("expected parameters that are JSON: {error}"),
    }
}

fn problems(checked: Result<(), PluginError>) -> Vec<Problem> {
    match checked {
        Ok(()) => Vec::new(),
        Err(PluginError::InvalidConfig(problems)) => problems,
        Err(error) => panic!("expected problems with parameters, found: {}", text_of(&error)),
    }
}

fn text_of(error: &PluginError) -> String {
    match error {
        PluginError::InvalidConfig(problems) => {
            let text = |problem: &Problem| match problem.path.as_str() {
                "" => problem.message.clone(),
                path => format!("{path}: {}", problem.message),
            };
            problems.iter().map(text).collect::<Vec<_>>().join("; ")
        }
        PluginError::Transient(text) | PluginError::Permanent(text) => text.clone(),
    }
}
