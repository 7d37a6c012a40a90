//! `capstan force`: asks for a build and, if wanted, shows it until it ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::interruptions::Told;
use super::{builds, log};
use crate::cli::{AskedArguments, Common, ForceArguments};
use crate::client::{Client, Event, segment};
use crate::output::{print, print_error, print_json};

/// The largest file that is read; the scheduler may take less.
const MAX_FILE: u64 = 900 << 10;

/// How often to ask whether a scheduler has decided, which is no event.
const LOOK: Duration = Duration::from_millis(500);

/// Asks a builder for a build, or a scheduler for what it builds.
pub async fn run(common: &Common, arguments: ForceArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    if is_scheduler(&client, &arguments).await? {
        let mut values: Map<String, Value> = arguments.values.into_iter().collect();
        for (name, path) in arguments.files {
            values.insert(name, read(&path, MAX_FILE)?.into());
        }
        let call = json!({ "kind": "force", "values": values });
        return ask(common, &client, &arguments.name, call, arguments.asked).await;
    }
    let asked = arguments.asked;
    let properties: Map<String, Value> = asked.properties.into_iter().collect();
    let body = json!({
        "branch": asked.branch,
        "revision": asked.revision,
        "repository": asked.repository.unwrap_or_default(),
        "codebase": asked.codebase,
        "reason": asked.reason,
        "properties": properties,
    });
    // Where the feed stands before the request: nothing that follows can be missed.
    let after = client.greet().await?["event"].as_i64().unwrap_or(0);
    let answer = client
        .post(&format!("/builders/{}/force", segment(&arguments.name)), &body)
        .await?;
    let request = answer["requests"][0]
        .as_i64()
        .context("expected a request's id from the master")?;
    if common.json {
        print_json(&answer);
    } else {
        print(&format!("request {request} for {}", arguments.name));
    }
    if asked.follow {
        follow(&client, request, after).await
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// A name may be a builder's and a scheduler's: fields and builders are for a scheduler, else the builder is meant.
async fn is_scheduler(client: &Client, arguments: &ForceArguments) -> anyhow::Result<bool> {
    if !(arguments.values.is_empty() && arguments.files.is_empty() && arguments.asked.on.is_empty()) {
        return Ok(true);
    }
    let named = |list: &Value| {
        let mut all = list.as_array().into_iter().flatten();
        // A virtual builder cannot be forced.
        all.any(|one| one["name"].as_str() == Some(&arguments.name) && one["virtual_of"].is_null())
    };
    let schedulers = client.get("/schedulers").await?;
    Ok(named(&schedulers["schedulers"]) && !named(&client.get("/builders").await?["builders"]))
}

pub(super) async fn ask(
    common: &Common,
    client: &Client,
    scheduler: &str,
    mut call: Value,
    asked: AskedArguments,
) -> anyhow::Result<ExitCode> {
    let named = asked.branch.is_some() || asked.revision.is_some() || asked.repository.is_some();
    if named || !asked.codebase.is_empty() {
        call["sources"] = json!([{
            "codebase": asked.codebase,
            "branch": asked.branch,
            "revision": asked.revision,
            "repository": asked.repository.unwrap_or_default(),
        }]);
    }
    if !asked.on.is_empty() {
        call["builders"] = asked.on.into();
    }
    call["owner"] = asked.owner.into();
    call["reason"] = asked.reason.into();
    call["properties"] = Value::Object(asked.properties.into_iter().collect());
    let after = client.greet().await?["event"].as_i64().unwrap_or(0);
    let path = format!("/schedulers/{}/call", segment(scheduler));
    let mut answer = client.post(&path, &call).await?;
    if asked.follow && answer["decided"] == false {
        print_error(&format!("call {} waits for {scheduler}", answer["call"]));
        answer = decided(client, &format!("{path}/{}", answer["call"])).await?;
    }
    let sets = answer["buildsets"].as_array().into_iter().flatten();
    let requests: Vec<i64> = sets
        .flat_map(|set| set["requests"].as_array().into_iter().flatten())
        .filter_map(Value::as_i64)
        .collect();
    if common.json {
        print_json(&answer);
    } else if answer["decided"] == false {
        print(&format!("call {} waits for {scheduler}", answer["call"]));
    } else if requests.is_empty() {
        print(&format!(
            "{scheduler} has taken note of it; nothing is to be built yet"
        ));
    } else {
        requests
            .iter()
            .for_each(|request| print(&format!("request {request} of {scheduler}")));
    }
    let mut code = ExitCode::SUCCESS;
    for request in requests.into_iter().filter(|_| asked.follow) {
        let ended = follow(client, request, after).await?;
        if ended != ExitCode::SUCCESS {
            code = ended;
        }
    }
    Ok(code)
}

pub(super) fn read(path: &Path, most: u64) -> anyhow::Result<String> {
    let name = path.display();
    let open = || -> anyhow::Result<Box<dyn Read>> {
        Ok(match path.to_str() {
            Some("-") => Box::new(std::io::stdin()),
            _ => Box::new(File::open(path)?),
        })
    };
    let mut text = String::new();
    let mut file = open()
        .with_context(|| format!("failed to open {name}"))?
        .take(most + 1);
    file.read_to_string(&mut text)
        .with_context(|| format!("failed to read {name} as text"))?;
    if text.len() as u64 > most {
        bail!("expected at most {most} bytes in {name}, found more");
    }
    Ok(text)
}

/// What a call led to, once the scheduler has decided.
async fn decided(client: &Client, path: &str) -> anyhow::Result<Value> {
    let ask = async || client.get(path).await;
    loop {
        let answer = client.survive(ask, async || {}).await?;
        if answer["decided"] != false {
            return Ok(answer);
        }
        tokio::time::sleep(LOOK).await;
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
    /// Takes up one event of the farm; answers whether it was the end of the build, or of a request that never got one. Repeated if the master goes away meanwhile.
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
        if event.kind == "request.complete" && row["request"] == self.request && self.build.get().is_none() {
            return Ok(true);
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
    let Some(id) = shown.build.get() else {
        return without_build(client, request).await;
    };
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

/// Says how a request ended that was cancelled, or taken back, before it became a build.
async fn without_build(client: &Client, request: i64) -> anyhow::Result<ExitCode> {
    let ended = async || client.get(&format!("/requests/{request}")).await;
    let ended = client.survive(ended, async || {}).await?;
    let outcome = ended["outcome"].as_str().unwrap_or("no result");
    let why = ended["note"]
        .as_str()
        .map_or(String::new(), |note| format!(": {note}"));
    print(&format!(
        "request {request} ended without a build: {outcome}{why}"
    ));
    Ok(ExitCode::FAILURE)
}
