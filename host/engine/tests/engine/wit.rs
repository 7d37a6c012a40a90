//! The WIT package, and that nothing but it is needed to be a plugin.

use capstan_model::plugin::{Kind, PACKAGE, PACKAGE_VERSION};
use wit_parser::Resolve;

use crate::support::{engine, fixture, root};

fn package() -> (Resolve, wit_parser::PackageId) {
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
    assert_eq!(package.worlds.len(), Kind::ALL.len());
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
