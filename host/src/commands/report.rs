//! `capstan report`: what reporters were told, and having told after all what was given up.

use std::process::ExitCode;

use capstan_model::counted;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::client::Client;
use crate::output::{ago, plain, print, print_json};

/// Lists reports, newest first: all, or those that will not be tried again.
pub async fn list(common: &Common, parked: bool, limit: u32) -> anyhow::Result<ExitCode> {
    let state = if parked { "&state=parked" } else { "" };
    let path = format!("/reports?limit={limit}{state}");
    let answer = Client::new(common)?.get(&path).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for report in answer["reports"].as_array().into_iter().flatten() {
        print(&line(report));
    }
    Ok(ExitCode::SUCCESS)
}

/// Has a parked report delivered after all, or every one.
pub async fn retry(common: &Common, report: Option<i64>) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let said = match report {
        Some(id) => {
            client.post(&format!("/reports/{id}/retry"), &json!({})).await?;
            format!("report {id} is delivered again")
        }
        None => {
            let answer = client.post("/reports/retry", &json!({})).await?;
            let retried = answer["retried"].as_u64().unwrap_or(0);
            let (reports, verb) = (
                counted(retried, "report"),
                if retried == 1 { "is" } else { "are" },
            );
            format!("{reports} {verb} delivered again")
        }
    };
    print(&said);
    Ok(ExitCode::SUCCESS)
}

fn line(report: &Value) -> String {
    let text = |name: &str| plain(report[name].as_str().unwrap_or_default());
    let attempts = report["attempts"].as_u64().unwrap_or(0);
    let failed = match attempts {
        0 => String::new(),
        attempts => format!(
            "  {}: {}",
            counted(attempts, "failed attempt"),
            text("last_error")
        ),
    };
    let ended = match report["finished"].as_i64() {
        Some(_) => ago(&report["finished"]),
        None => "-".to_owned(),
    };
    let (id, build) = (report["id"].to_string(), report["build"].to_string());
    format!(
        "{id:>5}  {:<9}  {:<16} {:<8} of build {build:<6} {ended:<14}{failed}",
        text("state"),
        text("reporter"),
        text("phase")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_hinders_it_in_one_line() {
        let report = json!({ "id": 7, "state": "parked", "reporter": "chat", "phase": "finished", "build": 12,
            "attempts": 1, "last_error": "401:\nno \u{1b}[2J", "finished": null });
        assert_eq!(
            line(&report),
            "    7  parked     chat             finished of build 12     -               \
             1 failed attempt: 401: ⏎ no \u{fffd}[2J"
        );
    }
}
