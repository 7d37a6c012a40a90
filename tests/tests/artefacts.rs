//! Files that builds store at the master: they arrive once and byte-identical, whatever is killed meanwhile; and what is no file of
//! the build's does not arrive.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, Weather, sample, small_disk, story, wait_for};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Large enough that it is on its way when something is killed.
const SIZE: u64 = 48 << 20;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes of the only log that grows now, which carries the file.
fn on_its_way(farm: &Farm) -> Result<u64> {
    let mut longest = 0;
    for entry in std::fs::read_dir(farm.folder().join("data/logs/live"))? {
        longest = longest.max(entry?.metadata().map_or(0, |about| about.len()));
    }
    Ok(longest)
}

fn stored(farm: &Farm, sha256: &str) -> PathBuf {
    farm.folder()
        .join("data/artefacts")
        .join(&sha256[..2])
        .join(sha256)
}

/// All files in the store of artefacts, half-written ones too.
fn files(farm: &Farm) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in std::fs::read_dir(farm.folder().join("data/artefacts"))? {
        for file in std::fs::read_dir(folder?.path())? {
            names.push(file?.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn artefacts(farm: &Farm, build: &Value) -> Result<Vec<Value>> {
    let listed = farm.api()?.get(&format!("/builds/{}/artefacts", build["id"]))?;
    let listed = listed["artefacts"].as_array().cloned();
    listed.context("expected a list of artefacts")
}

fn summary_of<'a>(build: &'a Value, step: &str) -> Result<&'a str> {
    let mut steps = build["steps"].as_array().into_iter().flatten();
    let step = steps
        .find(|found| found["name"] == step)
        .context("expected the step")?;
    step["summary"].as_str().context("expected a summary")
}

#[test]
fn a_large_file_arrives_once_and_whole_whatever_is_killed() {
    story(|farm| {
        let steps = format!(
            "step.shell(name = \"make\", command = \"mkdir dist; head -c {SIZE} /dev/urandom > dist/big.bin\"),
             step.upload(name = \"store\", path = \"build/dist/big.bin\"),"
        );
        // What bounds logs does not bound files.
        farm.edit("capstan.toml", "# max_log = \"4GiB\"", "max_log = \"1MiB\"")?;
        farm.write("ci.star", sample::hello(&steps))?;
        let proxy = farm.behind_a_proxy()?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.api()?.post("/builders/hello/force", &json!({}))?;
        let cut = |cut| {
            proxy.set(Weather {
                cut,
                ..Weather::default()
            })
        };
        let comes_to = |farm: &Farm, length: u64| {
            wait_for("the file to be on its way", BOUND, || {
                Ok((on_its_way(farm)? >= length).then_some(()))
            })
        };
        comes_to(farm, 1 << 20)?;
        cut(true);
        let before = on_its_way(farm)?;
        ensure!(before < SIZE, "expected it to be on its way, found all of it");
        farm.kill_master()?;
        farm.start_master()?;
        farm.kill_worker("w1")?;
        cut(false);
        farm.start_worker("w1")?;
        comes_to(farm, before + (1 << 20))?;
        farm.kill_worker("w1")?;
        farm.start_worker("w1")?;
        farm.kill_master()?;
        farm.start_master()?;
        let build = farm.finished("hello", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");

        let made = std::fs::read(farm.worker_folder("w1").join("builds/hello/build/dist/big.bin"))?;
        let sum = sha256(&made);
        let rows = artefacts(farm, &build)?;
        ensure!(rows.len() == 1, "expected one artefact, found {rows:#?}");
        ensure!(
            rows[0]["name"] == "big.bin" && rows[0]["size"] == SIZE && rows[0]["sha256"] == sum.as_str(),
            "{rows:#?}"
        );
        ensure!(
            std::fs::read(stored(farm, &sum))? == made,
            "the stored bytes differ"
        );
        ensure!(
            files(farm)? == [sum],
            "expected that file alone, found {:?}",
            files(farm)?
        );
        assert_eq!(summary_of(&build, "store")?, "big.bin, 50.3 MB");
        // What carried it is no log, and is gone.
        let step = &build["steps"][1];
        ensure!(step["logs"] == json!([]), "{step:#}");
        ensure!(
            on_its_way(farm)? < 1 << 20,
            "what carried the file is still there"
        );
        Ok(())
    });
}

#[test]
fn what_is_no_file_of_the_build_does_not_arrive() {
    story(|farm| {
        farm.edit(
            "capstan.toml",
            "# max_artefact = \"1GiB\"",
            "max_artefact = \"1MiB\"",
        )?;
        let secret = farm.root().join("secret");
        std::fs::write(&secret, "not yours")?;
        let make = format!(
            "mkdir -p dist; ln -sfn {} out; ln -sfn {} dist/stolen; ln -sfn whole dist/link; mkfifo dist/pipe || true; \
             printf whole > dist/whole; head -c 1048577 /dev/zero > dist/large; head -c 1048576 /dev/zero > dist/fits",
            farm.root().display(),
            secret.display(),
        );
        let mut steps = format!("step.shell(name = \"make\", command = {make:?}),\n");
        for (name, path) in [
            ("stolen", "build/dist/stolen"),
            ("beyond", "build/out/secret"),
            ("pipe", "build/dist/pipe"),
            ("folder", "build/dist"),
            ("missing", "build/dist/none"),
            ("large", "build/dist/large"),
            ("fits", "build/dist/fits"),
            ("link", "build/dist/link"),
            ("again", "build/dist/fits"),
        ] {
            let stored_as = if name == "again" { "fits" } else { name };
            steps += &format!(
                "step.upload(name = {name:?}, path = {path:?}, artefact = {stored_as:?}, always_run = True),\n"
            );
        }
        farm.write("ci.star", sample::hello(&steps))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force("hello", &json!({}))?;
        for (step, words) in [
            ("stolen", "symbolic link"),
            ("beyond", "symbolic link"),
            ("pipe", "regular file"),
            ("folder", "a folder"),
            ("missing", "there is no file"),
            ("large", "max_artefact"),
            ("again", "the step `fits` of this build has stored"),
        ] {
            let summary = summary_of(&build, step)?;
            ensure!(summary.contains(words), "{step}: {summary}");
        }
        let mut names: Vec<_> = artefacts(farm, &build)?
            .iter()
            .map(|row| (row["name"].to_string(), row["size"].as_u64().unwrap_or_default()))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [("\"fits\"".to_owned(), 1 << 20), ("\"link\"".to_owned(), 5)]
        );
        assert_eq!(files(farm)?.len(), 2);
        Ok(())
    });
}

#[test]
fn a_full_disk_under_the_artefacts_fails_the_step_and_leaves_nothing_half() {
    if !small_disk::is_allowed() {
        return;
    }
    story(|farm| {
        let steps = "step.shell(name = \"make\", command = \"head -c 4000000 /dev/urandom > large; echo small > small\"),
                     step.upload(name = \"large\", path = \"build/large\"),
                     step.upload(name = \"small\", path = \"build/small\", always_run = True),";
        farm.write("ci.star", sample::hello(steps))?;
        let place = farm.folder().join("data/artefacts");
        farm.on_small_disk(&place, "2m")?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force("hello", &json!({}))?;
        ensure!(build["outcome"] == "exception", "{build:#}");
        let summary = summary_of(&build, "large")?;
        ensure!(summary.contains("space"), "{summary}");
        let rows = artefacts(farm, &build)?;
        ensure!(rows.len() == 1 && rows[0]["name"] == "small", "{rows:#?}");
        Ok(())
    });
}
