//! Steps that ask schedulers for builds and wait for them: what they end as, when the master is killed, when the parent is stopped, and
//! when waiting could never end.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::farm::Farm;
use capstan_tests::{BOUND, story, wait_for};
use serde_json::Value;

/// A command that notes that it began, and ends with this code when the test lets it.
fn until(farm: &Farm, name: &str, code: i32) -> String {
    let root = farm.root().display();
    format!("echo {name} >> {root}/began; until [ -e {root}/go-{name} ]; do sleep 0.02; done; exit {code}")
}

fn begun(farm: &Farm) -> Vec<String> {
    let text = std::fs::read_to_string(farm.root().join("began")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn begins(farm: &Farm, name: &str) -> Result<()> {
    wait_for("a command to begin", BOUND, || {
        Ok(begun(farm).iter().any(|n| n == name).then_some(()))
    })
}

fn let_end(farm: &Farm, name: &str) -> Result<()> {
    Ok(std::fs::write(farm.root().join(format!("go-{name}")), "")?)
}

fn build(farm: &Farm, builder: &str) -> Result<Value> {
    farm.api()?.get(&format!("/builders/{builder}/builds/1"))
}

/// A builder with one command that waits for the test.
fn builder(farm: &Farm, name: &str, code: i32, options: &str) -> String {
    format!(
        "builder({name:?}, steps = [step.shell(command = {:?})]{options})\n",
        until(farm, name, code)
    )
}

fn started(farm: &mut Farm, slots: u32, text: &str) -> Result<()> {
    farm.write("ci.star", format!("worker(\"w1\", slots = {slots})\n{text}"))?;
    farm.start_master()?;
    farm.add_worker("w1")
}

/// The first step of a build that has ended.
fn first_step(build: &Value) -> (&str, &str) {
    let step = &build["steps"][0];
    (
        step["outcome"].as_str().unwrap_or_default(),
        step["summary"].as_str().unwrap_or_default(),
    )
}

fn property<'a>(build: &'a Value, name: &str) -> &'a Value {
    let all = build["properties"].as_array().into_iter().flatten();
    all.filter(|property| property["name"] == name)
        .map(|property| &property["value"])
        .next()
        .unwrap_or(&Value::Null)
}

#[test]
fn a_parent_waits_over_the_death_of_its_master_and_ends_as_its_worst_child() {
    story(|farm| {
        let text = [
            builder(farm, "good", 0, ""),
            builder(farm, "bad", 1, ""),
            builder(farm, "lint", 1, ""),
            "schedule.triggerable(name = \"tests\", builders = [\"good\", \"bad\"])\n\
             schedule.triggerable(name = \"style\", builders = [\"lint\"])\n\
             builder(\"all\", properties = {\"channel\": \"beta\", \"own\": 1}, steps = [\n\
                 step.trigger(schedulers = [\"tests\", \"style\"], wait = True, unimportant = [\"style\"],\n\
                     properties = {\"n\": interpolate(\"{buildnumber}\")}, copy_properties = [\"channel\", \"none\"]),\n\
                 step.shell(command = [\"true\"], always_run = True)])\n"
                .to_owned(),
        ]
        .concat();
        started(farm, 8, &text)?;
        farm.capstan_ok(&["force", "all", "--branch", "next", "--revision", "r7"])?;
        for name in ["good", "bad", "lint"] {
            begins(farm, name)?;
        }
        // Who asked, and for what, is seen from both ends.
        let parent = build(farm, "all")?;
        let children = parent["children"].as_array().context("children")?;
        let mut names: Vec<_> = children
            .iter()
            .map(|child| child["builder"].as_str().unwrap_or_default())
            .collect();
        names.sort_unstable();
        ensure!(names == ["bad", "good", "lint"], "{parent:#}");
        let child = build(farm, "good")?;
        ensure!(
            child["parents"][0]["builder"] == "all" && child["parents"][0]["number"] == 1,
            "{child:#}"
        );
        ensure!(child["reason"] == "triggered by all/1", "{child:#}");
        ensure!(
            property(&child, "channel") == "beta" && property(&child, "own").is_null(),
            "{child:#}"
        );
        ensure!(property(&child, "n") == "1", "{child:#}");
        let source = &child["sources"][0];
        ensure!(
            source["branch"] == "next" && source["revision"] == "r7",
            "{child:#}"
        );
        let shown = farm.capstan_ok(&["build", "show", "all/1"])?;
        ensure!(shown.contains("child    good/1 running by tests"), "{shown}");
        let shown = farm.capstan_ok(&["build", "show", "good/1"])?;
        ensure!(shown.contains("asked by all/1"), "{shown}");

        farm.kill_master()?;
        let_end(farm, "good")?;
        let_end(farm, "lint")?;
        farm.start_master()?;
        farm.finished("good", 1)?;
        farm.kill_master()?;
        farm.start_master()?;
        ensure!(
            build(farm, "all")?["finished"].is_null(),
            "it waits for the last one"
        );
        let_end(farm, "bad")?;
        let parent = farm.finished("all", 1)?;
        ensure!(parent["outcome"] == "failure", "{parent:#}");
        let expected = ("failure", "tests: failure, style: failure");
        ensure!(first_step(&parent) == expected, "{:?}", first_step(&parent));
        ensure!(
            begun(farm).len() == 3,
            "nothing is asked for twice: {:?}",
            begun(farm)
        );
        Ok(())
    });
}

#[test]
fn a_parent_without_waiting_goes_on_and_a_scheduler_that_is_off_is_named() {
    story(|farm| {
        let text = [
            builder(farm, "child", 1, ""),
            "schedule.triggerable(name = \"go\", builders = [\"child\"])\n\
             builder(\"parent\", steps = [step.trigger(schedulers = \"go\")])\n"
                .to_owned(),
        ]
        .concat();
        started(farm, 4, &text)?;
        farm.capstan_ok(&["force", "parent"])?;
        let parent = farm.finished("parent", 1)?;
        ensure!(first_step(&parent) == ("success", "triggered go"), "{parent:#}");
        begins(farm, "child")?;
        farm.capstan_ok(&["scheduler", "disable", "go"])?;
        farm.capstan_ok(&["force", "parent"])?;
        let parent = farm.finished("parent", 2)?;
        ensure!(parent["outcome"] == "exception", "{parent:#}");
        let (_, summary) = first_step(&parent);
        ensure!(
            summary.contains("scheduler `go`: the scheduler is disabled"),
            "{summary}"
        );
        let_end(farm, "child")
    });
}

#[test]
fn a_parent_lets_its_child_have_its_slot_and_keeps_its_locks() {
    story(|farm| {
        let text = [
            "x = lock(\"x\")\n".to_owned(),
            builder(farm, "child", 0, ""),
            builder(farm, "other", 0, ", locks = [x]"),
            "schedule.triggerable(name = \"go\", builders = [\"child\"])\n\
             builder(\"parent\", locks = [x], steps = [\n\
                 step.trigger(schedulers = \"go\", wait = True, give_back = True),\n\
                 step.shell(command = [\"true\"])])\n"
                .to_owned(),
        ]
        .concat();
        started(farm, 1, &text)?;
        farm.capstan_ok(&["force", "parent"])?;
        begins(farm, "child")?;
        farm.capstan_ok(&["force", "other"])?;
        farm.kill_master()?;
        farm.start_master()?;
        let_end(farm, "child")?;
        let_end(farm, "other")?;
        let parent = farm.finished("parent", 1)?;
        ensure!(parent["outcome"] == "success", "{parent:#}");
        farm.finished("other", 1)?;
        let order = begun(farm);
        ensure!(order == ["child", "other"], "{order:?}");
        Ok(())
    });
}

#[test]
fn a_parent_has_its_slot_again_when_nobody_else_wants_it() {
    story(|farm| {
        let text = [
            builder(farm, "child", 0, ""),
            "schedule.triggerable(name = \"go\", builders = [\"child\"])\n\
             builder(\"parent\", steps = [step.trigger(schedulers = \"go\", wait = True, give_back = True)])\n"
                .to_owned(),
        ]
        .concat();
        started(farm, 1, &text)?;
        farm.capstan_ok(&["force", "parent"])?;
        begins(farm, "child")?;
        // A worker that is paused takes no newcomers; what runs there goes on.
        farm.capstan_ok(&["worker", "pause", "w1"])?;
        let_end(farm, "child")?;
        let parent = farm.finished("parent", 1)?;
        ensure!(parent["outcome"] == "success", "{parent:#}");
        Ok(())
    });
}

#[test]
fn waiting_that_could_never_end_is_told_with_the_circle() {
    story(|farm| {
        let text = [
            "x = lock(\"x\")\n".to_owned(),
            "go = [step.shell(command = [\"true\"])]\n\
             builder(\"locked\", locks = [x], steps = go)\n\
             builder(\"between\", steps = [step.trigger(schedulers = \"inner\", wait = True)])\n\
             schedule.triggerable(name = \"inner\", builders = [\"locked\"])\n\
             schedule.triggerable(name = \"outer\", builders = [\"between\"])\n\
             builder(\"top\", locks = [x], steps = [step.trigger(schedulers = \"outer\", wait = True)])\n\
             builder(\"narrow\", workers = [worker(\"w2\")], steps = [step.trigger(schedulers = \"same\", wait = True)])\n\
             builder(\"child\", workers = [\"w2\"], steps = go)\n\
             schedule.triggerable(name = \"same\", builders = [\"child\"])\n"
                .to_owned(),
        ]
        .concat();
        started(farm, 4, &text)?;
        farm.add_worker("w2")?;
        // The lock that the grandchild needs is its grandparent's. Either of the two who wait may be the one to end.
        farm.capstan_ok(&["force", "top"])?;
        let (top, between) = (farm.finished("top", 1)?, farm.finished("between", 1)?);
        let texts = [first_step(&top), first_step(&between)];
        let is_told = |(outcome, text): &(&str, &str)| {
            let circle = text.contains("waiting would never end")
                && text.contains("waits for the lock x, held by top/1");
            *outcome == "exception" && circle
        };
        ensure!(texts.iter().any(is_told), "{texts:?}");
        // The only slot that the child could have is its parent's.
        farm.capstan_ok(&["force", "narrow"])?;
        let narrow = farm.finished("narrow", 1)?;
        let (outcome, text) = first_step(&narrow);
        ensure!(outcome == "exception", "{narrow:#}");
        ensure!(
            text.contains("narrow/1 waits for the end of request")
                && text.contains("which waits for a slot of the worker w2, held by narrow/1")
                && text.contains("give_back = True"),
            "{text}"
        );
        // The child has not begun, and nobody waits for it any more.
        let child = farm.api()?.get("/requests?builder=child")?;
        let child = &child["requests"][0];
        let note = child["note"].as_str().unwrap_or_default();
        ensure!(
            child["outcome"] == "cancelled"
                && note.starts_with("narrow/1 waits no more: waiting would never end"),
            "{child:#}"
        );
        Ok(())
    });
}

#[test]
fn a_parent_that_is_stopped_cancels_what_it_waits_for_and_nothing_else() {
    story(|farm| {
        let text = [
            builder(farm, "waited", 0, ""),
            builder(farm, "free", 0, ""),
            "schedule.triggerable(name = \"waited\", builders = [\"waited\"])\n\
             schedule.triggerable(name = \"free\", builders = [\"free\"])\n\
             builder(\"parent\", steps = [step.trigger(schedulers = \"free\"),\n\
                 step.trigger(name = \"wait\", schedulers = \"waited\", wait = True)])\n"
                .to_owned(),
        ]
        .concat();
        started(farm, 8, &text)?;
        farm.capstan_ok(&["force", "parent"])?;
        begins(farm, "waited")?;
        begins(farm, "free")?;
        farm.capstan_ok(&["stop", "parent/1"])?;
        let parent = farm.finished("parent", 1)?;
        ensure!(parent["outcome"] == "cancelled", "{parent:#}");
        let waited = farm.finished("waited", 1)?;
        ensure!(waited["outcome"] == "cancelled", "{waited:#}");
        ensure!(build(farm, "free")?["finished"].is_null());
        let_end(farm, "free")?;
        ensure!(farm.finished("free", 1)?["outcome"] == "success");
        Ok(())
    });
}

#[test]
fn what_can_never_work_is_refused_when_the_configuration_is_loaded() {
    story(|farm| {
        farm.write(
            "ci.star",
            "worker(\"w1\")\n\
             builder(\"a\", steps = [step.trigger(schedulers = \"to-b\", wait = True)])\n\
             builder(\"b\", steps = [step.trigger(schedulers = [\"to-a\"], wait = True)])\n\
             schedule.triggerable(name = \"to-a\", builders = [\"a\"])\n\
             schedule.triggerable(name = \"to-b\", builders = [\"b\"])\n\
             builder(\"c\", steps = [step.trigger(schedulers = \"to-c\")])\n",
        )?;
        let refused = farm.capstan_refused(&["check"])?;
        let circle = "found `a` waits for `to-b`, which builds `b` waits for `to-a`, which builds `a`";
        ensure!(
            refused.contains("ci.star:3:") && refused.contains(circle),
            "{refused}"
        );
        ensure!(
            refused.contains("ci.star:6:")
                && refused.contains("unknown scheduler")
                && refused.contains("found `to-c`"),
            "{refused}"
        );
        Ok(())
    });
}
