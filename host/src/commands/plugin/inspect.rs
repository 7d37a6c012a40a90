//! `capstan plugin inspect`.

use std::process::ExitCode;

use capstan_config::{Parameter, parameters};
use capstan_engine::Options;
use capstan_model::plugin::{Limits, PACKAGE, PACKAGE_VERSION, Rights};
use capstan_model::sized;
use serde_json::{Value, json};

use super::file::{PluginFile, short};
use crate::cli::{Common, InspectArguments};
use crate::output::{plain, print, print_json};

/// Shows what a plugin file says of itself.
pub fn run(common: &Common, arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let file = PluginFile::read(&arguments.file)?;
    if common.json {
        print_json(&as_json(&file));
    } else {
        describe(&file).iter().for_each(|line| print(&plain(line)));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(file: &PluginFile) -> Value {
    let mut facts = file.json();
    let manifest = &file.outside.manifest;
    facts.insert("parameters".to_owned(), manifest.parameters.clone());
    facts.insert("limits".to_owned(), json!(manifest.limits));
    Value::Object(facts)
}

fn describe(file: &PluginFile) -> Vec<String> {
    let (outside, plugin) = (&file.outside, &file.outside.manifest.plugin);
    let mut lines = vec![file.title()];
    if !plugin.description.is_empty() {
        lines.push(format!("  {}", plugin.description));
    }
    let mut fact = |name: &str, value: String| lines.push(format!("{name:<12} {value}"));
    if !plugin.license.is_empty() {
        fact("license", plugin.license.clone());
    }
    fact("size", sized(file.size as u64));
    fact("sha256", file.digest.to_string());
    let note = match &outside.newer {
        Some(_) => format!(" (this program offers {PACKAGE_VERSION}: it may be refused)"),
        None => String::new(),
    };
    fact("needs", format!("{PACKAGE} {}{note}", outside.needs));
    if plugin.wasi.is_some() {
        fact("wasi", "stub: a set that reaches nothing".to_owned());
    }
    let imports: Vec<_> = outside
        .imports
        .iter()
        .map(|name| short(name))
        .filter(|name| *name != "types")
        .collect();
    fact(
        "imports",
        if imports.is_empty() {
            "nothing".to_owned()
        } else {
            imports.join(", ")
        },
    );
    fact("limits", limits(&outside.manifest.limits));
    lines.extend(rights(&outside.manifest.rights));
    lines.push(format!(
        "{}.{}",
        plugin.kind.namespace(),
        plugin.name.replace('-', "_")
    ));
    let all = parameters(&outside.manifest.parameters);
    if all.is_empty() {
        lines.push("  takes no parameters".to_owned());
    }
    lines.extend(all.iter().flat_map(parameter));
    lines
}

/// What is asked for, one line a capability.
pub fn rights(rights: &Rights) -> Vec<String> {
    if rights.is_empty() {
        return vec!["asks for     no rights".to_owned()];
    }
    let mut lines = vec!["asks for".to_owned()];
    for (right, pattern) in rights.each() {
        lines.push(format!("  {:<10} {pattern}", right.as_str()));
    }
    lines
}

fn limits(limits: &Limits) -> String {
    let usual = Options::default();
    let own = |value: Option<u32>, unit: &str| value.map(|value| format!("{value} {unit}"));
    let all = [
        own(limits.memory_mib, "MiB of memory"),
        own(limits.call_ms, "ms a call"),
        own(limits.journal_rows, "journal rows"),
    ];
    let all: Vec<_> = all.into_iter().flatten().collect();
    if all.is_empty() {
        format!("the usual ones ({} MiB of memory)", usual.memory_mib)
    } else {
        all.join(", ")
    }
}

fn parameter(parameter: &Parameter) -> Vec<String> {
    let default = match &parameter.default {
        _ if parameter.required => ", required".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(value) => format!(", by default {value}"),
    };
    let mut lines = vec![format!("  {}: {}{default}", parameter.name, parameter.accepts)];
    lines.extend(
        parameter
            .description
            .lines()
            .map(|line| format!("      {}", line.trim())),
    );
    lines
}
