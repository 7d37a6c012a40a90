//! A plugin project: a folder with `plugin.toml`, which is the plugin's manifest and a section `[build]` that says how
//! it is built and is not embedded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use capstan_model::plugin::{About, Kind, Limits, Manifest, Rights};
use serde::Deserialize;
use serde_json::Value;

use crate::Language;

/// The file that makes a folder a plugin project.
pub const FILE: &str = "plugin.toml";

/// The most bytes of a `plugin.toml`.
const MAX_FILE: u64 = 1 << 20;

/// A plugin project that can be built.
#[derive(Clone, Debug)]
pub struct Project {
    folder: PathBuf,
    language: Language,
    source: Option<PathBuf>,
    exports: Vec<Export>,
    /// Parameters are missing where they come from the program.
    manifest: Manifest,
    parameters_given: bool,
}

/// `plugin.toml`. The fields are those of [`Manifest`], and `build`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    plugin: About,
    parameters: Option<Value>,
    #[serde(default)]
    rights: Rights,
    #[serde(default)]
    limits: Limits,
    build: Option<Build>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    language: Language,
    source: Option<PathBuf>,
    #[serde(default)]
    exports: Vec<Export>,
}

/// What a scheduler may have beside its kind's interface. A master takes what exports `calls` for one that can be asked, so that
/// nothing may be exported that is not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Export {
    Calls,
    Completions,
}

impl Project {
    /// Reads the project in `folder`.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = read(&path)?;
        let project = Self::parse(folder, &text).with_context(|| format!("read {}", path.display()))?;
        Ok(project)
    }

    fn parse(folder: &Path, text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        let (language, source, exports) = match file.build {
            Some(build) => (build.language, build.source, build.exports),
            None if folder.join("Cargo.toml").is_file() => (Language::Rust, None, Vec::new()),
            None => bail!(
                "expected a section [build] with language = \"rust\", \"python\", \"javascript\" or \"c\", found none"
            ),
        };
        if let Some(source) = &source {
            check_source(folder, source)?;
        }
        check_exports(&exports, file.plugin.kind, language)?;
        let parameters_given = file.parameters.is_some();
        let no_parameters = || serde_json::json!({ "type": "object", "additionalProperties": false });
        let manifest = Manifest {
            schema: file.schema,
            plugin: file.plugin,
            parameters: file.parameters.unwrap_or_else(no_parameters),
            rights: file.rights,
            limits: file.limits,
        };
        manifest.check().map_err(anyhow::Error::msg)?;
        Ok(Self {
            folder: folder.to_owned(),
            language,
            source,
            exports,
            manifest,
            parameters_given,
        })
    }

    /// The project's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it is written in.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The manifest as `plugin.toml` has it. Of a project in Rust without `[parameters]` the parameters come with
    /// [`build`](crate::build).
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// Whether `plugin.toml` says which parameters there are.
    pub(crate) fn parameters_given(&self) -> bool {
        self.parameters_given
    }

    /// The main file, from `[build] source`; relative to the folder.
    pub(crate) fn source(&self) -> anyhow::Result<&Path> {
        let missing =
            || format!("expected `source = \"…\"` under [build] in {FILE}: the main file; found none");
        self.source.as_deref().with_context(missing)
    }

    /// What it has beside its kind's interface.
    pub(crate) fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The world of a plugin that is not written in Rust: what remembers something also offers to translate it.
    pub(crate) fn world(&self) -> &'static str {
        let kind = self.manifest.plugin.kind;
        let has = |export| self.exports.contains(&export);
        match (kind, has(Export::Calls), has(Export::Completions)) {
            (Kind::Scheduler, false, false) => "migrating-scheduler-plugin",
            (Kind::Scheduler, true, false) => "migrating-calling-scheduler-plugin",
            (Kind::Scheduler, false, true) => "migrating-following-scheduler-plugin",
            (Kind::Scheduler, true, true) => "whole-scheduler-plugin",
            (Kind::ChangeSource, ..) => "migrating-change-source-plugin",
            (Kind::Step | Kind::Reporter | Kind::Generator, ..) => kind.world(),
        }
    }

    /// Where the plugin goes if nothing else is said: `FOLDER/NAME.wasm`.
    pub fn output(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.manifest.plugin.name))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path).map(|file| file.len());
    match size {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "expected a plugin project, found no {}; make one with `capstan plugin new`",
            path.display()
        ),
        Ok(size) => ensure!(
            size <= MAX_FILE,
            "expected at most {MAX_FILE} bytes in {}, found {size}",
            path.display()
        ),
        Err(_) => {}
    }
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn check_exports(exports: &[Export], kind: Kind, language: Language) -> anyhow::Result<()> {
    if exports.is_empty() {
        return Ok(());
    }
    ensure!(
        kind == Kind::Scheduler,
        "build.exports: expected none, found some in a {kind}: only schedulers have them"
    );
    ensure!(
        language != Language::Rust,
        "build.exports: expected none, found some in a project in Rust: write `scheduler!(Type, calls, follows)` in the program"
    );
    Ok(())
}

fn check_source(folder: &Path, source: &Path) -> anyhow::Result<()> {
    let inside = source.is_relative()
        && source
            .components()
            .all(|part| !matches!(part, std::path::Component::ParentDir));
    ensure!(
        inside,
        "build.source: expected a file within the project, found {}",
        source.display()
    );
    ensure!(
        folder.join(source).is_file(),
        "build.source: expected a file, found no {}",
        folder.join(source).display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_model::plugin::Kind;

    const TOML: &str = "schema = 1\n[plugin]\nname = \"a-b\"\nkind = \"step\"\nversion = \"1\"\n\
                        [parameters]\ntype = \"object\"\n[rights]\ncommands = [\"git\"]\n\
                        [build]\nlanguage = \"rust\"\n";

    fn parse(text: &str) -> anyhow::Result<Project> {
        Project::parse(Path::new("/nowhere"), text)
    }

    #[test]
    fn a_project_is_its_manifest_and_a_language() {
        let project = parse(TOML).unwrap();
        assert_eq!(project.manifest().plugin.kind, Kind::Step);
        assert_eq!(project.language(), Language::Rust);
        assert!(project.parameters_given());
        assert_eq!(project.output(), Path::new("/nowhere/a-b.wasm"));
    }

    #[test]
    fn a_wrong_project_says_what_was_expected() {
        for (right, wrong, expected) in [
            ("schema = 1", "schema = 2", "schema: expected 1, found 2"),
            ("a-b", "A_b", "plugin.name: expected lower-case words"),
            (
                "version = \"1\"",
                "version = \"\"",
                "plugin.version: expected a version",
            ),
            ("\"object\"", "\"array\"", "parameters: expected a JSON Schema"),
            ("\"step\"", "\"stepp\"", "unknown variant `stepp`"),
            ("commands", "comands", "unknown field `comands`"),
            ("language", "langauge", "unknown field `langauge`"),
            (
                "\"rust\"",
                "\"cobol\"",
                "expected one of `rust`, `python`, `javascript`, `c`",
            ),
            ("[build]\nlanguage = \"rust\"\n", "", "expected a section [build]"),
            (
                "= \"rust\"",
                "= \"c\"\nsource = \"../a.c\"",
                "expected a file within the project",
            ),
            (
                "= \"rust\"",
                "= \"c\"\nsource = \"a.c\"",
                "expected a file, found no /nowhere/a.c",
            ),
            (
                "= \"rust\"",
                "= \"c\"\nexports = [\"calls\"]",
                "found some in a step",
            ),
            (
                "= \"rust\"",
                "= \"c\"\nexports = [\"call\"]",
                "unknown variant `call`",
            ),
        ] {
            assert!(TOML.contains(right), "{right}");
            let error = parse(&TOML.replace(right, wrong)).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }

    #[test]
    fn a_scheduler_says_what_it_exports() {
        let scheduler = TOML.replace("\"step\"", "\"scheduler\"");
        let error = parse(&scheduler.replace("= \"rust\"", "= \"rust\"\nexports = [\"calls\"]")).unwrap_err();
        assert!(
            error.to_string().contains("scheduler!(Type, calls, follows)"),
            "{error}"
        );
        for (exports, world) in [
            ("", "migrating-scheduler-plugin"),
            ("\"calls\"", "migrating-calling-scheduler-plugin"),
            ("\"completions\"", "migrating-following-scheduler-plugin"),
            ("\"completions\", \"calls\"", "whole-scheduler-plugin"),
        ] {
            let text = scheduler.replace("= \"rust\"", &format!("= \"c\"\nexports = [{exports}]"));
            assert_eq!(parse(&text).unwrap().world(), world);
        }
    }

    #[test]
    fn a_folder_without_a_project_says_how_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", Project::open(folder.path()).unwrap_err());
        assert!(
            error.contains("plugin.toml") && error.contains("capstan plugin new"),
            "{error}"
        );
    }
}
