//! Whoever lost the answer to a commit asks again. It makes no difference then whether the first was carried out: no row twice,
//! no event twice.

use capstan_model::journal::{Effect, Kind};
use capstan_model::{Completion, Exit, Outcome, Properties};
use capstan_store::{
    Away, BuildFinish, Consumed, Decision, Error, NewBuild, NewBuildset, NewReport, Record, SchedulerEvent,
    Store, Timer,
};

use crate::differential::everything;
use crate::farm::{Farm, at, finish, kinds, new_change, new_command, new_step, owner, row, stamp};
use crate::faults::{Cut, Wire, wired};

/// Asks once, or with a wire that is cut between the commit and its answer.
struct Asking<'a> {
    farm: &'a Farm,
    store: &'a Store,
    wire: Option<&'a Wire>,
}

impl Asking<'_> {
    /// Answers what the second one is told.
    async fn twice<T: std::fmt::Debug>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(wire) = self.wire else {
            return ask(self.store).await;
        };
        wire.arm(Cut::After);
        let unknown = ask(self.store).await;
        assert!(
            matches!(unknown, Err(Error::CommitUnknown { .. })),
            "{what}: {unknown:?}"
        );
        let second = ask(self.store).await;
        let before = everything(self.farm).await;
        let _third = ask(self.store).await;
        for (before, after) in before.iter().zip(&everything(self.farm).await) {
            assert_eq!(before, after, "{what}");
        }
        second
    }
}

/// All that the master writes by itself and repeats when it does not know.
async fn a_builds_life(asking: &Asking<'_>) {
    let store = asking.store;
    let subscribers = ["main".to_owned()];
    let changes = asking.twice("accept changes", async |store| {
        store
            .accept_changes("git", b"c", vec![new_change("one")], &subscribers, at(5))
            .await
    });
    let _known = changes.await.unwrap();
    let started = asking.twice("enqueue an event", async |store| {
        store.enqueue_event("main", SchedulerEvent::Started, at(6)).await
    });
    started.await.unwrap();
    let (event, _) = store.next_event("main").await.unwrap().unwrap();
    let decided = asking.twice("commit a decision", async |store| {
        let buildset = NewBuildset {
            builders: vec!["b".to_owned()],
            sources: vec![stamp("main", "abc")],
            ..NewBuildset::default()
        };
        let timer = Timer {
            name: "t".to_owned(),
            at: at(50),
        };
        let decision = Decision {
            state: b"s".to_vec(),
            by: None,
            buildsets: vec![buildset],
            set_timers: vec![timer],
            clear_timers: vec![],
        };
        store
            .commit_decision("main", Consumed::Event(event), decision, at(7))
            .await
    });
    assert!(matches!(decided.await, Ok(_) | Err(Error::Conflict { .. })));
    let plan = store
        .put_plan(capstan_model::plan::Bundle::default(), at(1))
        .await
        .unwrap();
    let waiting = store.pending_requests().await.unwrap();
    let report = |phase: &str| NewReport {
        reporter: "mail".to_owned(),
        phase: phase.to_owned(),
    };
    let created = asking.twice("create a build", async |store| {
        let build = NewBuild {
            shown: None,
            directory: String::new(),
            locks: Vec::new(),
            builder: "b".to_owned(),
            requests: waiting.iter().map(|request| request.id).collect(),
            worker: "w".to_owned(),
            plan,
            reason: String::new(),
            sources: vec![stamp("main", "abc")],
            properties: Properties::default(),
            steps: vec![new_step("one"), new_step("two")],
            reports: vec![report("started")],
        };
        store.create_build(build, at(20)).await
    });
    let _one_or_none = created.await.unwrap();
    let builds = store.unfinished_builds().await.unwrap();
    let [build] = &builds[..] else {
        panic!("{builds:?}")
    };
    let steps = store.steps(build.id).await.unwrap();
    let (one, two) = (steps[0].id, steps[1].id);
    let begun = asking.twice("begin a step", async |store| {
        store.begin_step(one, row(0, Kind::Created), at(30)).await
    });
    begun.await.unwrap();
    let command = new_command(store, one, 2);
    let id = command.id;
    let started = asking.twice("start a command", async |store| {
        let link = Effect::AddLink {
            label: "l".to_owned(),
            url: "https://example.org".to_owned(),
        };
        let rows = vec![row(1, Kind::Local), row(2, Kind::Start)];
        store
            .append_journal(one, rows, vec![link], Some(command.clone()), at(31))
            .await
    });
    let log = started.await.unwrap().unwrap().id;
    let opened = asking.twice("open a log", async |store| {
        store.open_log(one, "notes", at(32)).await
    });
    let _notes = opened.await.unwrap();
    let stopped = asking.twice("ask for a stop", async |store| {
        store.request_stop(build.id, "enough", at(33)).await
    });
    assert!(stopped.await.unwrap());
    let completion = Completion {
        exit: Exit::Code(0),
        duration_ms: 7,
        stdout_bytes: 0,
        stderr_bytes: 0,
        stdout: vec![],
    };
    let length = 40;
    let records = vec![
        (at(40), Record::CommandEnd { id, completion }),
        (
            at(40),
            Record::LogComplete {
                log,
                length,
                lines: 2,
            },
        ),
        (
            at(40),
            Record::Journal {
                step: one,
                entries: vec![row(3, Kind::End), row(4, Kind::Finished)],
                effects: vec![],
                command: None,
            },
        ),
        (
            at(41),
            Record::Finish {
                step: one,
                outcome: Outcome::Success,
                summary: "fine".to_owned(),
            },
        ),
        (
            at(42),
            Record::Begin {
                step: two,
                created: row(0, Kind::Created),
            },
        ),
        (
            at(43),
            Record::LogSealed {
                log,
                length,
                lines: 2,
            },
        ),
    ];
    let noted = asking.twice("note several things", async |store| {
        store.record(records.clone()).await
    });
    noted.await.unwrap();
    let skipped = asking.twice("end a step", async |store| {
        store
            .finish_step(two, Outcome::Cancelled, "stopped", None, at(44))
            .await
    });
    skipped.await.unwrap();
    let ended = asking.twice("end a build", async |store| {
        let end = BuildFinish {
            reports: vec![report("finished")],
            subscribers: subscribers.to_vec(),
            ..finish(Outcome::Cancelled)
        };
        store.finish_build(build.id, end, at(45)).await
    });
    ended.await.unwrap();
    for report in store.reports(Some(build.id), 10).await.unwrap() {
        let delivered = asking.twice("deliver a report", async |store| {
            store.report_delivered(report.id, at(46)).await
        });
        delivered.await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_answer_makes_no_difference() {
    let Some((farm, wire, store)) = wired().await else {
        return;
    };
    // With it a lost session is over before the next one writes.
    store.begin_epoch(owner(), Away::default(), at(3)).await.unwrap();
    let unheard = Asking {
        farm: &farm,
        store: &store,
        wire: Some(&wire),
    };
    a_builds_life(&unheard).await;
    let undisturbed = Farm::sqlite().await;
    let heard = Asking {
        farm: &undisturbed,
        store: &undisturbed.store,
        wire: None,
    };
    a_builds_life(&heard).await;
    assert_eq!(kinds(&farm.store).await, kinds(&undisturbed.store).await);
    store.close().await;
    undisturbed.end().await;
    farm.end().await;
}
