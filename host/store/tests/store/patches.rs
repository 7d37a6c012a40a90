//! Patches on source stamps, changes that are sent, and who is blamed for what. The same on both databases.

use capstan_model::{BuildId, Outcome, Patch, RequestId, SourceStamp};
use capstan_store::{Consumed, Decision, Error, NewBuildset, SchedulerEvent, Suspect};
use serde_json::json;

use crate::farm::{Farm, at, finish, new_change, stamp};
use crate::on_both;

on_both! {
    a_patch_goes_with_what_comes_of_its_call_and_of_its_buildset
    a_patch_that_fits_no_source_is_refused
    a_patched_request_is_like_no_other_and_replaces_none
    a_change_that_is_sent_is_a_change_like_any_other
    those_are_blamed_whose_changes_came_since_the_last_good_build
}

const DIFF: &str = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n";

fn decision(sources: Vec<SourceStamp>) -> Decision {
    Decision {
        buildsets: vec![NewBuildset {
            scheduler: Some("try".to_owned()),
            builders: vec!["linux".to_owned()],
            sources,
            ..NewBuildset::default()
        }],
        ..Decision::default()
    }
}

fn call(codebase: &str) -> serde_json::Value {
    json!({ "kind": "try", "patch": { "body": DIFF, "level": 2, "author": "Ann", "codebase": codebase } })
}

async fn a_patch_goes_with_what_comes_of_its_call_and_of_its_buildset(farm: &Farm) {
    let store = &farm.store;
    store
        .follow(vec![("try".to_owned(), "after".to_owned())])
        .await
        .unwrap();
    store.call_scheduler("try", "k", call(""), at(1)).await.unwrap();
    let (id, event) = store.next_event("try").await.unwrap().unwrap();
    let SchedulerEvent::Call(told) = event else {
        panic!("expected a call, found {event:?}")
    };
    assert!(
        !told.to_string().contains("+++"),
        "the scheduler is told of the patch, not its text: {told}"
    );
    assert_eq!(
        (&told["patch"]["bytes"], &told["patch"]["level"]),
        (&json!(DIFF.len()), &json!(2))
    );
    let mut sources = vec![stamp("main", "abc")];
    let made = store
        .commit_decision("try", Consumed::Event(id), decision(sources.clone()), at(2))
        .await
        .unwrap();
    let request = store.request(made[0].requests[0]).await.unwrap().unwrap();
    let patch = Patch {
        level: 2,
        author: "Ann".to_owned(),
        ..Patch::of(DIFF)
    };
    sources[0].patch = Some(patch.clone());
    assert_eq!(request.sources, sources);
    assert_eq!(
        store.blob(patch.digest).await.unwrap().as_deref(),
        Some(DIFF.as_bytes())
    );
    // The build, too; and what others make of the complete buildset.
    let build = farm.new_build("linux", &made[0].requests, &["checkout"]).await;
    let build = store
        .create_build(
            capstan_store::NewBuild {
                sources: sources.clone(),
                ..build
            },
            at(3),
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.build(build.id).await.unwrap().unwrap().sources, sources);
    store
        .finish_build(build.id, finish(Outcome::Success), at(4))
        .await
        .unwrap();
    let (id, _) = store.next_event("after").await.unwrap().unwrap();
    let after = store
        .commit_decision(
            "after",
            Consumed::Event(id),
            decision(vec![stamp("main", "abc")]),
            at(5),
        )
        .await
        .unwrap();
    let request = store.request(after[0].requests[0]).await.unwrap().unwrap();
    assert_eq!(request.sources[0].patch, Some(patch.clone()));
    // A step of a patched build asks for builds of its own sources.
    let asked = json!({ "kind": "trigger", "sources": sources });
    store.call_scheduler("child", "k2", asked, at(6)).await.unwrap();
    let (id, _) = store.next_event("child").await.unwrap().unwrap();
    let child = store
        .commit_decision(
            "child",
            Consumed::Event(id),
            decision(vec![stamp("main", "abc")]),
            at(7),
        )
        .await
        .unwrap();
    assert_eq!(
        store.buildset(child[0].buildset).await.unwrap().unwrap().sources[0].patch,
        Some(patch)
    );
}

async fn a_patch_that_fits_no_source_is_refused(farm: &Farm) {
    let store = &farm.store;
    for (key, body) in [
        ("1", " "),
        ("2", &"x".repeat(capstan_model::MAX_PATCH + 1)),
        ("3", "a\0b"),
    ] {
        let call = json!({ "kind": "try", "patch": { "body": body } });
        let refused = store.call_scheduler("try", key, call, at(1)).await.unwrap_err();
        assert!(
            refused.to_string().contains("patch.body: expected"),
            "{refused:.200}"
        );
    }
    assert_eq!(store.next_event("try").await.unwrap(), None);
    let both = || {
        ["app", "lib"].map(|codebase| SourceStamp {
            codebase: codebase.to_owned(),
            ..stamp("main", "abc")
        })
    };
    store
        .call_scheduler("try", "4", call("doc"), at(1))
        .await
        .unwrap();
    let (id, _) = store.next_event("try").await.unwrap().unwrap();
    let refused = store
        .commit_decision("try", Consumed::Event(id), decision(both().into()), at(2))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }));
    assert!(
        refused.to_string().contains("found `doc`; there is `app`, `lib`"),
        "{refused}"
    );
    // With one that fits, the event is still there.
    store
        .scheduler_failed("try", Consumed::Event(id), "no", at(3))
        .await
        .unwrap();
    store
        .call_scheduler("try", "5", call("lib"), at(4))
        .await
        .unwrap();
    let (id, _) = store.next_event("try").await.unwrap().unwrap();
    let made = store
        .commit_decision("try", Consumed::Event(id), decision(both().into()), at(5))
        .await
        .unwrap();
    let sources = store.buildset(made[0].buildset).await.unwrap().unwrap().sources;
    let patched: Vec<_> = sources.iter().map(|source| source.patch.is_some()).collect();
    assert_eq!(patched, [false, true]);
}

async fn a_patched_request_is_like_no_other_and_replaces_none(farm: &Farm) {
    let store = &farm.store;
    store.put_blob(DIFF.as_bytes().to_vec()).await.unwrap();
    let submit = async |patched: bool| -> RequestId {
        let set = NewBuildset {
            builders: vec!["linux".to_owned()],
            sources: vec![SourceStamp {
                patch: patched.then(|| Patch::of(DIFF)),
                ..stamp("main", "abc")
            }],
            cancel_older_of: vec!["linux".to_owned()],
            ..NewBuildset::default()
        };
        store.submit(set, at(1)).await.unwrap().requests[0]
    };
    let first = submit(false).await;
    let tried = submit(true).await;
    submit(true).await;
    let entries = store.queue_entries().await.unwrap();
    let mut likenesses: Vec<_> = entries.iter().map(|entry| entry.likeness.to_string()).collect();
    assert_eq!(likenesses.len(), 3, "nothing was replaced");
    likenesses.sort();
    likenesses.dedup();
    assert_eq!(likenesses.len(), 3, "no two are served by one build");
    submit(false).await;
    let state = async |id| store.request(id).await.unwrap().unwrap().outcome;
    assert_eq!(
        state(first).await,
        Some(Outcome::Cancelled),
        "a newer state of the branch replaces the older one"
    );
    assert_eq!(state(tried).await, None);
}

async fn a_change_that_is_sent_is_a_change_like_any_other(farm: &Farm) {
    let store = &farm.store;
    let told = ["one".to_owned(), "two".to_owned()];
    let sent = store
        .send_change("sent", new_change("k"), &told, at(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((sent.source.as_str(), &sent.facts), ("sent", &new_change("k")));
    for scheduler in &told {
        let (_, event) = store.next_event(scheduler).await.unwrap().unwrap();
        assert_eq!(event, SchedulerEvent::Change(Box::new(sent.clone())));
    }
    let again = store
        .send_change("sent", new_change("k"), &["three".to_owned()], at(6))
        .await
        .unwrap();
    assert_eq!(again, None);
    assert_eq!(store.next_event("three").await.unwrap(), None);
    assert_eq!(store.change_by_key("sent", "k").await.unwrap(), Some(sent));
    assert_eq!(store.change_by_key("other", "k").await.unwrap(), None);
    assert_eq!(
        store.source_cursor("sent").await.unwrap(),
        None,
        "nobody polls it"
    );
}

/// A build of a change by this author; answers it and the change.
async fn built(farm: &Farm, branch: &str, author: &str, outcome: Outcome) -> BuildId {
    let request = requested(farm, branch, author).await;
    let build = farm.new_build("linux", &[request], &[]).await;
    let sources = vec![stamp(branch, "abc")];
    let build = capstan_store::NewBuild { sources, ..build };
    let build = farm.store.create_build(build, at(2)).await.unwrap().unwrap();
    farm.store
        .finish_build(build.id, finish(outcome), at(3))
        .await
        .unwrap();
    build.id
}

async fn requested(farm: &Farm, branch: &str, author: &str) -> RequestId {
    let mut change = new_change(&format!("{branch}/{author}"));
    change.author = author.to_owned();
    let change = farm.store.send_change("sent", change, &[], at(1)).await.unwrap();
    let set = NewBuildset {
        builders: vec!["linux".to_owned()],
        sources: vec![stamp(branch, "abc")],
        changes: change.map(|change| change.id).into_iter().collect(),
        ..NewBuildset::default()
    };
    farm.store.submit(set, at(1)).await.unwrap().requests[0]
}

async fn those_are_blamed_whose_changes_came_since_the_last_good_build(farm: &Farm) {
    let store = &farm.store;
    let early = built(farm, "main", "Zoe", Outcome::Failure).await;
    let good = built(farm, "main", "Ann", Outcome::Warnings).await;
    built(farm, "main", "Bob", Outcome::Failure).await;
    built(farm, "topic", "Eve", Outcome::Success).await;
    let cancelled = requested(farm, "main", "Max").await;
    store
        .cancel_request(cancelled, "superseded", at(3))
        .await
        .unwrap();
    let bad = built(farm, "main", "Kim", Outcome::Exception).await;
    built(farm, "main", "Late", Outcome::Failure).await;
    let blame = store.blame(bad).await.unwrap().unwrap();
    let names = |people: &[Suspect]| {
        people
            .iter()
            .map(|suspect| suspect.author.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&blame.people),
        ["Kim", "Max", "Bob"],
        "nobody has built what Max did"
    );
    assert_eq!((blame.since, blame.truncated), (Some((good, 2)), false));
    assert_eq!(blame.people[0].changes.len(), 1);
    let blame = store.blame(early).await.unwrap().unwrap();
    assert_eq!(
        (names(&blame.people), blame.since),
        (vec!["Zoe".to_owned()], None)
    );
    assert_eq!(store.blame(BuildId(999)).await.unwrap(), None);
}
