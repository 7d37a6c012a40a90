//! `capstan reload`.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::Common;
use crate::client::Client;
use crate::output::{print, print_json};

/// Makes a running master read its configuration again, and prints what changed.
pub async fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.post("/reload", &json!({})).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let lines = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let changes = lines("changes");
    if changes.is_empty() {
        print("nothing changed");
    }
    for line in &changes {
        print(line.as_str().unwrap_or_default());
    }
    for line in lines("warnings") {
        print(&format!("warning: {}", line.as_str().unwrap_or_default()));
    }
    Ok(ExitCode::SUCCESS)
}
