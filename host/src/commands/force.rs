//! `capstan force`: asks for a build and, if wanted, shows it until it ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use super::interruptions::Told;
use super::{builds, log};
use crate::cli::{Common, ForceArguments};
use crate::client::{Client, Event, segment};
use crate::output::{print, print_error, print_json};

/// Asks for a build.
pub async fn run(common: &Common, arguments: ForceArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let properties: serde_json::Map<String, Value> = arguments.properties.into_iter().collect();
    let body = json!({
        "branch": arguments.branch,
        "revision": arguments.revision,
        "repository": arguments.repository.unwrap_or_default(),
        "reason": arguments.reason,
        "properties": properties,
    });
    // Where the feed stands before the request: nothing that follows can be missed.
    let after = client.greet().await?["event"].as_i64().unwrap_or(0);
    let answer = client
        .post(&format!("/builders/{}/force", segment(&arguments.builder)), &body)
        .await?;
    let request = answer["requests"][0]
        .as_i64()
        .context("expected a request's id from the master")?;
    if common.json {
        print_json(&answer);
    } else {
        print(&format!("request {request} for {}", arguments.builder));
    }
    if arguments.follow {
        follow(&client, request, after).await
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// A build that is shown while it runs.
struct Shown<'a> {
    client: &'a Client,
    request: i64,
    /// Once the request has become one.
    build: Cell<Option<i64>>,
    /// Logs that were opened and not shown yet.
    waiting: RefCell<VecDeque<i64>>,
    told: Told,
}

impl Shown<'_> {
    /// Takes up one event of the farm; answers whether it was the build's end. Repeated if the master goes away meanwhile.
    async fn take(&self, event: &Event) -> anyhow::Result<bool> {
        let row: Value = serde_json::from_str(&event.data).unwrap_or_default();
        if event.kind == "build.started" && self.build.get().is_none() {
            let started = self.client.get(&format!("/builds/{}", row["build"])).await?;
            let ours = started["requests"]
                .as_array()
                .is_some_and(|ids| ids.contains(&json!(self.request)));
            if ours {
                self.build.set(started["id"].as_i64());
                print(&builds::line(&started));
            }
        }
        let build = self.build.get();
        let Some(id) = build.filter(|_| row["build"].as_i64() == build) else {
            return Ok(false);
        };
        if event.kind == "log.opened" {
            self.waiting.borrow_mut().extend(row["payload"]["log"].as_i64());
        }
        if matches!(
            event.kind.as_str(),
            "log.opened" | "step.finished" | "build.finished"
        ) {
            while let Some(next) = self.next_log() {
                log::follow(self.client, next, id, &self.told).await?;
            }
        }
        Ok(event.kind == "build.finished")
    }

    fn next_log(&self) -> Option<i64> {
        self.waiting.borrow_mut().pop_front()
    }
}

/// Shows the build of a request: each step's lines as they come, and its end. A master that goes away is waited for.
async fn follow(client: &Client, request: i64, after: i64) -> anyhow::Result<ExitCode> {
    let shown = Shown {
        client,
        request,
        build: Cell::default(),
        waiting: RefCell::default(),
        told: Told::default(),
    };
    let after = Cell::new(after);
    let attempt = async || {
        let path = format!("/events?after={}", after.get());
        let take = async |event: Event| {
            let ended = shown.take(&event).await?;
            after.set(event.id.parse().unwrap_or(after.get()));
            Ok(ended)
        };
        client.events(&path, take).await
    };
    let back = async || shown.told.tell_anew(client, shown.build.get()).await;
    client.survive(attempt, back).await?;
    let id = shown.build.get().context("the build vanished")?;
    let ended = async || client.get(&format!("/builds/{id}")).await;
    let ended = client.survive(ended, async || {}).await?;
    shown.told.tell(&ended, None);
    print_error("");
    print(&builds::line(&ended));
    for step in ended["steps"].as_array().into_iter().flatten() {
        print(&builds::step_line(step));
    }
    let good = matches!(ended["outcome"].as_str(), Some("success" | "warnings"));
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
