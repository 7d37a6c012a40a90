//! Locks between builds: what holds when a master is killed, when a build is stopped, and when builds wait for each other.

use std::path::Path;

use anyhow::{Result, ensure};
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::Value;

/// A command that says it runs, and ends when the test lets it.
fn until(farm: &Farm, name: &str) -> String {
    let root = farm.root().display();
    format!(
        "test ! -e {root}/inside || echo two >> {root}/clash; echo x > {root}/inside; echo {name} >> {root}/began; \
         until [ -e {root}/go-{name} ]; do sleep 0.02; done; rm -f {root}/inside"
    )
}

fn step(farm: &Farm, name: &str, locks: &str) -> String {
    format!(
        "step.shell(name = {name:?}, command = {:?}, locks = {locks})",
        until(farm, name)
    )
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

fn lock(farm: &Farm, name: &str) -> Result<Value> {
    let locks = farm.api()?.get("/locks")?;
    let found = locks["locks"]
        .as_array()
        .and_then(|all| all.iter().find(|lock| lock["name"] == name).cloned());
    Ok(found.unwrap_or_default())
}

fn names(list: &Value) -> Vec<String> {
    let each = list.as_array().into_iter().flatten();
    each.filter_map(|who| who["builder"].as_str().map(str::to_owned))
        .collect()
}

/// Waits until these hold the lock and these wait for it, in this order.
fn stands(farm: &Farm, name: &str, holders: &[&str], waiting: &[&str]) -> Result<()> {
    wait_for("the lock to be held and waited for", BOUND, || {
        let lock = lock(farm, name)?;
        Ok((names(&lock["holders"]) == holders && names(&lock["waiting"]) == waiting).then_some(()))
    })
}

fn outcome(farm: &Farm, builder: &str) -> Result<Value> {
    Ok(farm.finished(builder, 1)?["outcome"].clone())
}

fn never_side_by_side(farm: &Farm) -> Result<()> {
    ensure!(
        !Path::new(&farm.root().join("clash")).exists(),
        "two held the lock at once"
    );
    Ok(())
}

#[test]
fn a_lock_is_held_while_the_master_is_dead_and_the_order_stays() {
    story(|farm| {
        let builders: Vec<_> = ["a", "b", "c", "d"]
            .iter()
            .map(|name| {
                format!(
                    "builder({name:?}, workers = w, steps = [{}])\n",
                    step(farm, name, "[x]")
                )
            })
            .collect();
        farm.write(
            "ci.star",
            format!(
                "w = [worker(\"w1\", slots = 4)]\nx = lock(\"x\")\n{}",
                builders.concat()
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "a"])?;
        begins(farm, "a")?;
        // Their ids are not in the order in which they wait.
        for (name, waiting) in [("b", &["b"][..]), ("d", &["b", "d"]), ("c", &["b", "d", "c"])] {
            farm.capstan_ok(&["force", name])?;
            stands(farm, "x", &["a"], waiting)?;
        }
        wait_for("the waiting to be on the page", BOUND, || {
            let build = farm.api()?.get("/builders/b/builds/1")?;
            let summary = build["steps"][0]["summary"].as_str().unwrap_or_default();
            Ok(summary
                .contains("waits for the lock x, held by a/1 (step a)")
                .then_some(()))
        })?;
        for round in 0..2 {
            farm.kill_master()?;
            if round == 1 {
                let_end(farm, "a")?;
            }
            farm.start_master()?;
            if round == 0 {
                stands(farm, "x", &["a"], &["b", "d", "c"])?;
                ensure!(begun(farm) == ["a"], "{:?}", begun(farm));
            }
        }
        for name in ["b", "d", "c"] {
            begins(farm, name)?;
            farm.kill_master()?;
            farm.start_master()?;
            let_end(farm, name)?;
        }
        for name in ["a", "b", "c", "d"] {
            ensure!(outcome(farm, name)? == "success");
        }
        ensure!(begun(farm) == ["a", "b", "d", "c"], "{:?}", begun(farm));
        never_side_by_side(farm)?;
        stands(farm, "x", &[], &[])
    });
}

#[test]
fn the_step_of_a_more_urgent_builder_comes_first_also_after_a_restart() {
    story(|farm| {
        let builder = |name: &str, priority: i32| {
            let step = step(farm, name, "[x]");
            format!("builder({name:?}, workers = w, priority = {priority}, steps = [{step}])\n")
        };
        let builders = [builder("a", 0), builder("plain", 0), builder("urgent", 5)].concat();
        farm.write(
            "ci.star",
            format!("w = [worker(\"w1\", slots = 3)]\nx = lock(\"x\")\n{builders}"),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "a"])?;
        begins(farm, "a")?;
        farm.capstan_ok(&["force", "plain"])?;
        stands(farm, "x", &["a"], &["plain"])?;
        farm.capstan_ok(&["force", "urgent"])?;
        stands(farm, "x", &["a"], &["urgent", "plain"])?;
        farm.kill_master()?;
        farm.start_master()?;
        stands(farm, "x", &["a"], &["urgent", "plain"])?;
        for name in ["a", "urgent", "plain"] {
            let_end(farm, name)?;
            ensure!(outcome(farm, name)? == "success");
        }
        ensure!(begun(farm) == ["a", "urgent", "plain"], "{:?}", begun(farm));
        Ok(())
    });
}

#[test]
fn a_request_whose_lock_is_held_has_no_build_and_why_says_so() {
    story(|farm| {
        let builders: Vec<_> = ["a", "b"]
            .iter()
            .map(|name| {
                let step = step(farm, name, "[]");
                format!("builder({name:?}, workers = w, locks = [x.exclusive()], steps = [{step}])\n")
            })
            .collect();
        farm.write(
            "ci.star",
            format!(
                "w = [worker(\"w1\", slots = 4)]\nx = lock(\"x\", limit = 3)\n{}",
                builders.concat()
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "a"])?;
        begins(farm, "a")?;
        farm.capstan_ok(&["force", "b"])?;
        stands(farm, "x", &["a"], &["b"])?;
        let why = farm.capstan_ok(&["why", "2"])?;
        ensure!(why.contains("it waits for the lock x, held by a/1"), "{why}");
        // The configuration loses the lock, the build does not.
        farm.kill_master()?;
        farm.edit("ci.star", "limit = 3", "limit = 1")?;
        farm.start_master()?;
        stands(farm, "x", &["a"], &["b"])?;
        // A build that is stopped lets the next one in.
        farm.capstan_ok(&["stop", "1"])?;
        begins(farm, "b")?;
        std::fs::remove_file(farm.root().join("clash")).ok();
        let_end(farm, "b")?;
        ensure!(outcome(farm, "b")? == "success");
        stands(farm, "x", &[], &[])
    });
}

#[test]
fn a_request_whose_worker_is_full_is_not_ahead_of_what_runs_there() {
    story(|farm| {
        let (a, b, c) = (
            step(farm, "a", "[]"),
            step(farm, "b", "[]"),
            step(farm, "c", "[]"),
        );
        farm.write(
            "ci.star",
            format!(
                "w1 = [worker(\"w1\")]\nw2 = [worker(\"w2\")]\nx = lock(\"x\")\n\
                 builder(\"a\", workers = w2, locks = [x], steps = [{a}])\n\
                 builder(\"b\", workers = w1, locks = [x], steps = [{b}])\n\
                 builder(\"c\", workers = w1, steps = [{c}, step.shell(name = \"x\", command = \"true\", locks = [x])])\n"
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.add_worker("w2")?;
        farm.capstan_ok(&["force", "a"])?;
        begins(farm, "a")?;
        farm.capstan_ok(&["force", "b"])?;
        stands(farm, "x", &["a"], &["b"])?;
        // It takes the only slot that the request before it could have had, and then wants the lock.
        farm.capstan_ok(&["force", "c"])?;
        begins(farm, "c")?;
        let_end(farm, "c")?;
        stands(farm, "x", &["a"], &["c"])?;
        let_end(farm, "a")?;
        ensure!(outcome(farm, "c")? == "success");
        begins(farm, "b")?;
        let_end(farm, "b")?;
        ensure!(outcome(farm, "b")? == "success");
        Ok(())
    });
}

#[test]
fn builds_that_would_wait_for_each_other_end_and_say_why() {
    story(|farm| {
        let builder = |name: &str, own: &str, other: &str| {
            let steps = format!(
                "{}, step.shell(name = \"meet\", command = \"true\", locks = [{other}])",
                step(farm, name, "[]")
            );
            format!("builder({name:?}, workers = w, locks = [{own}], steps = [{steps}])\n")
        };
        let builders = [builder("a", "x", "y"), builder("b", "y", "x")].concat();
        farm.write(
            "ci.star",
            format!("w = [worker(\"w1\", slots = 4)]\nx = lock(\"x\")\ny = lock(\"y\")\n{builders}"),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        for name in ["a", "b"] {
            farm.capstan_ok(&["force", name])?;
            begins(farm, name)?;
        }
        let_end(farm, "a")?;
        stands(farm, "y", &["b"], &["a"])?;
        let_end(farm, "b")?;
        let build = farm.finished("b", 1)?;
        ensure!(build["outcome"] == "exception", "{build:#}");
        let summary = build["steps"][1]["summary"].as_str().unwrap_or_default();
        let expected = "waiting would never end: b/1 waits for the lock x, held by a/1, which waits for the lock y, held by b/1";
        ensure!(summary == expected, "{summary}");
        ensure!(outcome(farm, "a")? == "success", "the other goes on");
        Ok(())
    });
}

#[test]
fn a_build_that_is_stopped_while_it_waits_waits_no_more() {
    story(|farm| {
        let builders: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|name| {
                format!(
                    "builder({name:?}, workers = w, steps = [{}])\n",
                    step(farm, name, "[x]")
                )
            })
            .collect();
        farm.write(
            "ci.star",
            format!(
                "w = [worker(\"w1\", slots = 4)]\nx = lock(\"x\")\n{}",
                builders.concat()
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "a"])?;
        begins(farm, "a")?;
        farm.capstan_ok(&["force", "b"])?;
        stands(farm, "x", &["a"], &["b"])?;
        farm.capstan_ok(&["force", "c"])?;
        stands(farm, "x", &["a"], &["b", "c"])?;
        farm.capstan_ok(&["stop", "2"])?;
        ensure!(outcome(farm, "b")? == "cancelled");
        stands(farm, "x", &["a"], &["c"])?;
        let_end(farm, "a")?;
        begins(farm, "c")?;
        let_end(farm, "c")?;
        ensure!(outcome(farm, "c")? == "success");
        ensure!(begun(farm) == ["a", "c"], "{:?}", begun(farm));
        never_side_by_side(farm)
    });
}

#[test]
fn a_function_chooses_the_locks_and_its_faults_end_the_build_alone() {
    story(|farm| {
        let functions = "def chosen(build):\n    return [x] if build.properties[\"heavy\"] == True else []\n\n\
                         def broken(build):\n    return [x] + 1\n\n";
        let builder = |name: &str, heavy: &str, function: &str| {
            let step = step(farm, name, "[]");
            format!(
                "builder({name:?}, workers = w, properties = {{\"heavy\": {heavy}}}, locks = {function}, steps = [{step}])\n"
            )
        };
        let builders = [
            builder("a", "True", "chosen"),
            builder("b", "True", "chosen"),
            builder("c", "False", "chosen"),
            builder("d", "True", "broken"),
        ];
        farm.write(
            "ci.star",
            format!(
                "w = [worker(\"w1\", slots = 4)]\nx = lock(\"x\")\n{functions}{}",
                builders.concat()
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "a"])?;
        begins(farm, "a")?;
        farm.capstan_ok(&["force", "b"])?;
        stands(farm, "x", &["a"], &["b"])?;
        farm.capstan_ok(&["force", "d"])?;
        let broken = farm.finished("d", 1)?;
        ensure!(broken["outcome"] == "exception", "{broken:#}");
        ensure!(
            broken.to_string().contains("ci.star:"),
            "the place is missing: {broken:#}"
        );
        farm.capstan_ok(&["force", "c"])?;
        begins(farm, "c")?;
        ensure!(begun(farm) == ["a", "c"], "{:?}", begun(farm));
        for name in ["a", "c"] {
            let_end(farm, name)?;
        }
        begins(farm, "b")?;
        let_end(farm, "b")?;
        ensure!(outcome(farm, "b")? == "success");
        Ok(())
    });
}
