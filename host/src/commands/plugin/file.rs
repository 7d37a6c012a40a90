//! A plugin file and what it says of itself, without compiling it: what `build`, `inspect` and `diff` look at.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use capstan_engine::{MAX_COMPONENT, Outside, inspect};
use capstan_model::Digest;
use capstan_model::plugin::{PACKAGE, Right, Rights};
use serde_json::{Map, Value, json};

/// A plugin file.
pub struct PluginFile {
    pub size: usize,
    pub digest: Digest,
    pub outside: Outside,
}

impl PluginFile {
    /// Reads it; the error says why it is no plugin of this program.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::of(&read_file(path, MAX_COMPONENT)?).with_context(|| path.display().to_string())
    }

    /// What these bytes say.
    pub fn of(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self {
            size: bytes.len(),
            digest: Digest::of(bytes),
            outside: inspect(bytes)?,
        })
    }

    /// `step make 0.1.0`.
    pub fn title(&self) -> String {
        let plugin = &self.outside.manifest.plugin;
        format!("{} {} {}", plugin.kind, plugin.name, plugin.version)
    }

    /// Its facts but for parameters and limits, for programs.
    pub fn json(&self) -> Map<String, Value> {
        let (outside, plugin) = (&self.outside, &self.outside.manifest.plugin);
        let facts = json!({
            "kind": plugin.kind,
            "name": plugin.name,
            "version": plugin.version,
            "description": plugin.description,
            "license": plugin.license,
            "wasi": plugin.wasi,
            "rights": rights_json(&outside.manifest.rights),
            "package": outside.needs,
            "imports": outside.imports,
            "exports": outside.exports,
            "size": self.size,
            "digest": self.digest,
        });
        match facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        }
    }
}

/// A whole file, with an error if it is longer than `most`.
pub fn read_file(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut bytes = Vec::new();
    // One byte more than may be there, so that a larger file is seen to be one.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).with_context(failed)?;
    ensure!(
        bytes.len() <= most,
        "expected at most {most} bytes in {}, found more",
        path.display()
    );
    Ok(bytes)
}

/// Only the capabilities that are asked for.
pub fn rights_json(rights: &Rights) -> Value {
    let asked = Right::ALL
        .into_iter()
        .filter(|right| !rights.of(*right).is_empty());
    asked
        .map(|right| (right.as_str().to_owned(), json!(rights.of(right))))
        .collect::<Map<_, _>>()
        .into()
}

/// An interface without what is the same of all: `http` for `capstan:plugin/http@0.1.1`.
pub fn short(interface: &str) -> &str {
    let own = interface
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.strip_prefix('/'));
    own.map_or(interface, |rest| rest.split('@').next().unwrap_or(rest))
}
