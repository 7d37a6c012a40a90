//! New versions whose translation of the old state is hostile: each stays out, and the version before goes on where it was.

use anyhow::{Context as _, Result, ensure};
use capstan_hostile::{Guest, corpus};
use capstan_tests::versions::with_manifest;
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::{Value, json};

use crate::exchange::*;

/// Guests of the hostile corpus, by the plugin that each takes the place of: what a trap, an endless loop, a huge answer, a
/// wrong type and a state that cannot be read come to.
const TRANSLATIONS: [(&str, &[&str]); 2] = [
    (
        "swap-scheduler",
        &["traps", "loops", "huge", "answers-text", "translated-badly"],
    ),
    (
        "swap-source",
        &["loops-of-a-source", "huge-cursor", "answers-at-once"],
    ),
];

/// How many changes there are; as many as five a second come meanwhile.
const CHANGES: u64 = 600;

/// The guest as a version of another plugin.
fn as_version_of(plugin: &str, guest: &Guest, version: &str) -> Result<Vec<u8>> {
    with_manifest(&guest.bytes, |manifest| {
        manifest["plugin"]["name"] = plugin.into();
        manifest["plugin"]["version"] = version.into();
        manifest["rights"] = json!({});
    })
}

/// Waits until the list of plugins says that this version is not used.
fn wait_stays_out(farm: &Farm, plugin: &str, guest: &Guest, version: &str) -> Result<Value> {
    wait_for(&format!("{} to stay out", guest.name), BOUND, || {
        let out = |row: &Value| match guest.header.is_refused() {
            // What does not even load is no version: the row of the old one says so.
            true => row["state"] == "kept" && row["note"].to_string().contains("has another signature"),
            false => row["state"] == "refused" && row["version"] == version,
        };
        Ok(rows(farm, plugin)?.into_iter().find(out))
    })
}

#[test]
fn a_version_whose_translation_is_hostile_leaves_the_old_one_in_use() {
    let guests = corpus(9).expect("the corpus can be made");
    story(|farm| {
        grant(farm)?;
        put_all(farm, "0.1.0", "v1")?;
        farm.write("ci.star", configuration(CHANGES, 5, 0))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        wait_builds(farm, 1)?;
        for (plugin, names) in TRANSLATIONS {
            for (place, name) in names.iter().enumerate() {
                let name = format!("migration-{name}");
                let guest = guests.iter().find(|guest| guest.name == name);
                let guest = guest.with_context(|| format!("expected the guest {name}"))?;
                let version = format!("0.{}.0", place + 2);
                put(farm, plugin, &as_version_of(plugin, guest, &version)?)?;
                let row = wait_stays_out(farm, plugin, guest, &version)?;
                println!("{name}: {} {}", row["error"], row["note"]);
                ensure!(in_force(farm, plugin)?.as_deref() == Some("0.1.0"), "{name}");
            }
        }
        wait_builds(farm, usize::try_from(CHANGES / 10)?)?;
        let marks = ensure_all_in_order(&reasons(farm)?, CHANGES)?;
        ensure!(marks.iter().all(|mark| mark == "v1"), "{marks:?}");
        Ok(())
    });
}
