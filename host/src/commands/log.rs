//! `capstan log`: prints a log, whole or as it grows.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use futures::StreamExt;
use serde_json::Value;

use crate::cli::{Common, LogArguments};
use crate::client::{Client, Event};
use crate::output::print;

/// Lines fetched at a time.
const PAGE: u64 = 1000;

/// Prints a log.
pub async fn run(common: &Common, arguments: LogArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let build = client.build_id(&arguments.build).await?;
    let build = client.get(&format!("/builds/{build}")).await?;
    let log = find(&build, &arguments.step, arguments.log.as_deref())?;
    if arguments.raw {
        let mut bytes = Box::pin(client.bytes(&format!("/logs/{log}/raw")).await?);
        let mut out = std::io::stdout();
        while let Some(chunk) = bytes.next().await {
            out.write_all(&chunk?)?;
        }
        out.flush()?;
    } else if arguments.follow {
        follow(&client, log).await?;
    } else {
        whole(&client, log).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the lines of a log until it is complete.
pub async fn follow(client: &Client, log: i64) -> anyhow::Result<()> {
    client
        .events(&format!("/logs/{log}/follow"), async |event: Event| {
            if event.kind == "lines" {
                print_lines(&serde_json::from_str(&event.data).context("expected lines from the master")?);
            }
            Ok(event.kind == "complete")
        })
        .await
}

async fn whole(client: &Client, log: i64) -> anyhow::Result<()> {
    let mut from = 0;
    loop {
        let page = client
            .get(&format!("/logs/{log}/lines?from={from}&count={PAGE}"))
            .await?;
        let lines = page["lines"].as_array().map_or(0, Vec::len);
        if lines == 0 {
            return Ok(());
        }
        print_lines(&page);
        from += lines as u64;
    }
}

/// Bytes that a terminal would obey are shown as they came: colours in logs are wanted.
fn print_lines(page: &Value) {
    for line in page["lines"].as_array().into_iter().flatten() {
        print(line["text"].as_str().unwrap_or_default());
    }
}

fn find(build: &Value, step: &str, log: Option<&str>) -> anyhow::Result<i64> {
    let steps: Vec<_> = build["steps"].as_array().into_iter().flatten().collect();
    let matches =
        |s: &&&Value| s["name"].as_str() == Some(step) || s["position"].as_u64() == step.parse().ok();
    let Some(found) = steps.iter().find(matches) else {
        let names: Vec<_> = steps.iter().filter_map(|s| s["name"].as_str()).collect();
        bail!(
            "expected a step of the build ({}), found `{step}`",
            names.join(", ")
        );
    };
    let logs: Vec<_> = found["logs"].as_array().into_iter().flatten().collect();
    let wanted = |l: &&&Value| log.is_none() || l["name"].as_str() == log;
    let Some(found) = logs.iter().find(wanted) else {
        let names: Vec<_> = logs.iter().filter_map(|l| l["name"].as_str()).collect();
        bail!("the step has no such log (it has: {})", names.join(", "));
    };
    found["id"]
        .as_i64()
        .context("expected a log with an id from the master")
}
