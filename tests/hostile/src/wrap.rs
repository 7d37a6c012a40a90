//! From the text of a guest to a plugin file: completed with the prelude of its kind, wrapped with its world, a manifest
//! embedded.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use capstan_model::plugin::{Kind, PACKAGE, PACKAGE_VERSION, SECTION};
use serde_json::{Value, json};
use wasm_encoder::Encode as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::header::{Call, Header, merge};
use crate::text;

/// The package version that guests are wrapped with.
pub const OFFERED: &str = PACKAGE_VERSION;

/// What a guest of `repeat` is told of the time when it runs again; the first time it is 0.
pub const CHANGED: i64 = 1;

/// Makes the plugin file of one guest.
pub(crate) fn component(name: &str, header: &Header, source: &str) -> anyhow::Result<Vec<u8>> {
    let forms = text::forms(source)?;
    let whole = forms.first().copied().unwrap_or_default();
    if whole.starts_with("(component") || whole.starts_with("(module") {
        let bytes = wat::parse_str(text::full_names(source, OFFERED))?;
        return Ok(with_manifest(bytes, &manifest(name, header)?));
    }
    let module = module(header.kind, &forms)?;
    Ok(with_manifest(wrapped(header, module)?, &manifest(name, header)?))
}

/// The core module of a guest: what it has itself, and of the prelude what it has not.
fn module(kind: Kind, own: &[&str]) -> anyhow::Result<Vec<u8>> {
    let prelude = match kind {
        Kind::Step => include_str!("prelude/step.wat"),
        Kind::Scheduler => include_str!("prelude/scheduler.wat"),
        Kind::ChangeSource => include_str!("prelude/change-source.wat"),
        Kind::Reporter => include_str!("prelude/reporter.wat"),
        Kind::Generator => include_str!("prelude/generator.wat"),
    };
    let mut missing = text::forms(prelude)?;
    missing.extend(text::forms(include_str!("prelude/every.wat"))?);
    missing.retain(|form| !own.iter().any(|other| same(form, other)));
    // Imports come first in a module.
    let (imports, rest): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .chain(own.iter().copied())
        .partition(|form| form.starts_with("(import"));
    let source = format!("(module\n{}\n{}\n)", imports.join("\n"), rest.join("\n"));
    let (head, _) = source.rsplit_once(')').context("a module")?;
    let source = text::full_names(&format!("{})", text::place_texts(head)?), OFFERED);
    Ok(wat::parse_str(source)?)
}

/// Whether both define the same: the same export, or a memory each.
fn same(one: &str, other: &str) -> bool {
    let export = |form: &str| {
        let (_, rest) = form.split_once("(export \"")?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    export(one).is_some_and(|name| export(other).as_ref() == Some(&name))
}

/// WASI as far as guests import it.
const WASI: &str = "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }";

/// Wraps a core module with the world of its kind, as its header changes it.
pub(crate) fn wrapped(header: &Header, mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/plugin.wit");
    let mut package = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    for (this, that) in &header.wit {
        ensure!(
            package.contains(this),
            "expected {this:?} in {}, found none",
            path.display()
        );
        package = package.replacen(this, that, 1);
    }
    let mut resolve = Resolve::default();
    resolve.push_str("plugin.wit", &package)?;
    resolve.push_str("random.wit", WASI)?;
    let migration = match header.call {
        Call::Migrate => format!("export {PACKAGE}/migration@{OFFERED};"),
        Call::Check | Call::Run | Call::Repeat | Call::Configure => String::new(),
    };
    let (kind, with) = (header.kind.world(), &header.with);
    let world = format!(
        "package capstan:hostile; world guest {{ include {PACKAGE}/{kind}@{OFFERED}; {migration} {with} }}"
    );
    let own = resolve.push_str("guest.wit", &world)?;
    let world = resolve.select_world(&[own], Some("guest"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    ComponentEncoder::default()
        .module(&module)?
        .validate(false)
        .encode()
}

/// The manifest of a guest as its header has it: every right asked for, any parameters.
pub(crate) fn manifest(name: &str, header: &Header) -> anyhow::Result<Vec<u8>> {
    let all = || toml::Value::from(vec!["*"]);
    let rights = [
        "commands",
        "http",
        "git",
        "secrets",
        "files",
        "mail",
        "state",
        "artefacts",
        "triggers",
    ];
    let mut table = toml::Table::new();
    table.insert("schema".to_owned(), 1.into());
    table.insert(
        "parameters".to_owned(),
        toml::Table::from_iter([("type".to_owned(), "object".into())]).into(),
    );
    table.insert(
        "rights".to_owned(),
        toml::Table::from_iter(rights.map(|right| (right.to_owned(), all()))).into(),
    );
    let about = [
        ("name", name),
        ("kind", header.kind.as_str()),
        ("version", "0.0.1"),
    ];
    table.insert(
        "plugin".to_owned(),
        toml::Table::from_iter(about.map(|(key, value)| (key.to_owned(), value.into()))).into(),
    );
    merge(&mut table, header.manifest.clone());
    Ok(serde_json::to_vec(&table)?)
}

/// The plainest manifest, as JSON.
pub(crate) fn plain(name: &str, kind: Kind) -> Value {
    json!({
        "schema": 1,
        "plugin": { "name": name, "kind": kind, "version": "0.0.1" },
        "parameters": { "type": "object" },
    })
}

/// The component with one more custom section, its manifest.
pub(crate) fn with_manifest(mut component: Vec<u8>, manifest: &[u8]) -> Vec<u8> {
    component.push(0);
    let section = wasm_encoder::CustomSection {
        name: SECTION.into(),
        data: manifest.into(),
    };
    section.encode(&mut component);
    component
}
