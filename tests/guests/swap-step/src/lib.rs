//! A step that sleeps for `{"ms": 5000}` and then says which version it is.

wit_bindgen::generate!({ path: "../../../wit", world: "step-plugin" });

#[path = "../../mark.rs"]
mod mark;

use capstan::plugin::types::{Outcome, PluginError};
use capstan::plugin::{build, timers};
use mark::mark;

struct Fixture;
export!(Fixture);

impl exports::capstan::plugin::step::Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        Ok(())
    }

    fn run(config: String) -> Result<Outcome, PluginError> {
        let config: serde_json::Value =
            serde_json::from_str(&config).map_err(|error| PluginError::Permanent(error.to_string()))?;
        let begun_as = mark();
        assert!(begun_as != "trap", "told to");
        if let Some(ms) = config["ms"].as_u64().filter(|&ms| ms > 0) {
            timers::sleep_ms(ms);
        }
        build::set_summary(&format!("{begun_as} {}", mark()));
        Ok(Outcome::Success)
    }
}
