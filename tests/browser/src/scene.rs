//! A farm to look at: a build that passed, one that failed, one that runs until it is let go, a request that nobody can
//! take, a change. Made through the command line and the REST interface.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use capstan_tests::{BOUND, Farm, Project, wait_for};
use serde_json::{Value, json};

/// What a scene consists of, by its ids.
#[derive(Debug)]
pub struct Scene {
    /// The repository that is watched.
    pub project: Project,
    /// The build of the builder `passes`, which the change led to, with its steps.
    pub passed: Value,
    /// A build of `fails`, with its steps.
    pub failed: Value,
    /// A build of `holds`, which runs.
    pub held: i64,
    /// A request for `stuck`, whose worker never comes.
    pub waiting: i64,
    /// The change.
    pub change: i64,
}

/// The message of the scene's commit.
pub const MESSAGE: &str = "Teach the boiler to whistle";

impl Scene {
    /// Plays it on a new farm.
    pub fn play(farm: &mut Farm) -> Result<Self> {
        let project = Project::create(farm.root(), "kettle")?;
        farm.write("ci.star", configuration(&project.repository(), &gate(farm)))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        project.push(MESSAGE, &[("src/whistle.sh", "echo whistle\n")])?;
        let waiting = request(farm, "stuck")?;
        let held = start(farm, "holds")?;
        let failed = farm.force("fails", &json!({ "reason": "to see it fail" }))?;
        let passed = farm.finished("passes", 1)?;
        let change = passed["changes"][0].as_i64().context("expected a change")?;
        Ok(Self {
            project,
            passed,
            failed,
            held,
            waiting,
            change,
        })
    }
}

/// Asks for a build and answers the request's id.
pub fn request(farm: &Farm, builder: &str) -> Result<i64> {
    let answer = farm
        .api()?
        .post(&format!("/builders/{builder}/force"), &json!({}))?;
    answer["requests"][0].as_i64().context("expected a request's id")
}

/// Asks for a build, waits until its command has printed something, and answers its id.
pub fn start(farm: &Farm, builder: &str) -> Result<i64> {
    let request = request(farm, builder)?;
    wait_for(
        &format!("output of the build of request {request}"),
        BOUND,
        || {
            let builds = farm.api()?.get("/builds?state=running&limit=100")?;
            let builds = builds["builds"].as_array().context("expected builds")?;
            let ours = |build: &&Value| {
                let requests = build["requests"].as_array();
                requests.is_some_and(|all| all.contains(&request.into()))
            };
            let Some(id) = builds.iter().find(ours).and_then(|build| build["id"].as_i64()) else {
                return Ok(None);
            };
            let build = farm.api()?.get(&format!("/builds/{id}"))?;
            let printed = build["steps"][0]["logs"][0]["lines"].as_u64() > Some(0);
            Ok(printed.then_some(id))
        },
    )
}

/// The id of a build's step and of that step's first log.
pub fn step_and_log(build: &Value, step: usize) -> Result<(i64, i64)> {
    let step = &build["steps"][step];
    let ids = step["id"].as_i64().zip(step["logs"][0]["id"].as_i64());
    ids.with_context(|| format!("expected a step with a log in {build:#}"))
}

/// The file that a held build waits for.
pub fn gate(farm: &Farm) -> PathBuf {
    farm.root().join("gate")
}

/// Lets held builds go on; they end well.
pub fn let_go(farm: &Farm) -> Result<()> {
    std::fs::write(gate(farm), "").context("failed to open the gate")
}

/// A step that prints a line, waits for the gate, and prints another.
pub fn holding_step(name: &str, gate: &Path) -> String {
    let line = format!(
        "echo before the gate; until test -e '{}'; do sleep 0.05; done; echo behind the gate",
        gate.display()
    );
    format!("step.shell(name = {name:?}, command = {line:?})")
}

fn configuration(repository: &str, gate: &Path) -> String {
    let hold = holding_step("hold", gate);
    format!(
        r#"w1 = worker("w1", slots = 3)
absent = worker("absent")
source.git_poller(name = "kettle", repository = {repository:?}, interval = 1, announce_existing = True)

passes = builder("passes", description = "Ends well", workers = [w1], tags = ["quick"], steps = [
    step.git(repository = {repository:?}),
    step.shell(name = "boil", command = "echo the water boils; sh src/whistle.sh"),
])
fails = builder("fails", workers = [w1], steps = [
    step.shell(name = "prepare", command = "echo prepared"),
    step.shell(name = "spill", command = "printf '\\033[1;31mall over the stove\\033[0m\\n'; echo wet >&2; exit 3"),
])
builder("holds", workers = [w1], steps = [{hold}])
builder("stuck", workers = [absent], steps = [step.shell(name = "never", command = "true")])

schedule.any_branch(name = "each-push", builders = [passes])
notify.report_file(path = "reports/builds.jsonl")
"#
    )
}
