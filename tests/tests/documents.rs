//! The documents say what is there: every parameter, key and command, and no path or link that leads nowhere.

use std::path::{Path, PathBuf};

use capstan_tests::{Farm, Programs};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the repository")
        .to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file with this ending below a folder; what a link leads to is not part of it.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.expect("a folder's entry");
        let path = entry.path();
        if entry.file_type().expect("what an entry is").is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found
}

/// The texts between backticks, outside of code blocks.
fn code(text: &str) -> Vec<&str> {
    let plain = text.split("```").step_by(2);
    plain
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_parameter_of_a_built_in_plugin_is_described() {
    let page = read("docs/src/plugins/built-in.md");
    let mut missing = Vec::new();
    let mut plugins = 0;
    for manifest in files(&repository().join("plugins"), "toml") {
        if manifest.file_name().is_none_or(|name| name != "plugin.toml") {
            continue;
        }
        plugins += 1;
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let name = manifest["plugin"]["name"]
            .as_str()
            .expect("a plugin has a name")
            .replace('-', "_");
        let section = page.split("\n## ").find(|section| {
            section
                .lines()
                .next()
                .unwrap_or_default()
                .contains(&format!(".{name}"))
        });
        let Some(section) = section else {
            missing.push(format!("a section on {name}"));
            continue;
        };
        let words = code(section);
        let parameters = manifest["parameters"]
            .get("properties")
            .and_then(toml::Value::as_table)
            .cloned();
        let named = |key: &&String| words.contains(&key.as_str());
        let unnamed = parameters
            .iter()
            .flatten()
            .map(|(key, _)| key)
            .filter(|key| !named(key))
            .map(|key| format!("{name}: {key}"));
        missing.extend(unnamed);
    }
    assert!(
        plugins >= 7,
        "expected the built-in plugins' manifests, found {plugins}"
    );
    assert!(
        missing.is_empty(),
        "docs/src/plugins/built-in.md lacks: {missing:#?}"
    );
}

#[test]
fn every_key_of_the_operators_file_is_described() {
    let farm = Farm::create(Programs::of_this_build().expect("the programs")).expect("a farm");
    let template = farm.read("capstan.toml").expect("capstan.toml");
    let page = read("docs/src/configuration/operator.md");
    let words = code(&page);
    let mut table = "";
    for line in template.lines() {
        let line = line.trim_start_matches("# ");
        if line.starts_with('[') {
            table = line;
            let known = words.contains(&line) || line.starts_with("[grants.");
            assert!(known, "docs/src/configuration/operator.md lacks {line}");
        } else if let Some((key, _)) = line.split_once(" = ")
            && !table.starts_with("[grants.")
        {
            assert!(
                words.contains(&key),
                "docs/src/configuration/operator.md lacks `{key}` of {table}"
            );
        }
    }
    assert!(
        !table.is_empty(),
        "expected tables in capstan.toml, found:\n{template}"
    );
}

#[test]
fn every_command_is_described() {
    let farm = Farm::create(Programs::of_this_build().expect("the programs")).expect("a farm");
    let page = read("docs/src/command-line.md");
    for (program, sub) in [("capstan", ""), ("capstan worker", "worker")] {
        let arguments: Vec<_> = [sub, "--help"]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let help = farm.capstan_ok(&arguments).expect("help");
        let commands = help
            .lines()
            .skip_while(|line| !line.starts_with("Commands:"))
            .skip(1)
            .take_while(|l| !l.is_empty());
        let commands: Vec<_> = commands
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(commands.len() > 3, "expected commands in:\n{help}");
        for command in commands.into_iter().filter(|name| *name != "help") {
            assert!(
                page.contains(&format!("{program} {command}")),
                "docs/src/command-line.md lacks `{program} {command}`"
            );
        }
    }
}

#[test]
fn paths_in_the_documents_exist() {
    let top = [
        "host/",
        "worker/",
        "wit/",
        "tests/",
        "xtask/",
        "plugins/",
        "sdk/",
        "docs/",
        "examples/",
        ".ci/",
    ];
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(page);
        let paths: Vec<_> = code(&text)
            .into_iter()
            .filter(|word| top.iter().any(|start| word.starts_with(start)))
            .collect();
        assert!(
            !paths.is_empty() || page == "README.md",
            "expected paths in {page}"
        );
        for path in paths {
            assert!(
                repository().join(path).exists(),
                "{page} speaks of {path}, which is not there"
            );
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let mut pages = files(&repository().join("docs/src"), "md");
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| repository().join(page)));
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.with_file_name("").join(file)
            };
            assert!(
                target.exists(),
                "{}: the link {link} leads nowhere",
                page.display()
            );
            let target = std::fs::read_to_string(target).unwrap_or_default();
            let anchors: Vec<_> = target
                .lines()
                .filter(|line| line.starts_with('#'))
                .map(slug)
                .collect();
            let found = anchor.is_empty() || anchors.iter().any(|found| found == anchor);
            assert!(
                found,
                "{}: no heading for {link}, there are {anchors:?}",
                page.display()
            );
        }
    }
}

/// A heading's anchor, as mdBook makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let keep = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    text.chars()
        .filter(|&c| keep(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

const SHOWN: [&str; 2] = ["sdk/templates/", "tests/conformance/guests/"];

/// What a tutorial shows is of a template or of a plugin of the conformance suite: both are built and tested.
#[test]
fn the_tutorials_show_what_is_built_and_tested() {
    for page in ["rust", "python", "javascript", "c"] {
        let text = read(&format!("docs/src/plugins/{page}.md"));
        let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
        assert!(blocks.len() > 2, "{page}.md has {} blocks", blocks.len());
        for block in blocks {
            let (_, shown) = block.split_once('\n').expect("a block has a first line");
            let included = shown
                .trim()
                .strip_prefix("{{#include ../../../")
                .and_then(|rest| rest.strip_suffix("}}"))
                .and_then(|rest| rest.split(':').next());
            let file = included.unwrap_or_else(|| panic!("{page}.md shows what nobody builds:\n{shown}"));
            assert!(
                SHOWN.iter().any(|folder| file.starts_with(folder)) && repository().join(file).is_file(),
                "{page}.md shows {file}, which is of none of {SHOWN:?}"
            );
        }
    }
}
