//! A change source that reports changes numbered from 0, so many at each poll, up to a limit:
//! `{"each": 25, "limit": 1000, "pause_ms": 200}`. Its version `v2` writes its cursor in another form, and translates the old one.

wit_bindgen::generate!({ path: "../../../wit", world: "migrating-change-source-plugin" });

#[path = "../../mark.rs"]
mod mark;

use capstan::plugin::types::PluginError;
use exports::capstan::plugin::{change_source, migration};
use mark::mark;

struct Fixture;
export!(Fixture);

fn wrong(error: impl std::fmt::Display) -> PluginError {
    PluginError::Permanent(error.to_string())
}

fn text(state: Vec<u8>) -> Result<String, PluginError> {
    String::from_utf8(state).map_err(wrong)
}

impl change_source::Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        if mark() == "bad-check" {
            return Err(wrong("this version likes no parameters"));
        }
        Ok(())
    }

    fn poll(config: String, cursor: Vec<u8>) -> Result<change_source::PollResult, PluginError> {
        assert!(mark() != "trap", "told to");
        let config: serde_json::Value = serde_json::from_str(&config).map_err(wrong)?;
        let number = |name: &str, other: u64| config[name].as_u64().unwrap_or(other);
        let cursor = text(cursor)?;
        let prefix = if mark() == "v1" { "" } else { "at " };
        let from: u64 = match cursor.as_str() {
            "" => 0,
            other => other
                .strip_prefix(prefix)
                .ok_or_else(|| wrong(format!("expected a cursor of {}, found {other}", mark())))?
                .parse()
                .map_err(wrong)?,
        };
        let to = (from + number("each", 25)).min(number("limit", 1000));
        Ok(change_source::PollResult {
            cursor: format!("{prefix}{to}").into_bytes(),
            changes: (from..to).map(change).collect(),
            poll_again_ms: number("pause_ms", 200),
        })
    }
}

impl migration::Guest for Fixture {
    fn migrate(_config: String, from_version: String, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let old = text(old)?;
        match mark().as_str() {
            "unfit" => Err(wrong(format!("this cursor of {from_version} is beyond me"))),
            "v1" => Ok(old.trim_start_matches("at ").as_bytes().to_vec()),
            _ if old.starts_with("at ") => Ok(old.into_bytes()),
            _ => Ok(format!("at {old}").into_bytes()),
        }
    }
}

fn change(number: u64) -> change_source::NewChange {
    change_source::NewChange {
        dedup_key: number.to_string(),
        codebase: String::new(),
        repository: "https://git.example.org/a".into(),
        project: String::new(),
        branch: Some("main".into()),
        revision: number.to_string(),
        author: mark(),
        comments: String::new(),
        files: Vec::new(),
        category: None,
        when: 7,
        properties: Vec::new(),
    }
}
