//! `capstan builds`, `capstan build show` and `capstan stop`.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use super::{interruptions, journal};
use crate::cli::{Common, ShowArguments};
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

/// Shows one build with its steps, or one step; or what they asked of the master.
pub async fn show(common: &Common, arguments: ShowArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(&arguments.build).await?;
    let build = client.get(&format!("/builds/{id}")).await?;
    let one = match &arguments.step {
        Some(name) => Some(find_step(&build, name)?),
        None => None,
    };
    if arguments.journal {
        let all = || build["steps"].as_array().into_iter().flatten().collect();
        let steps: Vec<_> = one.map_or_else(all, |step| vec![step]);
        return journal::show(common, &client, &steps).await;
    }
    if common.json {
        print_json(one.unwrap_or(&build));
        return Ok(ExitCode::SUCCESS);
    }
    print(&line(&build));
    if let Some(step) = one {
        print(&step_line(step));
        return Ok(ExitCode::SUCCESS);
    }
    for source in build["sources"].as_array().into_iter().flatten() {
        let part = |name: &str| plain(source[name].as_str().unwrap_or("-"));
        print(&format!(
            "  source   {} {} {}",
            part("repository"),
            part("branch"),
            part("revision")
        ));
    }
    for away in build["interruptions"].as_array().into_iter().flatten() {
        print(&format!("  away     {}", interruptions::line(away)));
    }
    for parent in build["parents"].as_array().into_iter().flatten() {
        print(&format!("  asked by {}", name(parent)));
    }
    for step in build["steps"].as_array().into_iter().flatten() {
        print(&step_line(step));
    }
    for child in build["children"].as_array().into_iter().flatten() {
        print(&child_line(child));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a step has asked for, in one line.
fn child_line(child: &Value) -> String {
    let scheduler = plain(child["scheduler"].as_str().unwrap_or("?"));
    match child["build"].is_null() {
        true => {
            let builder = plain(child["builder"].as_str().unwrap_or("?"));
            let state = match child["outcome"].is_null() {
                true => "waits".to_owned(),
                false => outcome(&child["outcome"]),
            };
            format!(
                "  child    {builder} (request {}) {state} by {scheduler}",
                child["request"]
            )
        }
        false => {
            let build = &child["build"];
            format!(
                "  child    {} {} by {scheduler}",
                name(build),
                outcome(&build["outcome"])
            )
        }
    }
}

/// `builder/7`.
fn name(build: &Value) -> String {
    format!(
        "{}/{}",
        plain(build["builder"].as_str().unwrap_or("?")),
        build["number"]
    )
}

/// The step of a build that has that name or position.
pub fn find_step<'a>(build: &'a Value, step: &str) -> anyhow::Result<&'a Value> {
    let steps = || build["steps"].as_array().into_iter().flatten();
    let matches = |s: &&Value| {
        s["name"].as_str() == Some(step)
            || step
                .parse()
                .ok()
                .is_some_and(|at| s["position"].as_u64() == Some(at))
    };
    if let Some(found) = steps().find(matches) {
        return Ok(found);
    }
    let names: Vec<_> = steps().filter_map(|s| s["name"].as_str()).collect();
    bail!(
        "expected a step of the build ({}), found `{step}`",
        names.join(", ")
    )
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
