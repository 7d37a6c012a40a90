//! `capstan changes`.

use std::process::ExitCode;

use crate::cli::Common;
use crate::client::Client;
use crate::output::{ago, plain, print, print_json};

/// Lists changes, newest first.
pub async fn list(common: &Common, limit: u32) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?
        .get(&format!("/changes?limit={limit}"))
        .await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for change in answer["changes"].as_array().into_iter().flatten() {
        let text = |name: &str| plain(change[name].as_str().unwrap_or("-"));
        let revision: String = text("revision").chars().take(12).collect();
        let comments = change["comments"]
            .as_str()
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        print(&format!(
            "{:>5}  {revision:<12} {:<16} {:<12} {}  {}",
            change["id"].to_string(),
            text("branch"),
            ago(&change["received"]),
            text("author"),
            plain(comments)
        ));
    }
    Ok(ExitCode::SUCCESS)
}
