//! What a scheduler or change source remembers, handed from one version of its plugin to the next. Called by `schedulers` and
//! `sources` before each call; what comes of it is committed with the call's answer, or not at all.

use capstan_engine::{CallError, Caller, Plugin};
use capstan_store::{Memory, Version};
use serde_json::Value;

/// This version, as the store notes who wrote something.
pub(crate) fn author(plugin: &Plugin) -> Version {
    Version {
        digest: plugin.digest(),
        version: plugin.manifest().plugin.version.clone(),
    }
}

/// What `plugin` is given to read.
pub(crate) struct TakenOver {
    pub bytes: Vec<u8>,
    /// Whether another version wrote what is stored now.
    pub foreign: bool,
}

/// What is remembered, in the form of this version: translated, if another one wrote it and this one can.
pub(crate) async fn take_over(
    plugin: &Plugin,
    caller: &Caller,
    config: &Value,
    memory: Option<Memory>,
) -> Result<TakenOver, CallError> {
    let Some(Memory { bytes, by }) = memory else {
        return Ok(TakenOver {
            bytes: Vec::new(),
            foreign: false,
        });
    };
    let foreign = by.as_ref().is_none_or(|by| by.digest != plugin.digest());
    if !foreign || bytes.is_empty() {
        return Ok(TakenOver { bytes, foreign });
    }
    let from = by.map(|by| by.version).unwrap_or_default();
    let translated = plugin.migrate(caller, config, &from, &bytes).await?;
    if translated.is_some() {
        tracing::info!(
            plugin = plugin.name(),
            from,
            to = plugin.manifest().plugin.version,
            "what it remembers is translated to its new version"
        );
    }
    Ok(TakenOver {
        bytes: translated.unwrap_or(bytes),
        foreign,
    })
}
