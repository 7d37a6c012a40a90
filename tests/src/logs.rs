//! All that a build printed, byte for byte, so that two runs can be compared.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::Api;

/// The three channels of a log.
const CHANNELS: [&str; 3] = ["stdout", "stderr", "header"];

/// The bytes of each channel of each log of each step, by `step/log/channel`.
pub type Printed = BTreeMap<String, Vec<u8>>;

/// Reads every log of a build. Each appearance of `folder` becomes `FARM`: farms live in temporary folders.
pub fn printed(api: &Api, build: &Value, folder: &str) -> Result<Printed> {
    let mut all = Printed::new();
    for step in build["steps"].as_array().context("expected steps in a build")? {
        for log in step["logs"].as_array().context("expected logs in a step")? {
            for channel in CHANNELS {
                let name = |value: &Value| value["name"].as_str().unwrap_or("?").to_owned();
                let bytes = api.bytes(&format!("/logs/{}/raw?channel={channel}", log["id"]))?;
                all.insert(
                    format!("{}/{}/{channel}", name(step), name(log)),
                    replace(&bytes, folder.as_bytes(), b"FARM"),
                );
            }
        }
    }
    Ok(all)
}

/// The names of the channels in which two builds differ, with both texts, for people.
pub fn differences(expected: &Printed, found: &Printed) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let text = |bytes: Option<&Vec<u8>>| {
        bytes.map_or("nothing at all".to_owned(), |b| {
            format!("{:?}", String::from_utf8_lossy(b))
        })
    };
    let differ = names
        .into_iter()
        .filter(|&name| expected.get(name) != found.get(name));
    differ
        .map(|name| {
            format!(
                "{name}: expected {}, found {}",
                text(expected.get(name)),
                text(found.get(name))
            )
        })
        .collect()
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        if let Some(after) = rest.strip_prefix(from)
            && !from.is_empty()
        {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = &rest[1..];
        }
    }
    out
}
