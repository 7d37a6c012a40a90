//! A reporter that appends a report to `{"file": PATH}` and posts it to `{"url": URL}`, with the secret `{"secret": NAME}`
//! in a header. What it is refused becomes its error.

use serde_json::{Value, json};

wit_bindgen::generate!({ path: "../../../wit", world: "reporter-plugin" });

use capstan::plugin::reports::{Phase, Report};
use capstan::plugin::types::{Outcome, PluginError};
use capstan::plugin::{http, log, report_files};
use exports::capstan::plugin::reporter::Guest;

struct Fixture;
export!(Fixture);

impl Guest for Fixture {
    fn check(config: String) -> Result<(), PluginError> {
        parse(&config).map(|_| ())
    }

    fn deliver(config: String, report: &Report) -> Result<(), PluginError> {
        let config = parse(&config)?;
        if let Some(path) = config["file"].as_str() {
            let line = json!({ "getters": getters(report), "json": report.to_json() }).to_string();
            report_files::append_line(path, &line)
                .map_err(|error| PluginError::Permanent(format!("{error:?}")))?;
        }
        if let Some(url) = config["url"].as_str() {
            post(url, config["secret"].as_str(), report.to_json())?;
        }
        log::write(log::Level::Debug, "delivered");
        Ok(())
    }
}

fn getters(report: &Report) -> Value {
    let outcome = |outcome: Option<Outcome>| outcome.map(|outcome| format!("{outcome:?}"));
    json!([
        report.delivery_id(),
        matches!(report.phase(), Phase::Finished),
        report.builder(),
        report.number(),
        report.url(),
        report.worker(),
        report.reason(),
        outcome(report.outcome()),
        outcome(report.previous_outcome()),
        report.summary(),
        report.sources().len(),
        report.properties().first().map(|p| p.value.clone()),
        report.steps().first().map(|step| step.name.clone()),
        report.started(),
        report.finished(),
    ])
}

fn post(url: &str, secret: Option<&str>, body: String) -> Result<(), PluginError> {
    let header = |name: &str, value: &str| http::Header {
        name: name.into(),
        value: value.into(),
    };
    let request = http::Request {
        method: "POST".into(),
        url: url.into(),
        headers: vec![header("content-type", "application/json")],
        secret_headers: secret
            .iter()
            .map(|secret| header("authorization", secret))
            .collect(),
        body: body.into_bytes(),
        timeout_ms: 1000,
    };
    match http::fetch(&request) {
        Ok(answer) if answer.status < 300 => Ok(()),
        Ok(answer) => Err(PluginError::Transient(format!("status {}", answer.status))),
        Err(http::HttpError::Denied(text)) => Err(PluginError::Permanent(text)),
        Err(error) => Err(PluginError::Transient(format!("{error:?}"))),
    }
}

fn parse(config: &str) -> Result<Value, PluginError> {
    serde_json::from_str(config).map_err(|error| PluginError::Permanent(error.to_string()))
}
