//! Follows the master's event feed and shows it: changes, builds, each step's output while it comes, reports.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Result;
use capstan_tests::Api;
use capstan_tests::api::Event;
use serde_json::Value;

use super::screen::{Screen, Tone};

/// What the demo waits for.
#[derive(Debug)]
pub enum Seen {
    /// The report of a build was delivered, and everything before it was shown.
    Reported {
        /// The build's number.
        number: i64,
        /// How it ended.
        outcome: String,
    },
    /// The feed cannot be followed any more.
    Broken(String),
}

/// Follows the feed on a thread of its own, from the farm's first event on.
pub fn start(api: Api, screen: Arc<Screen>) -> Receiver<Seen> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let feed = Feed { api, screen, sender };
        let ended: Result<()> = feed.api.events("/events?after=0", |event| feed.show(&event));
        if let Err(error) = ended {
            // Nobody listens once the demo has ended.
            let _ = feed.sender.send(Seen::Broken(format!("{error:#}")));
        }
    });
    receiver
}

struct Feed {
    api: Api,
    screen: Arc<Screen>,
    sender: Sender<Seen>,
}

impl Feed {
    /// Shows one event. While a log grows the feed waits: what comes after it is shown after it.
    fn show(&self, event: &Event) -> Result<ControlFlow<()>> {
        let build = || self.api.get(&format!("/builds/{}", event.data["build"]));
        match event.kind.as_str() {
            "change.accepted" => self.change(&event.data)?,
            "build.started" => {
                let build = build()?;
                self.screen
                    .note(&format!("build   {} on {}", name(&build), text(&build["worker"])));
            }
            "log.opened" => self.log(event)?,
            "step.finished" => self.step(event, &build()?),
            "build.finished" => {
                let build = build()?;
                let outcome = text(&build["outcome"]);
                self.screen
                    .line(Tone::of(outcome), &format!("build   {}: {outcome}", name(&build)));
            }
            "report.delivered" => {
                let build = build()?;
                let outcome = text(&build["outcome"]).to_owned();
                let reporter = text(&event.data["payload"]["reporter"]);
                self.screen.note(&format!(
                    "report  {}: {outcome}, delivered by {reporter}",
                    name(&build)
                ));
                let number = build["number"].as_i64().unwrap_or_default();
                if self.sender.send(Seen::Reported { number, outcome }).is_err() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn change(&self, event: &Value) -> Result<()> {
        let change = self
            .api
            .get(&format!("/changes/{}", event["payload"]["change"]))?;
        let revision: String = text(&change["revision"]).chars().take(10).collect();
        let comment = text(&change["comments"]).lines().next().unwrap_or_default();
        self.screen.note(&format!(
            "change  {} {revision} {}: {comment}",
            text(&change["branch"]),
            text(&change["author"])
        ));
        Ok(())
    }

    fn log(&self, event: &Event) -> Result<()> {
        let (log, name) = (
            &event.data["payload"]["log"],
            text(&event.data["payload"]["name"]),
        );
        let build = self.api.get(&format!("/builds/{}", event.data["build"]))?;
        let mut steps = build["steps"].as_array().into_iter().flatten();
        let step = steps
            .find(|step| step["id"] == event.data["step"])
            .map_or("-", |step| text(&step["name"]));
        // A step's first log is its own; further ones are those of further commands.
        let label = name
            .strip_prefix("stdio")
            .map_or_else(|| format!("{step} {name}"), |_| step.to_owned());
        self.api.events(&format!("/logs/{log}/follow"), |event| {
            for line in event.data["lines"].as_array().into_iter().flatten() {
                self.screen.line(
                    Tone::Faint,
                    &format!("  {label:<7}│ {}", visible(text(&line["text"]))),
                );
            }
            Ok(if event.kind == "complete" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
    }

    fn step(&self, event: &Event, build: &Value) {
        let mut steps = build["steps"].as_array().into_iter().flatten();
        let Some(step) = steps.find(|step| step["id"] == event.data["step"]) else {
            return;
        };
        let outcome = text(&step["outcome"]);
        self.screen.line(
            Tone::of(outcome),
            &format!(
                "step    {}: {outcome}  {}",
                text(&step["name"]),
                text(&step["summary"])
            ),
        );
    }
}

fn name(build: &Value) -> String {
    format!("{}/{}", text(&build["builder"]), build["number"])
}

/// What a terminal would leave of a line that overwrites itself, as progress bars do.
fn visible(line: &str) -> &str {
    let last = line.rsplit('\r').map(str::trim_end).find(|part| !part.is_empty());
    last.unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
