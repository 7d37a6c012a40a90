//! The same random story told to both databases: every answer and, at the end, every row is the same.

use capstan_model::journal::{Effect, Kind};
use capstan_model::plan::Bundle;
use capstan_model::{
    BuildId, ChangeId, CommandId, Completion, Digest, EventId, Exit, LogId, OutboxId, Outcome, Property,
    RequestId, StepId,
};
use capstan_store::{
    BuildFilter, BuildFinish, ChangeFilter, Consumed, Decision, Error, EventFilter, NewBuild, NewBuildset,
    NewCertificate, NewReport, Origin, RequestFilter, SchedulerEvent, Store, Timer,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use uuid::Uuid;

use crate::farm::{Farm, at, new_change, new_command, new_step, row, stamp};
use crate::schema;

/// How long a story is; long enough that every operation happens in good and bad circumstances.
const LENGTH: usize = 350;

/// One operation with random operands, told as text: what was asked and what was answered.
async fn tell(store: &Store, seed: u64, moment: i64) -> String {
    let mut random = StdRng::seed_from_u64(seed);
    let now = at(1000 + moment);
    let id = random.random_range(1..=10i64);
    let (build, step, request) = (BuildId(random.random_range(1..=6)), StepId(id), RequestId(id));
    let name = ["b1", "b2", "b3"][random.random_range(0..3)];
    let scheduler = ["s1", "s2"][random.random_range(0..2)];
    let outcome = Outcome::ALL[random.random_range(0..7)];
    let report = NewReport {
        reporter: "mail".to_owned(),
        phase: "finished".to_owned(),
    };
    let buildset = NewBuildset {
        scheduler: (id > 5).then(|| scheduler.to_owned()),
        reason: format!("reason \0 {id}"),
        sources: vec![stamp(name, "abc"), stamp("main", &id.to_string())],
        changes: vec![ChangeId(id % 4)]
            .into_iter()
            .filter(|change| change.0 > 0)
            .collect(),
        builders: vec![name.to_owned(), "b1".to_owned()],
        priority: random.random_range(-2..=2),
        ..NewBuildset::default()
    };
    // The journal goes on where it ends, but not always.
    let next = u32::try_from(store.journal(step).await.unwrap().len()).unwrap() + u32::from(id == 9);
    let operation = random.random_range(0..26);
    let answer = match operation {
        0 | 1 => {
            let changes = vec![new_change(&id.to_string()), new_change(name)];
            show(
                store
                    .accept_changes("git", b"c", changes, &["s1".to_owned(), "s2".to_owned()], now)
                    .await,
            )
        }
        2 => show(store.submit(buildset, now).await),
        3 | 4 => {
            let consumed = match store.next_event(scheduler).await.unwrap() {
                Some((event, _)) => Consumed::Event(event + i64::from(id == 10)),
                None => Consumed::Timer {
                    name: "stable".to_owned(),
                    at: at(id),
                },
            };
            let decision = Decision {
                state: vec![0, 255, id as u8],
                by: None,
                buildsets: vec![buildset],
                set_timers: vec![Timer {
                    name: "stable".to_owned(),
                    at: at(id),
                }],
                clear_timers: vec!["other".to_owned()],
            };
            show(store.commit_decision(scheduler, consumed, decision, now).await)
        }
        5..=7 => {
            let plan = store.put_plan(Bundle::default(), now).await.unwrap();
            let properties = [Property {
                name: "p".to_owned(),
                value: json!(id),
                source: "x".to_owned(),
            }];
            let new = NewBuild {
                shown: None,
                directory: String::new(),
                locks: Vec::new(),
                builder: name.to_owned(),
                requests: vec![request],
                worker: format!("w{}", id % 3),
                plan: if id == 1 { Digest::of(b"unknown") } else { plan },
                reason: "because".to_owned(),
                sources: vec![stamp(name, "abc")],
                properties: properties.into_iter().collect(),
                steps: vec![new_step("one"), new_step("two")],
                reports: vec![NewReport {
                    phase: "started".to_owned(),
                    ..report
                }],
            };
            show(store.create_build(new, now).await)
        }
        8 => show(store.cancel_request(request, "typo", now).await),
        9 => show(store.request_stop(build, "reason", now).await),
        10 => {
            let retry = outcome == Outcome::Retry;
            let subscribers = vec![scheduler.to_owned()];
            let finish = BuildFinish {
                outcome,
                summary: String::new(),
                reports: vec![report],
                subscribers,
                retry,
            };
            show(store.finish_build(build, finish, now).await)
        }
        11..=13 => show(store.begin_step(step, row(0, Kind::Created), now).await),
        14 | 15 => {
            let link = Effect::AddLink {
                label: "l".to_owned(),
                url: "u".to_owned(),
            };
            let property = Property {
                name: format!("p{}", id % 3),
                value: json!([id]),
                source: "step".to_owned(),
            };
            let effects = vec![
                Effect::SetSummary(format!("at {id}")),
                Effect::SetProperty(property),
                link,
            ];
            let mut entry = row(next, Kind::Local);
            entry.response = (id == 2).then(|| json!("x".repeat(40_000)));
            show(store.append_journal(step, vec![entry], effects, None, now).await)
        }
        16 | 17 => {
            let mut command = new_command(store, step, next);
            command.id = CommandId::derive(Uuid::nil(), step, next);
            show(
                store
                    .append_journal(step, vec![row(next, Kind::Start)], vec![], Some(command), now)
                    .await,
            )
        }
        18 => show(
            store
                .finish_step(step, outcome, "", Some(row(next, Kind::Finished)), now)
                .await,
        ),
        19 => {
            let running = store.unfinished_commands(None).await.unwrap();
            let Some(command) = running.first() else {
                return "no command runs".to_owned();
            };
            let exit = Exit::Code(3);
            let end = Completion {
                exit,
                duration_ms: 1,
                stdout_bytes: 1,
                stderr_bytes: 1,
                stdout: vec![255],
            };
            show(store.finish_command(command.id, end, now).await)
        }
        20 => show(
            store
                .open_log(step, if id > 5 { "stdio" } else { "notes" }, now)
                .await,
        ),
        21 => show(store.seal_log(LogId(id), 10, 1, now).await),
        22 => {
            let due = store.due_reports(now, None, 1).await.unwrap();
            let first = due.first().map_or(OutboxId(99), |report| report.id);
            match id % 3 {
                0 => show(store.report_delivered(first, now).await),
                1 => show(store.report_retry(first, now.plus_ms(50), "503", now).await),
                _ => show(store.report_parked(first, "401", now).await),
            }
        }
        23 => {
            let origin = Origin::Step { step, seq: next };
            show(
                store
                    .insert_steps(build, 0, Some(StepId(1)), origin, vec![new_step("mid")], now)
                    .await,
            )
        }
        24 => {
            let secret = Digest::of(format!("{id} {moment}").as_bytes());
            store
                .create_invite("w1", secret, now.plus_ms(id % 2), now)
                .await
                .unwrap();
            let certificate = NewCertificate {
                fingerprint: secret,
                serial: None,
            };
            show(
                store
                    .use_invite(secret, certificate, now)
                    .await
                    .map_err(|error| error.to_string()),
            )
        }
        _ => match id % 4 {
            0 => show(store.worker_connected("w1", json!({ "id": id }), None, now).await),
            1 => show(store.enqueue_event(scheduler, SchedulerEvent::Started, now).await),
            2 => show(store.revoke_worker("w1", now).await),
            _ => show(store.set_paused("w2", Some("disk"), now).await),
        },
    };
    format!("{operation} {id} {build}: {answer}")
}

/// An answer as text. The database's own words differ, and no operation may need them.
fn show<T: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<T, E>) -> String {
    let text = format!("{answer:?}");
    assert!(!text.contains("Err(Database"), "{text}");
    text
}

/// All that readers see, and all rows, without what differs: the installation's id.
pub async fn everything(farm: &Farm) -> Vec<String> {
    let store = &farm.store;
    let mut all = vec![
        show(store.changes(&ChangeFilter::default(), 1000).await),
        show(store.requests(&RequestFilter::default(), 1000).await),
        show(store.pending_requests().await),
        show(store.builds(&BuildFilter::default(), 1000).await),
        show(store.builder_histories(100).await),
        show(store.queue(None, 1000).await),
        show(store.unfinished_commands(None).await),
        show(
            store
                .events_after(EventId(0), &EventFilter::default(), 10_000)
                .await,
        ),
        show(store.reports(None, 1000).await),
        show::<_, Error>(store.workers().await),
    ];
    for table in tables(&farm.url).await {
        all.push(format!("{table}: {:#?}", dump(&farm.url, &table).await));
    }
    let installation = store.installation().to_string();
    all.iter()
        .map(|text| text.replace(&installation, "INSTALLATION"))
        .collect()
}

async fn tables(url: &str) -> Vec<String> {
    let columns = schema::columns(url).await;
    let mut tables: Vec<_> = columns
        .iter()
        .map(|column| column.split_once('.').unwrap().0.to_owned())
        .collect();
    tables.dedup();
    tables
}

/// Every row of a table, as text.
async fn dump(url: &str, table: &str) -> std::collections::BTreeSet<String> {
    let columns = schema::columns(url).await;
    let mine = columns
        .iter()
        .filter_map(|column| column.strip_prefix(&format!("{table}.")));
    let as_text = |column: &str| {
        let (name, kind) = column.split_once(' ').unwrap();
        match (kind.starts_with("BLOB"), url.starts_with("postgres")) {
            (true, true) => format!("COALESCE(upper(encode({name}, 'hex')), 'NULL')"),
            (true, false) => format!("CASE WHEN {name} IS NULL THEN 'NULL' ELSE hex({name}) END"),
            (false, _) => format!("COALESCE(CAST({name} AS TEXT), 'NULL')"),
        }
    };
    let texts: Vec<_> = mine.map(as_text).collect();
    schema::texts(url, format!("SELECT {} FROM {table}", texts.join(" || '|' || "))).await
}

#[tokio::test]
async fn both_databases_end_with_the_same_rows() {
    for seed in 1..=2u64 {
        let Some(postgres) = Farm::postgres().await else {
            return;
        };
        let sqlite = Farm::sqlite().await;
        let mut good = 0;
        for moment in 0..LENGTH {
            let seed = seed * 1_000_000 + moment as u64;
            let moment = moment as i64;
            let (one, two) = tokio::join!(
                tell(&sqlite.store, seed, moment),
                tell(&postgres.store, seed, moment)
            );
            assert_eq!(one, two, "operation {moment}");
            good += usize::from(one.contains("Ok("));
        }
        assert!(
            good > LENGTH / 3,
            "only {good} operations of {LENGTH} did something"
        );
        for (one, two) in everything(&sqlite).await.iter().zip(&everything(&postgres).await) {
            assert_eq!(one, two);
        }
        sqlite.end().await;
        postgres.end().await;
    }
}
