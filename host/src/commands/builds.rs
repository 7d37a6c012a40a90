//! `capstan builds`, `capstan build` and `capstan stop`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::Common;
use crate::client::{Client, segment};
use crate::output::{ago, outcome, plain, print, print_json, span};

/// Lists builds, newest first.
pub async fn list(common: &Common, builder: Option<String>, limit: u32) -> anyhow::Result<ExitCode> {
    let filter = builder.map_or_else(String::new, |name| format!("&builder={}", segment(&name)));
    let answer = Client::new(common)?
        .get(&format!("/builds?limit={limit}{filter}"))
        .await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for build in answer["builds"].as_array().into_iter().flatten() {
        print(&line(build));
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows one build with its steps.
pub async fn show(common: &Common, build: &str) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(build).await?;
    let build = client.get(&format!("/builds/{id}")).await?;
    if common.json {
        print_json(&build);
        return Ok(ExitCode::SUCCESS);
    }
    print(&line(&build));
    for source in build["sources"].as_array().into_iter().flatten() {
        let part = |name: &str| plain(source[name].as_str().unwrap_or("-"));
        print(&format!(
            "  source   {} {} {}",
            part("repository"),
            part("branch"),
            part("revision")
        ));
    }
    for step in build["steps"].as_array().into_iter().flatten() {
        print(&step_line(step));
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops a running build.
pub async fn stop(common: &Common, build: &str, reason: String) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(build).await?;
    client
        .post(&format!("/builds/{id}/stop"), &json!({ "reason": reason }))
        .await?;
    print(&format!("build {id} is being stopped"));
    Ok(ExitCode::SUCCESS)
}

/// A build in one line.
pub fn line(build: &Value) -> String {
    let name = format!(
        "{}/{}",
        plain(build["builder"].as_str().unwrap_or("?")),
        build["number"]
    );
    let worker = plain(build["worker"].as_str().unwrap_or("-"));
    let summary = plain(build["summary"].as_str().unwrap_or_default());
    let reason = plain(build["reason"].as_str().unwrap_or_default());
    let id = build["id"].to_string();
    let result = outcome(&build["outcome"]);
    format!(
        "{id:>5}  {name:<24} {result:<10} {:<14} on {worker:<10} {summary} ({reason})",
        ago(&build["started"])
    )
}

/// A step in one line.
pub fn step_line(step: &Value) -> String {
    let name = plain(step["name"].as_str().unwrap_or("?"));
    let state = match step["state"].as_str() {
        Some("pending") => "pending".to_owned(),
        _ => outcome(&step["outcome"]),
    };
    let took = match (step["started"].as_i64(), step["finished"].as_i64()) {
        (Some(start), Some(end)) => span(u64::try_from(end - start).unwrap_or(0)),
        _ => "-".to_owned(),
    };
    let summary = plain(step["summary"].as_str().unwrap_or_default());
    format!(
        "  {:>3} {name:<20} {state:<10} {took:<12} {summary}",
        step["position"].to_string()
    )
}
