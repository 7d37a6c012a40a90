//! `capstan buildset`, `capstan rebuild` and `capstan cancel`: what was asked for together, again or not at all.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{BuildsetCommand, Common};
use crate::client::Client;
use crate::output::{ago, outcome, plain, print, print_json};

/// Carries out `capstan buildset …`.
pub async fn run(common: &Common, command: BuildsetCommand) -> anyhow::Result<ExitCode> {
    match command {
        BuildsetCommand::Show { id } => show(common, id).await,
        BuildsetCommand::Cancel { id, reason } => cancel(common, id, reason).await,
        BuildsetCommand::Rebuild { id, failed, reason } => {
            let body = json!({ "failed": failed, "reason": reason });
            ask_again(common, &format!("/buildsets/{id}/rebuild"), &body).await
        }
    }
}

/// Builds the same again.
pub async fn rebuild_build(common: &Common, build: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let id = Client::new(common)?.build_id(build).await?;
    let body = json!({ "reason": reason });
    ask_again(common, &format!("/builds/{id}/rebuild"), &body).await
}

/// Cancels a request that waits.
pub async fn cancel_request(common: &Common, request: i64, reason: String) -> anyhow::Result<ExitCode> {
    let body = json!({ "reason": reason });
    Client::new(common)?
        .post(&format!("/requests/{request}/cancel"), &body)
        .await?;
    if !common.json {
        print(&format!("request {request} is cancelled"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask_again(common: &Common, path: &str, body: &Value) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.post(path, body).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "buildset {} with {}",
        answer["buildset"],
        ids("request", &answer["requests"])
    ));
    Ok(ExitCode::SUCCESS)
}

async fn show(common: &Common, id: i64) -> anyhow::Result<ExitCode> {
    let set = Client::new(common)?.get(&format!("/buildsets/{id}")).await?;
    if common.json {
        print_json(&set);
        return Ok(ExitCode::SUCCESS);
    }
    let word = set["outcome"].as_str().unwrap_or("unfinished");
    let reason = plain(set["reason"].as_str().unwrap_or_default());
    print(&format!(
        "buildset {id}  {word}  {}  ({reason})",
        ago(&set["submitted"])
    ));
    for request in set["requests"].as_array().into_iter().flatten() {
        let result = match request["state"].as_str() {
            Some("pending") => "waits".to_owned(),
            _ => outcome(&request["outcome"]),
        };
        let said = request["note"].as_str().or(request["waiting"].as_str());
        print(&format!(
            "{:>7}  {:<24} {result:<10} {} {}",
            request["id"].to_string(),
            plain(request["builder"].as_str().unwrap_or("?")),
            ids("build", &request["builds"]),
            plain(said.unwrap_or_default())
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn cancel(common: &Common, id: i64, reason: String) -> anyhow::Result<ExitCode> {
    let body = json!({ "reason": reason });
    let answer = Client::new(common)?
        .post(&format!("/buildsets/{id}/cancel"), &body)
        .await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for (kind, what) in [("request", "cancelled"), ("build", "being stopped")] {
        let all = &answer[format!("{kind}s")];
        if all.as_array().is_some_and(|all| !all.is_empty()) {
            print(&format!("{what}: {}", ids(kind, all)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `request 4, 5`.
fn ids(what: &str, list: &Value) -> String {
    let all: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    match all.is_empty() {
        true => String::new(),
        false => format!("{what} {}", all.join(", ")),
    }
}
