//! Plugins that do the same in every language, built as their authors would: a new project, the author's file, a build.
//! The tests of this package call it, and the bench.
//!
//! What is built is kept in `target/conformance` under the digest of what it is built from, since Python and the first
//! crate in Rust take seconds.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use capstan_model::Digest;
use capstan_model::plugin::Kind;
use capstan_pack::template::{New, create};
use capstan_pack::{FILE, Language, Project, Toolbox, build};

/// Names the languages that have to be tested: `all`, or some of them with commas between. What they need is installed.
/// Without it, those are tested whose tools are there.
pub const LANGUAGES: &str = "CAPSTAN_CONFORMANCE";

/// The languages to test.
pub fn languages() -> anyhow::Result<Vec<Language>> {
    let tools = tools();
    match std::env::var(LANGUAGES) {
        Ok(all) if all == "all" => Ok(Language::ALL.to_vec()),
        Ok(some) => some
            .split(',')
            .map(|word| word.parse().map_err(anyhow::Error::msg))
            .collect(),
        Err(_) => {
            let (there, missing): (Vec<_>, Vec<_>) = Language::ALL
                .into_iter()
                .partition(|language| capstan_pack::is_installed(*language, &tools));
            for language in missing {
                // Past what the test harness catches: what is left out is said.
                let _ = writeln!(
                    std::io::stderr(),
                    "left out: {language}, whose tools are not installed; `cargo xtask ci languages` installs them"
                );
            }
            Ok(there)
        }
    }
}

/// The plugin `conformance` of a kind in a language.
pub fn guest(kind: Kind, language: Language) -> anyhow::Result<Vec<u8>> {
    authored(&guests(env!("CARGO_MANIFEST_DIR")), kind, language, "conformance")
}

/// The folder `guests` of a package, which has a folder for each kind.
pub fn guests(package: &str) -> PathBuf {
    Path::new(package).join("guests")
}

/// A plugin of a kind in a language, as its author wrote it: a manifest, and beside it a file for each language. Projects that
/// are to be kept apart have different words.
pub fn authored(guests: &Path, kind: Kind, language: Language, word: &str) -> anyhow::Result<Vec<u8>> {
    let (_only_one, folder) = project(kind, language, word)?;
    let own = guests.join(kind.as_str());
    let manifest = fs::read_to_string(own.join(FILE)).with_context(|| format!("read {}", own.display()))?;
    let source = source(language);
    fs::write(folder.join(FILE), completed(&manifest, language))?;
    fs::copy(own.join(source.replace('/', "-")), folder.join(source))
        .with_context(|| format!("find the {kind} in {language}"))?;
    built(&folder)
}

/// What a new project builds to.
pub fn template(kind: Kind, language: Language) -> anyhow::Result<Vec<u8>> {
    let (_only_one, folder) = project(kind, language, "template")?;
    built(&folder)
}

/// What is said of a new project in which one text of its main file is replaced.
pub fn mistaken(kind: Kind, language: Language, right: &str, wrong: &str) -> anyhow::Result<String> {
    let (_only_one, folder) = project(kind, language, "mistaken")?;
    let path = folder.join(source(language));
    let text = fs::read_to_string(&path)?;
    anyhow::ensure!(text.contains(right), "expected {right:?} in {}", path.display());
    fs::write(&path, text.replace(right, wrong))?;
    match build(&Project::open(&folder)?, &tools()) {
        Ok(_) => anyhow::bail!("expected an error, found none"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// A new project `WORD-KIND`, and the only right to build it. A package's name is a file's name in the target folder that all
/// projects in Rust share; always the same folder, so that nothing piles up in there.
fn project(kind: Kind, language: Language, word: &str) -> anyhow::Result<(fs::File, PathBuf)> {
    let name = &format!("{word}-{kind}");
    let folder = target().join("projects").join(language.as_str()).join(name);
    fs::create_dir_all(&folder)?;
    let lock = fs::File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    fs::remove_dir_all(&folder)?;
    create(&New {
        kind,
        name,
        language,
        folder: &folder,
    })?;
    Ok((lock, folder))
}

/// The author's file in a project.
fn source(language: Language) -> &'static str {
    match language {
        Language::Rust => "src/lib.rs",
        Language::Python => "plugin.py",
        Language::Javascript => "plugin.js",
        Language::C => "plugin.c",
    }
}

/// The manifest with what differs between languages. An interpreter of Python looks at clocks; Rust says in the program what a
/// plugin exports.
fn completed(manifest: &str, language: Language) -> String {
    let wasi = if language == Language::Python {
        "wasi = \"stub\"\n"
    } else {
        ""
    };
    let source = match language {
        Language::Rust => String::new(),
        _ => format!("source = \"{}\"\n", source(language)),
    };
    let about = format!("[plugin]\n{wasi}");
    let manifest = manifest.replace("[plugin]\n", &about);
    let (manifest, exports) = manifest.split_once("\n[build]\n").unwrap_or((&manifest, ""));
    let exports = if language == Language::Rust { "" } else { exports };
    format!("{manifest}\n[build]\nlanguage = \"{language}\"\n{source}{exports}")
}

fn built(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let project = Project::open(folder)?;
    let kept = target().join(format!("{}.wasm", inputs(folder)?.short()));
    if let Ok(bytes) = fs::read(&kept) {
        return Ok(bytes);
    }
    let built = build(&project, &tools())?;
    built.write(&kept)?;
    Ok(built.bytes)
}

/// Of all that a build reads: the project, and the crate that builds it.
fn inputs(folder: &Path) -> anyhow::Result<Digest> {
    let mut all = Vec::new();
    for place in [
        folder,
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/pack/src"),
    ] {
        let mut files = Vec::new();
        walk(place, &mut files)?;
        files.sort();
        for file in files {
            all.extend(file.strip_prefix(place)?.to_string_lossy().bytes());
            all.extend(fs::read(&file)?);
        }
    }
    Ok(Digest::of(&all))
}

fn walk(place: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Where everything goes that is made here.
pub fn target() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/conformance");
    match fs::create_dir_all(&folder).and_then(|()| folder.canonicalize()) {
        Ok(folder) => folder,
        Err(_) => folder,
    }
}

/// What builds are made with.
pub fn tools() -> Toolbox {
    Toolbox {
        target: Some(target().join("cargo")),
        ..Toolbox::new(target().join("tools"), |line| println!("{line}"))
    }
}
