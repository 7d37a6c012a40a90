//! `capstan retention`: what there is and what the rules would remove, and having them carried out; `capstan build keep`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use capstan_model::sized;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::client::Client;
use crate::output::{plain, print, print_aside, print_json, span};

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Says what there is, and what would go now.
pub async fn show(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.get("/retention").await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for line in table(&answer["there"], &answer["would_remove"]) {
        print(&line);
    }
    print(&rules(&answer));
    Ok(ExitCode::SUCCESS)
}

/// Has the rules carried out, waits for their end, and says what was removed.
pub async fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let asked = client.post("/retention/run", &json!({})).await?;
    let number = asked["number"].as_u64().unwrap_or(0);
    let mut told = String::new();
    let last = loop {
        tokio::time::sleep(LOOK).await;
        let answer = client.get("/retention/progress").await?;
        if answer["last"]["number"].as_u64() >= Some(number) {
            break answer["last"].clone();
        }
        let so_far = said(&answer["running"]);
        if !so_far.is_empty() && so_far != told {
            print_aside(&format!("so far: {so_far}"));
            told = so_far;
        }
    };
    if common.json {
        print_json(&last);
    } else {
        let removed = said(&last["removed"]);
        let removed = if removed.is_empty() {
            "nothing".to_owned()
        } else {
            removed
        };
        let took = span(last["took_ms"].as_u64().unwrap_or(0));
        print(&format!("removed {removed} in {took}"));
    }
    if let Some(error) = last["error"].as_str() {
        anyhow::bail!("retention stopped before its end: {}", plain(error));
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps a build for that reason, or leaves it to the rules again.
pub async fn keep(common: &Common, build: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(build).await?;
    let said = match reason {
        Some(reason) => {
            let body = json!({ "reason": reason });
            client.post(&format!("/builds/{id}/keep"), &body).await?;
            format!("build {id} is kept")
        }
        None => {
            client.post(&format!("/builds/{id}/unkeep"), &json!({})).await?;
            format!("build {id} is left to the rules of retention")
        }
    };
    print(&said);
    Ok(ExitCode::SUCCESS)
}

/// Everything that there is, and beside it what would go.
fn table(there: &Value, goes: &Value) -> Vec<String> {
    let names = |value: &Value| -> BTreeSet<String> {
        let map = value.as_object();
        map.into_iter().flat_map(|map| map.keys().cloned()).collect()
    };
    let mut all = names(there);
    all.extend(names(goes));
    let mut lines = vec![format!("{:<24} {:>24}   would be removed", "", "there are")];
    for name in all {
        let (has, goes) = (weight(&there[&name]), weight(&goes[&name]));
        lines.push(format!("{:<24} {has:>24}   {goes}", plain(&name)));
    }
    lines
}

/// `12 (4.0 MB)`
fn weight(sum: &Value) -> String {
    let number = |name: &str| sum[name].as_u64().unwrap_or(0);
    match (number("count"), number("bytes")) {
        (0, _) => "-".to_owned(),
        (count, 0) => count.to_string(),
        (count, bytes) => format!("{count} ({})", sized(bytes)),
    }
}

/// `3 builds, 12 logs (4.0 MB)`
fn said(removed: &Value) -> String {
    let parts = removed.as_object().into_iter().flatten();
    let parts = parts.map(|(name, sum)| {
        let weight = weight(sum);
        match weight.split_once(' ') {
            Some((count, bytes)) => format!("{count} {} {bytes}", plain(name)),
            None => format!("{weight} {}", plain(name)),
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn rules(answer: &Value) -> String {
    let every = span(answer["every_ms"].as_u64().unwrap_or(0));
    let when = match answer["automatic"].as_bool() {
        Some(true) => format!("every {every}"),
        _ => "only by `capstan retention run`".to_owned(),
    };
    match answer["rules"].as_u64() {
        Some(0) | None => format!(
            "no rule removes builds, logs or artefacts; [[retention.rules]] in capstan.toml does; carried out {when}"
        ),
        Some(count) => format!("{}, carried out {when}", capstan_model::counted(count, "rule")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_stands_beside_what_there_is() {
        let there =
            json!({ "builds": { "count": 10, "bytes": 0 }, "logs": { "count": 40, "bytes": 2_000_000 } });
        let goes = json!({ "logs": { "count": 8, "bytes": 500_000 } });
        assert_eq!(
            table(&there, &goes)[1..],
            [
                format!("{:<24} {:>24}   -", "builds", "10"),
                format!("{:<24} {:>24}   8 (500.0 kB)", "logs", "40 (2.0 MB)"),
            ]
        );
        assert_eq!(said(&goes), "8 logs (500.0 kB)");
        assert_eq!(said(&Value::Null), "");
    }
}
