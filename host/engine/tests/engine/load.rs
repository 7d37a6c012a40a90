//! What a plugin's author or an operator reads when a file in the plugin folder is not taken.

use std::fs;

use capstan_engine::{Engine, LoadError, Options};
use capstan_model::plugin::Kind;
use insta::assert_snapshot;

use crate::support::{engine, fixture, options, patch, with_manifest, with_section};

fn refusal(bytes: &[u8]) -> String {
    engine()
        .load(bytes)
        .expect_err("the file must be refused")
        .to_string()
}

fn manifest(kind: &str, more: &str) -> String {
    format!(r#"{{"schema":1,"plugin":{{"name":"odd","kind":"{kind}","version":"1"}}{more}}}"#)
}

#[test]
fn a_plugin_says_what_it_is_and_what_it_can_reach() {
    let plugin = engine().load(&fixture("fixture-reporter")).unwrap();
    assert_eq!(
        (plugin.name(), plugin.kind()),
        ("fixture-reporter", Kind::Reporter)
    );
    assert_eq!(plugin.world(), "capstan:plugin/reporter-plugin@0.1.1");
    assert!(
        plugin
            .imports()
            .iter()
            .any(|import| import == "capstan:plugin/http@0.1.1")
    );
    assert!(
        plugin
            .imports()
            .iter()
            .all(|import| import.starts_with("capstan:plugin/"))
    );
}

#[test]
fn what_is_no_component_is_refused() {
    assert_snapshot!(refusal(b"#!/bin/sh\nexit 0\n"), @"expected a WebAssembly component, found something else: it does not begin as WebAssembly does; build it with `capstan plugin build`");
    assert_snapshot!(refusal(b""), @"expected a WebAssembly component, found something else: it does not begin as WebAssembly does; build it with `capstan plugin build`");
    assert_snapshot!(refusal(b"\0asm\x01\0\0\0"), @"expected a WebAssembly component, found a core module; wrap it with `capstan plugin build`");
    let whole = fixture("fixture-scheduler");
    assert!(engine().load(&whole[..whole.len() / 2]).is_err());
    assert_snapshot!(refusal(&vec![0; (64 << 20) + 1]), @"expected a component of at most 64 MiB, found 67108865 bytes");
}

#[test]
fn a_manifest_must_be_there_and_be_right() {
    let bytes = fixture("fixture-scheduler");
    let refuse = |text: &str| refusal(&with_manifest(&bytes, Some(text)));
    assert_snapshot!(refusal(&with_manifest(&bytes, None)), @"expected a manifest in the custom section `capstan:manifest`, found none; embed plugin.toml with `capstan plugin build`");
    assert_snapshot!(refuse("schema = 1"), @"read the manifest: expected value at line 1 column 1");
    assert_snapshot!(refuse(r#"{"schema":2,"plugin":{},"new":1}"#), @"expected a manifest with schema 1, found schema 2; upgrade Capstan, or build the plugin with an older SDK");
    assert_snapshot!(refuse(&manifest("scheduler", r#","rights":{"root":["*"]}"#)), @"read the manifest: unknown field `root`, expected one of `commands`, `http`, `git`, `secrets`, `files`, `mail`, `state`, `artefacts`, `triggers` at line 1 column 85");
    assert_snapshot!(refuse(&manifest("oracle", "")), @"read the manifest: unknown variant `oracle`, expected one of `change-source`, `scheduler`, `step`, `reporter`, `generator` at line 1 column 50");
    assert_snapshot!(refuse(&manifest("scheduler", "").replace("odd", "Odd One")), @r##"read the manifest: plugin.name: expected lower-case words joined by hyphens, at most 64 characters, found "Odd One""##);
    assert_snapshot!(refuse(&manifest("scheduler", r#","parameters":[]"#)), @r##"read the manifest: parameters: expected a JSON Schema with "type": "object""##);
    assert_snapshot!(refuse(&manifest("scheduler", r#","limits":{"memory_mib":4096}"#)), @"odd asks for memory_mib = 4096, this master allows at most 512; raise the limit in capstan.toml");
}

/// Said by looking at the file alone: nothing is compiled before.
fn needs(bytes: &[u8]) -> String {
    let error = capstan_engine::inspect(bytes).expect_err("the file must be refused");
    assert!(matches!(error, LoadError::Version { .. }), "{error}");
    assert_eq!(error.to_string(), refusal(bytes));
    error.to_string()
}

#[test]
fn a_plugin_for_another_major_is_refused_with_both_versions() {
    let made_for = |version: &str| needs(&patch(&fixture("fixture-scheduler"), "@0.1.1", version));
    assert_snapshot!(made_for("@0.2.0"), @"fixture-scheduler is made for capstan:plugin 0.2.0, this master offers 0.1.1; upgrade Capstan, or build the plugin with an older SDK");
    assert_snapshot!(made_for("@1.0.0"), @"fixture-scheduler is made for capstan:plugin 1.0.0, this master offers 0.1.1; upgrade Capstan, or build the plugin with an older SDK");
    assert_snapshot!(made_for("@0.0.9"), @"fixture-scheduler is made for capstan:plugin 0.0.9, this master offers 0.1.1; build the plugin with a newer SDK");
}

#[test]
fn a_plugin_that_uses_what_only_a_newer_master_has_is_refused_with_what_that_is() {
    let later = |name| patch(&fixture(name), "@0.1.1", "@0.1.7");
    assert_snapshot!(needs(&patch(&later("fixture-scheduler"), "write", "wrote")), @"fixture-scheduler is made for capstan:plugin 0.1.7 and uses `log.wrote`, this master offers 0.1.1; upgrade Capstan, or build the plugin with an older SDK");
    assert_snapshot!(needs(&patch(&later("fixture-scheduler"), "plugin/log@", "plugin/lag@")), @"fixture-scheduler is made for capstan:plugin 0.1.7 and uses `lag`, this master offers 0.1.1; upgrade Capstan, or build the plugin with an older SDK");
    assert_snapshot!(needs(&patch(&later("fixture-reporter"), "]message.set-html", "]message.set-toml")), @"fixture-reporter is made for capstan:plugin 0.1.7 and uses `mail.message.set-toml`, this master offers 0.1.1; upgrade Capstan, or build the plugin with an older SDK");
    // In the package, but not in the world of that kind yet.
    assert_snapshot!(needs(&patch(&later("fixture-scheduler"), "plugin/log@", "plugin/git@")), @"fixture-scheduler is made for capstan:plugin 0.1.7 and uses `git`, this master offers 0.1.1; upgrade Capstan, or build the plugin with an older SDK");
}

/// The numbers alone say nothing: a plugin that was built with a newer SDK may need nothing new.
#[tokio::test]
async fn a_plugin_that_names_a_newer_version_and_uses_what_is_there_runs() {
    for kind in ["step", "scheduler", "source", "reporter"] {
        let name = format!("fixture-{kind}");
        let later = engine()
            .load(&patch(&fixture(&name), "@0.1.1", "@0.1.7"))
            .unwrap();
        later
            .check(&serde_json::json!({ "script": [] }))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_plugin_has_the_imports_and_exports_of_its_kind() {
    let scheduler = fixture("fixture-scheduler");
    let foreign = patch(&scheduler, "capstan:plugin/log@0.1.1", "wasi:random/insecu@0.2.0");
    assert_snapshot!(refusal(&foreign), @r#"fixture-scheduler imports `wasi:random/insecu@0.2.0`, which a plugin does not get by default; add `wasi = "stub"` under [plugin] in plugin.toml for stand-ins that reach nothing, or build it without WASI"#);
    let foreign = patch(&scheduler, "capstan:plugin/log@0.1.1", "capston:plugin/log@0.1.1");
    assert_snapshot!(refusal(&foreign), @"fixture-scheduler imports `capston:plugin/log@0.1.1`, which no master offers: a plugin imports capstan:plugin alone");
    let as_step = with_manifest(&scheduler, Some(&manifest("step", "")));
    assert_snapshot!(refusal(&as_step), @"odd is a step by its manifest, which exports `capstan:plugin/step@0.1.1`; found capstan:plugin/scheduler@0.1.1");
    let as_scheduler = with_manifest(&fixture("fixture-source"), Some(&manifest("scheduler", "")));
    assert_snapshot!(refusal(&as_scheduler), @"odd is a scheduler and imports `capstan:plugin/git@0.1.1`, which is not in the world `scheduler-plugin`");
}

/// A component whose function `check` has this signature, in the text format, and this core type.
fn checking(kind: &str, signature: &str, core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
          (core module $m (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "check") {core} unreachable))
          (core instance $i (instantiate $m))
          (alias core export $i "memory" (core memory $memory))
          (alias core export $i "realloc" (core func $realloc))
          (func $check {signature} (canon lift (core func $i "check") (memory $memory) (realloc $realloc)))
          (instance $all (export "check" (func $check)))
          (export "capstan:plugin/{kind}@0.1.1" (instance $all)))"#
    );
    with_section(wat::parse_str(&text).unwrap(), &manifest(kind, ""))
}

#[test]
fn a_function_with_other_types_is_refused_before_it_is_called() {
    let wrong = |kind, signature, core| refusal(&checking(kind, signature, core));
    let nested = "(list ".repeat(60) + "u8" + &")".repeat(60);
    assert_snapshot!(wrong("step", "", ""), @"odd cannot be used: `step.check` has another signature than its world says: expected func(config: json) -> result<_, plugin-error>, found func() (expected 1-tuple, found 0-tuple); build it with `capstan plugin build`");
    assert_snapshot!(wrong("scheduler", r#"(param "config" u64) (result (result string (error u32)))"#, "(param i64) (result i32)"), @"odd cannot be used: `scheduler.check` has another signature than its world says: expected func(config: json) -> result<_, plugin-error>, found func(config: u64) -> result<string, u32> (expected `string` found `u64`); build it with `capstan plugin build`");
    assert_snapshot!(wrong("change-source", r#"(param "config" string) (result (tuple s8 (option float32)))"#, "(param i32 i32) (result i32)"), @"odd cannot be used: `change-source.check` has another signature than its world says: expected func(config: json) -> result<_, plugin-error>, found func(config: string) -> tuple<s8, option<f32>> (expected `result` found `tuple`); build it with `capstan plugin build`");
    let deep = wrong(
        "step",
        &format!(r#"(param "config" {nested})"#),
        "(param i32 i32)",
    );
    assert!(deep.contains('…') && deep.len() < 800, "{deep}");
}

#[tokio::test]
async fn a_compiled_plugin_is_kept_for_the_next_start_and_a_damaged_one_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let load = || {
        let options = Options {
            cache_dir: Some(cache.clone()),
            ..options()
        };
        let scheduler = Engine::new(options)
            .unwrap()
            .load(&fixture("fixture-scheduler"))
            .unwrap();
        async move {
            scheduler
                .check(&serde_json::json!({ "script": [] }))
                .await
                .expect("it runs")
        }
    };
    load().await;
    let files = |ending: &str| -> Vec<_> {
        let engines = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        let all = engines.flat_map(|engine| fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path()));
        all.filter(|path| path.extension().is_some_and(|e| e == ending))
            .collect()
    };
    let compiled = files("cwasm");
    assert_eq!(compiled.len(), 1);
    private(&cache);
    let (code, made) = (
        fs::read(&compiled[0]).unwrap(),
        fs::metadata(&compiled[0]).unwrap().modified().unwrap(),
    );

    load().await;
    assert_eq!(
        fs::metadata(&compiled[0]).unwrap().modified().unwrap(),
        made,
        "a second start compiles nothing"
    );

    for damage in [&code[..code.len() / 2], b"junk".as_slice(), &flipped(&code)] {
        fs::write(&compiled[0], damage).unwrap();
        load().await;
        assert!(
            fs::read(&compiled[0]).unwrap() == code,
            "a damaged file is replaced"
        );
    }
    assert_eq!(
        files("cwasm").len() + files("sum").len(),
        2,
        "nothing temporary is left"
    );
}

/// A folder that every build of a plugin adds to does not grow for ever.
#[test]
fn of_a_cache_with_little_room_what_was_used_longest_ago_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fixture("fixture-scheduler");
    let version = |number: u32| {
        with_manifest(
            &bytes,
            Some(&manifest(
                "scheduler",
                &format!(r#","limits":{{"memory_mib":{number}}}"#),
            )),
        )
    };
    let engine = |cache_room| {
        let cache_dir = Some(folder.path().to_owned());
        let options = Options {
            cache_dir,
            cache_room,
            ..options()
        };
        Engine::new(options).unwrap()
    };
    let kept = || -> Vec<String> {
        let engines = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = engines
            .flat_map(|engine| fs::read_dir(engine).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let names = |versions: &[u32]| {
        let digests = versions
            .iter()
            .map(|&number| capstan_model::Digest::of(&version(number)));
        let mut names: Vec<_> = digests
            .flat_map(|digest| [format!("{digest}.cwasm"), format!("{digest}.sum")])
            .collect();
        names.sort();
        names
    };
    let roomy = engine(Some(1 << 40));
    for number in [1, 2, 3] {
        roomy.load(&version(number)).unwrap();
    }
    roomy.load(&version(1)).unwrap();
    assert_eq!(kept(), names(&[1, 2, 3]));
    let of_engine = fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let one = fs::metadata(of_engine.join(&names(&[1])[0])).unwrap().len();
    engine(Some(2 * one + one / 2)).load(&version(4)).unwrap();
    assert_eq!(kept(), names(&[1, 4]));
    engine(Some(0)).load(&version(5)).unwrap();
    assert_eq!(kept(), names(&[5]), "the newest one is kept, however large");
}

fn flipped(code: &[u8]) -> Vec<u8> {
    let mut code = code.to_vec();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    code
}

#[cfg(unix)]
fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[cfg(not(unix))]
fn private(_: &std::path::Path) {}

/// What lies in the folder is executed: nobody else may be able to write there.
#[cfg(target_os = "linux")]
#[test]
fn a_cache_folder_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    if std::os::unix::fs::chown(folder.path(), Some(4242), None).is_err() {
        eprintln!("left out: only root can make a folder of another user");
        return;
    }
    let options = Options {
        cache_dir: Some(folder.path().to_owned()),
        ..options()
    };
    let error = Engine::new(options)
        .err()
        .expect("the folder must be refused")
        .to_string();
    assert!(error.contains("it belongs to another user"), "{error}");
}
