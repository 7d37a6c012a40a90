//! `capstan try`: has a patch built that is not committed.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use capstan_model::MAX_PATCH;
use serde_json::{Value, json};

use super::{force, tree};
use crate::cli::{Common, TryArguments};
use crate::client::{Client, segment};
use crate::output::print_error;

/// Asks a scheduler to build a patch.
pub async fn run(common: &Common, arguments: TryArguments) -> anyhow::Result<ExitCode> {
    let here = Path::new(".");
    let mut asked = arguments.asked;
    let body = match &arguments.diff {
        Some(file) => force::read(file, MAX_PATCH as u64)?,
        None => {
            let found = tree::difference(here, arguments.base.as_deref())?;
            if found.text.is_empty() {
                bail!(
                    "expected a working tree with changes, found none since {}",
                    found.base
                );
            }
            let short: String = found.base.chars().take(12).collect();
            print_error(&format!(
                "trying {} bytes of changes since {short}",
                found.text.len()
            ));
            asked.revision.get_or_insert(found.base);
            asked.branch = asked.branch.or(found.branch);
            found.text
        }
    };
    let author = tree::author(here).or_else(|| asked.owner.clone());
    asked.owner = asked.owner.or_else(|| author.clone());
    let patch = json!({
        "body": body,
        "level": arguments.level,
        "subdirectory": arguments.subdirectory,
        "codebase": asked.codebase,
        "author": author.unwrap_or_default(),
        "comment": arguments.comment,
    });
    let client = Client::new(common)?;
    let scheduler = match arguments.scheduler {
        Some(name) => name,
        None => only_one(&client).await?,
    };
    let call = json!({ "kind": "try", "patch": patch });
    force::ask(common, &client, &scheduler, call, asked).await
}

/// The scheduler that takes patches, where there is one.
async fn only_one(client: &Client) -> anyhow::Result<String> {
    let all = client.get("/schedulers").await?;
    let mut found = Vec::new();
    for scheduler in all["schedulers"].as_array().into_iter().flatten() {
        let name = scheduler["name"].as_str().unwrap_or_default();
        // One that takes no calls says so with an error.
        if scheduler["takes_calls"] != false {
            let form = client.get(&format!("/schedulers/{}/call", segment(name))).await;
            if form.is_ok_and(|form: Value| form["kind"] == "try") {
                found.push(name.to_owned());
            }
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!(
            "expected a scheduler that takes patches, found none; `schedule.try_build(…)` in ci.star makes one"
        ),
        several => bail!(
            "expected the name of a scheduler: {} take patches",
            several.join(", ")
        ),
    }
}
