//! What every built-in plugin must be, seen from outside: one that asks for more than its kind has would not load.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

use capstan_model::plugin::{Kind, Manifest, PACKAGE, SECTION};
use serde_json::Value;
use wasmparser::{Parser, Payload};

/// A plugin file's manifest and imports.
fn read(bytes: &[u8]) -> (Manifest, Vec<String>) {
    let (mut manifest, mut imports) = (None, Vec::new());
    // The modules and components within have sections of their own.
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ if depth > 0 => {}
            Payload::CustomSection(section) if section.name() == SECTION => {
                manifest = Some(serde_json::from_slice(section.data()).unwrap());
            }
            Payload::ComponentImportSection(section) => {
                imports.extend(
                    section
                        .into_iter()
                        .map(|import| import.unwrap().name.name.to_owned()),
                );
            }
            _ => {}
        }
    }
    (manifest.unwrap(), imports)
}

#[test]
fn the_promised_plugins_are_there() {
    let found: Vec<_> = capstan_builtin::components()
        .iter()
        .map(|(name, bytes)| {
            let manifest = read(bytes).0;
            assert_eq!(manifest.plugin.name, *name);
            format!("{} {name}", manifest.plugin.kind)
        })
        .collect();
    let promised = [
        "change-source git-poller",
        "reporter http-push",
        "reporter report-file",
        "scheduler any-branch",
        "scheduler branch",
        "scheduler dependent",
        "scheduler force",
        "scheduler nightly",
        "scheduler nightly-triggerable",
        "scheduler periodic",
        "scheduler triggerable",
        "scheduler try-build",
        "step finish",
        "step git",
        "step shell",
        "step trigger",
        "step upload",
    ];
    for plugin in promised {
        assert!(
            found.iter().any(|found| found == plugin),
            "expected {plugin}, found {found:?}"
        );
    }
}

#[test]
fn a_plugin_imports_only_what_it_uses() {
    for (name, bytes) in capstan_builtin::components() {
        let (manifest, imports) = read(bytes);
        let expected: &[&str] = match (manifest.plugin.kind, *name) {
            (Kind::Step, "git") => &["types", "log", "timers", "build", "commands"],
            (Kind::Step, "finish") => &["types", "log", "build", "ending"],
            (Kind::Step, "trigger") => &["types", "log", "build", "triggers"],
            (Kind::Step, "upload") => &["types", "log", "build", "artefacts"],
            (Kind::Step, "shell") => &["types", "log", "build", "commands"],
            // `decisions` are types, too.
            (Kind::Scheduler, _) => &["types", "log", "decisions"],
            (Kind::ChangeSource, "git-poller") => &["types", "log", "git"],
            (Kind::Reporter, "http-push") => &["types", "log", "http", "reports"],
            (Kind::Reporter, "report-file") => &["types", "log", "report-files", "reports"],
            other => panic!("expected a line here for {other:?}"),
        };
        for import in imports {
            let rest = import
                .strip_prefix(PACKAGE)
                .and_then(|rest| rest.strip_prefix('/'));
            let interface = rest.and_then(|rest| rest.split('@').next()).unwrap_or(&import);
            assert!(expected.contains(&interface), "{name} imports {import}");
        }
    }
}

#[test]
fn every_parameter_says_what_it_is() {
    for (name, bytes) in capstan_builtin::components() {
        let manifest = read(bytes).0;
        assert!(manifest.plugin.description.ends_with('.'), "{name}");
        assert_eq!(
            manifest.parameters["additionalProperties"],
            Value::Bool(false),
            "{name}"
        );
        for (parameter, schema) in manifest.parameters["properties"].as_object().unwrap() {
            assert!(
                schema["description"].is_string(),
                "{name}: {parameter} has no description"
            );
        }
    }
}
