//! A reporter that appends a report to `{"file": PATH}` and posts it to `{"url": URL}`, with the secret `{"secret": NAME}`
//! in a header. `{"state": [["set", KEY, VALUE], ["get", KEY], ["delete", KEY]]}` keeps values and appends the answers to
//! `reports/state`; `{"mail": {…}}` sends a message. What it is refused becomes its error.

use serde_json::{Value, json};

wit_bindgen::generate!({ path: "../../../wit", world: "reporter-plugin" });

use capstan::plugin::reports::{Phase, Report};
use capstan::plugin::types::{Outcome, PluginError};
use capstan::plugin::{http, log, mail, report_files, state};
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
        if let Some(calls) = config["state"].as_array() {
            let answers: Result<Vec<_>, _> = calls.iter().map(keep).collect();
            let answers = json!(answers.map_err(|error| PluginError::Permanent(format!("{error:?}")))?);
            report_files::append_line("reports/state", &answers.to_string())
                .map_err(|error| PluginError::Permanent(format!("{error:?}")))?;
        }
        if config["mail"].is_object() {
            send(&config["mail"])?;
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

fn keep(call: &Value) -> Result<Value, state::StateError> {
    let text = |place: usize| call[place].as_str().unwrap_or_default();
    match text(0) {
        "get" => state::get(text(1)).map(|value| json!(value)),
        "set" => state::set(text(1), text(2).as_bytes()).map(|()| json!("set")),
        "fill" => {
            state::set(text(1), &vec![0; call[2].as_u64().unwrap_or(0) as usize]).map(|()| json!("filled"))
        }
        _ => state::delete(text(1)).map(|()| json!("deleted")),
    }
}

/// `to`, `cc`, `bcc` are lists of addresses, `headers` of pairs, `attach` of name, media type and length; `drafts` is a number
/// of messages that are begun beside it.
fn send(config: &Value) -> Result<(), PluginError> {
    let all = |key: &str| config[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let drafts: Vec<_> = (0..config["drafts"].as_u64().unwrap_or(0))
        .map(|_| mail::Message::new())
        .collect();
    let message = mail::Message::new();
    all("to").iter().for_each(|to| message.add_to(&text(to)));
    all("cc").iter().for_each(|to| message.add_cc(&text(to)));
    all("bcc").iter().for_each(|to| message.add_bcc(&text(to)));
    config["subject"].as_str().inspect(|it| message.set_subject(it));
    config["text"].as_str().inspect(|it| message.set_text(it));
    config["html"].as_str().inspect(|it| message.set_html(it));
    for pair in all("headers") {
        message.add_header(&text(&pair[0]), &text(&pair[1]));
    }
    for file in all("attach") {
        let length = file[2].as_u64().unwrap_or(0) as usize;
        message.attach(&text(&file[0]), &text(&file[1]), &vec![b'x'; length]);
    }
    let sent = mail::send(&message);
    drop(drafts);
    sent.map_err(|error| match error {
        mail::MailError::Unavailable(text) => PluginError::Transient(text),
        error => PluginError::Permanent(format!("{error:?}")),
    })
}

fn parse(config: &str) -> Result<Value, PluginError> {
    serde_json::from_str(config).map_err(|error| PluginError::Permanent(error.to_string()))
}
