//! A reporter that appends a line to `{"file": PATH}` for each report: which build it is about, and which version wrote it.

wit_bindgen::generate!({ path: "../../../wit", world: "reporter-plugin" });

#[path = "../../mark.rs"]
mod mark;

use capstan::plugin::report_files;
use capstan::plugin::reports::Report;
use capstan::plugin::types::PluginError;
use exports::capstan::plugin::reporter::Guest;
use mark::mark;

struct Fixture;
export!(Fixture);

impl Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        if mark() == "bad-check" {
            return Err(PluginError::Permanent("this version likes no parameters".into()));
        }
        Ok(())
    }

    fn deliver(config: String, report: &Report) -> Result<(), PluginError> {
        let config: serde_json::Value =
            serde_json::from_str(&config).map_err(|error| PluginError::Permanent(error.to_string()))?;
        let path = config["file"].as_str().unwrap_or("reports/swap");
        assert!(mark() != "trap", "told to");
        let line = format!("{} {} {}", report.builder(), report.number(), mark());
        report_files::append_line(path, &line).map_err(|error| PluginError::Permanent(format!("{error:?}")))
    }
}
