//! A scheduler that expects changes numbered from 0 in their order, and submits a buildset for each ten of them, whose reason says
//! which: `0-9 v1`. A change that is missing, doubled or out of order ends up in a reason, too. Its version `v2` writes its
//! state in another form, and translates the old one.

wit_bindgen::generate!({ path: "../../../wit", world: "migrating-scheduler-plugin" });

#[path = "../../mark.rs"]
mod mark;

use capstan::plugin::log;
use capstan::plugin::types::PluginError;
use exports::capstan::plugin::{migration, scheduler};
use mark::mark;

struct Fixture;
export!(Fixture);

/// So many changes become one buildset.
const BATCH: u64 = 10;

fn wrong(error: impl std::fmt::Display) -> PluginError {
    PluginError::Permanent(error.to_string())
}

impl scheduler::Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        if mark() == "bad-check" {
            return Err(wrong("this version likes no parameters"));
        }
        Ok(())
    }

    fn handle(
        _config: String,
        state: Vec<u8>,
        _now: i64,
        event: scheduler::Event,
    ) -> Result<scheduler::Decision, PluginError> {
        std::panic::set_hook(Box::new(|info| log::write(log::Level::Error, &info.to_string())));
        assert!(mark() != "trap", "told to");
        let text = String::from_utf8(state).map_err(wrong)?;
        let prefix = if mark() == "v1" { "" } else { "next " };
        let mut next: u64 = match text.as_str() {
            "" => 0,
            other => other
                .strip_prefix(prefix)
                .ok_or_else(|| wrong(format!("expected a state of {}, found {other}", mark())))?
                .parse()
                .map_err(wrong)?,
        };
        let mut submit = Vec::new();
        if let scheduler::Event::Change(change) = event {
            let found: u64 = change.revision.parse().map_err(wrong)?;
            if found != next {
                submit.push(buildset(format!("expected {next}, found {found}"), change.id));
            }
            next = found + 1;
            if next.is_multiple_of(BATCH) {
                submit.push(buildset(
                    format!("{}-{found} {}", next - BATCH, mark()),
                    change.id,
                ));
            }
        }
        Ok(scheduler::Decision {
            state: format!("{prefix}{next}").into_bytes(),
            submit,
            set_timers: Vec::new(),
            clear_timers: Vec::new(),
        })
    }
}

impl migration::Guest for Fixture {
    fn migrate(_config: String, from_version: String, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let old = String::from_utf8(old).map_err(wrong)?;
        match mark().as_str() {
            "unfit" => Err(wrong(format!("this state of {from_version} is beyond me"))),
            "v1" => Ok(old.trim_start_matches("next ").as_bytes().to_vec()),
            _ if old.starts_with("next ") => Ok(old.into_bytes()),
            _ => Ok(format!("next {old}").into_bytes()),
        }
    }
}

fn buildset(reason: String, change: i64) -> scheduler::Buildset {
    scheduler::Buildset {
        builders: None,
        sources: Vec::new(),
        priority: 0,
        reason,
        properties: Vec::new(),
        changes: vec![change],
    }
}
