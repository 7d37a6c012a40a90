//! `capstan changes`, `capstan change send`, and `capstan build blame`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::cli::{Common, SendArguments};
use crate::client::Client;
use crate::output::{ago, plain, print, print_json};

/// Sends a change.
pub async fn send(common: &Common, change: SendArguments) -> anyhow::Result<ExitCode> {
    let properties: Map<String, Value> = change.properties.into_iter().collect();
    let body = json!({
        "key": change.key,
        "codebase": change.codebase,
        "repository": change.repository,
        "project": change.project,
        "branch": change.branch,
        "revision": change.revision,
        "author": change.author,
        "comments": change.comments,
        "files": change.files,
        "category": change.category,
        "when": change.when.map(|seconds| seconds.saturating_mul(1000)),
        "properties": properties,
    });
    let answer = Client::new(common)?.post("/changes", &body).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let known = if answer["new"] == false {
        ", which was sent before"
    } else {
        ""
    };
    print(&format!("change {}{known}", answer["change"]["id"]));
    Ok(ExitCode::SUCCESS)
}

/// Says who may have broken a build.
pub async fn blame(common: &Common, build: &str) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(build).await?;
    let build = client.get(&format!("/builds/{id}")).await?;
    let answer = client.get(&format!("/builds/{id}/blame")).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    match answer["since"]["number"].as_u64() {
        Some(number) => print(&format!(
            "since {}/{number}, the last good build of the branch:",
            plain(build["builder"].as_str().unwrap_or_default())
        )),
        None => print("the branch had no good build before:"),
    }
    let people = answer["people"].as_array().map(Vec::as_slice).unwrap_or_default();
    for person in people {
        let changes = person["changes"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let changes: Vec<_> = changes.iter().map(Value::to_string).collect();
        let changes = if changes.is_empty() {
            "the patch".to_owned()
        } else {
            format!("change {}", changes.join(", "))
        };
        print(&format!(
            "{}  {changes}",
            plain(person["author"].as_str().unwrap_or_default())
        ));
    }
    if people.is_empty() {
        print("nobody: there are no changes");
    }
    Ok(ExitCode::SUCCESS)
}

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
