//! Builders that a component makes when the configuration is loaded: they are builders like any other, what is wrong with them is
//! said at the generator's call, and a build keeps the ones that it began with.

use anyhow::{Result, ensure};
use capstan_tests::versions::guest;
use capstan_tests::{BOUND, Farm, logs, story, wait_for};
use serde_json::{Value, json};

/// A workbench of so many plugins; each step prints its command.
fn workbench(entries: &str) -> String {
    format!(
        r#"
w1 = worker("w1", slots = 2)

def shout(build):
    return "echo " + build.properties["word"].upper()

bash = preset(step.shell, max_time = "1h", env = {{"LANG": "C"}})
builder("patient", workers = [w1], properties = {{"word": "first"}}, steps = [
    bash(name = "wait", command = "until test -e go; do sleep 0.05; done"),
    bash(name = "shout", command = shout),
])
plugins = generate.science_plugins(
    group = "devel",
    workers = ["w1"],
    tool = ["echo", "workbench"],
    branch = "devel",
    env = {{"LANG": "C"}},
    plugins = {entries},
)
schedule.force(name = "all", builders = plugins)
"#
    )
}

const TWO: &str = r#"[
    {"name": "em-core", "source": "https://example.org/core.git", "channel": "core", "binaries": ["fast", "slow"]},
    {"name": "em-docs", "tests": False},
]"#;

fn printed(farm: &Farm, build: &Value, step: &str) -> Result<String> {
    let all = logs::printed(&farm.api()?, build, "/nowhere")?;
    let bytes = all
        .get(&format!("{step}/stdio/stdout"))
        .cloned()
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(farm: &Farm, entries: &str) -> Result<()> {
    let folder = farm.folder().display().to_string();
    let text = workbench(entries).replace("test -e go", &format!("test -e {folder}/go"));
    farm.write("ci.star", text)
}

#[test]
fn an_entry_of_a_list_becomes_a_builder_that_builds() {
    story(|farm| {
        farm.write("plugins/science-plugins.wasm", guest("science-plugins")?)?;
        write(farm, TWO)?;
        let told = farm.capstan_ok(&["check", "--builders"])?;
        ensure!(told.contains("em-core_devel on w1, 5 steps"), "{told}");
        ensure!(told.contains("em-docs_devel on w1, 2 steps"), "{told}");
        let remarks = farm.capstan(&["check", "--json"])?;
        let remarks = String::from_utf8_lossy(&remarks.stdout).into_owned();
        ensure!(remarks.contains("devel has no tests of em-docs"), "{remarks}");
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force(
            "em-core_devel",
            &json!({ "properties": { "home": "/opt/workbench" } }),
        )?;
        ensure!(build["outcome"] == "success", "{build:#}");
        let install = printed(farm, &build, "install")?;
        ensure!(
            install == "workbench installp -p https://example.org/core.git@devel\n",
            "{install}"
        );
        let tests = printed(farm, &build, "tests")?;
        ensure!(tests == "workbench tests --grep em-core\n", "{tests}");
        // One more entry is one more builder, and a reload interrupts nothing.
        write(farm, &TWO.replace("\n]", "\n    {\"name\": \"em-new\"},\n]"))?;
        let told = farm.capstan_ok(&["reload"])?;
        ensure!(told.contains("+ builder em-new_devel"), "{told}");
        Ok(())
    });
}

#[test]
fn what_is_wrong_is_said_where_the_generator_is_called() {
    story(|farm| {
        farm.write("plugins/science-plugins.wasm", guest("science-plugins")?)?;
        let refused = |entries: &str, words: &[&str]| -> Result<()> {
            write(farm, entries)?;
            let text = farm.capstan_refused(&["check"])?;
            let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
            ensure!(missing.is_empty(), "expected {missing:?} in:\n{text}");
            Ok(())
        };
        // By the schema, by the generator, and by what comes out of it.
        refused("[{\"nam\": \"a\"}]", &["ci.star:18:5", "`plugins[0]`", "`name`"])?;
        refused(
            "[{\"name\": \"a\"}, {\"name\": \"a\"}]",
            &[
                "ci.star:18:5",
                "generate.science_plugins: `plugins[1].name`: expected each plugin once, found `a` again",
            ],
        )?;
        refused(
            "[{\"name\": \"a\"}, {\"name\": \"b\\n\"}]",
            &[
                "ci.star:12:11",
                "generate.science_plugins: `builders[1].name`: builder: `name`: expected a name",
            ],
        )
    });
}

#[test]
fn a_build_calls_the_functions_of_the_configuration_that_it_began_with() {
    story(|farm| {
        farm.write("plugins/science-plugins.wasm", guest("science-plugins")?)?;
        write(farm, TWO)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.api()?.post("/builders/patient/force", &json!({}))?;
        wait_for("the first step", BOUND, || {
            let build = farm.api()?.get("/builders/patient/builds/1");
            Ok(build
                .ok()
                .filter(|build| build["steps"][0]["state"] == "running")
                .map(drop))
        })?;
        // The list, and with it the plan, is another when the master needs the function.
        write(farm, "[{\"name\": \"other\"}]")?;
        farm.capstan_ok(&["reload"])?;
        farm.kill_master()?;
        farm.start_master()?;
        farm.write("go", "")?;
        let build = farm.finished("patient", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        let text = printed(farm, &build, "shout")?;
        ensure!(text == "FIRST\n", "{text}");
        Ok(())
    });
}
