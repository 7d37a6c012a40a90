//! A master's end and its successor: it ends soon whatever hangs, hands over without a long pause, forgets nothing that waits,
//! and is the only one.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, Programs, Project, story, wait_for};
use serde_json::{Value, json};

/// How long a master may take to end.
const SOON: Duration = Duration::from_secs(2);
/// How long nothing is dispatched while a master is replaced.
const GAP_MS: i64 = 3000;

/// A step that waits for the file `go`.
fn waiting_step(farm: &Farm) -> String {
    let go = farm.root().join("go");
    let line = format!("until [ -e {} ]; do sleep 0.1; done; echo done", go.display());
    format!("step.shell(name = \"wait\", command = {line:?})")
}

fn builds(farm: &Farm, state: &str) -> Result<Vec<Value>> {
    let builds = farm.api()?.get("/builds?limit=1000")?;
    let builds = builds["builds"].as_array().context("expected builds")?;
    Ok(builds
        .iter()
        .filter(|build| build["state"] == state)
        .cloned()
        .collect())
}

fn wait_for_running(farm: &Farm, count: usize) -> Result<()> {
    wait_for(&format!("{count} running builds"), BOUND, || {
        Ok((builds(farm, "running")?.len() == count).then_some(()))
    })
}

fn force(farm: &Farm, builder: &str, body: &Value) -> Result<i64> {
    let answer = farm.api()?.post(&format!("/builders/{builder}/force"), body)?;
    answer["requests"][0].as_i64().context("expected a request's id")
}

/// Somebody who takes connections and never answers.
fn silent() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

#[test]
fn a_master_ends_soon_whatever_hangs() {
    story(|farm| {
        let (_reports, receiver) = silent()?;
        let (_git, repository) = silent()?;
        farm.edit(
            "capstan.toml",
            "# http = [\"https://chat.example.org/hooks/*\"]",
            &format!("http = [\"http://{receiver}/*\"]"),
        )?;
        let workers: Vec<_> = (0..10).map(|n| format!("w{n}")).collect();
        let mut text: String = workers
            .iter()
            .map(|name| format!("worker({name:?}, slots = 2)\n"))
            .collect();
        let step = waiting_step(farm);
        for n in 0..20 {
            text += &format!("builder(\"b{n}\", workers = {workers:?}, steps = [{step}])\n");
        }
        text += &format!(
            "notify.http_push(url = \"http://{receiver}/\", timeout = \"60s\", on = [\"started\", \"finished\"])\n"
        );
        text += &format!(
            "source.git_poller(name = \"slow\", repository = \"git://{repository}/r.git\", interval = 1)\n"
        );
        farm.write("ci.star", text)?;
        farm.start_master()?;
        for name in &workers {
            farm.add_worker(name)?;
        }
        for n in 0..20 {
            force(farm, &format!("b{n}"), &json!({}))?;
        }
        wait_for_running(farm, 20)?;
        let web = farm.web()?;
        let address = web.strip_prefix("http://").context("expected http")?.to_owned();
        // A page that follows what happens, and a browser that keeps its connection for later.
        let ask = |path: &str| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(&address)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
            let mut first = [0; 12];
            stream.read_exact(&mut first)?;
            ensure!(
                &first == b"HTTP/1.1 200",
                "{path}: {}",
                String::from_utf8_lossy(&first)
            );
            Ok(stream)
        };
        let _streams = [
            ask("/api/v1/events")?,
            ask("/live?after=0")?,
            ask("/api/v1/health")?,
        ];
        let start = Instant::now();
        let status = farm.stop_master()?;
        let took = start.elapsed();
        eprintln!("the master ended within {took:?}");
        ensure!(status.success(), "expected a clean end, found {status}");
        ensure!(took < SOON, "expected an end within {SOON:?}, it took {took:?}");
        farm.start_master()?;
        std::fs::write(farm.root().join("go"), "")?;
        let ended = wait_for("the end of all builds", BOUND, || {
            let ended = builds(farm, "complete")?;
            Ok((ended.len() == 20).then_some(ended))
        })?;
        for build in ended {
            ensure!(build["outcome"] == "success" && build["number"] == 1, "{build:#}");
        }
        Ok(())
    });
}

#[test]
fn an_upgrade_hardly_delays_what_waits() {
    story(|farm| {
        let step = waiting_step(farm);
        let mut text = "worker(\"w1\", slots = 4)\n".to_owned();
        for n in 0..2 {
            text += &format!("builder(\"long{n}\", workers = [\"w1\"], steps = [{step}])\n");
        }
        for n in 0..298 {
            text += &format!(
                "builder(\"b{n}\", workers = [\"w1\"], steps = [step.shell(command = \"sleep 0.05\")])\n"
            );
        }
        farm.write("ci.star", text)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let new = farm.root().join("new");
        std::fs::create_dir(&new)?;
        let newer = Programs::copied_to(farm.programs(), &new)?;
        for name in ["long0", "long1"] {
            force(farm, name, &json!({}))?;
        }
        wait_for_running(farm, 2)?;
        for n in 0..60 {
            force(farm, &format!("b{n}"), &json!({}))?;
        }
        wait_for("the first of them", BOUND, || {
            Ok((builds(farm, "complete")?.len() > 2).then_some(()))
        })?;
        farm.stop_master()?;
        farm.set_programs(newer);
        farm.start_master()?;
        std::fs::write(farm.root().join("go"), "")?;
        let ended = wait_for("the end of all builds", BOUND, || {
            let ended = builds(farm, "complete")?;
            Ok((ended.len() == 62).then_some(ended))
        })?;
        ensure!(
            ended.iter().all(|build| build["outcome"] == "success"),
            "{ended:#?}"
        );
        let mut begun: Vec<_> = ended
            .iter()
            .filter_map(|build| build["started"].as_i64())
            .collect();
        begun.sort_unstable();
        let gaps = begun.windows(2).map(|pair| pair[1] - pair[0]);
        let gap = gaps.max().context("expected builds")?;
        eprintln!("the longest time without a new build was {gap} ms");
        ensure!(
            gap < GAP_MS,
            "expected a gap of less than {GAP_MS} ms, found {gap} ms"
        );
        Ok(())
    });
}

/// What a farm has promised to do, as a client sees it.
fn promises(farm: &Farm) -> Result<Value> {
    let api = farm.api()?;
    let requests = api.get("/requests?state=pending&limit=100")?;
    let workers = api.get("/workers")?;
    let of = |all: &Value, names: &[&str]| -> Vec<Value> {
        let all = all.as_array().into_iter().flatten();
        let picked = all.map(|one| {
            names
                .iter()
                .map(|&name| (name.to_owned(), one[name].clone()))
                .collect()
        });
        picked.map(Value::Object).collect()
    };
    Ok(json!({
        "requests": of(&requests["requests"], &["id", "builder", "priority", "reason", "submitted"]),
        "workers": of(&workers["workers"], &["name", "paused"]),
    }))
}

/// The newest report about the first build.
fn report(farm: &Farm) -> Result<Value> {
    Ok(farm.api()?.get("/reports?build=1")?["reports"][0].clone())
}

#[test]
fn what_waits_survives_a_kill() {
    story(|farm| {
        let (listener, receiver) = silent()?;
        drop(listener);
        farm.edit(
            "capstan.toml",
            "# http = [\"https://chat.example.org/hooks/*\"]",
            &format!("http = [\"http://{receiver}/*\"]"),
        )?;
        let project = Project::create(farm.root(), "roman")?;
        project.push("first", &[("a", "1")])?;
        let repository = project.repository();
        let step = waiting_step(farm);
        farm.write(
            "ci.star",
            format!(
                "w1 = worker(\"w1\", slots = 1)\nworker(\"w2\")\n
long = builder(\"long\", workers = [w1], steps = [{step}])
pushed = builder(\"pushed\", workers = [w1], steps = [step.shell(command = \"true\")])
[builder(name, workers = [w1], steps = [step.shell(command = \"true\")]) for name in [\"low\", \"high\", \"middle\"]]
source.git_poller(name = \"roman\", repository = {repository:?}, interval = 0.2)
schedule.any_branch(name = \"each-push\", builders = [pushed], tree_stable_timer = \"8s\")
schedule.nightly(name = \"night\", builders = [pushed], hour = 3)
notify.http_push(url = \"http://{receiver}/\", builders = [\"long\"], on = [\"started\"])\n"
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let pushed = wait_for("the first look at the repository", BOUND, || {
            let sources = farm.folder().join("data/mirrors");
            Ok(sources.exists().then_some(()))
        });
        pushed?;
        force(farm, "long", &json!({}))?;
        wait_for_running(farm, 1)?;
        for (name, priority) in [("low", -3), ("high", 7), ("middle", 2)] {
            force(
                farm,
                name,
                &json!({ "priority": priority, "reason": format!("{name} comes in turn") }),
            )?;
        }
        let api = farm.api()?;
        api.post("/workers/w2/pause", &json!({ "reason": "a new disk" }))?;
        let tried = wait_for("two failed attempts at the report", BOUND, || {
            let report = report(farm)?;
            Ok((report["attempts"].as_i64() >= Some(2)).then_some(report))
        })?;
        project.push("second", &[("a", "2")])?;
        wait_for("the change", BOUND, || {
            let changes = farm.api()?.get("/changes")?;
            let last = changes["changes"][0]["comments"].as_str();
            Ok(last.is_some_and(|text| text.contains("second")).then_some(()))
        })?;
        farm.api()?
            .post("/builds/1/stop", &json!({ "reason": "no longer wanted" }))?;
        let before = promises(farm)?;
        farm.kill_master()?;
        farm.start_master()?;
        let after = promises(farm)?;
        ensure!(before == after, "expected {before:#}, found {after:#}");
        let stopped = farm.finished("long", 1)?;
        ensure!(stopped["outcome"] == "cancelled", "{stopped:#}");
        let again = report(farm)?;
        ensure!(
            again["attempts"].as_i64() >= tried["attempts"].as_i64()
                && again["delivery_id"] == tried["delivery_id"],
            "expected {tried:#} to go on, found {again:#}"
        );
        let order = wait_for("the builds that waited", BOUND, || {
            let mut ended = builds(farm, "complete")?;
            ended.retain(|build| {
                ["low", "high", "middle"]
                    .iter()
                    .any(|name| build["builder"] == *name)
            });
            ended.sort_by_key(|build| build["id"].as_i64());
            let names: Vec<_> = ended.iter().map(|build| build["builder"].clone()).collect();
            Ok((names.len() == 3).then_some(names))
        })?;
        ensure!(order == ["high", "middle", "low"], "{order:?}");
        let pushed = farm.finished("pushed", 1)?;
        ensure!(
            pushed["reason"]
                .as_str()
                .is_some_and(|text| text.contains("1 change")),
            "{pushed:#}"
        );
        Ok(())
    });
}

#[test]
fn a_second_master_is_told_who_the_first_is() {
    story(|farm| {
        farm.write("ci.star", "")?;
        farm.start_master()?;
        let first = farm.master()?.id().to_string();
        let refused = farm.capstan_refused(&["run"])?;
        for word in [
            "process id",
            &first,
            "on host",
            "since",
            "UTC",
            "stop that one first",
            "farm/data",
        ] {
            ensure!(refused.contains(word), "expected `{word}` in: {refused}");
        }
        Ok(())
    });
}

#[test]
fn two_farms_do_not_share_a_database() {
    story(|farm| {
        farm.write("ci.star", "")?;
        let database = format!("sqlite:{}", farm.root().join("shared.db").display());
        farm.edit("capstan.toml", "sqlite:data/capstan.db", &database)?;
        farm.start_master()?;
        let first = farm.master()?.id().to_string();
        let other = Farm::create(Programs::of_this_build()?)?;
        other.write("ci.star", "")?;
        other.edit("capstan.toml", "sqlite:data/capstan.db", &database)?;
        let refused = other.capstan_refused(&["run"])?;
        let folder = farm.folder().join("data").canonicalize()?.display().to_string();
        for word in [&first, &folder, "process id", "since"] {
            ensure!(refused.contains(word), "expected `{word}` in: {refused}");
        }
        ensure!(farm.api()?.get("/health")?["status"] == "ok");
        Ok(())
    });
}
