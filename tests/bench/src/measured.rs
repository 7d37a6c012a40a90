//! A farm whose processes are watched: what the rows that run builds have in common.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{Api, Farm, wait_for};
use serde_json::{Value, json};

use crate::launch;
use crate::row::{Bench, Usage};
use crate::usage::{Watch, together};

/// Longer than a row should take.
const BOUND: Duration = Duration::from_secs(120);

/// The master and the workers `w0`, `w1`, … of a farm, running.
pub struct Running {
    /// The farm.
    pub farm: Farm,
    /// Its interface.
    pub api: Api,
    workers: usize,
}

/// What the processes of a farm used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// The master.
    pub master: Usage,
    /// The workers with everything that they started and that has ended; the memory is that of the daemons.
    pub workers: Usage,
    /// How much more memory the master held at its peak than before, in kilobytes.
    pub master_growth_kb: u64,
}

/// Runs `body` on a farm with this configuration and so many workers. The farm is gone afterwards; if it went wrong, what
/// its processes printed is shown.
pub fn on_a_farm<T>(
    bench: &Bench,
    configuration: &str,
    workers: usize,
    body: impl FnOnce(&mut Running) -> Result<T>,
) -> Result<T> {
    let mut farm = launch::farm(bench)?;
    farm.write("ci.star", configuration)?;
    let mut start = || -> Result<Api> {
        farm.start_master()?;
        for index in 0..workers {
            farm.add_worker(&format!("w{index}"))?;
        }
        farm.api()
    };
    let done = match start() {
        Ok(api) => {
            let mut running = Running { farm, api, workers };
            let done = body(&mut running).and_then(|done| running.farm.shut_down().map(|()| done));
            farm = running.farm;
            done
        }
        Err(error) => Err(error),
    };
    if done.is_err() {
        farm.show_outputs();
    }
    done
}

/// A `ci.star` list of the workers that [`on_a_farm`] starts.
pub fn define_workers(count: usize, slots: usize) -> String {
    let each = (0..count).map(|index| format!("worker(\"w{index}\", slots = {slots})"));
    format!("workers = [{}]\n", each.collect::<Vec<_>>().join(", "))
}

/// A command's words as a Starlark list.
pub fn command(words: &[String]) -> String {
    // A JSON list of texts is one of Starlark too.
    json!(words).to_string()
}

impl Running {
    /// Does `work` and says what the farm used for it.
    pub fn watched<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<(T, Used)> {
        let master = Watch::start(self.farm.master()?.id())?;
        let workers: Vec<_> = (0..self.workers)
            .map(|index| Watch::start(self.farm.worker(&format!("w{index}"))?.id()))
            .collect::<Result<_>>()?;
        let done = work(self)?;
        let used = Used {
            master: master.so_far()?,
            workers: together(workers.iter().map(Watch::so_far).collect::<Result<Vec<_>>>()?),
            master_growth_kb: master
                .so_far()?
                .peak_memory_kb
                .saturating_sub(master.memory_at_start_kb()),
        };
        Ok((done, used))
    }

    /// Runs a build to its end, which has to be good, and answers it with its steps. Asks rarely: what asks is served by
    /// the process that is measured; times are those that the master noted.
    pub fn build(&self, builder: &str) -> Result<Value> {
        let number = self
            .builds(builder)?
            .first()
            .map_or(0, |build| build["number"].as_u64().unwrap_or(0))
            + 1;
        self.force(builder)?;
        self.wait(builder, number, 1)?;
        let build = self.api.get(&format!("/builders/{builder}/builds/{number}"))?;
        ensure!(
            build["outcome"] == "success",
            "expected a build that succeeds, found {build}"
        );
        Ok(build)
    }

    /// Asks for a build.
    pub fn force(&self, builder: &str) -> Result<()> {
        self.api
            .post(&format!("/builders/{builder}/force"), &json!({}))
            .map(drop)
    }

    /// Waits until `count` builds from number `first` on have ended, and answers them, newest first.
    pub fn wait(&self, builder: &str, first: u64, count: usize) -> Result<Vec<Value>> {
        const PAUSE: Duration = Duration::from_millis(100);
        wait_for(&format!("the end of {count} builds of {builder}"), BOUND, || {
            std::thread::sleep(PAUSE);
            let mut builds = self.builds(builder)?;
            builds.retain(|build| {
                build["state"] == "complete" && build["number"].as_u64().is_some_and(|number| number >= first)
            });
            Ok((builds.len() >= count).then_some(builds))
        })
    }

    fn builds(&self, builder: &str) -> Result<Vec<Value>> {
        let page = self.api.get(&format!("/builds?builder={builder}&limit=500"))?;
        page["builds"].as_array().cloned().context("expected builds")
    }
}

/// A time in a row of the interface, in milliseconds since the epoch.
pub fn time(row: &Value, field: &str) -> Result<f64> {
    row[field]
        .as_f64()
        .with_context(|| format!("expected `{field}` in {row}"))
}
