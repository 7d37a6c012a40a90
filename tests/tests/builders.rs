//! Builders: the environment that their commands get, the folders that they share or run in, and names that hold anything.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, logs, story, wait_for};
use serde_json::{Value, json};

/// What a step printed.
fn printed(farm: &Farm, build: &Value, step: &str) -> Result<String> {
    let all = logs::printed(&farm.api()?, build, "/nowhere")?;
    let bytes = all.get(&format!("{step}/stdio/stdout"));
    let bytes = bytes.with_context(|| format!("expected what {step} printed, found {:?}", all.keys()))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

const ENVIRONMENTS: &str = r#"
environment({"LEVEL": "farm", "FARM": "1", "KEPT": "farm", "OWN_B": None})
w1 = worker("w1", env = {"LEVEL": "worker", "WORKER": "${OWN_A}/w", "KEPT": "worker", "BACK": None})
builder(
    "env",
    workers = [w1],
    env = {"LEVEL": "builder", "BACK": "again", "LIST": ["/first", "${OWN_A}", "${NOBODY}", interpolate("/{branch}")]},
    steps = [
        step.shell(
            name = "show",
            command = "echo $LEVEL $FARM $KEPT $WORKER ${BACK-unset} ${OWN_A-unset} ${OWN_B-unset} $LIST $PATHS; tool",
            env = {"LEVEL": "step", "OWN_A": None, "PATHS": ["/x", "/y"], "PATH": ["TOOLS", "${PATH}"]},
        ),
        step.shell(name = "next", command = "echo $LEVEL ${PATHS-unset} $LIST"),
    ],
)
"#;

#[test]
fn the_environment_is_laid_over_in_four_levels() {
    story(|farm| {
        farm.write("tools/tool", "#!/bin/sh\necho the tool of the step\n")?;
        let tools = farm.folder().join("tools");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(tools.join("tool"), mode)?;
        farm.write(
            "ci.star",
            ENVIRONMENTS.replace("TOOLS", &tools.display().to_string()),
        )?;
        farm.set_env("OWN_A", "/own");
        farm.set_env("OWN_B", "b");
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force("env", &json!({ "branch": "main" }))?;
        ensure!(build["outcome"] == "success", "{build:#}");
        let shown = printed(farm, &build, "show")?;
        let expected =
            "step 1 worker /own/w again unset unset /first:/own:/main /x:/y\nthe tool of the step\n";
        ensure!(shown == expected, "{shown}");
        let next = printed(farm, &build, "next")?;
        ensure!(next == "builder unset /first:/own:/main\n", "{next}");
        Ok(())
    });
}

/// A folder beside the builder's is the worker's to grant, whatever the configuration says.
#[test]
fn a_worker_grants_the_folders_outside_its_own() {
    story(|farm| {
        let granted = farm.root().canonicalize()?.join("granted");
        std::fs::create_dir(&granted)?;
        let program = format!(
            "worker('w1')\nbuilder('b', workdir = prop('where', default = 'inside'), steps = [step.shell(name = 'pwd', command = 'pwd')])\n\
             builder('fixed', workdir = '{}/fixed', steps = [step.shell(name = 'pwd', command = 'pwd')])\n",
            granted.display()
        );
        farm.write("ci.star", program)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let inside = farm.force("b", &json!({}))?;
        let at = printed(farm, &inside, "pwd")?;
        ensure!(at.ends_with("/builds/b/inside\n"), "{at}");
        let refused = farm.force("fixed", &json!({}))?;
        ensure!(refused["outcome"] != "success", "{refused:#}");
        ensure!(!granted.join("fixed").exists(), "it was made all the same");

        farm.stop_worker("w1")?;
        let file = farm.worker_folder("w1").join("worker.toml");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(
            &file,
            format!("{text}\nfolders = [{:?}]\n", granted.display().to_string()),
        )?;
        farm.start_worker("w1")?;
        let build = farm.force("fixed", &json!({}))?;
        let at = printed(farm, &build, "pwd")?;
        ensure!(at == format!("{}/fixed\n", granted.display()), "{at}");
        let outside = farm
            .root()
            .canonicalize()?
            .join("elsewhere")
            .display()
            .to_string();
        for outside in [outside.as_str(), "../up"] {
            let refused = farm.force("b", &json!({ "properties": { "where": outside } }))?;
            ensure!(refused["outcome"] != "success", "{refused:#}");
        }
        ensure!(
            !farm.root().join("elsewhere").exists(),
            "it was made all the same"
        );
        Ok(())
    });
}

/// A command that notes whether another one is in the same folder, and ends when the test lets it.
fn alone(farm: &Farm, name: &str) -> String {
    let root = farm.root().display();
    format!(
        "test ! -e inside || echo two >> {root}/clash; echo x > inside; pwd > {root}/began-{name}; \
         until [ -e {root}/go-{name} ]; do sleep 0.02; done; rm -f inside"
    )
}

fn program(farm: &Farm, shared: &[(&str, bool)]) -> String {
    let builders = shared.iter().map(|(name, shares)| {
        let directory = if *shares { "directory = 'the group', " } else { "" };
        format!(
            "builder('{name}', {directory}steps = [step.shell(command = {:?})])\n",
            alone(farm, name)
        )
    });
    format!("worker('w1', slots = 5)\n{}", builders.collect::<String>())
}

fn began(farm: &Farm, name: &str) -> Result<String> {
    let file = farm.root().join(format!("began-{name}"));
    wait_for(&format!("{name} to begin"), BOUND, || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Ok((!text.is_empty()).then_some(text))
    })
}

fn ask(farm: &Farm, name: &str) -> Result<i64> {
    let answer = farm.api()?.post(&format!("/builders/{name}/force"), &json!({}))?;
    answer["requests"][0].as_i64().context("expected a request's id")
}

fn waits_for(farm: &Farm, request: i64, expected: &str) -> Result<()> {
    wait_for(
        &format!("request {request} to wait for {expected}"),
        BOUND,
        || {
            let why = farm.capstan_ok(&["why", &request.to_string()])?;
            Ok(why.contains(expected).then_some(()))
        },
    )
}

#[test]
fn a_shared_folder_is_used_by_one_build_at_a_time() {
    story(|farm| {
        farm.write(
            "ci.star",
            program(farm, &[("a", true), ("b", true), ("own", false)]),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        ask(farm, "a")?;
        let folder = began(farm, "a")?;
        let second = ask(farm, "b")?;
        ask(farm, "own")?;
        // Asked for later, and there is room: only the folder keeps the other one.
        ensure!(
            began(farm, "own")? != folder,
            "a builder of its own shares the folder"
        );
        waits_for(farm, second, "a/1 on w1")?;
        // What a build uses is what it began with, whatever is loaded since, and whichever master looks.
        farm.write(
            "ci.star",
            program(farm, &[("a", false), ("b", true), ("own", false)]),
        )?;
        farm.capstan_ok(&["reload"])?;
        waits_for(farm, second, "a/1 on w1")?;
        farm.kill_master()?;
        farm.start_master()?;
        waits_for(farm, second, "a/1 on w1")?;
        ensure!(!farm.root().join("began-b").exists(), "b began beside a");
        for name in ["a", "b", "own"] {
            std::fs::write(farm.root().join(format!("go-{name}")), "")?;
        }
        for name in ["a", "b", "own"] {
            let build = farm.finished(name, 1)?;
            ensure!(build["outcome"] == "success", "{build:#}");
        }
        ensure!(began(farm, "b")? == folder, "they do not share the folder");
        ensure!(!farm.root().join("clash").exists(), "two used the folder at once");
        Ok(())
    });
}

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Whether a page is there and holds a text.
fn page_holds(farm: &Farm, path: &str, text: &str) -> Result<bool> {
    let mut answer = ureq::get(format!("{}{path}", farm.web()?)).call()?;
    Ok(answer.body_mut().read_to_string()?.contains(text))
}

#[test]
fn names_hold_anything() {
    let long = "x".repeat(200);
    let names = [
        "two words",
        "a+b",
        "it's \"quoted\" <b>&amp;",
        "日本語 ビルド",
        "a/b?c#d%20;e",
        "$HOME `id` {x}",
        long.as_str(),
    ];
    story(|farm| {
        let builders = names.iter().map(|name| {
            format!(
                "builder({}, tags = [{0}], labels = [\"'two words'\"], steps = [step.shell(name = {0}, command = 'pwd')])\n",
                Value::from(*name)
            )
        });
        let builders: String = builders.collect();
        farm.write(
            "ci.star",
            format!("worker('w1', labels = ['two words'])\n{builders}"),
        )?;
        let checked = farm.capstan(&["check"])?;
        let checked =
            String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        ensure!(checked.contains("capstan force 'two words'"), "{checked}");
        farm.start_master()?;
        farm.add_worker("w1")?;
        let mut folders = BTreeSet::new();
        for name in names {
            let path = encoded(name);
            let builder = farm.api()?.get(&format!("/builders/{path}"))?;
            ensure!(builder["name"] == name, "{builder:#}");
            farm.capstan_ok(&["force", name, "--follow"])?;
            let build = farm.finished(&path, 1)?;
            ensure!(
                build["outcome"] == "success" && build["builder"] == name,
                "{build:#}"
            );
            folders.insert(printed(farm, &build, name)?);
            let id = build["id"].to_string();
            let shown = farm.capstan_ok(&["build", "show", &format!("{name}/1")])?;
            ensure!(shown.contains(name), "{shown}");
            for page in [
                format!("/builders/{path}"),
                format!("/builds/{id}"),
                format!("/builders/{path}/force"),
            ] {
                ensure!(
                    page_holds(farm, &page, "two words")? || name != "two words",
                    "{page}"
                );
                ensure!(
                    !page_holds(farm, &page, "<b>&amp;")?,
                    "{page} takes a name for markup"
                );
            }
            let filtered = farm.api()?.get(&format!("/builds?builder={path}"))?;
            ensure!(
                filtered["builds"].as_array().is_some_and(|all| all.len() == 1),
                "{filtered:#}"
            );
        }
        ensure!(
            folders.len() == names.len(),
            "two builders share a folder: {folders:?}"
        );
        let base = farm.worker_folder("w1").join("builds").canonicalize()?;
        for folder in folders {
            let folder = std::path::PathBuf::from(folder.trim_end_matches('\n'));
            ensure!(
                folder.parent().and_then(|above| above.parent()) == Some(&base),
                "{folder:?}"
            );
        }
        let page = ureq::get(format!("{}/builders", farm.web()?))
            .call()?
            .body_mut()
            .read_to_string()?;
        for name in names {
            // Each link of the list leads to the builder.
            let link = page
                .split("href=\"")
                .filter_map(|rest| rest.split('"').next())
                .find(|link| link.starts_with("/builders/") && decoded(link) == format!("/builders/{name}"));
            ensure!(link.is_some(), "expected a link to {name} in {page}");
        }
        Ok(())
    });
}

fn decoded(link: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = link.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
