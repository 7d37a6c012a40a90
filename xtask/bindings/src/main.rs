//! Makes `sdk/c/generated` of `wit/`: the C bindings of every world that the SDK for C has. Called by the stage `languages` of
//! `cargo xtask ci` as `bindings REPOSITORY`, which fails where the files differ; with `--write` they are made anew.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use wit_bindgen_c::Opts;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// The folders of `sdk/c/generated`, and their worlds.
const WORLDS: [(&str, &str); 4] = [
    ("generator", "generator-plugin"),
    ("reporter", "reporter-plugin"),
    ("scheduler", "whole-scheduler-plugin"),
    ("step", "step-plugin"),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let repository = arguments
        .next()
        .context("expected the repository's folder, found nothing")?;
    let write = match arguments.next().as_deref() {
        Some("--write") => true,
        None => false,
        Some(other) => bail!("expected --write, found {other}"),
    };
    let repository = Path::new(&repository);
    let mut different = Vec::new();
    for (folder, world) in WORLDS {
        let target = repository.join("sdk/c/generated").join(folder);
        for (name, content) in generated(&repository.join("wit"), world)?.iter() {
            let path = target.join(name);
            if fs::read(&path).is_ok_and(|found| found == content) {
                continue;
            }
            if write {
                fs::create_dir_all(&target)?;
                fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
                println!("made {}", path.display());
            } else {
                different.push(path.display().to_string());
            }
        }
    }
    if !different.is_empty() {
        bail!(
            "expected what wit/ makes, found something else in {}; `CAPSTAN_UPDATE_BINDINGS=1 cargo xtask ci languages` makes \
             it anew",
            different.join(", ")
        );
    }
    Ok(())
}

fn generated(wit: &Path, world: &str) -> Result<Files> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    // The builder of plugins adds the world's types itself, so that no object file is needed.
    let options = Opts {
        rename_world: Some("wit".to_owned()),
        no_object_file: true,
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files)
}
