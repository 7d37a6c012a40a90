//! Delivers a report to where its parameters say.

use capstan_sdk::prelude::{Value, json};
use capstan_sdk::reporter::http::{self, Header, HttpError, Request};
use capstan_sdk::reporter::mail::{self, MailError, Message};
use capstan_sdk::reporter::report_files::{self, FileError};
use capstan_sdk::reporter::state::{self, StateError};
use capstan_sdk::reporter::{Outcome, Phase, PluginError, Problem, Report, Reporter};
use capstan_sdk::{parameters, problem, serde_json};

#[parameters]
struct Conformance {
    url: String,
    token: Option<String>,
    file: Option<String>,
    count: Option<String>,
    #[serde(default)]
    mail: Vec<String>,
    bug: Option<String>,
}

impl Reporter for Conformance {
    fn check(&self) -> Result<(), Vec<Problem>> {
        if self.url.starts_with("https://") {
            return Ok(());
        }
        Err(vec![problem("url", "expected https://")])
    }

    fn deliver(&self, report: &Report) -> Result<(), PluginError> {
        if let Some(bug) = &self.bug {
            panic!("{bug}");
        }
        if let Some(path) = &self.file {
            report_files::append_line(path, &facts(report).to_string()).map_err(|error| match error {
                FileError::Denied(text) => PluginError::Permanent(text),
                FileError::Io(text) => PluginError::Transient(text),
            })?;
        }
        if let Some(key) = &self.count {
            count_up(key).map_err(|error| match error {
                StateError::Unavailable(text) => PluginError::Transient(text),
                StateError::Denied(text) | StateError::Invalid(text) => PluginError::Permanent(text),
            })?;
        }
        if !self.mail.is_empty() {
            self.post(report)?;
        }
        self.push(report)
    }
}

fn count_up(key: &str) -> Result<(), StateError> {
    let before = state::get(key)?.and_then(|kept| serde_json::from_slice::<u64>(&kept).ok());
    let times = before.unwrap_or_default() + 1;
    state::set(key, times.to_string().as_bytes())?;
    if times == 3 { state::delete(key) } else { Ok(()) }
}

impl Conformance {
    fn post(&self, report: &Report) -> Result<(), PluginError> {
        let message = Message::new();
        self.mail.iter().for_each(|address| message.add_to(address));
        message.set_subject(&format!("{} ü", report.builder()));
        message.set_text("plain");
        message.add_header("X-Number", &report.number().to_string());
        mail::send(&message).map_err(|error| match error {
            MailError::Unavailable(text) => PluginError::Transient(text),
            MailError::Denied(text) | MailError::Invalid(text) | MailError::Rejected(text) => {
                PluginError::Permanent(text)
            }
        })
    }

    fn push(&self, report: &Report) -> Result<(), PluginError> {
        let header = |name: &str, value: &str| Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let request = Request {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: vec![header("Content-Type", "application/json")],
            secret_headers: self.token.iter().map(|secret| header("Authorization", secret)).collect(),
            body: report.to_json().into_bytes(),
            timeout_ms: 2000,
        };
        let answer = http::fetch(&request).map_err(|error| match error {
            HttpError::Denied(text) => PluginError::Permanent(text),
            HttpError::Invalid(text) => PluginError::Permanent(format!("the request is malformed: {text}")),
            HttpError::TooLarge => PluginError::Permanent("the server's answer is larger than the limit".to_owned()),
            HttpError::Timeout => PluginError::Transient("the server did not answer in time".to_owned()),
            HttpError::Transport(text) => PluginError::Transient(format!("the server cannot be reached: {text}")),
        })?;
        let said = || format!("the server answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        match answer.status {
            200..300 => Ok(()),
            408 | 425 | 429 | 500.. => Err(PluginError::Transient(said())),
            _ => Err(PluginError::Permanent(said())),
        }
    }
}

fn facts(report: &Report) -> Value {
    let outcome = |outcome: Option<Outcome>| outcome.map(word);
    let steps = report.steps().into_iter();
    let steps = steps.map(|s| format!("{} {} {}", s.name, s.outcome.map_or("-", word), s.summary));
    let properties = report.properties().into_iter();
    let branch = properties.filter(|p| p.name == "branch").map(|p| p.value).next();
    json!([
        report.delivery_id(),
        if report.phase() == Phase::Started { "started" } else { "finished" },
        report.builder(),
        report.number(),
        report.url(),
        report.worker(),
        report.reason(),
        outcome(report.outcome()),
        outcome(report.previous_outcome()),
        report.summary(),
        report.sources().into_iter().map(|source| source.revision).collect::<Vec<_>>(),
        branch.and_then(|value| serde_json::from_str::<Value>(&value).ok()),
        steps.collect::<Vec<_>>(),
        report.started(),
        report.finished(),
    ])
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Warnings => "warnings",
        Outcome::Failure => "failure",
        Outcome::Skipped => "skipped",
        Outcome::Exception => "exception",
        Outcome::Retry => "retry",
        Outcome::Cancelled => "cancelled",
    }
}

capstan_sdk::reporter!(Conformance);
