//! A build whose one command runs until the test lets it end, and counts how often it was begun: what may happen to it
//! meanwhile is the test's own.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::logs::printed;
use crate::{BOUND, Farm, sample, wait_for};

/// A `ci.star` with that build's builder, `hello`.
pub fn configuration(farm: &Farm) -> String {
    let root = farm.root().display();
    let line = format!(
        "echo ran >> {root}/counter; echo one; until [ -e {root}/go ]; do sleep 0.02; done; echo two"
    );
    sample::hello(&format!("step.shell(name = \"wait\", command = {line:?})"))
}

/// Asks for the build, and waits until its command runs.
pub fn begin(farm: &Farm) -> Result<()> {
    farm.api()?.post("/builders/hello/force", &json!({}))?;
    wait_for("the command to start", BOUND, || {
        Ok(farm.root().join("counter").exists().then_some(()))
    })
}

/// Lets the command end. It must have run once and printed everything once. Answers the build.
pub fn ends_as_if_nothing_had_happened(farm: &Farm) -> Result<Value> {
    std::fs::write(farm.root().join("go"), "")?;
    let build = farm.finished("hello", 1)?;
    ensure!(build["outcome"] == "success", "expected success, found {build:#}");
    let text = printed(&farm.api()?, &build, &farm.root().display().to_string())?;
    ensure!(
        text.get("wait/stdio/stdout").map(Vec::as_slice) == Some(b"one\ntwo\n"),
        "{text:?}"
    );
    let runs = std::fs::read_to_string(farm.root().join("counter"))?;
    ensure!(runs == "ran\n", "expected one run, found {runs:?}");
    Ok(build)
}
