//! Makes a component of a plugin project in Python, with componentize-py: the interpreter, the standard library and the
//! plugin, as they are in memory once the plugin is imported.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, bail, ensure};

use crate::run::{COMPILE, INSTALL, first_line, installed, is_ready, run};
use crate::{Project, Toolbox};

const PROGRAM: &str = "componentize-py";

/// The version that the SDK is tested with.
const COMPONENTIZE_PY: &str = "0.25.1";

/// What the bindings look for; the rest is the SDK's.
const ENTRY: &str =
    "import capstan_sdk\n\nglobals().update(capstan_sdk.exported(\"{{module}}\", {{parameters}}))\n";

/// The component, without the manifest.
pub(crate) fn build(project: &Project, tools: &Toolbox) -> anyhow::Result<Vec<u8>> {
    let module = module(project.source()?)?;
    let wit = part(project, "wit")?;
    part(project, "capstan_sdk")?;
    let componentize = componentize(tools)?;
    let scratch = tempfile::tempdir()?;
    fs::write(
        scratch.path().join("capstan_entry.py"),
        ENTRY
            .replace("{{module}}", &module)
            .replace("{{parameters}}", &parameters(project)),
    )?;
    let output = scratch.path().join("component.wasm");
    tools.say(&format!(
        "componentize-py {COMPONENTIZE_PY} makes a component of {module}"
    ));
    let mut command = Command::new(&componentize);
    command
        .current_dir(scratch.path())
        .arg("--wit-path")
        .arg(absolute(&wit)?);
    command.args(["--world", project.world(), "componentize"]);
    if project.manifest().plugin.wasi.is_none() {
        // What reaches for the time, files or the environment ends the plugin.
        command.arg("--stub-wasi");
    }
    command.arg("--python-path").arg(absolute(project.folder())?);
    command.arg("--python-path").arg(scratch.path());
    command.arg("capstan_entry").arg("--output").arg(&output);
    // What the tool itself was doing helps nobody, and would push out what Python says.
    command.env("RUST_BACKTRACE", "0").env("RUST_LIB_BACKTRACE", "0");
    run(&mut command, COMPILE, tools).map_err(|error| anyhow!(own_words(&format!("{error:#}"))))?;
    fs::read(&output).with_context(|| format!("read {}", output.display()))
}

/// The names of the parameters in `plugin.toml`; a list in JSON is one in Python.
fn parameters(project: &Project) -> String {
    let properties = project.manifest().parameters.get("properties");
    let names = properties.and_then(|all| all.as_object());
    let names: Vec<_> = names.into_iter().flat_map(|all| all.keys()).collect();
    serde_json::json!(names).to_string()
}

/// Of a failure's text what is about the plugin: the error, and where in the project's own files it came from.
fn own_words(text: &str) -> String {
    let Some((before, trace)) = text.split_once("AssertionError: Traceback (most recent call last):\n")
    else {
        return text.to_owned();
    };
    let mut words = vec![before.lines().next().unwrap_or_default().to_owned()];
    let mut own = true;
    for line in trace.lines() {
        if matches!(line, "Caused by:" | "Stack backtrace:") {
            break;
        }
        if let Some(place) = line.strip_prefix("  File \"") {
            // The project is the first folder that Python imports from.
            let file = place.strip_prefix("/0/");
            own = file.is_some_and(|file| !file.starts_with("capstan_sdk/"));
            words.extend(file.filter(|_| own).map(|file| format!("  File \"{file}")));
        } else if !line.starts_with("  ") {
            own = true;
            words.push(line.to_owned());
        } else if own {
            words.push(line.to_owned());
        }
    }
    words.join("\n").trim_end().to_owned()
}

/// A folder that `capstan plugin new` writes.
pub(crate) fn part(project: &Project, name: &str) -> anyhow::Result<PathBuf> {
    let folder = project.folder().join(name);
    ensure!(
        folder.is_dir(),
        "expected the folder {name} in {}, found none; copy it from a project that `capstan plugin new` made",
        project.folder().display()
    );
    Ok(folder)
}

pub(crate) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("find {}", path.display()))
}

/// `plugin.py` is the module `plugin`, `make/step.py` is `make.step`.
fn module(source: &Path) -> anyhow::Result<String> {
    let path = source.with_extension("");
    let words: Vec<_> = path.iter().map(|word| word.to_string_lossy()).collect();
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with(|c: char| c.is_ascii_digit())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let module = words.join(".");
    ensure!(
        source.extension().is_some_and(|e| e == "py") && words.iter().all(|word| is_word(word)),
        "build.source: expected a module that Python can import, such as plugin.py, found {}",
        source.display()
    );
    ensure!(
        !["capstan_sdk", "capstan_entry", "wit_world"].contains(&module.as_str()),
        "build.source: expected another name than {}, which the SDK takes",
        source.display()
    );
    Ok(module)
}

/// The one in the `PATH` if it is of the right version, else one of our own.
fn componentize(tools: &Toolbox) -> anyhow::Result<PathBuf> {
    if in_path() {
        return Ok(PROGRAM.into());
    }
    let folder = package(tools, PROGRAM, COMPONENTIZE_PY)?;
    Ok(folder.join("bin").join(PROGRAM))
}

fn in_path() -> bool {
    let version = format!("{PROGRAM} {COMPONENTIZE_PY}");
    first_line(Path::new(PROGRAM), &["--version"]).is_some_and(|found| found == version)
}

pub(crate) fn is_installed(tools: &Toolbox) -> bool {
    in_path() || is_ready(tools, PROGRAM, COMPONENTIZE_PY)
}

/// A package of PyPI in an environment of its own.
pub(crate) fn package(tools: &Toolbox, name: &str, version: &str) -> anyhow::Result<PathBuf> {
    installed(tools, name, version, |folder| {
        let mut venv = Command::new("python3");
        if first_line(Path::new("python3"), &["-c", "import venv, ensurepip; print(1)"]).is_none() {
            bail!(
                "expected python3 with venv and pip, found none; install them, on Debian with \
                 `apt-get install python3 python3-venv`"
            );
        }
        run(
            venv.args(["-m", "venv", "--clear"]).arg(folder.join("venv")),
            INSTALL,
            tools,
        )?;
        let mut pip = Command::new(folder.join("venv/bin/pip"));
        pip.args([
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--only-binary=:all:",
            "--no-deps",
        ]);
        run(pip.arg(format!("{name}=={version}")), INSTALL, tools)
    })
    .map(|folder| folder.join("venv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failure_the_plugins_own_part_is_shown() {
        let text = r#"componentize-py failed (exit status: 1):
Traceback (most recent call last):
  File "/cache/bin/componentize-py", line 8, in <module>
    sys.exit(script())
             ^^^^^^^^
AssertionError: Traceback (most recent call last):
  File "/1/capstan_entry.py", line 3, in <module>
    globals().update(capstan_sdk.exported("plugin", []))
  File "/0/capstan_sdk/_export.py", line 27, in exported
    source = importlib.import_module(module)
  File "/python/importlib/__init__.py", line 88, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
           ~~~~~~~~~~~~~~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/0/plugin.py", line 12
    def deliver(self, report: Report -> None:
                                     ^^
SyntaxError: invalid syntax


Caused by:
    SyntaxError: invalid syntax (plugin.py, line 12)

Stack backtrace:
   0: main
"#;
        let expected = r#"componentize-py failed (exit status: 1):
  File "plugin.py", line 12
    def deliver(self, report: Report -> None:
                                     ^^
SyntaxError: invalid syntax"#;
        assert_eq!(own_words(text), expected);
        let other = "componentize-py failed (exit status: 1):\nno such world";
        assert_eq!(own_words(other), other, "what is no traceback stays");
    }

    #[test]
    fn a_source_is_a_module() {
        assert_eq!(module(Path::new("plugin.py")).unwrap(), "plugin");
        assert_eq!(module(Path::new("make/step.py")).unwrap(), "make.step");
        for wrong in [
            "plugin",
            "my-plugin.py",
            "1.py",
            "a b.py",
            "capstan_entry.py",
            "plugin.js",
            "x\";.py",
        ] {
            let error = module(Path::new(wrong)).unwrap_err().to_string();
            assert!(error.starts_with("build.source: expected"), "{wrong}: {error}");
        }
    }
}
