//! The client of a running master: finds its address and token, sends requests, reads event streams.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use serde_json::Value;

use crate::cli::Common;
use crate::output::print_error;

/// A line of an event stream longer than this means that the other side is no master.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// How long to wait for a master that is away.
const PATIENCE: Duration = Duration::from_secs(600);
/// After so long who waits is told.
const QUIET: Duration = Duration::from_secs(5);
/// The pauses between two looks for the master: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// How long a master may take to say that it is there.
const GREETING: Duration = Duration::from_secs(5);

/// A running master.
pub struct Client {
    common: Common,
    place: Mutex<Place>,
    token: Option<String>,
    http: reqwest::Client,
}

/// Where the master is, and which one.
struct Place {
    base: String,
    epoch: Option<i64>,
}

/// The master cannot be reached: it may come back.
#[derive(Debug)]
struct Away(String);

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

/// One event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Where to go on after it; empty if the stream does not say.
    pub id: String,
    pub kind: String,
    pub data: String,
}

impl Client {
    /// The master that `common` names, or the one that runs on the farm.
    pub fn new(common: &Common) -> anyhow::Result<Self> {
        let data = data_folder(&common.farm);
        let base = base(common)?;
        let token = match (&common.token, &data) {
            (Some(token), _) => Some(token.clone()),
            // The farm's token is for the farm's own master: it is not sent to an address that was given by hand.
            (None, Ok(data)) if common.url.is_none() => std::fs::read_to_string(data.join("token")).ok(),
            (None, _) => None,
        };
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            common: common.clone(),
            place: Mutex::new(Place { base, epoch: None }),
            token: token.map(|t| t.trim().to_owned()),
            http,
        })
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the master who it is: its newest event, its epoch. [`Client::survive`] knows by it when another one has come.
    pub async fn greet(&self) -> anyhow::Result<Value> {
        let health = self.get("/health").await?;
        self.place().epoch = health["epoch"].as_i64();
        Ok(health)
    }

    /// Repeats `attempt` while the master is away, until it answers. `back` is called when another master has come.
    pub async fn survive<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
        back: impl AsyncFn(),
    ) -> anyhow::Result<T> {
        loop {
            let error = match attempt().await {
                Err(error) if error.is::<Away>() => error,
                done => return done,
            };
            if self.wait_for_master(error).await? {
                back().await;
            }
        }
    }

    /// Waits until a master answers, and says whether it is another one. Gives up with `error`.
    async fn wait_for_master(&self, error: anyhow::Error) -> anyhow::Result<bool> {
        let [mut pause, longest] = PAUSES;
        let (began, mut told) = (Instant::now(), false);
        while began.elapsed() < PATIENCE {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            // One that was started anew may have another address.
            if let Ok(base) = base(&self.common) {
                self.place().base = base;
            }
            let before = self.place().epoch;
            match tokio::time::timeout(GREETING, self.greet()).await {
                Ok(Ok(_)) => return Ok(self.place().epoch != before),
                // It is there, and refuses.
                Ok(Err(refused)) if !refused.is::<Away>() => return Err(refused),
                _ => {}
            }
            if !told && began.elapsed() > QUIET {
                told = true;
                print_error("capstan: the master does not answer, trying again");
            }
        }
        Err(error)
    }

    /// The answer to a GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.json(self.request(reqwest::Method::GET, path)).await
    }

    /// The answer to a POST.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.json(self.request(reqwest::Method::POST, path).json(body))
            .await
    }

    /// The bytes of a GET, as they come.
    pub async fn bytes(
        &self,
        path: &str,
    ) -> anyhow::Result<impl futures::Stream<Item = reqwest::Result<bytes::Bytes>> + use<>> {
        let answer = self.send(self.request(reqwest::Method::GET, path)).await?;
        Ok(answer.bytes_stream())
    }

    /// The same from that byte on. A stream that breaks is a master that is away.
    pub async fn bytes_from(
        &self,
        path: &str,
        from: u64,
    ) -> anyhow::Result<impl futures::Stream<Item = anyhow::Result<bytes::Bytes>> + use<>> {
        let mut request = self.request(reqwest::Method::GET, path);
        if from > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={from}-"));
        }
        let answer = self.send(request).await?;
        let partial = answer.status() == reqwest::StatusCode::PARTIAL_CONTENT;
        anyhow::ensure!(
            partial == (from > 0),
            "expected the bytes from {from} on, the master answered {}",
            answer.status()
        );
        let broken = |_| Away("the connection to the master broke".to_owned()).into();
        Ok(answer.bytes_stream().map(move |chunk| chunk.map_err(broken)))
    }

    /// Calls `handle` with each event of a stream until it answers true. A stream that breaks is an error.
    pub async fn events(
        &self,
        path: &str,
        mut handle: impl AsyncFnMut(Event) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut stream = Box::pin(self.bytes(path).await?);
        let mut buffer = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Away("the connection to the master broke".to_owned()))?;
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                let event = parse_event(&String::from_utf8_lossy(&block));
                if !event.kind.is_empty() && handle(event).await? {
                    return Ok(());
                }
            }
            anyhow::ensure!(
                buffer.len() <= MAX_EVENT,
                "expected an event stream, found {MAX_EVENT} bytes without an end"
            );
        }
        bail!(Away("the master ended the connection".to_owned()))
    }

    /// The id of a build given as `ID` or `BUILDER/NUMBER`.
    pub async fn build_id(&self, text: &str) -> anyhow::Result<i64> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let (builder, number) = text
            .rsplit_once('/')
            .with_context(|| format!("expected a build as ID or BUILDER/NUMBER, found `{text}`"))?;
        let number: u64 = number
            .parse()
            .with_context(|| format!("expected a number after the slash in `{text}`"))?;
        let build = self
            .get(&format!("/builders/{}/builds/{number}", segment(builder)))
            .await?;
        build["id"]
            .as_i64()
            .context("expected a build with an id from the master")
    }

    /// A request with the token, if there is one: a master that serves beyond its own machine wants it for reading, too.
    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.place().base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let answer = request.send().await.map_err(|e| {
            let (base, reason) = (self.place().base.clone(), e.without_url());
            Away(format!(
                "failed to reach the master at {base}: {reason}; is `capstan run` running?"
            ))
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        let refusal = refusal(status, &body);
        // Its database is away, or what stands before it does not find it.
        if matches!(status.as_u16(), 502..=504) {
            bail!(Away(refusal));
        }
        bail!(refusal)
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = self.send(request).await?;
        let bytes = answer.bytes().await;
        let bytes = bytes.map_err(|e| Away(format!("the master's answer broke off: {}", e.without_url())))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("expected JSON from the master")
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes()
        .map(|b| {
            if keep(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn refusal(status: reqwest::StatusCode, body: &str) -> String {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let error = &parsed["error"];
    let mut text = error["message"]
        .as_str()
        .map_or_else(|| format!("the master answered {status}"), str::to_owned);
    if let Some(hint) = error["hint"].as_str() {
        text.push_str(&format!("; {hint}"));
    }
    for diagnostic in error["diagnostics"].as_array().into_iter().flatten() {
        text.push_str(&format!("\n{}", diagnostic.as_str().unwrap_or_default()));
    }
    text
}

fn base(common: &Common) -> anyhow::Result<String> {
    match &common.url {
        Some(url) => Ok(url.trim_end_matches('/').to_owned()),
        None => running(&data_folder(&common.farm).unwrap_or_else(|_| common.farm.join("data"))),
    }
}

fn data_folder(farm: &Path) -> anyhow::Result<std::path::PathBuf> {
    Ok(capstan_config::Operator::load(farm)?.master.data)
}

fn running(data: &Path) -> anyhow::Result<String> {
    let path = data.join("run.json");
    let text = std::fs::read(&path).with_context(|| {
        format!(
            "no master seems to run on this farm: {} is missing; start `capstan run`, or name one with --url",
            path.display()
        )
    })?;
    let run: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
    run["web"]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("{} names no address", path.display()))
}

fn parse_event(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = value.to_owned(),
            "event" => event.kind = value.to_owned(),
            "data" if event.data.is_empty() => event.data = value.to_owned(),
            "data" => event.data.push_str(&format!("\n{value}")),
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_standard_says() {
        let event = parse_event(": ping\nid: 3\nevent: lines\ndata: {\ndata: }\n\n");
        assert_eq!(
            event,
            Event {
                id: "3".to_owned(),
                kind: "lines".to_owned(),
                data: "{\n}".to_owned()
            }
        );
    }

    #[test]
    fn a_builder_with_a_slash_stays_one_segment() {
        assert_eq!(segment("linux/x86 64"), "linux%2Fx86%2064");
    }
}
