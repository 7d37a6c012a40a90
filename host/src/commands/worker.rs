//! `capstan worker …`.

use std::process::ExitCode;
use std::time::Duration;

use capstan_model::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::cli::Common;
use crate::client::{Client, segment};
use crate::output::{ago, plain, print, print_error, print_json, span};

/// Prints a join string, alone on standard output so that a script can take it.
pub async fn invite(common: &Common, name: &str, ttl: Duration) -> anyhow::Result<ExitCode> {
    let path = format!("/workers/{}/invite", segment(name));
    let answer = Client::new(common)?
        .post(&path, &json!({ "ttl_seconds": ttl.as_secs() }))
        .await?;
    if common.json {
        print_json(&answer);
    } else {
        print(answer["join"].as_str().unwrap_or_default());
        print_error(
            "good for one use; on the worker's machine: capstan-worker join STRING, then capstan-worker run",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists workers.
pub async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.get("/workers").await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for worker in answer["workers"].as_array().into_iter().flatten() {
        print(&line(worker));
    }
    Ok(ExitCode::SUCCESS)
}

/// Pauses, unpauses or revokes a worker.
pub async fn act(common: &Common, name: &str, action: &str, body: Value) -> anyhow::Result<ExitCode> {
    Client::new(common)?
        .post(&format!("/workers/{}/{action}", segment(name)), &body)
        .await?;
    print(&format!("{name}: {action}d"));
    Ok(ExitCode::SUCCESS)
}

/// A connected worker is asked every five seconds or more often: one that was not heard for so long may be gone.
const QUIET_MS: u64 = 10_000;

fn quiet(worker: &Value) -> String {
    let heard = worker["last_heard"].as_i64().map(Timestamp);
    let quiet = heard.map(|at| SystemClock.now().since(at));
    match quiet.filter(|&ms| ms > QUIET_MS) {
        Some(ms) => format!(", not heard for {}", span(ms)),
        None => String::new(),
    }
}

fn line(worker: &Value) -> String {
    let name = plain(worker["name"].as_str().unwrap_or("?"));
    let state = match (worker["connected"].as_bool(), worker["enrolled"].as_bool()) {
        (Some(true), _) => format!("connected, {}{}", ago(&worker["since"]), quiet(worker)),
        (_, Some(false)) => "has not joined".to_owned(),
        _ => format!("silent, {}", ago(&worker["since"])),
    };
    let paused = worker["paused"]
        .as_str()
        .map_or_else(String::new, |why| format!("  paused: {}", plain(why)));
    let builds = worker["builds"].as_array().map_or(0, Vec::len);
    format!(
        "{name:<16} {state:<28} {builds}/{} builds{paused}",
        worker["slots"]
    )
}
