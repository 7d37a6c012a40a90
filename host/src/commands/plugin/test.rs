//! `capstan plugin test`: runs a plugin's scenario files against its component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use capstan_engine::{Engine, EngineError, MAX_COMPONENT, Options, Plugin};
use capstan_pack::{FILE, Project, Toolbox};
use capstan_scenario::{Fault, MAX_FILE, Report, Scenario};
use serde_json::{Value, json};

use super::file::read_file;
use crate::cli::{Common, TestArguments};
use crate::output::{plain, print, print_aside, print_error, print_json};

/// Where a project has its scenarios.
const FOLDER: &str = "tests";
/// More scenario files than a plugin needs.
const MOST_FILES: usize = 500;
/// How many files are looked at to see whether the plugin file is out of date.
const MOST_LOOKED_AT: usize = 2000;

/// How much compiled code is kept, in bytes: a Python is some 35 million.
const MOST_COMPILED: u64 = 512 << 20;

/// What is tested: scenario files and the plugin file.
struct Subject {
    scenarios: Vec<PathBuf>,
    plugin: PathBuf,
    project: Option<Project>,
}

/// One scenario and what came of it.
struct Ran {
    file: String,
    report: Report,
    took: Duration,
    calls: u64,
}

/// Runs the scenarios; ends well only if all of them pass.
pub fn run(common: &Common, arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let subject = Subject::find(&arguments.path, arguments.plugin.as_deref())?;
    let bytes = tokio::task::block_in_place(|| subject.bytes())?;
    let engine = engine()?;
    let load = || engine.load(&bytes);
    let plugin = tokio::task::block_in_place(load).with_context(|| subject.plugin.display().to_string())?;
    let mut all = Vec::new();
    for file in &subject.scenarios {
        let ran = tokio::task::block_in_place(|| one(&engine, &plugin, file, arguments.repeat))?;
        if !common.json {
            show(&ran, arguments.repeat);
        }
        all.push(ran);
    }
    let failed = all.iter().filter(|ran| !ran.report.faults.is_empty()).count();
    if common.json {
        print_json(&as_json(&plugin, &subject.plugin, &all, failed));
    } else {
        let took: Duration = all.iter().map(|ran| ran.took).sum();
        let passed = all.len() - failed;
        print(&format!("{passed} passed, {failed} failed, in {}", time(took)));
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Keeps what it compiled with the user's tools: a Python takes seconds, each time.
fn engine() -> anyhow::Result<Engine> {
    let options = Options {
        step_instances: 4,
        call_instances: 4,
        ..Options::default()
    };
    let Ok(tools) = Toolbox::from_environment(print_error) else {
        return Ok(Engine::new(options)?);
    };
    let kept = Engine::new(Options {
        cache_dir: Some(tools.cache.join("compiled")),
        cache_room: Some(MOST_COMPILED),
        ..options.clone()
    });
    match kept {
        Err(EngineError::Cache { path, source }) => {
            print_aside(&format!(
                "nothing compiled is kept in {}: {source}",
                path.display()
            ));
            Ok(Engine::new(options)?)
        }
        kept => Ok(kept?),
    }
}

impl Subject {
    fn find(path: &Path, plugin: Option<&Path>) -> anyhow::Result<Self> {
        ensure!(
            path.exists(),
            "expected a plugin project or a scenario file, found nothing at {}",
            path.display()
        );
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(Path::new(""))
        };
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let scenarios = if path.is_dir() {
            scenarios(path)?
        } else {
            vec![path.to_owned()]
        };
        if let Some(plugin) = plugin {
            let plugin = plugin.to_owned();
            return Ok(Self {
                scenarios,
                plugin,
                project: None,
            });
        }
        // A scenario's project is the nearest folder above it.
        let absolute = fs::canonicalize(folder).with_context(|| format!("read {}", folder.display()))?;
        let above = absolute
            .ancestors()
            .position(|folder| folder.join(FILE).is_file());
        let project = match above {
            Some(levels) if !path.is_dir() || levels == 0 => {
                Project::open(&(0..levels).fold(folder.to_owned(), |folder, _| folder.join("..")))?
            }
            _ => Project::open(folder)?,
        };
        let plugin = project.output();
        Ok(Self {
            scenarios,
            plugin,
            project: Some(project),
        })
    }

    /// The plugin file; built if it is not there.
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match &self.project {
            Some(project) if !self.plugin.is_file() => {
                print_aside(&format!("{} is not there: building it", self.plugin.display()));
                let tools = Toolbox::from_environment(print_error)?;
                let built = capstan_pack::build(project, &tools)?;
                built.write(&self.plugin)?;
                Ok(built.bytes)
            }
            project => {
                if let Some(newer) = project
                    .as_ref()
                    .and_then(|project| newer(project.folder(), &self.plugin))
                {
                    let (plugin, newer) = (self.plugin.display(), newer.display());
                    print_aside(&format!(
                        "{plugin} is older than {newer}: `capstan plugin build` makes it anew"
                    ));
                }
                read_file(&self.plugin, MAX_COMPONENT)
            }
        }
    }
}

/// The scenario files of a project, by name.
fn scenarios(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let tests = folder.join(FOLDER);
    let none = || format!("expected scenario files, {}/*.toml, found none", tests.display());
    let entries = fs::read_dir(&tests).with_context(none)?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", tests.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
        ensure!(
            found.len() <= MOST_FILES,
            "expected at most {MOST_FILES} scenario files in {}, found more",
            tests.display()
        );
    }
    if found.is_empty() {
        bail!(none());
    }
    found.sort();
    Ok(found)
}

/// A file of the project that was changed after the plugin file was built.
fn newer(folder: &Path, plugin: &Path) -> Option<PathBuf> {
    let built = changed(plugin)?;
    let (mut open, mut looked) = (vec![folder.to_owned()], 0);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked += 1;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let other = matches!(
                &*name,
                "target" | "node_modules" | "tests" | "capstan-sdk" | "Cargo.lock"
            );
            if other || name.starts_with(['.', '_']) || looked > MOST_LOOKED_AT {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() && path != plugin && changed(&path) > Some(built) => {
                    return Some(path);
                }
                _ => {}
            }
        }
    }
    None
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn one(engine: &Engine, plugin: &Plugin, file: &Path, repeat: u32) -> anyhow::Result<Ran> {
    let name = file.display().to_string();
    let text = read_file(file, MAX_FILE)?;
    let began = Instant::now();
    let scenario = String::from_utf8(text)
        .map_err(|_| Fault {
            file: name.clone(),
            line: None,
            message: "expected text in UTF-8, found other bytes".to_owned(),
        })
        .and_then(|text| Scenario::parse(&name, &text, plugin.kind()));
    let (report, calls) = match scenario {
        Ok(scenario) => {
            let mut report = scenario.run(engine, plugin);
            let mut calls = report.calls;
            for _ in 1..repeat {
                if !report.faults.is_empty() {
                    break;
                }
                report = scenario.run(engine, plugin);
                calls += report.calls;
            }
            (report, calls)
        }
        Err(fault) => {
            let report = Report {
                faults: vec![fault],
                ..Report::default()
            };
            (report, 0)
        }
    };
    Ok(Ran {
        file: name,
        report,
        took: began.elapsed(),
        calls,
    })
}

fn show(ran: &Ran, repeat: u32) {
    let report = &ran.report;
    let word = if report.faults.is_empty() {
        "passed"
    } else {
        "FAILED"
    };
    let mut line = format!(
        "{word}  {}  {}, {} calls",
        plain(&ran.file),
        time(ran.took),
        ran.calls
    );
    if report.prefixes > 0 {
        line.push_str(&format!(", again from {} prefixes", report.prefixes));
    }
    if repeat > 1 {
        let second = ran.took.as_secs_f64().max(f64::EPSILON);
        line.push_str(&format!(", {:.0} calls a second", ran.calls as f64 / second));
    }
    print(&line);
    for fault in &report.faults {
        let text = fault.to_string();
        text.lines().for_each(|line| print(&format!("  {}", plain(line))));
    }
    if !report.faults.is_empty() {
        for message in report.said.iter().take(50) {
            for (place, line) in message.text.lines().enumerate() {
                let level = if place == 0 { message.level } else { "" };
                print(&format!("  {level:<5} {}", plain(line)));
            }
        }
    }
}

fn time(took: Duration) -> String {
    match took.as_secs() {
        0 => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

fn as_json(plugin: &Plugin, path: &Path, all: &[Ran], failed: usize) -> Value {
    let scenario = |ran: &Ran| {
        json!({
            "file": ran.file, "passed": ran.report.faults.is_empty(), "faults": ran.report.faults,
            "ms": ran.took.as_secs_f64() * 1000.0, "calls": ran.calls, "host_calls": ran.report.host_calls,
            "prefixes": ran.report.prefixes, "said": ran.report.said,
        })
    };
    json!({
        "plugin": { "kind": plugin.kind(), "name": plugin.name(), "digest": plugin.digest(), "path": path },
        "scenarios": all.iter().map(scenario).collect::<Vec<_>>(),
        "passed": all.len() - failed, "failed": failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "schema = 1\n[plugin]\nname = \"a\"\nkind = \"step\"\nversion = \"1\"\n[build]\nlanguage = \"rust\"\n";

    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), TOML).unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        folder
    }

    fn error(path: &Path) -> String {
        match Subject::find(path, None) {
            Ok(_) => panic!("expected an error"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let missing = error(Path::new("no/such/project"));
        assert!(missing.contains("found nothing at no/such/project"), "{missing}");
    }

    #[test]
    fn a_project_or_one_of_its_scenarios_is_tested_against_its_plugin_file() {
        let folder = project();
        assert!(
            error(folder.path()).contains("tests/*.toml, found none"),
            "{}",
            error(folder.path())
        );
        let scenario = folder.path().join("tests/b.toml");
        fs::write(&scenario, "").unwrap();
        fs::write(folder.path().join("tests/a.toml"), "").unwrap();
        fs::write(folder.path().join("tests/notes.md"), "").unwrap();
        let whole = Subject::find(folder.path(), None).unwrap();
        let names: Vec<_> = whole
            .scenarios
            .iter()
            .filter_map(|path| path.file_name()?.to_str())
            .collect();
        assert_eq!(names, ["a.toml", "b.toml"]);
        let one = Subject::find(&scenario, None).unwrap();
        assert_eq!(one.scenarios, std::slice::from_ref(&scenario));
        let expected = fs::canonicalize(folder.path()).unwrap().join("a.wasm");
        fs::write(&expected, "").unwrap();
        assert_eq!(fs::canonicalize(&one.plugin).unwrap(), expected);
        let other = Subject::find(&scenario, Some(Path::new("other.wasm"))).unwrap();
        assert_eq!(other.plugin, Path::new("other.wasm"));
    }

    #[test]
    fn a_folder_without_a_project_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            error(folder.path()).contains("expected scenario files"),
            "{}",
            error(folder.path())
        );
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        fs::write(folder.path().join("tests/a.toml"), "").unwrap();
        assert!(
            error(folder.path()).contains("expected a plugin project"),
            "{}",
            error(folder.path())
        );
    }

    #[test]
    fn a_plugin_file_that_is_older_than_its_source_is_noticed() {
        let folder = project();
        let (plugin, source) = (folder.path().join("a.wasm"), folder.path().join("src/lib.rs"));
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(&source, "").unwrap();
        fs::write(&plugin, "").unwrap();
        fs::write(folder.path().join("tests/a.toml"), "").unwrap();
        let set = |path: &Path, seconds| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(at)
                .unwrap();
        };
        set(&folder.path().join(FILE), 1000);
        set(&source, 1000);
        set(&plugin, 2000);
        assert_eq!(
            newer(folder.path(), &plugin),
            None,
            "its tests are newer, which does not matter"
        );
        set(&source, 3000);
        assert_eq!(newer(folder.path(), &plugin), Some(source));
    }
}
