//! Who may be a worker, and who may control a master.

use std::time::Duration;

use anyhow::ensure;
use capstan_tests::farm::{Farm, refusal};
use capstan_tests::{BOUND, Programs, sample, story};
use serde_json::json;

const STEPS: &str = "step.shell(command = \"true\")";

fn serving(farm: &mut Farm) -> anyhow::Result<()> {
    farm.write("ci.star", sample::hello(STEPS))?;
    farm.start_master()
}

#[test]
fn a_join_string_is_good_for_one_use() {
    story(|farm| {
        serving(farm)?;
        let join = farm.invite("w1")?;
        ensure!(
            farm.join("w1", &join)?.status.success(),
            "expected the first use to succeed"
        );
        let second = refusal(&farm.join("thief", &join)?)?;
        assert!(second.contains("used"), "{second}");
        ensure!(
            !farm.worker_folder("thief").join("worker.toml").exists(),
            "a refused worker has a membership"
        );
        farm.start_worker("w1")
    });
}

#[test]
fn a_join_string_expires() {
    story(|farm| {
        serving(farm)?;
        let join = farm.capstan_ok(&["worker", "invite", "w1", "--ttl", "1s"])?;
        // Trying it before its end would use it up, so there is no condition to wait for but the clock.
        std::thread::sleep(Duration::from_millis(1200));
        let text = refusal(&farm.join("w1", join.trim())?)?;
        assert!(text.contains("expired"), "{text}");
        Ok(())
    });
}

#[test]
fn a_join_string_of_another_master_is_refused() {
    story(|farm| {
        serving(farm)?;
        let mut other = Farm::create(Programs::of_this_build()?)?;
        serving(&mut other)?;
        let join = other.invite("w1")?;
        // The other master is gone, and this one answers under its address.
        let address = |farm: &Farm| -> anyhow::Result<String> {
            let run: serde_json::Value = serde_json::from_str(&farm.read("data/run.json")?)?;
            Ok(run["link"].as_str().unwrap_or_default().to_owned())
        };
        let (own, foreign) = (address(farm)?, address(&other)?);
        other.stop_master()?;
        farm.stop_master()?;
        farm.edit("capstan.toml", &own, &foreign)?;
        farm.start_master()?;
        let text = refusal(&farm.join("w1", &join)?)?;
        assert!(!text.is_empty(), "expected a reason");
        ensure!(
            !farm.worker_folder("w1").join("worker.toml").exists(),
            "a foreign master was believed"
        );
        Ok(())
    });
}

#[test]
fn text_that_is_no_join_string_is_refused() {
    story(|farm| {
        let text = refusal(&farm.join("w1", "capstan-join-nonsense")?)?;
        assert!(text.contains("join string"), "{text}");
        Ok(())
    });
}

#[test]
fn a_revoked_worker_does_not_come_back() {
    story(|farm| {
        serving(farm)?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["worker", "revoke", "w1"])?;
        let status = farm.worker("w1")?.wait(BOUND)?;
        ensure!(
            !status.success(),
            "expected the revoked worker to end with an error, found {status}"
        );
        farm.kill_worker("w1")?;
        farm.launch_worker("w1")?
            .wait_until_printed("was revoked", BOUND)?;
        assert_eq!(farm.api()?.get("/workers/w1")?["connected"], false);
        Ok(())
    });
}

#[test]
fn a_paused_worker_gets_no_builds_until_it_is_unpaused() {
    story(|farm| {
        serving(farm)?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["worker", "pause", "w1", "--reason", "new disk"])?;
        assert!(farm.capstan_ok(&["worker", "list"])?.contains("new disk"));
        farm.api()?.post("/builders/hello/force", &json!({}))?;
        assert_eq!(farm.api()?.get("/builds")?["builds"], json!([]));
        farm.capstan_ok(&["worker", "unpause", "w1"])?;
        assert_eq!(farm.finished("hello", 1)?["outcome"], "success");
        Ok(())
    });
}

#[test]
fn control_needs_the_token_and_reading_does_not() {
    story(|farm| {
        serving(farm)?;
        for token in [None, Some("guess"), Some("")] {
            let stranger = farm.api()?.with_token(token);
            let (status, answer) = stranger.try_post("/builders/hello/force", &json!({}))?;
            assert!(matches!(status, 401 | 403), "{token:?}: {status} {answer}");
            assert!(answer["error"]["message"].is_string(), "{answer}");
            assert_eq!(stranger.try_get("/builds")?.0, 200);
        }
        assert_eq!(
            farm.api()?.get("/builds")?["builds"],
            json!([]),
            "a stranger started a build"
        );
        let mode =
            std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(farm.folder().join("data/token"))?);
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    });
}

#[test]
fn a_wrong_request_is_answered_in_words() {
    story(|farm| {
        serving(farm)?;
        let api = farm.api()?;
        for path in [
            "/builds/999",
            "/builders/none",
            "/logs/999",
            "/workers/none",
            "/nothing",
        ] {
            let (status, answer) = api.try_get(path)?;
            assert_eq!(status, 404, "{path}: {answer}");
            assert!(answer["error"]["message"].is_string(), "{path}: {answer}");
        }
        let (status, answer) = api.try_post("/builders/none/force", &json!({}))?;
        assert_eq!(status, 404, "{answer}");
        let (status, answer) = api.try_post("/builders/hello/force", &json!({ "priority": "high" }))?;
        assert!(
            (400..500).contains(&status) && answer["error"]["message"].is_string(),
            "{status} {answer}"
        );
        Ok(())
    });
}
