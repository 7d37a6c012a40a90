//! What people are told of times in which a running build was without its master or its worker. The same on both databases.

use capstan_model::journal::Kind;
use capstan_model::{BuildId, Completion, EventId, Exit, Outcome};
use capstan_store::{Away, EventFilter, InterruptionKind, Store};
use serde_json::json;

use crate::farm::{Farm, at, finish, new_command, owner, row};
use crate::on_both;

on_both! {
    a_new_master_notes_how_long_running_builds_had_none
    a_clock_that_was_turned_makes_no_absurd_length
    a_worker_is_away_until_it_is_back
    a_worker_that_is_back_already_is_not_away
    what_flaps_is_counted_in_one_row
    a_build_has_so_many_rows_at_most
    a_lost_command_is_said_to_be_lost
    a_command_that_is_lost_without_an_interruption_makes_none
}

/// An interruption without its key: kind, began, ended, away, times, lost.
type Row = (InterruptionKind, i64, Option<i64>, Option<u64>, u32, bool);
use InterruptionKind::{Master, Worker};

async fn rows(farm: &Farm, build: BuildId) -> Vec<Row> {
    let found = farm.store.interruptions(build).await.unwrap();
    let row = |i: &capstan_store::Interruption| {
        (
            i.kind,
            i.began.0,
            i.ended.map(|time| time.0),
            i.away,
            i.times,
            i.lost,
        )
    };
    found.iter().map(row).collect()
}

/// A master begins at that time after nobody was master for so long.
async fn begin(farm: &Farm, ms: Option<u64>, now: i64) {
    let away = Away { ms, last_alive: None };
    // In a store of its own, as each master has one: only one at a time has the database in its charge.
    let store = Store::open(&farm.options, at(now)).await.unwrap();
    store.begin_epoch(owner(), away, at(now)).await.unwrap();
    store.close().await;
}

async fn connect(farm: &Farm, away: Option<u64>, now: i64) {
    farm.store
        .worker_connected("w", json!({}), away, at(now))
        .await
        .unwrap();
}

async fn leave(farm: &Farm, now: i64) {
    farm.store
        .worker_disconnected("w", at(now), at(now))
        .await
        .unwrap();
}

async fn told(farm: &Farm, build: BuildId) -> Vec<String> {
    let filter = EventFilter {
        build: Some(build),
        ..EventFilter::default()
    };
    let events = farm.store.events_after(EventId(0), &filter, 1000).await.unwrap();
    let of_ours = |kind: &String| ["build.interrupted", "build.resumed"].contains(&kind.as_str());
    events
        .into_iter()
        .map(|event| event.kind)
        .filter(of_ours)
        .collect()
}

async fn a_new_master_notes_how_long_running_builds_had_none(farm: &Farm) {
    let (build, _) = farm.running_step().await;
    let request = farm.request("b", 0).await;
    let ended = farm.build("b", &[request], &[]).await.id;
    farm.store
        .finish_build(ended, finish(Outcome::Success), at(50))
        .await
        .unwrap();
    begin(farm, Some(12_000), 100_000).await;
    assert_eq!(
        rows(farm, build).await,
        [(Master, 88_000, Some(100_000), Some(12_000), 1, false)]
    );
    assert_eq!(rows(farm, ended).await, [], "what had ended was not interrupted");
    assert_eq!(told(farm, build).await, ["build.interrupted"]);
    begin(farm, Some(2000), 150_000).await;
    assert_eq!(rows(farm, build).await.len(), 2, "another time is another line");
    begin(farm, None, 200_000).await;
    assert_eq!(
        rows(farm, build).await[2],
        (Master, 200_000, Some(200_000), None, 1, false),
        "nobody knows how long"
    );
}

async fn a_clock_that_was_turned_makes_no_absurd_length(farm: &Farm) {
    let (build, _) = farm.running_step().await;
    connect(farm, None, 5_000_000).await;
    begin(farm, Some(2000), 10_000_000).await;
    begin(farm, Some(2000), 6_400_000).await;
    begin(farm, Some(u64::MAX), 6_500_000).await;
    let lengths: Vec<_> = rows(farm, build).await.iter().map(|row| row.3).collect();
    assert_eq!(lengths, [Some(2000), Some(2000), None]);
    // The worker's own: the clock is turned back while it is away, first with and then without another measure.
    for (measured, expected) in [(Some(7000), Some(7000)), (None, None)] {
        connect(farm, None, 6_500_000).await;
        leave(farm, 7_000_000).await;
        farm.store
            .worker_is_away("w", at(7_000_000), at(7_002_000))
            .await
            .unwrap();
        connect(farm, measured, 3_400_000).await;
        let row = rows(farm, build).await.pop().unwrap();
        assert_eq!(
            (row.0, row.2, row.3),
            (Worker, Some(3_400_000), expected),
            "{row:?}"
        );
    }
}

async fn a_worker_is_away_until_it_is_back(farm: &Farm) {
    let (build, _) = farm.running_step().await;
    connect(farm, None, 1000).await;
    leave(farm, 20_000).await;
    let store = &farm.store;
    store.worker_is_away("w", at(18_000), at(22_000)).await.unwrap();
    store.worker_is_away("w", at(18_000), at(23_000)).await.unwrap();
    store
        .worker_is_away("nobody", at(18_000), at(23_000))
        .await
        .unwrap();
    assert_eq!(
        rows(farm, build).await,
        [(Worker, 18_000, None, Some(0), 1, false)]
    );
    // A master that begins meanwhile leaves it as it is.
    begin(farm, Some(1000), 40_000).await;
    connect(farm, None, 58_000).await;
    assert_eq!(
        rows(farm, build).await,
        [
            (Worker, 18_000, Some(58_000), Some(40_000), 1, false),
            (Master, 39_000, Some(40_000), Some(1000), 1, false)
        ]
    );
    assert_eq!(
        told(farm, build).await,
        ["build.interrupted", "build.interrupted", "build.resumed"]
    );
}

async fn a_worker_that_is_back_already_is_not_away(farm: &Farm) {
    let (build, _) = farm.running_step().await;
    connect(farm, None, 1000).await;
    leave(farm, 20_000).await;
    connect(farm, Some(2100), 22_100).await;
    // Found a moment before it came back, written a moment after.
    farm.store
        .worker_is_away("w", at(20_000), at(22_101))
        .await
        .unwrap();
    assert_eq!(rows(farm, build).await, []);
    assert_eq!(told(farm, build).await, Vec::<String>::new());
}

async fn what_flaps_is_counted_in_one_row(farm: &Farm) {
    let (build, _) = farm.running_step().await;
    connect(farm, None, 1000).await;
    for time in [10_000, 16_000, 22_000] {
        leave(farm, time).await;
        farm.store
            .worker_is_away("w", at(time), at(time + 2000))
            .await
            .unwrap();
        connect(farm, Some(4000), time + 4000).await;
    }
    assert_eq!(
        rows(farm, build).await,
        [(Worker, 10_000, Some(26_000), Some(12_000), 3, false)]
    );
    // Without another measure only the last absence counts, not the time since the first.
    leave(farm, 28_000).await;
    farm.store
        .worker_is_away("w", at(28_000), at(30_000))
        .await
        .unwrap();
    connect(farm, None, 31_000).await;
    assert_eq!(
        rows(farm, build).await,
        [(Worker, 10_000, Some(31_000), Some(15_000), 4, false)]
    );
    for now in [100_000, 102_500] {
        begin(farm, Some(1000), now).await;
    }
    assert_eq!(
        rows(farm, build).await[1..],
        [(Master, 99_000, Some(102_500), Some(2000), 2, false)]
    );
}

async fn a_build_has_so_many_rows_at_most(farm: &Farm) {
    let (build, _) = farm.running_step().await;
    for round in 1..=60 {
        begin(farm, Some(1000), round * 100_000).await;
    }
    let rows = rows(farm, build).await;
    let last = rows.last().unwrap();
    assert_eq!(
        (rows.len(), last.2, last.3, last.4),
        (50, Some(6_000_000), Some(11_000), 11)
    );
}

/// A build whose step runs a command on `w`; what loses it.
async fn running_command(farm: &Farm) -> (BuildId, impl AsyncFn(i64)) {
    let (build, step) = farm.running_step().await;
    let store = farm.store.clone();
    let command = new_command(&store, step, 1);
    let id = command.id;
    store
        .append_journal(step, vec![row(1, Kind::Start)], vec![], Some(command), at(40))
        .await
        .unwrap();
    let lose = async move |now: i64| {
        let lost = Completion {
            exit: Exit::Lost("gone".to_owned()),
            duration_ms: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
            stdout: vec![],
        };
        store.finish_command(id, lost, at(now)).await.unwrap();
    };
    (build, lose)
}

async fn a_lost_command_is_said_to_be_lost(farm: &Farm) {
    // Given up while the worker is away …
    let (build, lose) = running_command(farm).await;
    connect(farm, None, 1000).await;
    leave(farm, 10_000).await;
    farm.store
        .worker_is_away("w", at(10_000), at(12_000))
        .await
        .unwrap();
    lose(310_000).await;
    let given_up = (Worker, 10_000, None, Some(300_000), 1, true);
    assert_eq!(rows(farm, build).await, [given_up]);
    farm.store
        .finish_build(build, finish(Outcome::Retry), at(311_000))
        .await
        .unwrap();
    connect(farm, Some(400_000), 410_000).await;
    assert_eq!(
        rows(farm, build).await,
        [given_up],
        "what has ended stays as it was"
    );

    // … forgotten by a worker that is back …
    let (build, lose) = running_command(farm).await;
    leave(farm, 500_000).await;
    farm.store
        .worker_is_away("w", at(500_000), at(502_000))
        .await
        .unwrap();
    connect(farm, Some(9000), 509_000).await;
    lose(509_500).await;
    assert_eq!(
        rows(farm, build).await,
        [(Worker, 500_000, Some(509_000), Some(9000), 1, true)]
    );

    // … or given up soon after a new master has begun, before its absence is noted.
    begin(farm, Some(1000), 600_000).await;
    let (build, lose) = running_command(farm).await;
    lose(605_000).await;
    assert_eq!(
        rows(farm, build).await,
        [(Worker, 600_000, None, Some(5000), 1, true)]
    );
}

async fn a_command_that_is_lost_without_an_interruption_makes_none(farm: &Farm) {
    let (build, lose) = running_command(farm).await;
    connect(farm, None, 1000).await;
    begin(farm, Some(1000), 10_000).await;
    connect(farm, None, 10_100).await;
    let before = rows(farm, build).await;
    lose(100_000).await;
    assert_eq!(
        rows(farm, build).await,
        before,
        "long after anybody was away: its supervisor was killed"
    );
}
