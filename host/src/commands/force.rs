//! `capstan force`: asks for a build and, if wanted, shows it until it ends.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use super::{builds, log};
use crate::cli::{Common, ForceArguments};
use crate::client::{Client, Event, segment};
use crate::output::{print, print_error, print_json};

/// Asks for a build.
pub async fn run(common: &Common, arguments: ForceArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let properties: serde_json::Map<String, Value> = arguments.properties.into_iter().collect();
    let body = json!({
        "branch": arguments.branch,
        "revision": arguments.revision,
        "repository": arguments.repository.unwrap_or_default(),
        "reason": arguments.reason,
        "properties": properties,
    });
    // Where the feed stands before the request: nothing that follows can be missed.
    let after = client.get("/health").await?["event"].as_i64().unwrap_or(0);
    let answer = client
        .post(&format!("/builders/{}/force", segment(&arguments.builder)), &body)
        .await?;
    let request = answer["requests"][0]
        .as_i64()
        .context("expected a request's id from the master")?;
    if common.json {
        print_json(&answer);
    } else {
        print(&format!("request {request} for {}", arguments.builder));
    }
    if arguments.follow {
        follow(&client, request, after).await
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows the build of a request: each step's lines as they come, and its end.
async fn follow(client: &Client, request: i64, after: i64) -> anyhow::Result<ExitCode> {
    let mut build = None;
    let mut waiting = Vec::new();
    client
        .events(&format!("/events?after={after}"), async |event: Event| {
            let row: Value = serde_json::from_str(&event.data).unwrap_or_default();
            if event.kind == "build.started" && build.is_none() {
                let started = client.get(&format!("/builds/{}", row["build"])).await?;
                let ours = started["requests"]
                    .as_array()
                    .is_some_and(|ids| ids.contains(&json!(request)));
                if ours {
                    build = started["id"].as_i64();
                    print(&builds::line(&started));
                }
            }
            if build.is_none() || row["build"].as_i64() != build {
                return Ok(false);
            }
            if event.kind == "log.opened" {
                waiting.push(row["payload"]["log"].as_i64());
            }
            if matches!(
                event.kind.as_str(),
                "log.opened" | "step.finished" | "build.finished"
            ) {
                for id in waiting.drain(..).flatten() {
                    log::follow(client, id).await?;
                }
            }
            Ok(event.kind == "build.finished")
        })
        .await?;
    let id = build.context("the build vanished")?;
    let ended = client.get(&format!("/builds/{id}")).await?;
    print_error("");
    print(&builds::line(&ended));
    for step in ended["steps"].as_array().into_iter().flatten() {
        print(&builds::step_line(step));
    }
    let good = matches!(ended["outcome"].as_str(), Some("success" | "warnings"));
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
