//! The bytes of a plugin, from a file or a web address.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use capstan_engine::MAX_COMPONENT;
use futures::StreamExt as _;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};

const CONNECT: Duration = Duration::from_secs(10);
/// The largest plugin over a slow line.
const WHOLE: Duration = Duration::from_secs(300);
const REDIRECTS: usize = 5;

/// Reads `source`: an address if it looks like one, else a file.
pub async fn read(source: &str) -> anyhow::Result<Vec<u8>> {
    if source.contains("://") {
        return fetch(source).await.with_context(|| format!("fetch {source}"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(source)
        .and_then(|file| file.take(MAX_COMPONENT as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("read {source}"))?;
    too_large(bytes.len())?;
    Ok(bytes)
}

async fn fetch(source: &str) -> anyhow::Result<Vec<u8>> {
    let url: Url = source.parse().context("expected an address")?;
    allowed(&url).map_err(anyhow::Error::msg)?;
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .redirect(Policy::custom(follow))
        .build()?;
    let answer = client.get(url).send().await.map_err(|e| e.without_url())?;
    ensure!(
        answer.status().is_success(),
        "the server answered {}",
        answer.status()
    );
    let mut bytes = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|e| e.without_url())?);
        too_large(bytes.len())?;
    }
    Ok(bytes)
}

fn too_large(bytes: usize) -> anyhow::Result<()> {
    if bytes > MAX_COMPONENT {
        bail!(
            "expected a plugin of at most {} MiB, found more",
            MAX_COMPONENT >> 20
        );
    }
    Ok(())
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("it redirects too often");
    }
    let began = attempt.previous().first();
    match allowed(attempt.url()).and_then(|()| stays_away(began, attempt.url())) {
        Ok(()) => attempt.follow(),
        Err(reason) => attempt.error(reason),
    }
}

/// A server elsewhere has no say in what is asked of this very machine.
fn stays_away(began: Option<&Url>, next: &Url) -> Result<(), String> {
    if is_here(next) && !began.is_some_and(is_here) {
        return Err("it redirects to this very machine".to_owned());
    }
    Ok(())
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let plain_host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = plain_host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback())
}

/// Code that everybody on the way could exchange is not fetched.
fn allowed(url: &Url) -> Result<(), String> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_here(url) => Ok(()),
        _ => Err(format!(
            "expected an https address, or http on this very machine, found {}://{}",
            url.scheme(),
            url.host_str().unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        let verdict = |url: &str| allowed(&url.parse().unwrap()).is_ok();
        for good in [
            "https://plugins.example.org/a.wasm",
            "http://127.0.0.1:80/a",
            "http://localhost/a",
            "http://[::1]/a",
        ] {
            assert!(verdict(good), "{good}");
        }
        for bad in [
            "http://plugins.example.org/a.wasm",
            "http://localhost.example.org/",
            "http://127.0.0.1.example.org/",
            "ftp://127.0.0.1/a",
            "file:///etc/passwd",
        ] {
            assert!(!verdict(bad), "{bad}");
        }
    }

    #[test]
    fn a_server_elsewhere_does_not_send_us_to_this_machine() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let verdict = |from: &str, to: &str| stays_away(Some(&url(from)), &url(to)).is_ok();
        for here in [
            "http://127.0.0.1:80/a",
            "https://localhost/a",
            "https://[::ffff:127.0.0.1]/a",
        ] {
            assert!(!verdict("https://plugins.example.org/a.wasm", here), "{here}");
            assert!(verdict("http://localhost:8080/a", here), "{here}");
        }
        assert!(verdict(
            "https://plugins.example.org/a.wasm",
            "https://mirror.example.org/a.wasm"
        ));
    }
}
