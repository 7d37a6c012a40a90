//! What one plugin cannot take from others: places for instances, and the executor's attention.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use capstan_engine::{
    Caller, Commit, Engine, GitFault, GitPort, Options, Plugin, Ports, Reference, SchedulerEvent, WaitMode,
};
use capstan_model::Timestamp;
use capstan_model::plugin::Rights;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use serde_json::json;

use crate::farm::{Death, Farm, Lasting, no_stop, run_of};
use crate::steps::wait_until;
use crate::support::{fixture, options};

/// Far longer than anything here takes that is not held up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A repository whose server never answers; counts who waits for it.
#[derive(Default)]
struct Silent(AtomicUsize);

impl GitPort for Silent {
    fn fetch(&self, _repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending().boxed()
    }

    fn commits(
        &self,
        _repository: String,
        _since: Vec<String>,
        _until: String,
        _limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        std::future::pending().boxed()
    }
}

fn load(engine: &Engine, name: &str) -> Plugin {
    engine.load(&fixture(name)).unwrap()
}

fn caller() -> Caller {
    let git = vec!["*".to_owned()];
    Caller {
        owner: "tests".to_owned(),
        grants: Arc::new(Rights {
            git,
            ..Rights::default()
        }),
        ports: Ports::nowhere(),
    }
}

#[tokio::test]
async fn a_plugin_whose_calls_all_wait_keeps_no_other_from_being_called() {
    let engine = Engine::new(Options {
        call_instances: 8,
        ..options()
    })
    .unwrap();
    let (source, scheduler) = (
        load(&engine, "fixture-source"),
        load(&engine, "fixture-scheduler"),
    );
    let server = Arc::new(Silent::default());
    let ports = Ports {
        git: server.clone(),
        ..Ports::nowhere()
    };
    let (waiting, config) = (
        Caller { ports, ..caller() },
        json!({ "repository": "https://git.example.org/a" }),
    );
    // As many as there are places, and more.
    let stuck = join_all((0..20).map(|_| source.poll(&waiting, &config, &[])));
    let other = async {
        wait_until("the source has its share", || {
            server.0.load(Ordering::Relaxed) == 2
        })
        .await;
        let (caller, config) = (caller(), json!({}));
        let call = scheduler.handle(&caller, &config, &[], Timestamp(0), SchedulerEvent::Started);
        tokio::time::timeout(PATIENCE, call)
            .await
            .expect("the scheduler's call has a place")
            .unwrap();
    };
    tokio::select! {
        _ = stuck => panic!("nothing answers the source"),
        () = other => {}
    }
    assert_eq!(source.stats().calls, 2, "the rest waits for its share");
}

#[tokio::test]
async fn a_plugin_whose_steps_all_wait_keeps_no_other_from_running() {
    let engine = Engine::new(Options {
        step_instances: 8,
        ..options()
    })
    .unwrap();
    let (many, other) = (load(&engine, "fixture-step"), load(&engine, "fixture-wasi"));
    let script = json!([{ "op": "run", "argv": ["make", "hang"] }]);
    let farms: Vec<_> = (0..10)
        .map(|_| Farm::new(Lasting::default(), Death::Never))
        .collect();
    let stuck = join_all(farms.iter().map(|farm| {
        // Steps that do not give their places up.
        let run = run_of(&many, script.clone(), Vec::new(), WaitMode::Warm);
        engine.run_step(run, farm.clone(), no_stop())
    }));
    let begun = || {
        farms
            .iter()
            .filter(|farm| !farm.lasting().begun.is_empty())
            .count()
    };
    let another = async {
        wait_until("the steps have their share", || begun() == 7).await;
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&other, json!([{ "op": "files" }]), Vec::new(), WaitMode::Warm);
        let end = tokio::time::timeout(PATIENCE, engine.run_step(run, farm, no_stop())).await;
        end.expect("the other plugin's step has a place").unwrap();
    };
    tokio::select! {
        _ = stuck => panic!("nothing ends these commands"),
        () = another => {}
    }
}

/// Its own warm steps make room where a plugin has used up its share.
#[tokio::test]
async fn a_plugins_waiting_steps_make_room_for_its_others() {
    let engine = Engine::new(Options {
        step_instances: 8,
        ..options()
    })
    .unwrap();
    let plugin = load(&engine, "fixture-step");
    let script = json!([{ "op": "run", "argv": ["make", "hang"] }]);
    let farms: Vec<_> = (0..20)
        .map(|_| Farm::new(Lasting::default(), Death::Never))
        .collect();
    let mode = WaitMode::WarmFor(Duration::from_secs(3600));
    let stuck = join_all(farms.iter().map(|farm| {
        let run = run_of(&plugin, script.clone(), Vec::new(), mode);
        engine.run_step(run, farm.clone(), no_stop())
    }));
    let begun = || farms.iter().all(|farm| !farm.lasting().begun.is_empty());
    tokio::select! {
        _ = stuck => panic!("nothing ends these commands"),
        () = wait_until("every step has come to its command", begun) => {}
    }
}

/// A busy executor looks at its timers and sockets only now and then; a guest that yields must let it.
#[tokio::test]
async fn a_guest_that_spins_lets_timers_fire() {
    let engine = Engine::new(options()).unwrap();
    let plugin = load(&engine, "fixture-scheduler");
    let (caller, config) = (caller(), json!({ "do": "spin" }));
    let spinning = plugin.handle(&caller, &config, &[], Timestamp(0), SchedulerEvent::Started);
    tokio::select! {
        biased;
        ended = spinning => panic!("a timer of a millisecond has not fired until {ended:?}"),
        () = tokio::time::sleep(Duration::from_millis(1)) => {}
    }
}

/// A repository that keeps the very thread until somebody lets go: as one long instruction of a guest would.
struct Blocking {
    began: Arc<AtomicBool>,
    held: Mutex<mpsc::Receiver<()>>,
}

impl GitPort for Blocking {
    fn fetch(&self, _repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        self.began.store(true, Ordering::Relaxed);
        let let_go = self.held.lock().unwrap().recv_timeout(PATIENCE);
        let answer = let_go.map(|()| Vec::new());
        futures::future::ready(answer.map_err(|_| GitFault::Unavailable("held up".to_owned()))).boxed()
    }

    fn commits(
        &self,
        _repository: String,
        _since: Vec<String>,
        _until: String,
        _limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        std::future::pending().boxed()
    }
}

/// One instruction may copy all of a guest's memory, and nothing interrupts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_guest_with_much_memory_holds_up_nobody() {
    let engine = Engine::new(options()).unwrap();
    let source = load(&engine, "fixture-source");
    let (let_go, held) = mpsc::channel();
    let began = Arc::new(AtomicBool::new(false));
    let ports = Ports {
        git: Arc::new(Blocking {
            began: began.clone(),
            held: Mutex::new(held),
        }),
        ..Ports::nowhere()
    };
    let caller = Caller { ports, ..caller() };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let config = json!({ "repository": "https://git.example.org/a", "hold": 16 });
        source.poll(&caller, &config, &[]).await
    });
    // In a task: this function has a thread of its own.
    let mut others = tokio::task::JoinSet::new();
    others.spawn(async move {
        wait_until("the source has begun", || began.load(Ordering::Relaxed)).await;
        let_go.send(()).unwrap();
    });
    let polled = tasks.join_next().await.unwrap().unwrap();
    polled.expect("another task was run meanwhile");
}
