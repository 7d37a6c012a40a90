//! A plugin project: a folder with `plugin.toml`, which is the plugin's manifest and a section `[build]` that says how
//! it is built and is not embedded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use capstan_model::plugin::{About, Limits, Manifest, Rights};
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
        let (language, source) = match file.build {
            Some(build) => (build.language, build.source),
            None if folder.join("Cargo.toml").is_file() => (Language::Rust, None),
            None => bail!(
                "expected a section [build] with language = \"rust\", \"python\", \"javascript\" or \"c\", found none"
            ),
        };
        if let Some(source) = &source {
            check_source(folder, source)?;
        }
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
        ] {
            assert!(TOML.contains(right), "{right}");
            let error = parse(&TOML.replace(right, wrong)).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
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
