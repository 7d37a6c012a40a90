//! `capstan scheduler …`: which there are, switching one on and off, what one asks for.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::Common;
use crate::client::{Client, segment};
use crate::output::{ago, plain, print, print_json, until};

/// Lists schedulers.
pub async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.get("/schedulers").await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for scheduler in answer["schedulers"].as_array().into_iter().flatten() {
        print(&line(scheduler));
    }
    Ok(ExitCode::SUCCESS)
}

/// Switches a scheduler on or off.
pub async fn switch(common: &Common, name: &str, enabled: bool) -> anyhow::Result<ExitCode> {
    let action = if enabled { "enable" } else { "disable" };
    let path = format!("/schedulers/{}/{action}", segment(name));
    let answer = Client::new(common)?.post(&path, &json!({})).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let state = if enabled { "enabled" } else { "disabled" };
    let already = if answer["changed"] == false {
        " already"
    } else {
        ""
    };
    print(&format!("{name}: {state}{already}"));
    Ok(ExitCode::SUCCESS)
}

/// Shows what a scheduler asks for.
pub async fn form(common: &Common, name: &str) -> anyhow::Result<ExitCode> {
    let path = format!("/schedulers/{}/call", segment(name));
    let form = Client::new(common)?.get(&path).await?;
    if common.json {
        print_json(&form);
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = Vec::new();
    fields(&form["fields"], "", &mut lines);
    if lines.is_empty() {
        lines.push("it asks for nothing".to_owned());
    }
    lines.iter().for_each(|line| print(line));
    Ok(ExitCode::SUCCESS)
}

fn fields(list: &Value, prefix: &str, lines: &mut Vec<String>) {
    for field in list.as_array().into_iter().flatten() {
        let text = |name: &str| plain(field[name].as_str().unwrap_or_default()).to_string();
        let name = text("name");
        if text("type") == "group" {
            let inside = if name.is_empty() {
                prefix.to_owned()
            } else {
                format!("{prefix}{name}.")
            };
            fields(&field["fields"], &inside, lines);
            continue;
        }
        let mut line = format!(
            "{:<24} {:<9} {}",
            format!("{prefix}{name}"),
            text("type"),
            text("label")
        );
        if field["required"] == true {
            line += "; required";
        }
        if !field["default"].is_null() {
            line += &format!("; default {}", plain(&field["default"].to_string()));
        }
        let choices: Vec<_> = field["choices"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !choices.is_empty() {
            line += &format!("; one of {}", plain(&choices.join(", ")));
        }
        lines.push(line);
    }
}

fn line(scheduler: &Value) -> String {
    let text = |name: &str| plain(scheduler[name].as_str().unwrap_or_default()).to_string();
    let state = if scheduler["enabled"] == false {
        "disabled"
    } else {
        "enabled"
    };
    let next = match scheduler["next"].as_i64() {
        Some(_) if scheduler["enabled"] == false => String::new(),
        Some(_) => format!("  next {}", until(&scheduler["next"])),
        None => String::new(),
    };
    let failed = match scheduler["error"].as_str() {
        Some(error) => format!("  failed {}: {}", ago(&scheduler["failed"]), plain(error)),
        None => String::new(),
    };
    let waiting = match scheduler["waiting"].as_u64() {
        None | Some(0) => String::new(),
        Some(events) => format!("  {events} events wait"),
    };
    format!(
        "{:<20} {:<20} {state}{next}{waiting}{failed}",
        text("name"),
        text("plugin")
    )
}
