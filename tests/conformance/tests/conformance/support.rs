//! The engine, and the plugins in each language, loaded once.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use capstan_conformance::{guest, languages, target};
use capstan_engine::{Engine, Options, Plugin};
use capstan_model::plugin::Kind;
use capstan_pack::Language;

/// The engine that all tests share. It keeps what it compiled, since a Python takes it many seconds.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::new(Options {
            cache_dir: Some(target().join("compiled")),
            step_instances: 4,
            call_instances: 4,
            ..Options::default()
        })
        .unwrap()
    })
}

/// The plugin `conformance` of this kind in each language that is tested here.
pub fn guests(kind: Kind) -> Vec<(Language, Plugin)> {
    static LOADED: OnceLock<Mutex<HashMap<(Kind, &str), Plugin>>> = OnceLock::new();
    let loaded = LOADED.get_or_init(Mutex::default).lock();
    let mut loaded = loaded.unwrap_or_else(PoisonError::into_inner);
    let tested = languages().unwrap().into_iter();
    let mut load = |language: Language| {
        let load = || engine().load(&guest(kind, language).unwrap()).unwrap();
        (
            language,
            loaded
                .entry((kind, language.as_str()))
                .or_insert_with(load)
                .clone(),
        )
    };
    tested.map(&mut load).collect()
}
