//! A change source whose cursor is a text. Its version 0.1.0 had bytes, and it translates them.

wit_bindgen::generate!({ path: "../../../wit", world: "migrating-change-source-plugin" });

use capstan::plugin::types::PluginError;
use exports::capstan::plugin::change_source::{Guest, PollResult};
use exports::capstan::plugin::migration;

struct Fixture;
export!(Fixture);

impl Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        Ok(())
    }

    fn poll(_config: String, cursor: Vec<u8>) -> Result<PollResult, PluginError> {
        match cursor.is_empty() || cursor.starts_with(b"text ") {
            true => Ok(PollResult {
                cursor,
                changes: Vec::new(),
                poll_again_ms: 60_000,
            }),
            false => Err(PluginError::Permanent("expected a cursor as text".into())),
        }
    }
}

impl migration::Guest for Fixture {
    fn migrate(_config: String, from_version: String, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        Ok(format!("text {from_version} {old:?}").into_bytes())
    }
}
