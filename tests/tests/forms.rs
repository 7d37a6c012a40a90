//! Forms of schedulers as people use them: what there is to choose now, what is refused, and following what was asked for.

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
