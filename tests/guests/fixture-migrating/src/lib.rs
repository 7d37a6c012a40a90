//! A scheduler that counts events in a text. Its version 0.1.0 counted them in one byte, and it translates that; with
//! `{"migration": "fail"}` it says that it cannot, with `"trap"` it falls over it, with `"flood"` it answers too much.

wit_bindgen::generate!({ path: "../../../wit", world: "migrating-scheduler-plugin" });

use capstan::plugin::types::PluginError;
use exports::capstan::plugin::{migration, scheduler};

struct Fixture;
export!(Fixture);

impl scheduler::Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        Ok(())
    }

    fn handle(
        _config: String,
        state: Vec<u8>,
        _now: i64,
        _event: scheduler::Event,
    ) -> Result<scheduler::Decision, PluginError> {
        let text = String::from_utf8(state).unwrap_or_default();
        let count = match text.strip_prefix("count ") {
            Some(count) => count
                .parse::<u64>()
                .map_err(|error| PluginError::Permanent(error.to_string()))?,
            None if text.is_empty() => 0,
            None => {
                return Err(PluginError::Permanent(format!(
                    "expected `count …`, found {text:?}"
                )));
            }
        };
        Ok(scheduler::Decision {
            state: format!("count {}", count + 1).into_bytes(),
            submit: Vec::new(),
            set_timers: Vec::new(),
            clear_timers: Vec::new(),
        })
    }
}

impl migration::Guest for Fixture {
    fn migrate(config: String, from_version: String, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        match (
            config["migration"].as_str(),
            from_version.as_str(),
            old.as_slice(),
        ) {
            (Some("fail"), ..) => Err(PluginError::Permanent("this state is beyond me".into())),
            (Some("trap"), ..) => panic!("told to"),
            (Some("flood"), ..) => Ok(vec![0; 2 << 20]),
            (_, "0.1.0", &[count, ..]) => Ok(format!("count {count}").into_bytes()),
            (_, from, _) => Err(PluginError::Permanent(format!(
                "expected a state of 0.1.0, found one of {from}"
            ))),
        }
    }
}
