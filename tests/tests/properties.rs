//! What a build knows only when it runs: properties from all who set some, texts with holes, functions of the configuration, and
//! what becomes of a build whose function does not behave.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::{Value, json};

/// What a step printed, without the lines of the header.
fn printed(farm: &Farm, build: &Value, step: &str) -> Result<String> {
    let all = capstan_tests::logs::printed(&farm.api()?, build, "/nowhere")?;
    let name = format!("{step}/stdio/stdout");
    let bytes = all
        .get(&name)
        .with_context(|| format!("expected {name}, found {:?}", all.keys()))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// A farm with this `ci.star` and the worker `w1`.
fn start(farm: &mut Farm, program: &str) -> Result<()> {
    farm.write("ci.star", program)?;
    farm.start_master()?;
    farm.add_worker("w1")
}

const EVERYWHERE: &str = r#"
properties(team = "core", level = "global", flags = ["-x"])
w1 = worker("w1", slots = 2, properties = {"arch": "arm64", "level": "worker"}, defaults = {"team": "nobody", "jobs": 3})

def arguments(build):
    return ["%s=%s" % (name, build.properties[name]) for name in ["level", "team", "jobs", "image"]]

def variables(build):
    return {"NUMBER": build.number, "GREETING": interpolate("hello {owner:-nobody|upper}"), "LEVEL": None}

builder(
    "hello",
    workers = [w1],
    env = {"TARGET": interpolate("{builder.name}-{branch|slug}"), "LEVEL": "builder", "TOKEN": interpolate("{t}", t = secret("deploy"))},
    properties = {"level": "builder", "image": interpolate("registry/{team}:{arch}")},
    defaults = {"jobs": 8, "late": prop("team")},
    steps = [
        step.shell(
            name = "everything",
            command = ["sh", "-c", "printf '%s\n' \"$@\"; echo $TARGET $NUMBER $GREETING ${LEVEL-removed} ${#TOKEN}; pwd", "sh",
                       prop("flags"), arguments, interpolate("{late} {{literal}} ${{HOME}}")],
            workdir = interpolate("work/{branch|slug}"),
            env = variables,
        ),
        step.shell(name = "secret", command = "echo token is $TOKEN"),
    ],
)
"#;

#[test]
fn values_are_rendered_when_they_are_needed() {
    story(|farm| {
        farm.write("secrets/deploy", "correct-horse")?;
        let secret = farm.folder().join("secrets/deploy");
        std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o600))?;
        start(farm, EVERYWHERE)?;
        let force = json!({ "branch": "feature/Blue sky", "properties": { "level": "force", "owner": "ada", "flags": ["-a", "-b"] } });
        let build = farm.force("hello", &force)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        let text = printed(farm, &build, "everything")?;
        let expected = "-a\n-b\nlevel=worker\nteam=core\njobs=8\nimage=registry/core:arm64\ncore {literal} ${HOME}\n\
                        hello-feature-blue-sky 1 hello ADA removed 13\n";
        ensure!(text.starts_with(expected), "{text}");
        ensure!(text.trim_end().ends_with("/work/feature-blue-sky"), "{text}");
        let secret = printed(farm, &build, "secret")?;
        ensure!(!secret.contains("correct-horse"), "{secret}");
        // By name: whoever sees a property sees who set it.
        let properties = build["properties"].clone();
        let source = |name: &str| {
            let list = properties.as_array().into_iter().flatten();
            let of_list = list
                .into_iter()
                .find(|p| p["name"] == name)
                .map(|p| p["source"].clone());
            of_list.or_else(|| properties.get(name).map(|p| p["source"].clone()))
        };
        for (name, from) in [
            ("team", "global"),
            ("owner", "force"),
            ("image", "builder"),
            ("jobs", "builder default"),
            ("arch", "worker"),
            ("branch", "source stamp"),
        ] {
            ensure!(
                source(name) == Some(json!(from)),
                "{name} is from {:?}: {properties:#}",
                source(name)
            );
        }
        // The store holds what was rendered, and no secret.
        farm.stop_master()?;
        let database = std::fs::read(farm.folder().join("data/capstan.db"))?;
        let database = String::from_utf8_lossy(&database);
        ensure!(
            database.contains("feature-blue-sky"),
            "what was rendered is not in the database"
        );
        ensure!(
            !database.contains("correct-horse"),
            "the secret is in the database"
        );
        Ok(())
    });
}

const FAULTY: &str = r#"
worker("w1", slots = 2)

def deep(build):
    name = "nothing"
    return build.properties[name]

def raises(build):
    return deep(build)

def loops(build):
    for a in range(10000000):
        for b in range(10000000):
            pass

def allocates(build):
    all = []
    for a in range(10000000):
        all.append("x" * 100000)
    return all

def one(name, value):
    builder(name, workers = ["w1"], steps = [step.shell(name = "run", command = value), step.shell(name = "after", command = "echo ran", always_run = True)])

one("raises", raises)
one("loops", loops)
one("allocates", allocates)
one("unknown", interpolate("{brnach}"))
one("unfit", prop("number", default = 3))
one("sneaky", ["echo", prop("x")])
one("good", interpolate("echo {buildername}"))
builder("given", workers = ["w1"], properties = {"x": raises}, steps = [step.shell(name = "run", command = "echo never")])
schedule.triggerable(name = "asked", builders = ["good"])
"#;

#[test]
fn a_function_that_fails_ends_its_build_and_nothing_else() {
    story(|farm| {
        start(farm, FAULTY)?;
        for (builder, told) in [
            (
                "raises",
                &[
                    "ci.star:23:",
                    "the function `raises` failed at ci.star:6:12",
                    "called from ci.star:9:12",
                    "nothing",
                ][..],
            ),
            (
                "loops",
                &[
                    "the function `loops` failed at ci.star:1",
                    "does a loop run without end?",
                ],
            ),
            (
                "allocates",
                &[
                    "the function `allocates` failed at ci.star:19",
                    "does a value grow without end?",
                ],
            ),
            (
                "unknown",
                &["expected a property `brnach`", "did you mean `branch`?"],
            ),
            ("unfit", &["`command`", "expected a string", "found the number 3"]),
            (
                "given",
                &["the builder's property `x`: the function `raises` failed at ci.star:6:12"],
            ),
        ] {
            let build = farm.force(builder, &json!({}))?;
            ensure!(build["outcome"] == "exception", "{builder}: {build:#}");
            let summary = build["steps"][0]["summary"].as_str().unwrap_or_default();
            for part in told {
                ensure!(
                    summary.contains(part),
                    "{builder}: expected {part:?} in {summary:?}"
                );
            }
            if builder != "given" {
                ensure!(
                    printed(farm, &build, "after")? == "ran\n",
                    "{builder}: a step that always runs did not"
                );
            }
        }
        let sneaky = farm.force(
            "sneaky",
            &json!({ "properties": { "x": { "secret": "deploy" } } }),
        )?;
        ensure!(sneaky["outcome"] == "exception", "{sneaky:#}");
        let build = farm.force("good", &json!({}))?;
        ensure!(
            printed(farm, &build, "run")? == "good\n",
            "the master does not build any more"
        );
        too_large(farm)
    });
}

/// A property that nobody can have is refused by its own limit, also where the whole call is larger than calls usually are.
fn too_large(farm: &Farm) -> Result<()> {
    for bytes in [300 << 10, 1_500_000, 3_000_000] {
        let large = json!({ "properties": { "notes": "x".repeat(bytes) } });
        for path in ["/builders/good/force", "/schedulers/asked/call"] {
            let (status, answer) = farm.api()?.try_post(path, &large)?;
            ensure!(
                status == 400 || status == 422,
                "{path} {bytes}: {status} {answer}"
            );
            let told = answer.to_string();
            ensure!(
                told.contains("the property `notes` to be at most 262144 bytes"),
                "{path} {bytes}: {status} {answer}"
            );
        }
    }
    let many: serde_json::Map<_, _> = (0..6)
        .map(|n| (n.to_string(), json!("x".repeat(200 << 10))))
        .collect();
    let (_, answer) = farm
        .api()?
        .try_post("/builders/good/force", &json!({ "properties": many }))?;
    ensure!(
        answer.to_string().contains("at most 1048576 bytes together"),
        "{answer}"
    );
    Ok(())
}

#[test]
fn a_build_knows_what_it_is_and_from_whom() {
    story(|farm| {
        let program = r#"
worker("w1")
told = interpolate("{scheduler} {buildername} {buildnumber} {workername} {branch} {revision} {repository} [{project}]")
builder("known", steps = [step.shell(name = "say", command = ["echo", told])])
schedule.triggerable(name = "asked", builders = ["known"])
"#;
        start(farm, program)?;
        let source = json!({ "branch": "main", "revision": "r1", "repository": "https://git.example.org/r.git", "project": "p" });
        let call = json!({ "kind": "trigger", "sources": [source] });
        farm.api()?.post("/schedulers/asked/call", &call)?;
        let build = farm.finished("known", 1)?;
        let text = printed(farm, &build, "say")?;
        ensure!(
            text == "asked known 1 w1 main r1 https://git.example.org/r.git [p]\n",
            "{text}"
        );
        let source_of = |name: &str| {
            let list = build["properties"].as_array().into_iter().flatten();
            let mut named = list.filter(|property| property["name"] == name);
            named.next().map(|property| property["source"].clone())
        };
        for (name, from) in [
            ("scheduler", "scheduler"),
            ("buildnumber", "build"),
            ("workername", "worker"),
            ("project", "source stamp"),
        ] {
            ensure!(
                source_of(name) == Some(json!(from)),
                "{name}: {:#}",
                build["properties"]
            );
        }
        // Who rebuilds it is no scheduler; what it was asked for by still is known.
        let id = build["id"].as_i64().context("expected an id")?;
        farm.api()?.post(&format!("/builds/{id}/rebuild"), &json!({}))?;
        let again = farm.finished("known", 2)?;
        let text = printed(farm, &again, "say")?;
        ensure!(text.starts_with("asked known 2 "), "{text}");
        Ok(())
    });
}

/// A farm whose builds say which version of the configuration their functions are from.
fn versioned(farm: &Farm, version: &str) -> String {
    let root = farm.root().display();
    format!(
        r#"
worker("w1", slots = 2)
VERSION = {version:?}
def word(build):
    return ["echo", VERSION, build.properties.get("told", "nothing")]
builder("pinned", workers = ["w1"], steps = [
    step.shell(name = "wait", command = "touch {root}/begun; until [ -e {root}/go ]; do sleep 0.02; done"),
    step.shell(name = "word", command = word),
])
"#
    )
}

#[test]
fn a_build_keeps_the_functions_that_it_began_with() {
    story(|farm| {
        let first = versioned(farm, "first");
        start(farm, &first)?;
        farm.api()?.post("/builders/pinned/force", &json!({}))?;
        wait_for("the command to start", BOUND, || {
            Ok(farm.root().join("begun").exists().then_some(()))
        })?;
        // Others come before it, so its number is another's.
        let second = versioned(farm, "second").replace(
            "builder(",
            "builder(\"other\", workers = [\"w1\"], steps = [step.shell(command = lambda build: \"echo other\")])\nbuilder(",
        );
        farm.write("ci.star", second)?;
        farm.capstan_ok(&["reload"])?;
        // Nobody remembers the functions of the first plan after this.
        farm.kill_master()?;
        farm.start_master()?;
        std::fs::write(farm.root().join("go"), "")?;
        let build = farm.finished("pinned", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        ensure!(
            printed(farm, &build, "word")? == "first nothing\n",
            "{}",
            printed(farm, &build, "word")?
        );
        let next = farm.force("pinned", &json!({ "properties": { "told": "more" } }))?;
        ensure!(printed(farm, &next, "word")? == "second more\n", "{next:#}");
        Ok(())
    });
}

/// The environment of a step that runs is what its first row says, whatever it sets meanwhile.
#[test]
fn a_step_that_is_taken_up_goes_on_with_what_it_began_with() {
    story(|farm| {
        let root = farm.root().display().to_string();
        let program = format!(
            r#"
worker("w1", slots = 2)
builder("hello", workers = ["w1"], env = {{"SAID": interpolate("<{{said:-nothing}}>")}}, steps = [
    step.shell(name = "wait", command = ["sh", "-c", "touch {root}/begun; until [ -e {root}/go ]; do sleep 0.02; done; echo $SAID $0", interpolate("{{build.number}}")]),
])
"#
        );
        start(farm, &program)?;
        farm.api()?.post(
            "/builders/hello/force",
            &json!({ "properties": { "said": "yes" } }),
        )?;
        wait_for("the command to start", BOUND, || {
            Ok(farm.root().join("begun").exists().then_some(()))
        })?;
        farm.kill_master()?;
        farm.start_master()?;
        std::fs::write(farm.root().join("go"), "")?;
        let build = farm.finished("hello", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        ensure!(
            printed(farm, &build, "wait")? == "<yes> 1\n",
            "{}",
            printed(farm, &build, "wait")?
        );
        Ok(())
    });
}
