//! `capstan plan`: what the configuration means, and what a reload would change in a running master.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use capstan_config::Change;
use capstan_model::Digest;
use capstan_model::plan::Plan;
use serde::Deserialize;
use serde_json::json;

use super::check::{evaluate, good, print_remarks};
use crate::cli::Common;
use crate::client::Client;
use crate::output::{plain, print, print_json};

/// The exit code for scripts: a reload would change something.
const DIFFERENT: u8 = 2;

/// The plan in force, as the master tells it.
#[derive(Deserialize)]
struct InForce {
    plan: Plan,
    files: BTreeMap<String, Digest>,
}

/// Prints the plan, or what is different in it.
pub async fn run(common: &Common, diff: bool) -> anyhow::Result<ExitCode> {
    let Some(configured) = good(evaluate(common).await?) else {
        return Ok(ExitCode::FAILURE);
    };
    if diff {
        return compare(common, &configured.plan).await;
    }
    if common.json {
        print_json(&serde_json::to_value(&configured.plan)?);
    } else {
        print(capstan_config::render_plan(&configured.plan).trim_end());
        print_remarks(&configured);
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(common: &Common, new: &Plan) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?.get("/plan").await?;
    let old: InForce = serde_json::from_value(answer)
        .context("expected a plan from the master that this version of capstan can read")?;
    let changes = capstan_config::changes_since(&old.plan, old.files, new);
    if common.json {
        print_json(&json!({ "changes": changes }));
    } else {
        show(&changes);
    }
    Ok(match changes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DIFFERENT),
    })
}

fn show(changes: &[Change]) {
    if changes.is_empty() {
        print("a reload would change nothing");
    }
    for change in changes {
        for line in change.to_string().lines() {
            print(&plain(line));
        }
    }
}
