//! `capstan plugin diff`: what a newer version of a plugin changes for those who use it. Ends with 1 if it asks for more,
//! or if configurations that were right may be wrong.

mod parameters;

use std::process::ExitCode;

use capstan_engine::Options;
use capstan_model::plugin::{Kind, Limits, PACKAGE, PACKAGE_VERSION};
use serde::Serialize;
use serde_json::json;

use super::file::{PluginFile, rights_json, short};
use crate::cli::{Common, DiffArguments};
use crate::output::{plain, print, print_json};

/// One thing that is otherwise in the new version.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `parameter`, `right`, `limit` and so on.
    pub what: &'static str,
    /// Of several: which one.
    pub name: String,
    /// In words.
    pub change: String,
    pub effect: Effect,
}

/// What a change means to those who use the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing that has to be looked at.
    None,
    /// A configuration that was right may be wrong.
    Breaks,
    /// It asks for more than before.
    AsksForMore,
}

/// Compares two files.
pub fn run(common: &Common, arguments: &DiffArguments) -> anyhow::Result<ExitCode> {
    let (old, new) = (
        PluginFile::read(&arguments.old)?,
        PluginFile::read(&arguments.new)?,
    );
    let changes = compare(&old, &new);
    let with = |effect| changes.iter().any(|change| change.effect == effect);
    let (breaks, asks) = (with(Effect::Breaks), with(Effect::AsksForMore));
    if common.json {
        print_json(&json!({
            "old": { "title": old.title(), "digest": old.digest },
            "new": { "title": new.title(), "digest": new.digest },
            "changes": changes,
            "rights_beyond": rights_json(&new.outside.manifest.rights.beyond(&old.outside.manifest.rights)),
            "breaks": breaks,
            "asks_for_more": asks,
        }));
    } else {
        print(&plain(&format!("{} ({})", old.title(), old.digest.short())));
        print(&plain(&format!("{} ({})", new.title(), new.digest.short())));
        for change in &changes {
            print(&plain(&line(change)));
        }
        print(verdict(old.digest == new.digest, breaks, asks));
    }
    Ok(if breaks || asks {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn line(change: &Change) -> String {
    let mark = match change.effect {
        Effect::None => ' ',
        Effect::Breaks | Effect::AsksForMore => '!',
    };
    format!("{mark} {:<10} {:<20} {}", change.what, change.name, change.change)
}

fn verdict(same: bool, breaks: bool, asks: bool) -> &'static str {
    match (breaks, asks) {
        _ if same => "the same file",
        (true, true) => "configurations may have to be changed, and it asks for more than before",
        (true, false) => "configurations may have to be changed",
        (false, true) => "it asks for more than before",
        (false, false) => "fits where the old one did",
    }
}

fn compare(old: &PluginFile, new: &PluginFile) -> Vec<Change> {
    let mut changes = identity(old, new);
    let (before, after) = (&old.outside.manifest, &new.outside.manifest);
    changes.extend(parameters::compare(&before.parameters, &after.parameters));
    let no_longer = before.rights.beyond(&after.rights);
    let more = after.rights.beyond(&before.rights);
    for (rights, change, effect) in [
        (&no_longer, "no longer asked for", Effect::None),
        (&more, "asked for", Effect::AsksForMore),
    ] {
        for (right, pattern) in rights.each() {
            changes.push(Change {
                what: "right",
                name: format!("{} {pattern}", right.as_str()),
                change: change.to_owned(),
                effect,
            });
        }
    }
    changes.extend(limits(&before.limits, &after.limits, after.plugin.kind));
    changes.extend(interfaces(old, new));
    changes
}

/// Name, kind, and which package it is made for.
fn identity(old: &PluginFile, new: &PluginFile) -> Vec<Change> {
    let (before, after) = (&old.outside.manifest.plugin, &new.outside.manifest.plugin);
    let package = if new.outside.newer.is_some() {
        Effect::Breaks
    } else {
        Effect::None
    };
    let needs = |file: &PluginFile| format!("{PACKAGE} {}", file.outside.needs);
    let offered = if new.outside.newer.is_some() {
        format!(", this program offers {PACKAGE_VERSION}")
    } else {
        String::new()
    };
    let wasi = |wasi: bool| if wasi { "stub" } else { "none" }.to_owned();
    [
        (
            "kind",
            before.kind.to_string(),
            after.kind.to_string(),
            String::new(),
            Effect::Breaks,
        ),
        (
            "name",
            before.name.clone(),
            after.name.clone(),
            String::new(),
            Effect::Breaks,
        ),
        ("package", needs(old), needs(new), offered, package),
        (
            "wasi",
            wasi(before.wasi.is_some()),
            wasi(after.wasi.is_some()),
            String::new(),
            Effect::None,
        ),
    ]
    .into_iter()
    .filter(|(_, before, after, ..)| before != after)
    .map(|(what, before, after, note, effect)| Change {
        what,
        name: String::new(),
        change: format!("{before} is now {after}{note}"),
        effect,
    })
    .collect()
}

/// A limit that the manifest does not name is the master's usual one.
fn limits(old: &Limits, new: &Limits, kind: Kind) -> Vec<Change> {
    let usual = Options::default();
    let usual_call = if kind == Kind::Step {
        usual.step_ms
    } else {
        usual.call_ms
    };
    [
        ("memory_mib", old.memory_mib, new.memory_mib, usual.memory_mib),
        ("call_ms", old.call_ms, new.call_ms, usual_call),
        (
            "journal_rows",
            old.journal_rows,
            new.journal_rows,
            usual.journal_rows,
        ),
    ]
    .into_iter()
    .map(|(name, old, new, usual)| (name, old.unwrap_or(usual), new.unwrap_or(usual)))
    .filter(|(_, old, new)| old != new)
    .map(|(name, old, new)| Change {
        what: "limit",
        name: name.to_owned(),
        change: format!("{old} is now {new}"),
        effect: if new > old {
            Effect::AsksForMore
        } else {
            Effect::None
        },
    })
    .collect()
}

/// What its code may call, within its rights, and what may be called.
fn interfaces(old: &PluginFile, new: &PluginFile) -> Vec<Change> {
    let mut changes = Vec::new();
    for (what, before, after) in [
        ("import", &old.outside.imports, &new.outside.imports),
        ("export", &old.outside.exports, &new.outside.exports),
    ] {
        for (these, others, change) in [(before, after, "gone"), (after, before, "added")] {
            for name in these.iter().map(|name| short(name)) {
                if !others.iter().any(|other| short(other) == name) {
                    changes.push(Change {
                        what,
                        name: name.to_owned(),
                        change: change.to_owned(),
                        effect: Effect::None,
                    });
                }
            }
        }
    }
    changes
}
