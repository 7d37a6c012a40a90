//! Carries the faults of a plan out, each at its time, and heals everything in the end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use capstan_tests::proxy::Way;
use capstan_tests::{BOUND, Weather};
use nix::sys::signal::Signal;

use crate::lane::Lane;
use crate::plan::{Fault, Plan, WORKERS};

/// What happens at one moment.
#[derive(Clone, Copy, Debug)]
enum Event {
    Begin(Fault),
    End(Fault),
    Push,
}

/// Carries a plan out. In the end everything runs again, and the master serves.
pub fn carry_out(lane: &mut Lane, plan: &Plan) -> Result<()> {
    let start = Instant::now();
    for (at, event) in events(plan) {
        // The moment is the point: this waits for nothing.
        std::thread::sleep(at.saturating_sub(start.elapsed()));
        let done = match event {
            Event::Begin(fault) => begin(lane, fault).with_context(|| format!("failed to {fault}")),
            Event::End(fault) => end(lane, fault).with_context(|| format!("failed to end it: {fault}")),
            Event::Push => lane.push(),
        };
        done?;
    }
    lane.farm.master()?.wait_until_printed("capstan is ready", BOUND)
}

/// In their order. The sort is stable, so that what lasts no time ends after it began.
fn events(plan: &Plan) -> Vec<(Duration, Event)> {
    let mut events = vec![(plan.push, Event::Push)];
    for timed in &plan.faults {
        events.push((timed.at, Event::Begin(timed.fault)));
        events.push((timed.at + timed.lasts, Event::End(timed.fault)));
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

fn begin(lane: &mut Lane, fault: Fault) -> Result<()> {
    match fault {
        Fault::KillMaster => lane.farm.kill_master().map(drop),
        Fault::StopMaster => lane.farm.stop_master().map(drop),
        Fault::FreezeMaster => lane.farm.master()?.signal(Signal::SIGSTOP),
        Fault::KillDaemon(worker) => lane.farm.kill_worker(WORKERS[worker]).map(drop),
        Fault::StopDaemon(worker) => lane.farm.stop_worker(WORKERS[worker]).map(drop),
        Fault::FreezeDaemon(worker) => lane.farm.worker(WORKERS[worker])?.signal(Signal::SIGSTOP),
        Fault::Cut(worker) => lane.change_weather(worker, |weather| weather.cut = true),
        Fault::HalfCut(worker, to_master) => {
            let way = if to_master { Way::ToMaster } else { Way::ToWorkers };
            lane.change_weather(worker, |weather| weather.only = Some(way))
        }
        Fault::Rough {
            worker,
            loss,
            reorder,
            delay,
        } => lane.change_weather(worker, |weather| {
            weather.loss = f64::from(loss) / 100.0;
            weather.reorder = f64::from(reorder) / 100.0;
            weather.delay = Duration::from_millis(delay.into());
        }),
        Fault::Move(worker) => Ok(lane.proxies[worker].move_upstream_port()?),
        Fault::FullDisk => lane.disk.as_ref().map_or(Ok(()), |disk| disk.fill()),
        Fault::Clock(whose, by) => lane.set_clock(whose, by),
        Fault::RestartDatabase => lane.cluster.as_ref().map_or(Ok(()), |cluster| cluster.crash()),
    }
}

fn end(lane: &mut Lane, fault: Fault) -> Result<()> {
    match fault {
        Fault::KillMaster | Fault::StopMaster => lane.launch_master(),
        Fault::FreezeMaster => lane.farm.master()?.signal(Signal::SIGCONT),
        Fault::KillDaemon(worker) | Fault::StopDaemon(worker) => lane.launch_daemon(worker),
        Fault::FreezeDaemon(worker) => lane.farm.worker(WORKERS[worker])?.signal(Signal::SIGCONT),
        Fault::Cut(worker) => lane.change_weather(worker, |weather| weather.cut = false),
        Fault::HalfCut(worker, _) => lane.change_weather(worker, |weather| weather.only = None),
        Fault::Rough { worker, .. } => lane.change_weather(worker, |weather| {
            (weather.loss, weather.reorder, weather.delay) = (0.0, 0.0, Duration::ZERO);
        }),
        Fault::FullDisk => lane.disk.as_ref().map_or(Ok(()), |disk| disk.free()),
        Fault::Clock(whose, _) => lane.set_clock(whose, 0),
        Fault::Move(_) | Fault::RestartDatabase => Ok(()),
    }
}

impl Lane {
    fn change_weather(&mut self, worker: usize, change: impl FnOnce(&mut Weather)) -> Result<()> {
        change(&mut self.weather[worker]);
        self.proxies[worker].set(self.weather[worker]);
        Ok(())
    }

    fn set_clock(&self, whose: Option<usize>, by: i64) -> Result<()> {
        let file = self.clock(whose.map_or("master", |worker| WORKERS[worker]));
        // Renamed into place: whoever reads it sees a whole number.
        let new = file.with_extension("new");
        std::fs::write(&new, by.to_string())?;
        Ok(std::fs::rename(new, file)?)
    }
}
