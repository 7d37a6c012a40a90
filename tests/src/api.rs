//! A client of the REST interface that a test can read: blocking, bounded, JSON in and out.

use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use ureq::Agent;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read into memory.
const MAX_ANSWER: u64 = 512 << 20;
/// The longest line of an event stream.
const MAX_EVENT: u64 = 16 << 20;

/// A master's REST interface.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    token: Option<String>,
    agent: Agent,
    streams: Agent,
}

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Its `event` field.
    pub kind: String,
    /// Its `id` field.
    pub id: String,
    /// Its `data`, decoded.
    pub data: Value,
}

impl Api {
    /// The interface under `base`, the address that the master prints; `token` allows control.
    pub fn new(base: &str, token: Option<String>) -> Self {
        let agent = |whole: Option<Duration>| -> Agent {
            // No proxy: the address is the loopback's.
            let settings = Agent::config_builder().http_status_as_error(false).proxy(None);
            settings
                .timeout_connect(Some(TIMEOUT))
                .timeout_global(whole)
                .build()
                .into()
        };
        Self {
            base: base.to_owned(),
            token,
            agent: agent(Some(TIMEOUT)),
            streams: agent(None),
        }
    }

    /// The same interface for somebody with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The answer to a GET; a refusal is an error.
    pub fn get(&self, path: &str) -> Result<Value> {
        accept(path, self.try_get(path)?)
    }

    /// The answer to a POST; a refusal is an error.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        accept(path, self.try_post(path, body)?)
    }

    /// The status and the answer to a GET, whatever they are.
    pub fn try_get(&self, path: &str) -> Result<(u16, Value)> {
        let answer = self.agent.get(self.url(path)).call();
        read(answer.with_context(|| format!("failed to get {path}"))?)
    }

    /// The status and the answer to a POST, whatever they are.
    pub fn try_post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let mut request = self.agent.post(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        read(
            request
                .send_json(body)
                .with_context(|| format!("failed to post to {path}"))?,
        )
    }

    /// The bytes of a GET.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self
            .agent
            .get(self.url(path))
            .call()
            .with_context(|| format!("failed to get {path}"))?;
        if !answer.status().is_success() {
            bail!(
                "expected {path} to be there, the master answered {}",
                answer.status()
            );
        }
        Ok(answer.into_body().with_config().limit(MAX_ANSWER).read_to_vec()?)
    }

    /// Hands each event of a stream to `handle` until that breaks off. A stream that ends before is an error.
    pub fn events<B>(
        &self,
        path: &str,
        mut handle: impl FnMut(Event) -> Result<ControlFlow<B>>,
    ) -> Result<B> {
        let answer = self
            .streams
            .get(self.url(path))
            .call()
            .with_context(|| format!("failed to get {path}"))?;
        if !answer.status().is_success() {
            bail!(
                "expected a stream at {path}, the master answered {}",
                answer.status()
            );
        }
        let mut lines = BufReader::new(answer.into_body().into_reader());
        let (mut event, mut data) = (Event::default(), String::new());
        loop {
            let mut line = Vec::new();
            let read = lines.by_ref().take(MAX_EVENT).read_until(b'\n', &mut line);
            if read.with_context(|| format!("the stream {path} broke"))? == 0 {
                bail!("the stream {path} ended");
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let mut whole = std::mem::take(&mut event);
                whole.data = serde_json::from_str(&std::mem::take(&mut data)).unwrap_or_default();
                if !whole.kind.is_empty()
                    && let ControlFlow::Break(found) = handle(whole)?
                {
                    return Ok(found);
                }
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.kind = value.to_owned(),
                "id" => event.id = value.to_owned(),
                "data" => data.push_str(value),
                _ => {}
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }
}

fn read(answer: ureq::http::Response<ureq::Body>) -> Result<(u16, Value)> {
    let status = answer.status().as_u16();
    let bytes = answer.into_body().with_config().limit(MAX_ANSWER).read_to_vec()?;
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text())))
}

fn accept(path: &str, (status, answer): (u16, Value)) -> Result<Value> {
    match status {
        200..=299 => Ok(answer),
        _ => bail!("expected {path} to be accepted, the master answered {status}: {answer}"),
    }
}
