//! `capstan log`: prints a log, whole or as it grows.

use std::cell::Cell;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use futures::StreamExt;
use serde_json::Value;

use super::builds::find_step;
use super::interruptions::Told;
use crate::cli::{Common, LogArguments};
use crate::client::{Client, Event};
use crate::output::print;

/// Lines fetched at a time.
const PAGE: u64 = 1000;

/// Prints a log.
pub async fn run(common: &Common, arguments: LogArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    if arguments.follow {
        client.greet().await?;
    }
    let id = client.build_id(&arguments.build).await?;
    let build = client.get(&format!("/builds/{id}")).await?;
    let step = find_step(&build, &arguments.step)?;
    let log = find(step, arguments.log.as_deref())?;
    if arguments.raw {
        let mut bytes = Box::pin(client.bytes(&format!("/logs/{log}/raw")).await?);
        let mut out = std::io::stdout();
        while let Some(chunk) = bytes.next().await {
            out.write_all(&chunk?)?;
        }
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = Told::default();
    if !arguments.follow {
        whole(&client, log).await?;
        told.tell(&build, Some(step));
        return Ok(ExitCode::SUCCESS);
    }
    follow(&client, log, id, &told).await?;
    let again = async || client.get(&format!("/builds/{id}")).await;
    let build = client.survive(again, async || {}).await?;
    told.tell(&build, Some(find_step(&build, &arguments.step)?));
    Ok(ExitCode::SUCCESS)
}

/// Prints the lines of a log until it is complete. A master that goes away is waited for: the next one goes on at the line that
/// would have come.
pub async fn follow(client: &Client, log: i64, build: i64, told: &Told) -> anyhow::Result<()> {
    let next = Cell::new(0);
    let attempt = async || {
        let path = format!("/logs/{log}/follow?from={}", next.get());
        let lines = async |event: Event| {
            if event.kind == "lines" {
                let page = serde_json::from_str(&event.data).context("expected lines from the master")?;
                print_lines(&page, &next);
            }
            Ok(event.kind == "complete")
        };
        client.events(&path, lines).await
    };
    let back = async || told.tell_anew(client, Some(build)).await;
    client.survive(attempt, back).await
}

async fn whole(client: &Client, log: i64) -> anyhow::Result<()> {
    let next = Cell::new(0);
    loop {
        let from = next.get();
        let page = client
            .get(&format!("/logs/{log}/lines?from={from}&count={PAGE}"))
            .await?;
        print_lines(&page, &next);
        if next.get() == from {
            return Ok(());
        }
    }
}

/// Bytes that a terminal would obey are shown as they came: colours in logs are wanted. `next` is the number of the line that
/// comes after those.
fn print_lines(page: &Value, next: &Cell<u64>) {
    for line in page["lines"].as_array().into_iter().flatten() {
        print(line["text"].as_str().unwrap_or_default());
        next.set(line["number"].as_u64().map_or(next.get(), |number| number + 1));
    }
}

fn find(step: &Value, log: Option<&str>) -> anyhow::Result<i64> {
    let logs: Vec<_> = step["logs"].as_array().into_iter().flatten().collect();
    let wanted = |l: &&&Value| log.is_none() || l["name"].as_str() == log;
    let Some(found) = logs.iter().find(wanted) else {
        let names: Vec<_> = logs.iter().filter_map(|l| l["name"].as_str()).collect();
        if !names.is_empty() {
            bail!("the step has no such log (it has: {})", names.join(", "));
        }
        if step["outcome"] == "skipped" {
            bail!("the step was skipped: it has no logs");
        }
        bail!("the step has no logs");
    };
    found["id"]
        .as_i64()
        .context("expected a log with an id from the master")
}
