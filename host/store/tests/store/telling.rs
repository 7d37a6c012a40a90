//! What goes out: reports, the event feed; and who is there: workers. The same on both databases.

use std::time::Duration;

use capstan_model::journal::{Effect, Kind};
use capstan_model::{ChangeId, Digest, EventId, OutboxId, Outcome, Property, Timestamp};
use capstan_store::{
    Away, BuildFinish, Error, EventFilter, InviteError, LONGEST_PAUSE_MS, NewBuild, NewBuildset,
    NewCertificate, NewReport, ReportState, Requeued,
};
use serde_json::json;

use crate::farm::{Farm, at, finish, kinds, owner, row};
use crate::on_both;

on_both! {
    reports_are_retried_until_delivered_or_parked
    a_parked_report_goes_back_under_the_id_that_it_has
    a_clock_that_was_turned_back_holds_no_report_up
    a_reporter_hears_of_a_builds_moments_in_their_order
    a_report_says_the_same_however_late_it_is_delivered
    workers_come_and_go
    an_invitation_is_good_once_and_for_a_while
    a_revoked_worker_joins_again_only_with_a_new_invitation
    the_feed_tells_what_happened_in_order
    units_that_fail_cost_the_others_nothing
}

async fn reports_are_retried_until_delivered_or_parked(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    let report = |reporter: &str| NewReport {
        reporter: reporter.to_owned(),
        phase: "finished".to_owned(),
    };
    let end = BuildFinish {
        reports: vec![report("mail"), report("chat")],
        ..finish(Outcome::Success)
    };
    store.finish_build(build.id, end, at(40)).await.unwrap();
    assert_eq!(store.next_report_at(at(0)).await.unwrap(), Some(at(40)));
    let due = store.due_reports(at(40), None, 10).await.unwrap();
    let [mail, chat] = &due[..] else { panic!("{due:?}") };
    store.report_retry(mail.id, at(100), "503", at(41)).await.unwrap();
    store.report_parked(chat.id, "401", at(41)).await.unwrap();
    assert_eq!(store.due_reports(at(99), None, 10).await.unwrap(), []);
    assert_eq!(store.next_report_at(at(0)).await.unwrap(), Some(at(100)));
    let again = &store.due_reports(at(100), None, 10).await.unwrap()[0];
    assert_eq!(
        (&again.delivery_id, again.attempts, again.last_error.as_deref()),
        (&mail.delivery_id, 1, Some("503"))
    );
    store.report_delivered(mail.id, at(101)).await.unwrap();
    store.report_parked(mail.id, "late", at(102)).await.unwrap();
    let states: Vec<_> = store
        .reports(Some(build.id), 10)
        .await
        .unwrap()
        .iter()
        .map(|r| (r.state, r.finished))
        .collect();
    assert_eq!(
        states,
        [
            (ReportState::Parked, Some(at(41))),
            (ReportState::Delivered, Some(at(101)))
        ]
    );
    assert_eq!(store.next_report_at(at(0)).await.unwrap(), None);
    let told: Vec<_> = kinds(store)
        .await
        .into_iter()
        .filter(|kind| kind.starts_with("report."))
        .collect();
    assert_eq!(
        told,
        [
            "report.queued",
            "report.queued",
            "report.retried",
            "report.parked",
            "report.delivered"
        ]
    );
}

async fn a_parked_report_goes_back_under_the_id_that_it_has(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    let report = |reporter: &str| NewReport {
        reporter: reporter.to_owned(),
        phase: "finished".to_owned(),
    };
    let end = BuildFinish {
        reports: vec![report("mail"), report("chat"), report("status")],
        ..finish(Outcome::Success)
    };
    store.finish_build(build.id, end, at(40)).await.unwrap();
    let due = store.due_reports(at(40), None, 10).await.unwrap();
    let [mail, chat, status] = &due[..] else {
        panic!("{due:?}")
    };
    store.report_retry(mail.id, at(50), "503", at(41)).await.unwrap();
    store.report_parked(mail.id, "401", at(50)).await.unwrap();
    store.report_parked(chat.id, "403", at(50)).await.unwrap();
    let parked: Vec<_> = store.parked_reports(10).await.unwrap();
    let ids = |reports: &[capstan_store::Report]| reports.iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(ids(&parked), [chat.id, mail.id], "the newest first");
    assert_eq!(ids(&store.parked_reports(1).await.unwrap()), [chat.id]);

    let mut bell = store.work_bell();
    bell.borrow_and_update();
    assert_eq!(
        store.requeue_report(mail.id, at(60)).await.unwrap(),
        Requeued::Due
    );
    assert!(bell.has_changed().unwrap(), "who delivers is told");
    let again = store.requeue_report(mail.id, at(61)).await.unwrap();
    assert_eq!(again, Requeued::Not(ReportState::Pending));
    assert_eq!(
        store.requeue_report(OutboxId(99), at(61)).await.unwrap(),
        Requeued::Unknown
    );
    let due = store.due_reports(at(60), Some("mail"), 10).await.unwrap();
    let [back] = &due[..] else { panic!("{due:?}") };
    assert_eq!(
        (&back.delivery_id, back.attempts, back.finished, &back.payload),
        (&mail.delivery_id, 0, None, &mail.payload)
    );
    assert_eq!(
        back.last_error.as_deref(),
        Some("401"),
        "why it was parked stays to be seen"
    );

    store.report_parked(mail.id, "401", at(70)).await.unwrap();
    store.report_delivered(status.id, at(70)).await.unwrap();
    assert_eq!(store.requeue_reports(at(80)).await.unwrap(), 2);
    assert_eq!(store.requeue_reports(at(80)).await.unwrap(), 0);
    let due = store.due_reports(at(80), None, 10).await.unwrap();
    assert_eq!(ids(&due), [mail.id, chat.id], "what was delivered stays so");
    let told = kinds(store).await;
    let requeued = told.iter().filter(|kind| *kind == "report.requeued");
    assert_eq!(requeued.count(), 3);
}

async fn a_clock_that_was_turned_back_holds_no_report_up(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    let report = |reporter: &str| NewReport {
        reporter: reporter.to_owned(),
        phase: "finished".to_owned(),
    };
    let end = BuildFinish {
        reports: vec![report("mail"), report("chat")],
        ..finish(Outcome::Success)
    };
    let day = 24 * 3_600_000;
    store.finish_build(build.id, end, at(day)).await.unwrap();
    assert_eq!(store.due_reporters(at(0)).await.unwrap(), ["chat", "mail"]);
    let due = store.due_reports(at(0), Some("mail"), 10).await.unwrap();
    let [mail] = &due[..] else { panic!("{due:?}") };
    assert_eq!(mail.reporter, "mail");
    store
        .report_retry(mail.id, at(LONGEST_PAUSE_MS), "503", at(0))
        .await
        .unwrap();
    assert_eq!(
        store.due_reporters(at(0)).await.unwrap(),
        ["chat"],
        "a pause of the usual length is kept"
    );
    assert_eq!(
        store.next_report_at(at(0)).await.unwrap(),
        Some(at(LONGEST_PAUSE_MS))
    );
}

async fn a_reporter_hears_of_a_builds_moments_in_their_order(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    let report = |phase: &str| NewReport {
        reporter: "status".to_owned(),
        phase: phase.to_owned(),
    };
    let end = BuildFinish {
        reports: vec![report("started"), report("finished")],
        ..finish(Outcome::Success)
    };
    store.finish_build(build.id, end, at(40)).await.unwrap();
    let due = store.due_reports(at(40), None, 10).await.unwrap();
    let [started] = &due[..] else { panic!("{due:?}") };
    assert_eq!(started.phase, "started");
    store
        .report_retry(started.id, at(100), "503", at(41))
        .await
        .unwrap();
    assert_eq!(
        store.due_reports(at(99), None, 10).await.unwrap(),
        [],
        "the end must not overtake the start"
    );
    assert_eq!(store.next_report_at(at(0)).await.unwrap(), Some(at(100)));
    store.report_delivered(started.id, at(101)).await.unwrap();
    let due = store.due_reports(at(101), None, 10).await.unwrap();
    assert_eq!(
        due.iter().map(|r| r.phase.as_str()).collect::<Vec<_>>(),
        ["finished"]
    );
}

async fn a_report_says_the_same_however_late_it_is_delivered(farm: &Farm) {
    let store = &farm.store;
    let first = farm.request("b", 0).await;
    let earlier = farm.build("b", &[first], &[]).await;
    let second = farm.request("b", 0).await;
    let report = |phase: &str| NewReport {
        reporter: "status".to_owned(),
        phase: phase.to_owned(),
    };
    let property = |name: &str| Property {
        name: name.to_owned(),
        value: json!(1),
        source: "here".to_owned(),
    };
    let new = NewBuild {
        shown: None,
        directory: String::new(),
        locks: Vec::new(),
        properties: [property("given")].into_iter().collect(),
        reports: vec![report("started")],
        ..farm.new_build("b", &[second], &["test"]).await
    };
    let mut properties = new.properties.clone();
    properties.set("buildnumber", 2, "build");
    let build = store.create_build(new, at(20)).await.unwrap().unwrap();
    let at_once = store.due_reports(at(20), None, 10).await.unwrap();
    assert_eq!(at_once[0].payload.properties, Some(properties));
    assert_eq!(at_once[0].payload.previous_outcome, None);
    store
        .finish_build(earlier.id, finish(Outcome::Failure), at(30))
        .await
        .unwrap();
    let step = build.steps[0];
    store
        .begin_step(step, row(0, Kind::Created), at(31))
        .await
        .unwrap();
    let set = vec![Effect::SetProperty(property("got_revision"))];
    store
        .append_journal(step, vec![row(1, Kind::Local)], set, None, at(32))
        .await
        .unwrap();
    let end = BuildFinish {
        reports: vec![report("finished")],
        ..finish(Outcome::Success)
    };
    store.finish_build(build.id, end, at(40)).await.unwrap();
    let late = store.due_reports(at(50), None, 10).await.unwrap();
    assert_eq!(late, at_once, "what the build became is told by its end");
    store.report_delivered(late[0].id, at(50)).await.unwrap();
    let finished = &store.due_reports(at(50), None, 10).await.unwrap()[0];
    assert_eq!(finished.payload.previous_outcome, Some(Outcome::Failure));
}

async fn workers_come_and_go(farm: &Farm) {
    let store = &farm.store;
    let id = store.upsert_worker("w", at(1)).await.unwrap();
    assert_eq!(store.upsert_worker("w", at(2)).await.unwrap(), id);
    store
        .worker_connected("w", json!({ "slots": 2 }), None, at(3))
        .await
        .unwrap();
    store.worker_connected("v", json!({}), None, at(3)).await.unwrap();
    store.worker_seen("w", at(9)).await.unwrap();
    let worker = store.worker("w").await.unwrap().unwrap();
    assert_eq!(
        (worker.connected, worker.since, worker.last_seen),
        (true, Some(at(3)), Some(at(9)))
    );
    assert_eq!(worker.info, json!({ "slots": 2 }));
    store.worker_disconnected("w", at(9), at(10)).await.unwrap();
    store.worker_disconnected("w", at(11), at(11)).await.unwrap();
    store.set_paused("w", Some("disk"), at(12)).await.unwrap();
    let worker = store.worker("w").await.unwrap().unwrap();
    assert_eq!(
        (worker.connected, worker.since, worker.paused.as_deref()),
        (false, Some(at(9)), Some("disk"))
    );
    store.set_paused("w", None, at(13)).await.unwrap();
    assert_eq!(store.worker("w").await.unwrap().unwrap().paused, None);
    store.begin_epoch(owner(), Away::default(), at(20)).await.unwrap();
    let v = &store.workers().await.unwrap()[0];
    assert_eq!(
        (v.name.as_str(), v.connected, v.since),
        ("v", false, Some(at(20))),
        "a new master has no connections"
    );
}

fn certificate(bytes: &[u8]) -> NewCertificate {
    NewCertificate {
        fingerprint: Digest::of(bytes),
        serial: Some("01".to_owned()),
    }
}

async fn an_invitation_is_good_once_and_for_a_while(farm: &Farm) {
    let store = &farm.store;
    let secret = Digest::of(b"secret");
    store.create_invite("w", secret, at(100), at(1)).await.unwrap();
    assert_eq!(store.check_invite(secret, at(2)).await.unwrap(), "w");
    assert!(matches!(
        store.check_invite(Digest::of(b"guess"), at(2)).await,
        Err(InviteError::Unknown)
    ));
    assert!(matches!(
        store.check_invite(secret, at(100)).await,
        Err(InviteError::Expired { .. })
    ));
    let expired = store
        .use_invite(secret, certificate(b"c"), at(100))
        .await
        .unwrap_err();
    insta::allow_duplicates! {
        insta::assert_snapshot!(expired, @"the invitation for worker `w` has expired; ask for a new join string");
    }
    assert_eq!(store.worker("w").await.unwrap().unwrap().enrolled, None);
    let (one, two) = tokio::join!(
        store.use_invite(secret, certificate(b"one"), at(50)),
        store.use_invite(secret, certificate(b"two"), at(50)),
    );
    assert_eq!(one.unwrap(), "w");
    assert!(matches!(two, Err(InviteError::Used { worker }) if worker == "w"));
    assert_eq!(
        store
            .certificate(Digest::of(b"one"))
            .await
            .unwrap()
            .unwrap()
            .worker,
        "w"
    );
    assert_eq!(store.certificate(Digest::of(b"two")).await.unwrap(), None);
    assert_eq!(store.worker("w").await.unwrap().unwrap().enrolled, Some(at(50)));
}

async fn a_revoked_worker_joins_again_only_with_a_new_invitation(farm: &Farm) {
    let store = &farm.store;
    let invite = |name: &'static str| store.create_invite("w", Digest::of(name.as_bytes()), at(100), at(1));
    for name in ["first", "unused"] {
        invite(name).await.unwrap();
    }
    assert!(matches!(
        store.add_certificate("w", certificate(b"x"), at(2)).await,
        Err(Error::Conflict { .. })
    ));
    store
        .use_invite(Digest::of(b"first"), certificate(b"one"), at(2))
        .await
        .unwrap();
    store
        .add_certificate("w", certificate(b"renewed"), at(3))
        .await
        .unwrap();
    assert!(store.revoke_worker("w", at(4)).await.unwrap());
    assert!(!store.revoke_worker("nobody", at(4)).await.unwrap());
    for bytes in [b"one".as_slice(), b"renewed"] {
        assert_eq!(
            store
                .certificate(Digest::of(bytes))
                .await
                .unwrap()
                .unwrap()
                .revoked,
            Some(at(4))
        );
    }
    assert!(
        store
            .add_certificate("w", certificate(b"y"), at(5))
            .await
            .is_err()
    );
    assert!(matches!(
        store.check_invite(Digest::of(b"unused"), at(5)).await,
        Err(InviteError::Expired { .. })
    ));
    invite("new").await.unwrap();
    store
        .use_invite(Digest::of(b"new"), certificate(b"two"), at(6))
        .await
        .unwrap();
    assert_eq!(store.worker("w").await.unwrap().unwrap().revoked, None);
    assert_eq!(
        store
            .certificate(Digest::of(b"one"))
            .await
            .unwrap()
            .unwrap()
            .revoked,
        Some(at(4)),
        "old ones stay void"
    );
}

async fn the_feed_tells_what_happened_in_order(farm: &Farm) {
    let store = &farm.store;
    let mut bell = store.bell();
    let (build, step) = farm.running_step().await;
    tokio::time::timeout(Duration::from_secs(10), bell.changed())
        .await
        .expect("the bell rings")
        .unwrap();
    assert_eq!(
        EventId(*bell.borrow_and_update()),
        store.last_event_id().await.unwrap()
    );
    store
        .finish_step(step, Outcome::Success, "fine", None, at(50))
        .await
        .unwrap();
    store
        .finish_build(build, finish(Outcome::Success), at(60))
        .await
        .unwrap();
    store
        .record_event("config.loaded", json!({ "files": 1 }), at(70))
        .await
        .unwrap();
    assert_eq!(
        kinds(store).await,
        [
            "buildset.submitted",
            "request.submitted",
            "build.started",
            "request.claimed",
            "step.started",
            "step.finished",
            "build.finished",
            "request.complete",
            "buildset.complete",
            "config.loaded",
        ]
    );
    let all = store
        .events_after(EventId(0), &EventFilter::default(), 3)
        .await
        .unwrap();
    let rest = store
        .events_after(all[2].id, &EventFilter::default(), 1000)
        .await
        .unwrap();
    assert_eq!((all.len(), rest.len()), (3, 7));
    let of_step = EventFilter {
        step: Some(step),
        build: Some(build),
        builder: Some("b".to_owned()),
        request: None,
    };
    let of_step = store.events_after(EventId(0), &of_step, 1000).await.unwrap();
    assert_eq!(
        of_step.iter().map(|event| event.at).collect::<Vec<_>>(),
        [at(30), at(50)]
    );
    assert_eq!(
        of_step[1].payload,
        json!({ "name": "test", "outcome": "success", "summary": "fine" })
    );
    assert_eq!(
        EventId(*store.bell().borrow()),
        store.last_event_id().await.unwrap()
    );
}

async fn units_that_fail_cost_the_others_nothing(farm: &Farm) {
    let store = &farm.store;
    let units = (0..60i64).map(|i| {
        let known = if i % 3 == 0 { vec![ChangeId(i)] } else { vec![] };
        let buildset = NewBuildset {
            changes: known,
            builders: vec!["b".to_owned()],
            ..NewBuildset::default()
        };
        store.submit(buildset, Timestamp(i))
    });
    let results = futures::future::join_all(units).await;
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), i % 3 == 0, "{i}: {result:?}");
    }
    assert_eq!(store.pending_requests().await.unwrap().len(), 40);
    assert_eq!(kinds(store).await.len(), 80);
}
