//! A reporter that counts the builds that it is told of, and mails every second count to `{"to": ADDRESS}`. A report that comes
//! again is not counted again: with the count it keeps which delivery made it. Its mail has the delivery's id as its own.

wit_bindgen::generate!({ path: "../../../wit", world: "reporter-plugin" });

use capstan::plugin::mail::{Message, send};
use capstan::plugin::reports::Report;
use capstan::plugin::state;
use capstan::plugin::types::PluginError;
use exports::capstan::plugin::reporter::Guest;

struct Fixture;
export!(Fixture);

fn later(error: impl std::fmt::Debug) -> PluginError {
    PluginError::Transient(format!("{error:?}"))
}

/// The count with this delivery, which is durable when this returns.
fn counted(delivery: &str) -> Result<u64, PluginError> {
    let kept = state::get("tally").map_err(later)?.unwrap_or_default();
    let kept = String::from_utf8(kept).map_err(later)?;
    let (count, last) = kept.split_once(' ').unwrap_or(("0", ""));
    let count: u64 = count.parse().map_err(later)?;
    if last == delivery {
        return Ok(count);
    }
    state::set("tally", format!("{} {delivery}", count + 1).as_bytes()).map_err(later)?;
    Ok(count + 1)
}

impl Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        Ok(())
    }

    fn deliver(config: String, report: &Report) -> Result<(), PluginError> {
        let config: serde_json::Value = serde_json::from_str(&config).map_err(later)?;
        let delivery = report.delivery_id();
        let count = counted(&delivery)?;
        if count % 2 == 1 {
            return Ok(());
        }
        let message = Message::new();
        message.add_to(config["to"].as_str().unwrap_or_default());
        message.set_subject(&format!("{count} builds"));
        message.set_text(&format!(
            "The last one is {} #{}.",
            report.builder(),
            report.number()
        ));
        message.add_header("Message-ID", &format!("<{delivery}@farm.example>"));
        send(&message).map_err(later)
    }
}
