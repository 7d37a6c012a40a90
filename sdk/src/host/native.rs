//! Natively: the functions of the interfaces, answered by the script of the test that runs. The types are those of the
//! component; its resources, whose values live at the host, are small structs here.

/// Diagnostics.
pub mod log {
    pub use crate::bindings::shared::capstan::plugin::log::Level;
    use crate::test::session;

    /// Kept for the test; without one it goes to standard error.
    pub fn write(level: Level, message: &str) {
        session::say(level, message);
    }
}

/// Time in a step.
pub mod clock {
    use crate::TimestampMs;
    use crate::test::call::Call;
    use crate::test::session;

    /// The virtual time.
    pub fn now() -> TimestampMs {
        session::ask(Call::bare("clock.now"), |world| world.now)
    }
}

/// Randomness in a step.
pub mod entropy {
    use crate::test::session;

    /// What the test says.
    pub fn seed() -> u64 {
        session::look("entropy.seed", |world, _| world.seed)
    }
}

/// Waiting in a step.
pub mod timers {
    use serde_json::json;

    use crate::test::call::Call;
    use crate::test::session;

    /// Moves the virtual time.
    pub fn sleep_ms(duration: u64) -> bool {
        let call = Call::new("timers.sleep-ms", duration.to_string(), json!({ "ms": duration }));
        session::ask(call, |world| world.sleep(duration))
    }
}

/// The build that a step belongs to.
pub mod build {
    use serde_json::{Value, json};

    use crate::test::call::Call;
    use crate::test::session;
    use crate::{Property, SourceStamp};

    /// The step's name.
    pub fn step_name() -> String {
        session::look("build.step-name", |world, _| world.step.clone())
    }

    /// What the build was asked to check out.
    pub fn sources() -> Vec<SourceStamp> {
        session::look("build.sources", |world, _| world.sources.clone())
    }

    /// A property as the test set it, or as this step did.
    pub fn get_property(name: &str) -> Option<Property> {
        session::look("build.get-property", |world, seen| {
            seen.get(name).or_else(|| world.properties.get(name)).cloned()
        })
    }

    /// Sets a property.
    pub fn set_property(name: &str, value: &str) -> Result<(), String> {
        let parsed: Value = serde_json::from_str(value).map_err(|error| format!("expected JSON: {error}"))?;
        if name.is_empty() {
            return Err("expected the name of a property, found nothing".to_owned());
        }
        let with = json!({ "name": name, "value": parsed });
        session::ask(
            Call::new("build.set-property", format!("{name} {parsed}"), with),
            |_| (),
        );
        session::see(Property {
            name: name.to_owned(),
            value: value.to_owned(),
            source: step_name(),
        });
        Ok(())
    }

    /// Sets the summary.
    pub fn set_summary(text: &str) {
        let call = Call::new("build.set-summary", text, json!({ "text": text }));
        session::ask(call, |world| world.summary = Some(text.to_owned()));
    }

    /// Adds a link; as at the master, only to an address on the web.
    pub fn add_link(label: &str, url: &str) {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let message = format!("a link was left out: expected an http or https URL, found {url:?}");
            return super::log::write(super::log::Level::Warn, &message);
        }
        let call = Call::new(
            "build.add-link",
            format!("{label} {url}"),
            json!({ "label": label, "url": url }),
        );
        session::ask(call, |world| world.links.push((label.to_owned(), url.to_owned())));
    }

    /// Appends to a log.
    pub fn write_log(name: &str, text: &str) {
        let call = Call::new("build.write-log", name, json!({ "name": name, "text": text }));
        session::ask(call, |world| {
            world.logs.entry(name.to_owned()).or_default().push_str(text)
        });
    }
}

/// Commands on the build's worker.
pub mod commands {
    use std::cell::RefCell;

    use serde_json::json;

    pub use crate::bindings::step::capstan::plugin::commands::{CommandError, Completion, Exit};
    use crate::test::call::Call;
    use crate::test::session;
    use crate::test::spec::Asked;

    /// What to run.
    #[derive(Debug)]
    pub struct Spec(RefCell<Asked>);

    impl Spec {
        /// A program and its arguments.
        pub fn argv(argv: &[String]) -> Self {
            Self(RefCell::new(Asked::argv(argv)))
        }

        /// A line for the worker's shell.
        pub fn shell(line: &str) -> Self {
            Self(RefCell::new(Asked::shell(line)))
        }

        /// Where to run.
        pub fn set_workdir(&self, path: &str) {
            self.0.borrow_mut().set("workdir", json!(path));
        }

        /// Sets a variable.
        pub fn set_env(&self, name: &str, value: &str) {
            self.0.borrow_mut().set_env(name, json!(value));
        }

        /// Removes a variable.
        pub fn unset_env(&self, name: &str) {
            self.0.borrow_mut().set_env(name, json!(false));
        }

        /// Sets a variable to a secret.
        pub fn set_secret_env(&self, name: &str, secret: &str) {
            self.0.borrow_mut().set_env(name, json!({ "secret": secret }));
        }

        /// The log.
        pub fn set_log(&self, name: &str) {
            self.0.borrow_mut().set("log", json!(name));
        }

        /// How long it may be silent.
        pub fn set_idle_timeout(&self, ms: u64) {
            self.0.borrow_mut().set("idle_timeout_ms", json!(ms));
        }

        /// How long it may run.
        pub fn set_total_timeout(&self, ms: u64) {
            self.0.borrow_mut().set("total_timeout_ms", json!(ms));
        }

        /// From TERM to KILL.
        pub fn set_term_grace(&self, ms: u64) {
            self.0.borrow_mut().set("term_grace_ms", json!(ms));
        }

        /// How much of standard output to bring back.
        pub fn set_capture_stdout(&self, bytes: u32) {
            self.0.borrow_mut().set("capture_stdout", json!(bytes));
        }
    }

    /// A command that was started.
    #[derive(Debug)]
    pub struct Command {
        place: usize,
        words: String,
    }

    impl Command {
        /// The id that makes it run once.
        pub fn id(&self) -> String {
            format!("command-{}", self.place + 1)
        }

        /// Waits for its end.
        pub fn wait(&self) -> Result<Completion, CommandError> {
            let call = Call::new("command.wait", &self.words, json!({ "command": self.words }));
            session::ask(call, |world| world.wait(self.place))
        }

        /// Stops it.
        pub fn kill(&self, reason: &str) {
            let with = json!({ "command": self.words, "reason": reason });
            let call = Call::new("command.kill", &self.words, with);
            session::ask(call, |world| world.kill(self.place, reason));
        }
    }

    /// Starts a command.
    pub fn start(spec: &Spec) -> Result<Command, CommandError> {
        let asked = spec.0.borrow().clone();
        let words = asked.words();
        let place = session::ask(asked.call("commands.start"), |world| world.begin(&asked))?;
        Ok(Command { place, words })
    }

    /// Runs a command.
    pub fn run(spec: &Spec) -> Result<Completion, CommandError> {
        let asked = spec.0.borrow().clone();
        session::ask(asked.call("commands.run"), |world| {
            let place = world.begin(&asked)?;
            world.wait(place)
        })
    }

    /// Waits for the first of some commands.
    pub fn wait_any(commands: &[&Command]) -> u32 {
        assert!(
            !commands.is_empty(),
            "commands.wait-any: expected a command, found none"
        );
        let words: Vec<&str> = commands.iter().map(|command| command.words.as_str()).collect();
        let call = Call::new(
            "commands.wait-any",
            words.len().to_string(),
            json!({ "commands": words }),
        );
        let places: Vec<usize> = commands.iter().map(|command| command.place).collect();
        session::ask(call, |world| world.first(&places))
    }
}

/// Files that a step stores at the master.
pub mod artefacts {
    use serde_json::json;

    pub use crate::bindings::step::capstan::plugin::artefacts::{Artefact, ArtefactError};
    use crate::test::call::Call;
    use crate::test::session;

    /// Stores a file that the test says is on the worker.
    pub fn publish(path: &str, name: &str) -> Result<Artefact, ArtefactError> {
        let with = json!({ "path": path, "name": name });
        let call = Call::new("artefacts.publish", format!("{path} {name}"), with);
        session::ask(call, |world| world.publish(path, name))
    }

    /// Stores these bytes for the test to look at.
    pub fn write(name: &str, content: &[u8]) -> Result<Artefact, ArtefactError> {
        let with = json!({ "name": name, "content": String::from_utf8_lossy(content) });
        session::ask(Call::new("artefacts.write", name, with), |world| {
            world.store(name, content)
        })
    }
}

/// Ending the build of a step.
pub mod ending {
    use serde_json::json;

    use crate::Outcome;
    use crate::test::call::Call;
    use crate::test::session;

    /// Kept for the test to look at.
    pub fn end_build(outcome: Outcome, reason: &str) {
        let with = json!({ "outcome": outcome.to_string(), "reason": reason });
        let call = Call::new("ending.end-build", format!("{outcome} {reason}"), with);
        session::ask(call, |world| {
            world.ends_build = Some((outcome, reason.to_owned()))
        });
    }
}

/// Builds that a step asks schedulers for.
pub mod triggers {
    use serde_json::{Value, json};

    pub use crate::bindings::step::capstan::plugin::triggers::{Completed, TriggerError, TriggeredBuild};
    use crate::test::call::Call;
    use crate::test::session;

    /// Makes one buildset, unless the test says otherwise.
    pub fn call(scheduler: &str, call: &str) -> Result<Vec<i64>, TriggerError> {
        let asked: Value = serde_json::from_str(call).unwrap_or_default();
        let with = json!({ "scheduler": scheduler, "call": asked });
        let call = Call::new("triggers.call", scheduler, with);
        session::ask(call, |world| world.trigger(scheduler))
    }

    /// Ends each of them as the test says.
    pub fn wait(buildsets: &[i64], give_back: bool) -> Result<Vec<Completed>, TriggerError> {
        let with = json!({ "buildsets": buildsets, "give_back": give_back });
        let call = Call::new("triggers.wait", buildsets.len().to_string(), with);
        session::ask(call, |world| world.triggered(buildsets))
    }
}

/// Git repositories.
pub mod git {
    use serde_json::json;

    pub use crate::bindings::change_source::capstan::plugin::git::{Commit, GitError, Reference};
    use crate::test::call::Call;
    use crate::test::session;

    /// The branches and tags that the test says.
    pub fn fetch(repository: &str) -> Result<Vec<Reference>, GitError> {
        let call = Call::new("git.fetch", repository, json!({ "repository": repository }));
        session::ask(call, |world| world.repository(repository)?.references())
    }

    /// Commits from the history that the test says.
    pub fn commits(
        repository: &str,
        since: &[String],
        until: &str,
        limit: u32,
    ) -> Result<Vec<Commit>, GitError> {
        let with = json!({ "repository": repository, "since": since, "until": until, "limit": limit });
        let call = Call::new("git.commits", format!("{repository} {until}"), with);
        session::ask(call, |world| {
            world.repository(repository)?.commits(since, until, limit)
        })
    }
}

/// HTTP servers.
pub mod http {
    use serde_json::{Map, Value, json};

    pub use crate::bindings::shared::capstan::plugin::http::{Header, HttpError, Request, Response};
    use crate::test::call::Call;
    use crate::test::session;

    /// Answered by the test.
    pub fn fetch(request: &Request) -> Result<Response, HttpError> {
        let words = format!("{} {}", request.method, request.url);
        let mut with = json!({
            "method": request.method, "url": request.url, "headers": pairs(&request.headers),
            "secret_headers": pairs(&request.secret_headers), "body": String::from_utf8_lossy(&request.body),
            "timeout_ms": request.timeout_ms,
        });
        if let Ok(json) = serde_json::from_slice::<Value>(&request.body) {
            with["json"] = json;
        }
        session::ask(Call::new("http.fetch", &words, with), |world| {
            world.http.answer("http.fetch", &words)
        })
    }

    fn pairs(headers: &[Header]) -> Map<String, Value> {
        let pair = |header: &Header| (header.name.clone(), json!(header.value));
        headers.iter().map(pair).collect()
    }
}

/// Files under the farm's folder.
pub mod report_files {
    use serde_json::{Value, json};

    pub use crate::bindings::reporter::capstan::plugin::report_files::FileError;
    use crate::test::call::Call;
    use crate::test::session;

    /// Appends to a file that the test looks at.
    pub fn append_line(path: &str, line: &str) -> Result<(), FileError> {
        let mut with = json!({ "path": path, "line": line });
        if let Ok(json) = serde_json::from_str::<Value>(line) {
            with["json"] = json;
        }
        session::ask(Call::new("report-files.append-line", path, with), |world| {
            world.append(path, line)
        })
    }
}

/// What a reporter remembers.
pub mod state {
    use serde_json::json;

    pub use crate::bindings::reporter::capstan::plugin::state::StateError;
    use crate::test::call::Call;
    use crate::test::session;

    /// The value of a key.
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        session::ask(Call::new("state.get", key, json!({ "key": key })), |world| {
            Ok(world.state.get(key).cloned())
        })
    }

    /// Sets the value of a key.
    pub fn set(key: &str, value: &[u8]) -> Result<(), StateError> {
        let with = json!({ "key": key, "value": String::from_utf8_lossy(value) });
        session::ask(Call::new("state.set", key, with), |world| {
            world.state.insert(key.to_owned(), value.to_owned());
            Ok(())
        })
    }

    /// Removes a key.
    pub fn delete(key: &str) -> Result<(), StateError> {
        session::ask(Call::new("state.delete", key, json!({ "key": key })), |world| {
            world.state.remove(key);
            Ok(())
        })
    }
}

/// Mail.
pub mod mail {
    pub use crate::test::mail::{MailError, Message, send};
}

/// What a reporter is told about.
pub mod reports {
    pub use crate::test::reports::{Phase, Report, StepResult};
}
