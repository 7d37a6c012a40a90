//! A new plugin project: the template of its language and kind, and the SDK that it needs, so that the folder builds
//! anywhere. `capstan plugin new` calls it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use capstan_model::plugin::{Kind, check_name};

use crate::Language;

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The plugin's name in a template.
const NAME: &str = "{{name}}";

/// A project that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// What the plugin does.
    pub kind: Kind,
    /// Its name in configurations.
    pub name: &'a str,
    /// What it is written in.
    pub language: Language,
    /// Where; made if it does not exist, refused if something is in it.
    pub folder: &'a Path,
}

impl Language {
    /// What a project needs beside its template: embedded files, and where they go in the project.
    fn sdk(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rust => &[
                ("sdk/Cargo.toml", "capstan-sdk/Cargo.toml"),
                ("sdk/src", "capstan-sdk/src"),
                ("sdk/macros", "capstan-sdk/macros"),
                // The versions that the built-in plugins are built with; cargo forgets those that are not needed.
                ("plugins/Cargo.lock", "Cargo.lock"),
                ("wit", "wit"),
            ],
            Self::Python => &[("sdk/python", "."), ("wit", "wit")],
            Self::Javascript => &[("sdk/javascript", "capstan-sdk"), ("wit", "wit")],
            Self::C => &[("sdk/c", "capstan-sdk"), ("wit", "wit")],
        }
    }
}

/// Writes a new project; answers the files that are the author's own, relative to the folder.
pub fn create(new: &New<'_>) -> anyhow::Result<Vec<PathBuf>> {
    check_name(new.name).map_err(|fault| anyhow::anyhow!("the plugin's name: {fault}"))?;
    let (language, kind) = (new.language, new.kind);
    let shared = format!("sdk/templates/{language}/shared");
    let own = format!("sdk/templates/{language}/{kind}");
    if under(&own).next().is_none() {
        bail!("expected a kind that {language} has a template for, found {kind}");
    }
    check_empty(new.folder)?;
    for (from, to) in new.language.sdk() {
        for (path, text) in under(from) {
            write(new.folder, &Path::new(to).join(path), text)?;
        }
    }
    let mut files = Vec::new();
    for (path, text) in under(&shared).chain(under(&own)) {
        write(new.folder, path, &text.replace(NAME, new.name))?;
        files.push(path.to_owned());
    }
    files.sort();
    Ok(files)
}

/// The embedded files in a folder, with their paths in it; or the one file of that name, with an empty path.
fn under(place: &str) -> impl Iterator<Item = (&'static Path, &'static str)> {
    let files = FILES.iter();
    files.filter_map(move |&(path, text)| Some((Path::new(path).strip_prefix(place).ok()?, text)))
}

fn check_empty(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => ensure!(
            entries.next().is_none(),
            "expected a new or empty folder, found files in {}",
            folder.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", folder.display())),
    }
    Ok(())
}

fn write(folder: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    // Without the end that an empty path within a folder leaves.
    let file: PathBuf = folder.join(path).components().collect();
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Project;

    fn fault(new: &New<'_>) -> String {
        format!("{:#}", create(new).unwrap_err())
    }

    #[test]
    fn each_template_is_a_project_of_its_language_and_kind() {
        let mut made = Vec::new();
        for language in Language::ALL {
            for kind in Kind::ALL {
                if under(&format!("sdk/templates/{language}/{kind}"))
                    .next()
                    .is_none()
                {
                    continue;
                }
                let home = tempfile::tempdir().unwrap();
                let folder = home.path().join("new");
                let new = New {
                    kind,
                    name: "some-name",
                    language,
                    folder: &folder,
                };
                let files = create(&new).unwrap();
                let project = Project::open(&folder).unwrap();
                assert_eq!(
                    (project.language(), project.manifest().plugin.kind),
                    (language, kind)
                );
                assert_eq!(project.manifest().plugin.name, "some-name");
                for file in files {
                    let text = fs::read_to_string(folder.join(&file)).unwrap();
                    assert!(
                        !text.contains(NAME),
                        "{} of {language} has no name",
                        file.display()
                    );
                }
                assert!(fault(&new).contains("expected a new or empty folder"));
                made.push((language, kind));
            }
        }
        for kind in Kind::ALL {
            assert!(made.contains(&(Language::Rust, kind)), "no {kind} in Rust");
        }
    }

    #[test]
    fn a_name_that_no_plugin_can_have_is_refused_before_anything_is_written() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("new");
        let new = New {
            kind: Kind::Step,
            name: "No_Name",
            language: Language::Rust,
            folder: &folder,
        };
        assert!(fault(&new).contains("the plugin's name: expected lower-case words"));
        assert!(!folder.exists());
    }
}
