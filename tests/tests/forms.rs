//! Forms of schedulers as people use them: what there is to choose now, what is refused, and following what was asked for.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::ensure;
use capstan_tests::process::Process;
use capstan_tests::{BOUND, story, wait_for};
use serde_json::{Value, json};

const CONFIGURATION: &str = r#"
worker("w1")
worker("absent")
package = builder("package", steps = [step.shell(name = "run", command = ["true"])], workers = ["w1"])
stuck = builder("stuck", steps = [step.shell(name = "run", command = ["true"])], workers = ["absent"])

def compilers(form):
    if form.values["platform"] == "mac":
        return ["clang"]
    return ["gcc", "clang"]

def broken(form):
    fail("nobody knows " + form.field)

schedule.force(
    name = "compile",
    builders = [package],
    fields = [
        {"name": "platform", "type": "choice", "choices": ["linux", "mac"], "default": "linux"},
        {"name": "compiler", "type": "choice", "choices": compilers, "required": True},
        {"name": "odd", "type": "choice", "choices": broken, "fallback": ["plain"]},
    ],
)
"#;

#[test]
fn what_a_function_offers_can_be_chosen_and_nothing_else() {
    story(|farm| {
        farm.write("ci.star", CONFIGURATION)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let form = farm.api()?.get("/schedulers/compile/call")?;
        assert_eq!(form["fields"][1]["choices"], json!(["gcc", "clang"]), "{form:#}");
        assert_eq!(form["fields"][2]["choices"], json!(["plain"]), "{form:#}");
        let fault = form["fields"][2]["choices_fault"].as_str().unwrap_or_default();
        ensure!(
            fault.contains("nobody knows odd") && fault.contains("ci.star"),
            "{form:#}"
        );
        let refused = [
            "force",
            "compile",
            "--set",
            "platform=mac",
            "--set",
            "compiler=gcc",
        ];
        let said = farm.capstan_refused(&refused)?;
        ensure!(
            said.contains("values.compiler: expected one of clang, found `gcc`"),
            "{said}"
        );
        let right = [
            "force",
            "compile",
            "--set",
            "platform=mac",
            "--set",
            "compiler=clang",
            "--set",
            "odd=plain",
            "--follow",
        ];
        let shown = farm.capstan_ok(&right)?;
        ensure!(
            shown.contains("package/1") && shown.contains("success"),
            "{shown}"
        );
        let build = farm.finished("package", 1)?;
        let of = |name: &str| {
            let all = build["properties"].as_array().into_iter().flatten();
            let mut named = all.filter(|property| property["name"] == name);
            named.next().map(|property| property["value"].clone())
        };
        assert_eq!(of("compiler"), Some(json!("clang")), "{build:#}");
        assert_eq!(of("odd"), Some(json!("plain")), "{build:#}");
        Ok(())
    });
}

/// Who fills in the form chooses among what the configuration lists, and gets at nothing else.
#[test]
fn a_secret_that_a_form_offers_reaches_the_command_and_no_other_does() {
    story(|farm| {
        for open in [
            "{\"KEY\": prop(\"key\")}",
            "{\"KEY\": {\"secret\": prop(\"key\")}}",
            "prop(\"keys\")",
        ] {
            let text = format!(
                "worker(\"w1\")\nbuilder(\"b\", steps = [step.shell(command = \"true\", secrets = {open})])\n"
            );
            farm.write("ci.star", text)?;
            let said = farm.capstan_refused(&["check"])?;
            let expected = "expected a secret that the configuration names, found a value that whoever starts a build may choose";
            ensure!(said.contains("ci.star:2:") && said.contains(expected), "{said}");
        }
        farm.write(
            "ci.star",
            r#"
worker("w1")
key = secret(prop("key"), among = ["staging-key", secret("live-key")])
own = builder("own", steps = [step.shell(name = "sign", command = "echo is-${#KEY}", secrets = {"KEY": key})])
whole = builder("whole", env = {"KEY": key}, steps = [step.shell(name = "sign", command = "echo is-${#KEY}")])
field = {"name": "key", "type": "secret", "choices": ["staging-key", "live-key", "root-key"], "required": True}
schedule.force(name = "sign", builders = [own, whole], fields = [field])
"#,
        )?;
        for (name, value) in [
            ("staging-key", "seven77"),
            ("live-key", "nine99999"),
            ("root-key", "root"),
        ] {
            let path = format!("secrets/{name}");
            farm.write(&path, value)?;
            std::fs::set_permissions(farm.folder().join(path), std::fs::Permissions::from_mode(0o600))?;
        }
        // A builder's environment is the configuration's own; what a plugin sets it has to be granted, however it is named.
        farm.edit("capstan.toml", "secrets = []", "secrets = [\"staging-key@own\"]")?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let said = farm.capstan_refused(&["force", "sign"])?;
        let expected = "values.key: expected one of staging-key, live-key, root-key, found nothing";
        ensure!(said.contains(expected), "{said}");
        let printed = |build: &Value| -> anyhow::Result<String> {
            let log = &build["steps"][0]["logs"][0]["id"];
            Ok(String::from_utf8_lossy(&farm.api()?.bytes(&format!("/logs/{log}/raw"))?).into_owned())
        };
        let choose =
            |name: &str| farm.capstan(&["force", "sign", "--set", &format!("key={name}"), "--follow"]);
        let summary = |build: &Value| {
            build["steps"][0]["summary"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        for (number, name, length) in [(1, "staging-key", "is-7"), (2, "live-key", "is-9")] {
            choose(name)?;
            for builder in ["own", "whole"] {
                let build = farm.finished(builder, number)?;
                if (builder, name) == ("own", "live-key") {
                    ensure!(
                        summary(&build).contains("may not use secrets `live-key@own`"),
                        "{build:#}"
                    );
                    continue;
                }
                ensure!(build["outcome"] == "success", "{build:#}");
                ensure!(printed(&build)?.contains(length), "{}", printed(&build)?);
            }
        }
        // The form offers more than the step takes; a property may be set without any form.
        choose("root-key")?;
        for (builder, number) in [("own", 3), ("whole", 3)] {
            let build = farm.finished(builder, number)?;
            let said = summary(&build);
            ensure!(build["outcome"] == "exception", "{build:#}");
            ensure!(
                said.contains("ci.star:")
                    && said.contains("expected one of the secrets staging-key, live-key, found \"root-key\""),
                "{said}"
            );
        }
        let plain = farm.force("own", &json!({ "properties": { "key": "staging-key" } }))?;
        ensure!(
            plain["outcome"] == "success" && printed(&plain)?.contains("is-7"),
            "{plain:#}"
        );
        Ok(())
    });
}

/// A form is looked at when the configuration is loaded, with functions in it too.
#[test]
fn a_form_with_a_function_is_checked_when_it_is_loaded() {
    story(|farm| {
        farm.write(
            "ci.star",
            CONFIGURATION.replace("\"name\": \"platform\"", "\"name\": \"a.b\""),
        )?;
        let said = farm.capstan_refused(&["check"])?;
        ensure!(
            said.contains("expected a name without a dot, found `a.b`"),
            "{said}"
        );
        Ok(())
    });
}

/// Who follows a request that never becomes a build hears so.
#[test]
fn who_follows_a_cancelled_request_is_told_why_it_ended() {
    story(|farm| {
        farm.write("ci.star", CONFIGURATION)?;
        farm.start_master()?;
        let mut command = Command::new(&farm.programs().capstan);
        command
            .arg("--farm")
            .arg(farm.folder())
            .args(["force", "stuck", "--follow"]);
        let mut follower = Process::spawn(command, &farm.root().join("follower.out"))?;
        let request = wait_for("the request", BOUND, || {
            let all = farm.api()?.get("/requests?state=pending")?;
            Ok(all["requests"][0]["id"].as_i64())
        })?;
        let why: Value = json!({ "reason": "not today" });
        farm.api()?.post(&format!("/requests/{request}/cancel"), &why)?;
        let status = follower.wait(BOUND)?;
        let said = follower.output()?;
        assert_eq!(status.code(), Some(1), "{said}");
        let expected = format!("request {request} ended without a build: cancelled: ");
        ensure!(said.contains(&expected) && said.contains("not today"), "{said}");
        Ok(())
    });
}
