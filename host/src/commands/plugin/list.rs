//! `capstan plugin list`.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::Common;
use crate::client::Client;
use crate::output::{plain, print, print_json};

/// Lists plugins, with what became of each.
pub async fn run(common: &Common) -> anyhow::Result<ExitCode> {
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
    format!(
        "{:<14} {:<14} {:<8} {digest:<12} {:<24} {}",
        text("kind"),
        text("name"),
        text("version"),
        text("origin"),
        state(plugin)
    )
}

fn state(plugin: &Value) -> String {
    let text = |name: &str| plain(plugin[name].as_str().unwrap_or_default());
    let word = text("state").replace('-', " ");
    let reason = match word.as_str() {
        "waiting" | "refused" | "broken" => text("error"),
        "overridden" => String::new(),
        _ => text("note"),
    };
    // The reason of one that waits begins with the word.
    if reason.starts_with(&format!("{word}: ")) {
        reason
    } else if reason.is_empty() {
        word
    } else {
        format!("{word}: {reason}")
    }
}
