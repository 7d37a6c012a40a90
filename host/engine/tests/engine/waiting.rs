//! What a waiting step costs: an instance for a while, then none; never one that another step needs.

use std::time::Duration;

use capstan_engine::{Engine, Options, Plugin, StepPort as _, WaitMode};
use capstan_model::Outcome;
use serde_json::json;

use crate::farm::{Death, Farm, Lasting, no_stop, run_of};
use crate::steps::wait_until;
use crate::support::{fixture, options};

/// An engine of its own, whose instances nobody else counts among.
fn engine(places: u32) -> (Engine, Plugin) {
    let options = Options {
        step_instances: places,
        ..options()
    };
    let engine = Engine::new(options).unwrap();
    let plugin = engine.load(&fixture("fixture-step")).unwrap();
    (engine, plugin)
}

/// Steps that each wait for one command without an end, side by side; what happens meanwhile ends them.
async fn waiting(
    places: u32,
    steps: usize,
    mode: WaitMode,
    meanwhile: impl AsyncFn(&Engine, &[&Farm]),
) -> u64 {
    let (engine, plugin) = engine(places);
    let farms: Vec<_> = (0..steps)
        .map(|_| Farm::new(Lasting::default(), Death::Never))
        .collect();
    let script = json!([{ "op": "run", "argv": ["make", "hang"] }, { "op": "now" }]);
    let ends = farms.iter().map(|farm| {
        let run = run_of(&plugin, script.clone(), Vec::new(), mode);
        engine.run_step(run, farm.clone(), no_stop())
    });
    let all: Vec<_> = farms.iter().map(|farm| &**farm).collect();
    let meanwhile = async {
        wait_until("all commands are begun", || {
            all.iter().all(|farm| farm.lasting().begun.len() == 1)
        })
        .await;
        meanwhile(&engine, &all).await;
        for farm in &all {
            let id = *farm.lasting().begun.keys().next().unwrap();
            farm.kill_command(id, "enough".to_owned()).await.unwrap();
        }
    };
    let (ends, ()) = tokio::join!(futures::future::join_all(ends), meanwhile);
    for end in ends {
        assert_eq!(end.unwrap().outcome, Outcome::Warnings);
    }
    assert_eq!(engine.live_steps(), 0, "nothing is left of ended steps");
    plugin.stats().calls
}

#[tokio::test]
async fn a_long_wait_keeps_no_instance() {
    let dropped = async |engine: &Engine, _: &[&Farm]| {
        wait_until("no step has an instance", || engine.live_steps() == 0).await;
    };
    for mode in [
        WaitMode::Replay,
        WaitMode::WarmFor(Duration::ZERO),
        WaitMode::WarmFor(Duration::from_millis(20)),
    ] {
        let calls = waiting(4, 4, mode, dropped).await;
        assert_eq!(calls, 8, "{mode:?}: each step ran a second time, for its answer");
    }
}

#[tokio::test]
async fn a_short_wait_keeps_its_instance() {
    let kept = async |engine: &Engine, _: &[&Farm]| assert_eq!(engine.live_steps(), 4);
    for mode in [WaitMode::Warm, WaitMode::WarmFor(Duration::from_secs(600))] {
        assert_eq!(waiting(4, 4, mode, kept).await, 4, "{mode:?}: no step ran again");
    }
}

/// Else a farm's slow steps would keep its other builds waiting.
#[tokio::test]
async fn a_waiting_step_gives_its_place_to_one_that_wants_to_run() {
    let places = 2;
    let full = async |engine: &Engine, _: &[&Farm]| {
        assert_eq!(
            engine.live_steps(),
            u64::from(places),
            "the last ones keep theirs"
        );
    };
    let mode = WaitMode::WarmFor(Duration::from_secs(600));
    let calls = waiting(places, 8, mode, full).await;
    // Six gave their place up to wait. In the end all eight want to run at once: those that wait for a place do no harm.
    assert_eq!(calls, 8 + 6, "nobody gives up a place that nobody wants");
}
