//! Engines, fixture files and changed copies of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use capstan_engine::{Engine, Options, Plugin};

/// Options for machines with little room: short limits, a small pool.
pub fn options() -> Options {
    Options {
        step_instances: 8,
        call_instances: 32,
        call_ms: 300,
        step_ms: 300,
        ..Options::default()
    }
}

/// The engine that most tests share.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(options()).unwrap())
}

/// The bytes of one fixture plugin.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = root().join("target/guests/fixtures").join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", path.display()))
}

/// One fixture plugin, loaded once.
pub fn plugin(name: &'static str) -> Plugin {
    static PLUGINS: OnceLock<Mutex<HashMap<&'static str, Plugin>>> = OnceLock::new();
    let mut plugins = PLUGINS.get_or_init(Default::default).lock().unwrap();
    plugins.entry(name).or_insert_with(|| fresh(name)).clone()
}

/// One fixture plugin, with counts of its own.
pub fn fresh(name: &str) -> Plugin {
    engine().load(&fixture(name)).unwrap()
}

/// One built-in plugin, loaded once.
pub fn builtin(name: &'static str) -> Plugin {
    static PLUGINS: OnceLock<Mutex<HashMap<&'static str, Plugin>>> = OnceLock::new();
    let mut plugins = PLUGINS.get_or_init(Default::default).lock().unwrap();
    let load = || {
        let mut all = capstan_builtin::components().iter();
        let (_, bytes) = all.find(|(found, _)| *found == name).unwrap();
        engine().load(bytes).unwrap()
    };
    plugins.entry(name).or_insert_with(load).clone()
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every `from` replaced by `to`, of the same length: names in a component can be changed that way.
pub fn patch(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let mut found = false;
    for place in 0..=out.len() - from.len() {
        if out[place..].starts_with(from.as_bytes()) {
            out[place..place + from.len()].copy_from_slice(to.as_bytes());
            found = true;
        }
    }
    assert!(found, "{from} is not in the component");
    out
}

/// The component with another manifest, or with none.
pub fn with_manifest(bytes: &[u8], manifest: Option<&str>) -> Vec<u8> {
    let out = patch(bytes, "capstan:manifest", "capstan:replaced");
    match manifest {
        Some(manifest) => with_section(out, manifest),
        None => out,
    }
}

/// The component, which has none yet, with a manifest.
pub fn with_section(mut component: Vec<u8>, manifest: &str) -> Vec<u8> {
    let section = wasm_encoder::CustomSection {
        name: "capstan:manifest".into(),
        data: manifest.as_bytes().into(),
    };
    component.push(0);
    wasm_encoder::Encode::encode(&section, &mut component);
    component
}
