//! The reporter `http-push`: sends each report as JSON to an HTTP server.
//!
//! A report may arrive more than once, for instance when the answer got lost. The header `Capstan-Delivery` is the same
//! each time: a receiver that remembers it sees each report once.

use std::collections::BTreeMap;

use capstan_sdk::params::Span;
use capstan_sdk::problem;
use capstan_sdk::reporter::http::{self, Header, HttpError, Request};
use capstan_sdk::reporter::{PluginError, Problem, Report, Reporter};
use serde::Deserialize;

/// How much of a server's refusal is passed on to people.
const QUOTED: usize = 300;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPush {
    url: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    secret_headers: BTreeMap<String, String>,
    #[serde(default = "half_a_minute")]
    timeout: Span,
}

fn post() -> String {
    "POST".to_owned()
}

fn half_a_minute() -> Span {
    Span::from_secs(30)
}

impl Reporter for HttpPush {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            problems.push(problem(
                "url",
                format!("expected a URL with https:// or http://, found {:?}", self.url),
            ));
        }
        for (member, headers) in [
            ("headers", &self.headers),
            ("secret_headers", &self.secret_headers),
        ] {
            for (name, value) in headers {
                if name.is_empty() || !name.bytes().all(is_token) {
                    problems.push(problem(
                        member,
                        format!("expected the name of a header, found {name:?}"),
                    ));
                }
                if value.contains(['\r', '\n', '\0']) {
                    problems.push(problem(
                        format!("{member}.{name}"),
                        "expected one line, found a line break",
                    ));
                }
            }
        }
        for name in self.headers.keys() {
            if self
                .secret_headers
                .keys()
                .any(|other| other.eq_ignore_ascii_case(name))
            {
                problems.push(problem(
                    format!("headers.{name}"),
                    "`secret_headers` sets this header too",
                ));
            }
        }
        if self.timeout.ms() == 0 {
            problems.push(problem("timeout", "expected more than nothing, found 0"));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn deliver(&self, report: &Report) -> Result<(), PluginError> {
        match http::fetch(&self.request(&report.delivery_id(), report.to_json())) {
            Ok(response) => judge(response.status, &response.body),
            Err(error) => Err(explain(error)),
        }
    }
}

impl HttpPush {
    fn request(&self, delivery: &str, json: String) -> Request {
        let mut headers = vec![header("Capstan-Delivery", delivery)];
        if !self
            .headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(header("Content-Type", "application/json"));
        }
        headers.extend(self.headers.iter().map(|(name, value)| header(name, value)));
        Request {
            method: self.method.clone(),
            url: self.url.clone(),
            headers,
            secret_headers: self
                .secret_headers
                .iter()
                .map(|(name, secret)| header(name, secret))
                .collect(),
            body: json.into_bytes(),
            timeout_ms: u32::try_from(self.timeout.ms()).unwrap_or(u32::MAX),
        }
    }
}

fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a server may get over: a time-out (408), a request that came too early (425), too many of them (429), and
/// whatever it says is its own fault. Anything else stays wrong until somebody changes something.
fn judge(status: u16, body: &[u8]) -> Result<(), PluginError> {
    let text: String = String::from_utf8_lossy(&body[..body.len().min(QUOTED * 4)])
        .chars()
        .take(QUOTED)
        .collect();
    let answer = format!("the server answered {status}: {}", text.trim());
    match status {
        200..300 => Ok(()),
        408 | 425 | 429 | 500.. => Err(PluginError::Transient(answer)),
        _ => Err(PluginError::Permanent(answer)),
    }
}

fn explain(error: HttpError) -> PluginError {
    match error {
        HttpError::Denied(reason) => PluginError::Permanent(reason),
        HttpError::Invalid(reason) => PluginError::Permanent(format!("the request is malformed: {reason}")),
        HttpError::Timeout => PluginError::Transient("the server did not answer in time".to_owned()),
        HttpError::TooLarge => {
            PluginError::Permanent("the server's answer is larger than the limit".to_owned())
        }
        HttpError::Transport(reason) => {
            PluginError::Transient(format!("the server cannot be reached: {reason}"))
        }
    }
}

capstan_sdk::reporter!(HttpPush);

#[cfg(test)]
mod tests {
    use super::*;

    fn push(json: &str) -> HttpPush {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_request_carries_its_delivery_and_names_secrets_only() {
        let push = push(
            r#"{"url": "https://x.example/hook", "headers": {"content-type": "text/x"}, "secret_headers": {"Authorization": "hook"}}"#,
        );
        let request = push.request("d-1", "{}".into());
        let plain: Vec<_> = request
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_str()))
            .collect();
        assert_eq!(plain, [("Capstan-Delivery", "d-1"), ("content-type", "text/x")]);
        assert_eq!(request.secret_headers[0].value, "hook");
        assert_eq!(
            (
                request.method.as_str(),
                request.body.as_slice(),
                request.timeout_ms
            ),
            ("POST", &b"{}"[..], 30_000)
        );
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, expected) in [
            (200, "ok"),
            (204, "ok"),
            (301, "permanent"),
            (400, "permanent"),
            (401, "permanent"),
            (404, "permanent"),
            (408, "transient"),
            (425, "transient"),
            (429, "transient"),
            (500, "transient"),
            (503, "transient"),
        ] {
            let found = match judge(status, b"") {
                Ok(()) => "ok",
                Err(PluginError::Transient(_)) => "transient",
                Err(_) => "permanent",
            };
            assert_eq!(found, expected, "{status}");
        }
        assert!(matches!(
            explain(HttpError::Transport("x".into())),
            PluginError::Transient(_)
        ));
        assert!(matches!(
            explain(HttpError::Denied("x".into())),
            PluginError::Permanent(_)
        ));
    }

    #[test]
    fn a_refusal_is_quoted_but_not_at_length() {
        let Err(PluginError::Permanent(text)) = judge(403, "é".repeat(5000).as_bytes()) else {
            panic!("expected a fault")
        };
        assert!(
            text.starts_with("the server answered 403: éé") && text.chars().count() < 400,
            "{text}"
        );
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (json, path) in [
            (r#"{"url": "ftp://x"}"#, "url"),
            (r#"{"url": "https://x", "headers": {"A B": "1"}}"#, "headers"),
            (
                r#"{"url": "https://x", "headers": {"A": "1\r\nB: 2"}}"#,
                "headers.A",
            ),
            (
                r#"{"url": "https://x", "headers": {"a": "1"}, "secret_headers": {"A": "s"}}"#,
                "headers.a",
            ),
            (r#"{"url": "https://x", "timeout": 0}"#, "timeout"),
        ] {
            assert_eq!(push(json).check().unwrap_err()[0].path, path, "{json}");
        }
    }
}
