//! The WIT package, and that nothing but it is needed to be a plugin.

use std::collections::{BTreeMap, BTreeSet};

use capstan_engine::{Answered, OFFERED, STEP_CALLS, WaitMode, exported_functions};
use capstan_model::journal::{self, Class};
use capstan_model::plugin::{Kind, PACKAGE, PACKAGE_VERSION};
use wit_parser::{Resolve, TypeDefKind, WorldItem};

use crate::resume::{Subject, undisturbed};
use crate::support::{engine, fixture, root};

pub fn package() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(root().join("wit"))
        .expect("wit/plugin.wit parses");
    (resolve, package)
}

#[test]
fn the_package_has_one_documented_world_per_kind() {
    let (resolve, id) = package();
    let package = &resolve.packages[id];
    assert_eq!(package.name.to_string(), format!("{PACKAGE}@{PACKAGE_VERSION}"));
    let beside = [
        "migrating-scheduler-plugin",
        "migrating-change-source-plugin",
        "calling-scheduler-plugin",
        "following-scheduler-plugin",
        "migrating-calling-scheduler-plugin",
        "migrating-following-scheduler-plugin",
        "whole-scheduler-plugin",
    ];
    assert_eq!(package.worlds.len(), Kind::ALL.len() + beside.len());
    for kind in Kind::ALL {
        let world = &resolve.worlds[package.worlds[kind.world()]];
        assert!(
            world.docs.contents.is_some(),
            "{} has no documentation",
            world.name
        );
    }
    for interface in package.interfaces.values().map(|&id| &resolve.interfaces[id]) {
        let name = interface.name.as_deref().unwrap_or_default();
        assert!(interface.docs.contents.is_some(), "{name} has no documentation");
    }
}

/// Every function that a step can call, by the names of the engine's table.
fn step_functions() -> BTreeSet<String> {
    let (resolve, id) = package();
    let world = &resolve.worlds[resolve.packages[id].worlds[Kind::Step.world()]];
    let mut names = BTreeSet::new();
    for import in world.imports.values() {
        let WorldItem::Interface { id, .. } = import else {
            panic!("expected interfaces alone")
        };
        let interface = &resolve.interfaces[*id];
        let of = interface.name.as_deref().unwrap();
        for function in interface.functions.values() {
            let resource = function
                .kind
                .resource()
                .and_then(|id| resolve.types[id].name.as_deref());
            names.insert(format!("{}.{}", resource.unwrap_or(of), function.item_name()));
        }
        for id in interface.types.values() {
            let kind = &resolve.types[*id];
            if kind.kind == TypeDefKind::Resource {
                names.insert(format!("{}.drop", kind.name.as_deref().unwrap()));
            }
        }
    }
    names
}

/// Whoever adds a function to the step world must say what becomes of it when a step is run again.
#[test]
fn every_function_of_a_step_has_a_stated_effect_class() {
    let stated: Vec<_> = STEP_CALLS.iter().map(|call| call.name.to_owned()).collect();
    let set: BTreeSet<_> = stated.iter().cloned().collect();
    assert_eq!(set.len(), stated.len(), "each is stated once");
    assert_eq!(set, step_functions());
}

/// The table is what the journal does.
#[tokio::test]
async fn the_journal_has_rows_of_exactly_the_stated_classes() {
    let (_, lasting, _) = undisturbed(&Subject::everything(), WaitMode::Warm).await;
    let mut seen = BTreeSet::new();
    for row in &lasting.journal[1..lasting.journal.len() - 1] {
        let call = STEP_CALLS.iter().find(|call| call.name == row.call);
        let Some(Answered::FromRows(class)) = call.map(|call| call.answered) else {
            panic!("{} has a row, and the table says {call:?}", row.call)
        };
        let refused = row.kind == journal::Kind::Local;
        assert!(
            row.class == class || refused && row.class == Class::Local,
            "{row:?}"
        );
        seen.insert(row.call.as_str());
    }
    for call in STEP_CALLS {
        let expected = matches!(call.answered, Answered::FromRows(_));
        assert_eq!(seen.contains(call.name), expected, "{}", call.name);
    }
}

/// What the engine says that it offers is what the file says; so a plugin for a newer master is told what is missing.
#[test]
fn what_is_offered_is_what_the_package_has() {
    let (resolve, id) = package();
    let mut imported = BTreeMap::new();
    for world in resolve.packages[id].worlds.values() {
        for import in resolve.worlds[*world].imports.values() {
            let WorldItem::Interface { id, .. } = import else {
                panic!("expected interfaces alone")
            };
            let interface = &resolve.interfaces[*id];
            let functions: BTreeSet<&str> = interface.functions.keys().map(String::as_str).collect();
            imported.insert(interface.name.as_deref().unwrap(), functions);
        }
    }
    let offered: BTreeMap<_, BTreeSet<&str>> = OFFERED
        .iter()
        .map(|&(interface, functions)| (interface, functions.iter().copied().collect()))
        .collect();
    assert_eq!(offered, imported);
}

/// What a refusal says that it expected is what the file says, and no function that a plugin exports goes unlooked at.
#[test]
fn every_exported_function_is_compared_with_the_signature_that_the_package_has() {
    let (resolve, id) = package();
    let text = std::fs::read_to_string(root().join("wit/plugin.wit")).unwrap();
    let mut exported = BTreeSet::new();
    for world in resolve.packages[id].worlds.values() {
        for export in resolve.worlds[*world].exports.values() {
            let WorldItem::Interface { id, .. } = export else {
                panic!("expected interfaces alone")
            };
            let interface = &resolve.interfaces[*id];
            let functions = interface.functions.keys().cloned();
            exported.extend(functions.map(|function| (interface.name.clone().unwrap(), function)));
        }
    }
    let compared: BTreeSet<_> = exported_functions()
        .map(|(interface, name, signature)| {
            let start = text.find(&format!("interface {interface} {{")).unwrap();
            let block = text[start..].split_once("\n}\n").unwrap().0;
            let line = format!("\n    {name}: {signature};\n");
            assert!(
                format!("{block}\n").contains(&line),
                "{interface} has no line {line}"
            );
            (interface.to_owned(), name.to_owned())
        })
        .collect();
    assert_eq!(compared, exported);
}

/// A step, say, may import what its world has: the list in the engine and the file agree.
#[test]
fn plugins_of_every_kind_load_with_all_their_imports() {
    for name in [
        "fixture-step",
        "fixture-scheduler",
        "fixture-source",
        "fixture-reporter",
    ] {
        let plugin = engine().load(&fixture(name)).unwrap();
        let (resolve, id) = package();
        let world = &resolve.worlds[resolve.packages[id].worlds[plugin.kind().world()]];
        for key in world.imports.keys() {
            let import = resolve.name_world_key(key);
            assert!(
                plugin.imports().contains(&import),
                "{name} does not exercise {import}"
            );
        }
    }
}

/// The built-in plugins have no private door.
#[test]
fn every_built_in_plugin_imports_the_public_interfaces_alone() {
    let components = capstan_builtin::components();
    assert!(!components.is_empty());
    for (name, bytes) in components {
        let plugin = engine()
            .load(bytes)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let foreign: Vec<_> = plugin
            .imports()
            .iter()
            .filter(|import| !import.starts_with("capstan:plugin/"))
            .collect();
        assert!(foreign.is_empty(), "{name} imports {foreign:?}");
    }
}
