//! Removing what is old: all of a build goes and nothing else, in small transactions; what somebody needs stays, whatever is asked
//! for. The same on both databases.

use std::collections::BTreeSet;

use capstan_model::journal::{Effect, Kind};
use capstan_model::plan::Bundle;
use capstan_model::{BuildId, Digest, Outcome, StepId, Stored};
use capstan_store::{Aged, Consumed, Decision, EventFilter, File, NewBuildset, NewReport};
use serde_json::json;

use crate::farm::{Farm, at, finish, new_command, one_change, row};
use crate::on_both;
use crate::schema::texts;

on_both! {
    a_build_goes_with_all_that_it_has_and_its_files_are_noted
    a_long_journal_goes_in_small_transactions
    what_runs_is_kept_or_is_reported_stays
    the_last_good_build_of_each_branch_is_known
    the_build_that_blame_goes_back_to_is_a_last_good_one
    a_build_that_is_half_gone_goes_on_going
    what_a_parent_waits_for_stays
    logs_and_artefacts_go_without_their_build
    what_is_done_goes_by_its_age
    a_blob_that_somebody_names_stays
}

async fn ended(farm: &Farm, builder: &str, outcome: Outcome) -> (BuildId, StepId) {
    let request = farm.request(builder, 0).await;
    let build = farm.build(builder, &[request], &["test"]).await;
    farm.store
        .finish_build(build.id, finish(outcome), at(40))
        .await
        .unwrap();
    (build.id, build.steps[0])
}

/// A build with a journal, a command with its log, an artefact, a payload that is a blob.
async fn full(farm: &Farm) -> (BuildId, StepId) {
    let (build, step) = farm.running_step().await;
    let command = Some(new_command(&farm.store, step, 1));
    let start = vec![row(1, Kind::Start)];
    farm.store
        .append_journal(step, start, vec![], command, at(31))
        .await
        .unwrap();
    let mut end = row(2, Kind::End);
    end.response = Some(json!("x".repeat(100_000)));
    let stored = Stored {
        name: "dist/app".to_owned(),
        size: 9,
        sha256: Digest::of(b"app"),
    };
    let effects = vec![Effect::AddArtefact(stored)];
    farm.store
        .append_journal(step, vec![end], effects, None, at(32))
        .await
        .unwrap();
    farm.store
        .finish_build(build, finish(Outcome::Failure), at(40))
        .await
        .unwrap();
    (build, step)
}

async fn files(farm: &Farm) -> Vec<File> {
    let list = farm.store.file_removals(0, 100).await.unwrap();
    list.into_iter().map(|entry| entry.file).collect()
}

/// Rows of all tables that hang on builds.
async fn rows(farm: &Farm) -> BTreeSet<String> {
    let tables = [
        "builds",
        "steps",
        "journal",
        "logs",
        "commands",
        "artefacts",
        "step_links",
        "build_properties",
        "build_sources",
        "build_branches",
        "build_requests",
        "interruptions",
        "outbox",
    ];
    let mut found = BTreeSet::new();
    for table in tables {
        let count = texts(&farm.url, format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}")).await;
        found.extend(
            count
                .into_iter()
                .filter(|count| count != "0")
                .map(|count| format!("{table} {count}")),
        );
    }
    found
}

async fn a_build_goes_with_all_that_it_has_and_its_files_are_noted(farm: &Farm) {
    let (build, step) = full(farm).await;
    let log = farm.store.logs(step).await.unwrap()[0].id;
    let slice = farm.store.remove_builds(vec![build], at(90)).await.unwrap();
    assert_eq!((slice.done, slice.removed), (1, 1));
    assert_eq!(rows(farm).await, BTreeSet::new());
    let noted = files(farm).await;
    assert!(noted.contains(&File::Log(log)), "{noted:?}");
    assert!(noted.contains(&File::Artefact(Digest::of(b"app"))), "{noted:?}");
    assert!(matches!(noted[..], [File::Blob(_), _, _]), "{noted:?}");
    let gone = farm.store.removed_build(build).await.unwrap().unwrap();
    assert_eq!((gone.finished, gone.removed), (at(40), at(90)));
    assert_eq!(
        farm.store.removed_build_by_number("b", 1).await.unwrap(),
        Some(gone)
    );
    // Its number is not given again.
    let (next, _) = ended(farm, "b", Outcome::Success).await;
    assert_eq!(farm.store.build(next).await.unwrap().unwrap().number, 2);
    assert_eq!(farm.store.removed_build(next).await.unwrap(), None);
}

async fn a_long_journal_goes_in_small_transactions(farm: &Farm) {
    let (build, step) = farm.running_step().await;
    for first in (1..1500u32).step_by(500) {
        let entries = (first..first + 500).map(|seq| row(seq, Kind::Local)).collect();
        farm.store
            .append_journal(step, entries, vec![], None, at(31))
            .await
            .unwrap();
    }
    farm.store
        .finish_build(build, finish(Outcome::Success), at(40))
        .await
        .unwrap();
    let (other, _) = ended(farm, "b", Outcome::Success).await;
    let mut left = vec![build, other];
    let mut slices = 0;
    while !left.is_empty() {
        let slice = farm.store.remove_builds(left.clone(), at(90)).await.unwrap();
        assert!(slice.rows <= 600, "{slice:?}");
        left.drain(..slice.done);
        slices += 1;
        assert!(slices < 10, "it comes to an end");
    }
    assert!(slices >= 3);
    assert_eq!(rows(farm).await, BTreeSet::new());
}

async fn what_runs_is_kept_or_is_reported_stays(farm: &Farm) {
    let request = farm.request("b", 0).await;
    let running = farm.build("b", &[request], &["test"]).await.id;
    let (kept, _) = ended(farm, "b", Outcome::Failure).await;
    assert!(farm.store.keep_build(kept, Some("a release")).await.unwrap());
    assert!(
        !farm
            .store
            .keep_build(BuildId(999), Some("nothing"))
            .await
            .unwrap()
    );
    let request = farm.request("b", 0).await;
    let reported = farm.build("b", &[request], &["test"]).await.id;
    let mut end = finish(Outcome::Failure);
    end.reports = vec![NewReport {
        reporter: "chat".to_owned(),
        phase: "finished".to_owned(),
    }];
    farm.store.finish_build(reported, end, at(40)).await.unwrap();
    let all = vec![running, kept, reported];
    let slice = farm.store.remove_builds(all.clone(), at(90)).await.unwrap();
    assert_eq!((slice.done, slice.removed), (3, 0));
    for part in [
        farm.store.remove_logs(all.clone(), at(90)).await.unwrap(),
        farm.store.remove_artefacts(all.clone(), at(90)).await.unwrap(),
    ] {
        assert_eq!((part.done, part.removed), (3, 0));
    }
    let builder = farm.store.built().await.unwrap()[0].id;
    let seen = farm.store.ended_builds(builder, 0, 10).await.unwrap();
    let seen: Vec<_> = seen
        .iter()
        .map(|build| (build.number, build.kept, build.reporting))
        .collect();
    assert_eq!(seen, [(2, true, false), (3, false, true)]);
    // What is kept no more may go.
    farm.store.keep_build(kept, None).await.unwrap();
    let slice = farm.store.remove_builds(vec![kept], at(90)).await.unwrap();
    assert_eq!(slice.removed, 1);
}

async fn the_last_good_build_of_each_branch_is_known(farm: &Farm) {
    for (branch, outcome) in [
        ("main", Outcome::Success),
        ("old", Outcome::Warnings),
        ("main", Outcome::Success),
        ("main", Outcome::Failure),
        ("new", Outcome::Failure),
    ] {
        let request = farm.request("b", 0).await;
        let mut new = farm.new_build("b", &[request], &["test"]).await;
        new.sources = vec![crate::farm::stamp(branch, "abc")];
        let build = farm.store.create_build(new, at(20)).await.unwrap().unwrap();
        farm.store
            .finish_build(build.id, finish(outcome), at(40))
            .await
            .unwrap();
    }
    // Of another builder, and so no reason to give any of these up.
    ended(farm, "other", Outcome::Success).await;
    let builder = farm.store.built().await.unwrap()[0].id;
    let seen = farm.store.ended_builds(builder, 0, 10).await.unwrap();
    let good: Vec<_> = seen
        .iter()
        .filter(|build| build.last_good)
        .map(|build| build.number)
        .collect();
    assert_eq!(good, [2, 3]);
    let nth = |outcomes: &'static [Outcome], nth| farm.store.nth_newest(builder, outcomes, nth);
    assert_eq!(nth(&[Outcome::Success], 1).await.unwrap(), Some(3));
    assert_eq!(nth(&[Outcome::Success], 2).await.unwrap(), Some(1));
    assert_eq!(nth(&[Outcome::Success], 3).await.unwrap(), None);
    assert_eq!(
        nth(&[Outcome::Failure, Outcome::Warnings], 3).await.unwrap(),
        Some(2)
    );
}

async fn the_build_that_blame_goes_back_to_is_a_last_good_one(farm: &Farm) {
    const DIFF: &str = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n";
    let call = json!({ "kind": "try", "patch": { "body": DIFF } });
    farm.store.call_scheduler("try", "k", call, at(1)).await.unwrap();
    let on = |branch: Option<&str>| capstan_model::SourceStamp {
        branch: branch.map(str::to_owned),
        ..crate::farm::stamp("main", "abc")
    };
    let mut patched = on(Some("main"));
    patched.patch = Some(capstan_model::Patch::of(DIFF));
    let mut library = on(Some("main"));
    library.codebase = "lib".to_owned();
    for (sources, expected) in [
        (vec![on(Some("main"))], &[1][..]),
        // Nobody's work on the branch as it is: but the newest of the builder all the same.
        (vec![patched], &[1, 2]),
        // Of another branch, whatever its library is.
        (vec![on(Some("topic")), library], &[1, 3]),
        (vec![on(None)], &[1, 3, 4]),
        (vec![on(Some("main"))], &[3, 4, 5]),
    ] {
        let request = farm.request("b", 0).await;
        let mut new = farm.new_build("b", &[request], &["test"]).await;
        new.sources = sources;
        let build = farm.store.create_build(new, at(20)).await.unwrap().unwrap();
        farm.store
            .finish_build(build.id, finish(Outcome::Success), at(40))
            .await
            .unwrap();
        let builder = farm.store.built().await.unwrap()[0].id;
        let seen = farm.store.ended_builds(builder, 0, 10).await.unwrap();
        let good = seen.iter().filter(|build| build.last_good);
        assert_eq!(good.map(|build| build.number).collect::<Vec<_>>(), expected);
    }
}

async fn a_build_that_is_half_gone_goes_on_going(farm: &Farm) {
    let (build, step) = farm.running_step().await;
    let entries = (1..=800).map(|seq| row(seq, Kind::Local)).collect();
    farm.store
        .append_journal(step, entries, vec![], None, at(31))
        .await
        .unwrap();
    farm.store
        .finish_build(build, finish(Outcome::Success), at(40))
        .await
        .unwrap();
    assert_eq!(farm.store.half_removed().await.unwrap(), []);
    let slice = farm.store.remove_builds(vec![build], at(90)).await.unwrap();
    assert_eq!((slice.done, slice.removed), (0, 0), "only its beginning");
    assert_eq!(farm.store.half_removed().await.unwrap(), [build]);
    // It is whole no more: too late to keep it.
    assert!(!farm.store.keep_build(build, Some("a release")).await.unwrap());
    while farm.store.half_removed().await.unwrap() == [build] {
        let slice = farm.store.remove_builds(vec![build], at(91)).await.unwrap();
        assert!(slice.rows > 0, "it comes to an end");
    }
    assert_eq!(rows(farm).await, BTreeSet::new());
}

async fn what_a_parent_waits_for_stays(farm: &Farm) {
    let request = farm.request("parent", 0).await;
    let parent = farm.build("parent", &[request], &["ask"]).await.id;
    let store = &farm.store;
    let asked = store.call_scheduler_for(parent, "go", "step/1/1", json!({ "kind": "trigger" }), at(1));
    asked.await.unwrap();
    let (event, _) = store.next_event("go").await.unwrap().unwrap();
    let decision = Decision {
        buildsets: vec![NewBuildset {
            scheduler: Some("go".to_owned()),
            builders: vec!["child".to_owned()],
            ..NewBuildset::default()
        }],
        ..Decision::default()
    };
    let made = store.commit_decision("go", Consumed::Event(event), decision, at(2));
    let made = made.await.unwrap().remove(0);
    let child = farm.build("child", &made.requests, &["test"]).await.id;
    store
        .finish_build(child, finish(Outcome::Failure), at(30))
        .await
        .unwrap();
    assert_eq!(store.remove_builds(vec![child], at(90)).await.unwrap().removed, 0);
    assert_eq!(
        go(farm, Aged::Buildsets, 80).await + go(farm, Aged::Calls, 80).await,
        0
    );
    store
        .finish_build(parent, finish(Outcome::Failure), at(40))
        .await
        .unwrap();
    assert_eq!(store.remove_builds(vec![child], at(90)).await.unwrap().removed, 1);
    assert!(go(farm, Aged::Buildsets, 80).await > 0);
    assert_eq!(go(farm, Aged::Calls, 80).await, 1);
}

async fn logs_and_artefacts_go_without_their_build(farm: &Farm) {
    let (build, step) = full(farm).await;
    let log = farm.store.logs(step).await.unwrap()[0].id;
    farm.store.complete_log(log, 700, 3, at(35)).await.unwrap();
    let weight = farm.store.logs_weigh(&[build]).await.unwrap();
    assert_eq!((weight.count, weight.bytes), (1, 700));
    assert_eq!(farm.store.artefacts_weigh(&[build]).await.unwrap().bytes, 9);
    assert_eq!(farm.store.removed_log(log).await.unwrap(), None);
    farm.store.remove_logs(vec![build], at(90)).await.unwrap();
    farm.store.remove_artefacts(vec![build], at(91)).await.unwrap();
    assert_eq!(
        files(farm).await,
        [File::Log(log), File::Artefact(Digest::of(b"app"))]
    );
    // What there was of the log is still said; nobody tries to seal it.
    assert_eq!(farm.store.log(log).await.unwrap().unwrap().lines, 3);
    assert_eq!(farm.store.unsealed_logs(None, 10).await.unwrap(), []);
    assert_eq!(
        farm.store.removed_log(log).await.unwrap().unwrap().removed,
        at(90)
    );
    assert_eq!(farm.store.artefacts(build).await.unwrap(), []);
    assert_eq!(
        farm.store
            .removed_artefacts(build)
            .await
            .unwrap()
            .unwrap()
            .removed,
        at(91)
    );
    assert_eq!(farm.store.logs_weigh(&[build]).await.unwrap().count, 0);
    let builder = farm.store.built().await.unwrap()[0].id;
    let seen = &farm.store.ended_builds(builder, 0, 10).await.unwrap()[0];
    assert!(seen.logs_removed && seen.artefacts_removed);
}

async fn go(farm: &Farm, what: Aged, before: i64) -> u64 {
    let page = farm.store.aged(what, at(before), 0).await.unwrap();
    match page.old.is_empty() {
        true => 0,
        false => farm.store.remove_aged(what, page.old).await.unwrap(),
    }
}

async fn what_is_done_goes_by_its_age(farm: &Farm) {
    let change = one_change(&farm.store, "a", &["s".to_owned()]).await;
    let (build, _) = ended(farm, "b", Outcome::Success).await;
    // The build is still there, the scheduler has not been told of the change, and the stamp is the build's.
    for what in [Aged::Buildsets, Aged::Changes, Aged::Stamps] {
        assert_eq!(go(farm, what, 1000).await, 0, "{what:?}");
    }
    farm.store.remove_builds(vec![build], at(90)).await.unwrap();
    assert_eq!(go(farm, Aged::Buildsets, 40).await, 0, "it ended then");
    assert_eq!(go(farm, Aged::Buildsets, 41).await, 1);
    assert_eq!(go(farm, Aged::Stamps, 41).await, 1);
    crate::schema::execute(&farm.url, "DELETE FROM scheduler_events").await;
    assert_eq!(go(farm, Aged::Changes, 6).await, 1);
    assert_eq!(farm.store.change(change).await.unwrap(), None);
    // A scheduler may remember it for longer; what it builds with others is built all the same.
    let newer = one_change(&farm.store, "b", &[]).await;
    let set = |changes| NewBuildset {
        changes,
        builders: vec!["b".to_owned()],
        ..NewBuildset::default()
    };
    let made = farm.store.submit(set(vec![change, newer]), at(80)).await.unwrap();
    let made = farm.store.buildset(made.buildset).await.unwrap().unwrap();
    assert_eq!(made.changes, [newer]);
    let never = capstan_model::ChangeId(newer.0 + 1);
    assert!(farm.store.submit(set(vec![never]), at(80)).await.is_err());
    assert_eq!(go(farm, Aged::Removed, 90).await, 0);
    assert_eq!(go(farm, Aged::Removed, 91).await, 1);
    // The newest event stays: followers go on from it.
    let newest = farm.store.last_event_id().await.unwrap();
    assert!(go(farm, Aged::Events, 1_000_000).await > 1);
    assert_eq!(farm.store.last_event_id().await.unwrap(), newest);
    let left = farm
        .store
        .events_after(capstan_model::EventId(0), &EventFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    for what in [Aged::Calls, Aged::Reports, Aged::Refusals] {
        assert_eq!(go(farm, what, 1_000_000).await, 0);
    }
}

async fn a_blob_that_somebody_names_stays(farm: &Farm) {
    let bundle = Bundle {
        entry: "ci.star".to_owned(),
        files: [("ci.star".to_owned(), b"worker('w')".to_vec())].into(),
        ..Bundle::default()
    };
    farm.store.put_plan(bundle, at(1)).await.unwrap();
    let named = Digest::of(b"worker('w')");
    let (build, _) = full(farm).await;
    let payload = Digest::of(json!("x".repeat(100_000)).to_string().as_bytes());
    let loose = farm.store.put_blob(b"loose".to_vec()).await.unwrap();
    assert_eq!(
        farm.store
            .remove_blobs(vec![named, payload, loose])
            .await
            .unwrap(),
        1
    );
    assert!(farm.store.blob(named).await.unwrap().is_some());
    assert!(farm.store.blob(payload).await.unwrap().is_some());
    farm.store.remove_builds(vec![build], at(90)).await.unwrap();
    assert_eq!(farm.store.remove_blobs(vec![named, payload]).await.unwrap(), 1);
    assert_eq!(farm.store.blob(payload).await.unwrap(), None);
    let list = farm.store.file_removals(0, 100).await.unwrap();
    farm.store
        .forget_removals(list.iter().map(|entry| entry.id).collect())
        .await
        .unwrap();
    assert_eq!(farm.store.file_removals(0, 100).await.unwrap(), []);
}

/// A new table that refers to something that retention removes would stop it, or make each removal read a whole table.
#[tokio::test]
async fn retention_knows_every_reference_to_what_it_removes() {
    let farm = Farm::sqlite().await;
    let removed =
        "'builds','steps','logs','requests','buildsets','changes','source_stamps','scheduler_calls'";
    let references = format!(
        "SELECT tables.name || '.' || refs.\"from\" FROM sqlite_schema AS tables
         JOIN pragma_foreign_key_list(tables.name) AS refs WHERE tables.type = 'table' AND refs.\"table\" IN ({removed})"
    );
    let found = texts(&farm.url, references.clone()).await;
    let known = [
        "artefacts.build_id",
        "artefacts.step_id",
        "build_branches.build",
        "build_properties.build",
        "build_requests.build",
        "build_requests.request",
        "build_sources.build",
        "build_sources.source_stamp",
        "buildset_changes.buildset",
        "buildset_changes.change",
        "buildset_sources.buildset",
        "buildset_sources.source_stamp",
        "commands.log",
        "commands.step",
        "interruptions.build",
        "journal.step",
        "logs.step",
        "outbox.build",
        "requests.buildset",
        "step_links.step",
        "steps.build",
        "steps.parent",
    ];
    let known: BTreeSet<_> = known.into_iter().map(str::to_owned).collect();
    assert_eq!(
        found, known,
        "host/store/src/retention/removing.rs and aged.rs have to remove what is new here"
    );
    let indexed = format!(
        "{references} AND EXISTS (SELECT 1 FROM pragma_index_list(tables.name) AS indexes
         JOIN pragma_index_info(indexes.name) AS parts WHERE parts.seqno = 0 AND parts.name = refs.\"from\")"
    );
    assert_eq!(
        texts(&farm.url, indexed).await,
        known,
        "each needs an index that begins with it"
    );
    farm.end().await;
}
