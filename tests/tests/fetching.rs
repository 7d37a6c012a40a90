//! What people get at by the command line: artefacts, whole or not at all; reports that were given up, and why.

use std::io::Read as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, sample, story, wait_for};
use serde_json::{Value, json};

/// More than pipe and sockets hold: a reader that stops holds the download up.
const SIZE: usize = 24 << 20;

/// Builds `hello`, which stores `dist/big.bin`, and answers what that holds.
fn stored(farm: &mut Farm) -> Result<Vec<u8>> {
    let steps = format!(
        "step.shell(name = \"make\", command = \"head -c {SIZE} /dev/urandom > big.bin\"),
         step.upload(name = \"store\", path = \"build/big.bin\", artefact = \"dist/big.bin\"),"
    );
    farm.write("ci.star", sample::hello(&steps))?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    let build = farm.force("hello", &json!({}))?;
    ensure!(build["outcome"] == "success", "{build:#}");
    Ok(std::fs::read(
        farm.worker_folder("w1").join("builds/hello/build/big.bin"),
    )?)
}

#[test]
fn an_artefact_is_fetched_whole_or_not_at_all() {
    story(|farm| {
        let made = stored(farm)?;
        let listed = farm.capstan_ok(&["artefact", "list", "hello/1"])?;
        ensure!(
            listed.contains("25.1 MB") && listed.contains("dist/big.bin"),
            "{listed}"
        );
        let list: Value =
            serde_json::from_str(&farm.capstan_ok(&["artefact", "list", "hello/1", "--json"])?)?;
        let digest = list["artefacts"][0]["sha256"]
            .as_str()
            .context("expected a digest")?;

        let folder = farm.root().join("here");
        std::fs::create_dir(&folder)?;
        let place = folder.join("big.bin");
        std::fs::write(&place, "what was there")?;
        let get = ["artefact", "get", "hello/1", "dist/big.bin", "-o"];
        let to_folder = [&get[..], &[folder.to_str().context("a folder")?]].concat();
        let said = farm.capstan_ok(&to_folder)?;
        ensure!(said.contains(digest), "{said}");
        ensure!(
            std::fs::read(&place)? == made,
            "expected the bytes that were made"
        );

        // The master's disk returns something else than it was given.
        let file = farm
            .folder()
            .join("data/artefacts")
            .join(&digest[..2])
            .join(digest);
        let mut bad = made.clone();
        bad[SIZE - 1] ^= 1;
        std::fs::write(&file, &bad)?;
        let to_file = [&get[..], &[place.to_str().context("a file")?]].concat();
        let refused = farm.capstan_refused(&to_file)?;
        ensure!(
            refused.contains("expected an artefact with the SHA-256"),
            "{refused}"
        );
        ensure!(std::fs::read(&place)? == made, "what was there stays");
        let left = std::fs::read_dir(&folder)?.count();
        ensure!(left == 1, "expected nothing beside it, found {left} files");

        let unknown = farm.capstan_refused(&["artefact", "get", "hello/1", "big.bin"])?;
        ensure!(unknown.contains("it has 1 artefact: dist/big.bin"), "{unknown}");
        Ok(())
    });
}

#[test]
fn a_download_outlives_the_master() {
    story(|farm| {
        let made = stored(farm)?;
        let mut get = Command::new(&farm.programs().capstan);
        get.arg("--farm").arg(farm.folder());
        get.args(["artefact", "get", "hello/1", "dist/big.bin", "-o", "-"]);
        let mut get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut pipe = get.stdout.take().context("a pipe")?;
        let mut found = vec![0; 1 << 20];
        pipe.read_exact(&mut found)?;
        // Nobody reads on: the download is under way while the master goes and another comes.
        farm.kill_master()?;
        farm.start_master()?;
        pipe.read_to_end(&mut found)?;
        let output = get.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", output.status);
        ensure!(
            found == made,
            "expected the bytes that were made, found {}",
            found.len()
        );
        Ok(())
    });
}

#[test]
fn a_report_that_was_given_up_is_told_after_all() {
    story(|farm| {
        let grant = "[grants.report-file]\nfiles = [\"reports/*\"]";
        farm.edit("capstan.toml", grant, "[grants.report-file]\nfiles = []")?;
        let report = "notify.report_file(path = \"reports/builds.jsonl\")\n";
        let hello = sample::hello("step.shell(name = \"greet\", command = \"true\"),");
        farm.write("ci.star", format!("{hello}{report}"))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force("hello", &json!({}))?;
        let parked = wait_for("the report to be parked", BOUND, || {
            let list: Value =
                serde_json::from_str(&farm.capstan_ok(&["report", "list", "--parked", "--json"])?)?;
            Ok(list["reports"].as_array().and_then(|list| list.first().cloned()))
        })?;
        ensure!(parked["build"] == build["id"], "{parked:#}");
        let listed = farm.capstan_ok(&["report", "list", "--parked"])?;
        ensure!(
            listed.contains("parked") && listed.contains("has not granted"),
            "{listed}"
        );
        let audit = wait_for("the refusal in the audit", BOUND, || {
            let said = farm.capstan_ok(&["plugin", "audit", "report-file"])?;
            Ok(said.contains("reports/builds.jsonl").then_some(said))
        })?;
        ensure!(
            audit.contains("by the operator") && audit.contains("[grants.report-file]"),
            "{audit}"
        );
        let none = farm.capstan_ok(&["plugin", "audit", "shell"])?;
        ensure!(none.contains("nothing was refused"), "{none}");

        farm.edit("capstan.toml", "[grants.report-file]\nfiles = []", grant)?;
        farm.capstan_ok(&["reload"])?;
        let id = parked["id"].to_string();
        farm.capstan_ok(&["report", "retry", &id])?;
        let told = wait_for("the report", BOUND, || Ok(farm.reports()?.into_iter().next()))?;
        ensure!(
            told["delivery_id"] == parked["delivery_id"],
            "expected {parked:#}, found {told:#}"
        );
        let again = farm.capstan_refused(&["report", "retry", &id])?;
        ensure!(again.contains("is not parked"), "{again}");
        let all = farm.capstan_ok(&["report", "retry", "--all"])?;
        ensure!(all.contains("0 reports are delivered again"), "{all}");
        Ok(())
    });
}
