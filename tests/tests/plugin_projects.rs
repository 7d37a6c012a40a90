//! The way of a plugin's author: begin a project, build it, look at the file, compare two versions. What is new compiles
//! at once, and what is wrong is said with what would be right.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::Programs;
use serde_json::Value;
use tempfile::TempDir;

const KINDS: [&str; 5] = ["step", "scheduler", "change-source", "reporter", "generator"];

/// An author's desk: an empty folder, and the program.
struct Desk {
    capstan: PathBuf,
    home: TempDir,
}

impl Desk {
    fn new() -> Result<Self> {
        Ok(Self {
            capstan: Programs::of_this_build()?.capstan,
            home: tempfile::tempdir()?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let guests = guests();
        let mut command = Command::new(&self.capstan);
        command
            .args(arguments)
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        // What the tests of the plugins compiled already serves here too; all projects share one folder for the rest.
        command.env("CAPSTAN_CACHE", &guests);
        command.env("CARGO_TARGET_DIR", guests.join("projects"));
        command.output().context("failed to run capstan")
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "capstan {} failed: {errors}",
            arguments.join(" ")
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("expected JSON, found {text}"))
    }

    /// What it says when it refuses.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(
            !output.status.success(),
            "expected capstan {} to fail: {text}",
            arguments.join(" ")
        );
        Ok(text)
    }

    fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.path(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(text.contains(from), "expected {from:?} in {file}: {text}");
        std::fs::write(&path, text.replace(from, to))?;
        Ok(())
    }
}

/// Where `cargo xtask plugins` keeps what it makes.
fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests")
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in: {text}");
    }
}

/// The project's own tests: building it has compiled them, to ask for the schema of the parameters.
fn pass_own_tests(package: &str) -> Result<()> {
    let folder = guests().join("projects/debug/deps");
    let prefix = format!("{}-", package.replace('-', "_"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(&prefix) && path.extension().is_none() {
            found.push((path.metadata()?.modified()?, path));
        }
    }
    let (_, newest) = found
        .into_iter()
        .max()
        .context("expected a program with the project's tests")?;
    let output = Command::new(&newest).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.contains("2 passed"),
        "{package}: {text}"
    );
    Ok(())
}

#[test]
fn a_new_project_of_each_kind_builds_at_once() -> Result<()> {
    let desk = Desk::new()?;
    for kind in KINDS {
        let name = format!("first-{kind}");
        let told = desk.ok(&["plugin", "new", kind, &name])?;
        contains(
            &told,
            &[
                "src/lib.rs",
                "plugin.toml",
                &format!("capstan plugin build {name}"),
            ],
        );
        let built = desk.json(&["plugin", "build", &name])?;
        let file = desk.path(&name).join(format!("{name}.wasm"));
        assert_eq!(built["name"], name.as_str());
        let seen = desk.json(&["plugin", "inspect", &file.display().to_string()])?;
        assert_eq!(
            (&seen["kind"], &seen["digest"]),
            (&kind.into(), &built["digest"]),
            "{seen:#}"
        );
        // From the Rust type: nothing of it stands in plugin.toml.
        let parameters = &seen["parameters"];
        let properties = parameters["properties"]
            .as_object()
            .context("expected parameters")?;
        assert!(
            properties.values().all(|p| p["description"].is_string()),
            "{parameters:#}"
        );
        assert_eq!(parameters["additionalProperties"], false, "{parameters:#}");
        pass_own_tests(&format!("{name}-plugin"))?;
        desk.ok(&["plugin", "test", &name])?;
    }
    let step = desk.ok(&["plugin", "inspect", "first-step/first-step.wasm"])?;
    contains(
        &step,
        &[
            "step first-step 0.1.0",
            "commands   make",
            "step.first_step",
            "target: a string, required",
            "jobs: a whole number, by default 2",
            "How many jobs at once.",
        ],
    );
    newer_versions(&desk)
}

/// The step again, in versions that ask for more and less. Only what is said of it changes: that is packed in a moment.
fn newer_versions(desk: &Desk) -> Result<()> {
    let project = "first-step/plugin.toml";
    let parameters = "[parameters]\ntype = \"object\"\nadditionalProperties = false\nrequired = [\"target\"]\n\
                      properties.target = { type = \"string\" }\nproperties.jobs = { type = \"integer\", minimum = 0 }\n";
    desk.edit(project, "[rights]", &format!("{parameters}[rights]"))?;
    desk.ok(&["plugin", "build", "first-step", "--out", "one.wasm"])?;
    desk.edit(project, "\"0.1.0\"", "\"0.2.0\"")?;
    desk.edit(
        project,
        "properties.jobs = { type = \"integer\", minimum = 0 }",
        "properties.jobs = {}",
    )?;
    desk.ok(&["plugin", "build", "first-step", "--out", "two.wasm"])?;
    contains(
        &desk.ok(&["plugin", "diff", "one.wasm", "two.wasm"])?,
        &["fits where the old one did"],
    );
    contains(
        &desk.ok(&["plugin", "diff", "one.wasm", "one.wasm"])?,
        &["the same file"],
    );

    desk.edit(project, "[\"make\"]", "[\"make\", \"ninja\"]")?;
    desk.edit(
        project,
        "required = [\"target\"]",
        "required = [\"target\", \"jobs\"]",
    )?;
    desk.ok(&["plugin", "build", "first-step", "--out", "three.wasm"])?;
    let told = desk.refused(&["plugin", "diff", "two.wasm", "three.wasm"])?;
    contains(&told, &["commands ninja", "now required", "asks for more"]);
    let told = desk.run(&["plugin", "diff", "two.wasm", "three.wasm", "--json"])?;
    let told: Value = serde_json::from_slice(&told.stdout)?;
    assert_eq!(
        told["rights_beyond"]["commands"],
        serde_json::json!(["ninja"]),
        "{told:#}"
    );
    assert_eq!(
        (&told["breaks"], &told["asks_for_more"]),
        (&true.into(), &true.into()),
        "{told:#}"
    );

    // The code is a step's: a manifest that says otherwise makes no plugin, and no file.
    desk.edit(project, "kind = \"step\"", "kind = \"reporter\"")?;
    let told = desk.refused(&["plugin", "build", "first-step", "--out", "four.wasm"])?;
    contains(&told, &["is a reporter"]);
    assert!(!desk.path("four.wasm").exists());
    Ok(())
}

#[test]
fn what_is_mistyped_is_said_with_what_would_be_right() -> Result<()> {
    let desk = Desk::new()?;
    std::fs::create_dir(desk.path("full"))?;
    std::fs::write(desk.path("full/precious"), "work")?;
    std::fs::create_dir(desk.path("empty"))?;
    std::fs::create_dir(desk.path("strange"))?;
    std::fs::write(
        desk.path("strange/plugin.toml"),
        "schema = 1\n[plugin]\nnaem = \"x\"\n",
    )?;
    std::fs::write(desk.path("garbage.wasm"), "not WebAssembly at all")?;
    std::fs::write(desk.path("module.wasm"), [0, b'a', b's', b'm', 1, 0, 0, 0])?;
    for (arguments, expected) in [
        (
            vec!["new", "stepp", "a"],
            vec!["expected step, scheduler, change-source, reporter or generator, found `stepp`"],
        ),
        (
            vec!["new", "step", "a", "--lang", "cobol"],
            vec!["expected rust, python, javascript or c, found `cobol`"],
        ),
        (
            vec!["new", "step", "No_Good"],
            vec!["expected lower-case words joined by hyphens", "No_Good"],
        ),
        (
            vec!["new", "step", "full"],
            vec!["expected a new or empty folder", "full"],
        ),
        (
            vec!["build", "empty"],
            vec!["expected a plugin project", "plugin.toml", "capstan plugin new"],
        ),
        (vec!["build", "strange"], vec!["naem", "line 3"]),
        (
            vec!["inspect", "nothing.wasm"],
            vec!["nothing.wasm", "No such file"],
        ),
        (
            vec!["inspect", "garbage.wasm"],
            vec!["garbage.wasm", "expected a WebAssembly component"],
        ),
        (
            vec!["inspect", "module.wasm"],
            vec!["found a core module", "capstan plugin build"],
        ),
        (
            vec!["diff", "module.wasm", "module.wasm"],
            vec!["found a core module"],
        ),
    ] {
        let told = desk.refused(&[vec!["plugin"], arguments].concat())?;
        contains(&told, &expected);
    }
    assert_eq!(std::fs::read_to_string(desk.path("full/precious"))?, "work");
    assert!(!desk.path("a").exists() && !desk.path("No_Good").exists());
    Ok(())
}
