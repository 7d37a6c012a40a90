//! Functions of a real configuration asked about a real queue, and what is done when they fail.

use std::sync::Arc;

use capstan_config::{Farm as Files, evaluate};
use capstan_model::plan::Bundle;
use capstan_store::{NewBuildset, Options};

use super::*;

struct Site {
    _folder: tempfile::TempDir,
    store: Store,
    entries: Vec<QueueEntry>,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(format!("sqlite:{}/farm.db", folder.path().display()));
        let store = Store::open(&options, Timestamp(1)).await.unwrap();
        for release in [true, false] {
            let mut properties = capstan_model::Properties::default();
            properties.set("release", release, "force");
            let set = NewBuildset {
                builders: vec!["b".to_owned()],
                properties,
                ..NewBuildset::default()
            };
            store.submit(set, Timestamp(1000)).await.unwrap();
        }
        let mut entries = store.queue_entries().await.unwrap();
        entries.sort_by_key(|entry| entry.id);
        Self {
            _folder: folder,
            store,
            entries,
        }
    }

    /// Asks the functions of this configuration; answers what they said, and how many faults were logged.
    async fn ask<T: Send + 'static>(
        &self,
        text: &str,
        ask: impl FnOnce(&Functional, &Builder, &[QueueEntry]) -> T + Send + 'static,
    ) -> (T, usize) {
        let files = [("ci.star".to_owned(), text.as_bytes().to_vec())].into();
        let bundle = Bundle {
            entry: "ci.star".to_owned(),
            files,
            ..Bundle::default()
        };
        let evaluated = evaluate(&Files::bundle(bundle), &[], &|_, _| Ok(())).unwrap();
        let plan = Arc::new(evaluated.plan);
        assert!(are_in(&plan));
        let (now, complaints) = (Timestamp(61_000), Complaints::default());
        let functions = evaluated.functions;
        let hooks = Functional::new(
            Arc::clone(&plan),
            functions,
            self.store.clone(),
            now,
            complaints.clone(),
        );
        let entries = self.entries.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&hooks, &plan.builders[0], &entries));
        let answer = asked.await.unwrap();
        let logged = complaints.0.lock().unwrap().len();
        (answer, logged)
    }
}

const FUNCTIONS: &str = r#"
def same(request, other):
    return request.properties["release"] == other.properties["release"]

def choose(request, workers):
    return workers[-1] if request.properties["release"] else None

def start(request, worker, now):
    if worker == "bad":
        return {"reason": "disk full", "quarantine": 60}
    return True if request.age == 60 and now.hour == 1 else "too early"

queue(order = lambda builders: sorted(builders, reverse = True))
builder("b", steps = [], collapse = same, next_worker = choose, may_start = start, time_zone = "Europe/Berlin")
"#;

#[tokio::test]
async fn functions_are_told_of_requests_and_workers_and_are_obeyed() {
    let site = Site::new().await;
    let (answers, logged) = site
        .ask(FUNCTIONS, |hooks, builder, entries| {
            (
                hooks.order(&["a", "c", "b"]),
                hooks.together(builder, &entries[0], &entries[1]),
                hooks.together(builder, &entries[0], &entries[0]),
                hooks.next_worker(builder, &entries[0], &["w1", "w2"]),
                hooks.next_worker(builder, &entries[1], &["w1", "w2"]),
                hooks.may_start(builder, &entries[0], "w1"),
                hooks.may_start(builder, &entries[0], "bad"),
            )
        })
        .await;
    let hold = |reason: &str, ms| Hold {
        reason: reason.to_owned(),
        until: Timestamp(61_000 + ms),
    };
    let expected = (
        Some(["c", "b", "a"].map(str::to_owned).to_vec()),
        false,
        true,
        Choice::This("w2".to_owned()),
        Choice::None(hold("choose chose none of the free workers", RETRY_MS)),
        Verdict::Yes,
        Verdict::Quarantine(hold("start: disk full", 60_000)),
    );
    assert_eq!((answers, logged), (expected, 0));
}

const FAULTY: &str = r#"
def raises(a, b, c = None):
    fail("no")

def loops(request, workers):
    for n in range(100000000):
        pass

queue(order = lambda builders: 7)
builder("b", steps = [], collapse = raises, next_worker = loops, may_start = raises)
"#;

#[tokio::test]
async fn a_function_that_fails_gives_its_stated_answer_and_is_logged_once() {
    let site = Site::new().await;
    let (answers, logged) = site
        .ask(FAULTY, |hooks, builder, entries| {
            let once = || {
                (
                    hooks.order(&["a"]),
                    hooks.together(builder, &entries[0], &entries[1]),
                    hooks.next_worker(builder, &entries[0], &["w1"]),
                    matches!(hooks.may_start(builder, &entries[0], "w1"), Verdict::No(_)),
                )
            };
            (once(), once())
        })
        .await;
    let fallback = (None, false, Choice::LeastBusy, true);
    assert_eq!(answers, (fallback.clone(), fallback));
    assert_eq!(logged, 3, "each fault once");
}
