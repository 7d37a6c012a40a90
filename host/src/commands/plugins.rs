//! `capstan plugins`.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::Common;
use crate::client::Client;
use crate::output::{plain, print, print_json};

/// Lists plugins.
pub async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.get("/plugins").await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for plugin in answer["plugins"].as_array().into_iter().flatten() {
        print(&line(plugin));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(plugin: &Value) -> String {
    let text = |name: &str| plain(plugin[name].as_str().unwrap_or("-"));
    let digest: String = text("digest").chars().take(12).collect();
    let state = match (plugin["error"].as_str(), plugin["active"].as_bool()) {
        (Some(error), _) => format!("cannot be used: {}", plain(error)),
        (None, Some(false)) => "overridden".to_owned(),
        _ => text("description"),
    };
    format!(
        "{:<14} {:<14} {:<8} {digest:<12} {:<24} {state}",
        text("kind"),
        text("name"),
        text("version"),
        text("origin")
    )
}
