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
    let state = text("state");
    match (state.as_str(), text("error"), text("note")) {
        ("kept", _, note) => format!("old version kept: {note}"),
        ("overridden", ..) => "overridden".to_owned(),
        // Its reason begins with the word.
        ("waiting", error, _) => error,
        ("refused" | "broken", error, _) => format!("cannot be used: {error}"),
        (_, _, note) if !note.is_empty() => format!("in force: {note}"),
        _ => "in force".to_owned(),
    }
}
