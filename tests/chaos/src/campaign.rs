//! A campaign: the run without faults, then seed after seed, in lanes side by side. Prints a line for each, and what they
//! come to.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::check;
use crate::found::{Build, Found};
use crate::lane::{Lane, Options, Seen};
use crate::plan::{Database, Plan};

/// Seeds that one farm sees: its small disk has room for the logs of more.
const SEEDS_A_FARM: u64 = 25;

/// Which seeds, and how.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// No seed is begun after so long.
    pub limit: Option<Duration>,
    /// Lanes side by side.
    pub jobs: usize,
    /// How to ask for one seed again, before ` --from S --seeds 1`.
    pub again: String,
}

/// What the seeds come to.
#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    builds: usize,
    /// Of them, by a full disk, with the reason.
    ended: usize,
    faults: usize,
    commands: usize,
    bytes: usize,
    deliveries: usize,
    ids: usize,
    failed: Vec<u64>,
}

/// What the lanes share.
struct Shared<'a> {
    campaign: &'a Campaign,
    options: &'a Options,
    expected: Found,
    next: AtomicU64,
    stopped: AtomicBool,
    start: Instant,
    total: Mutex<Total>,
}

impl Campaign {
    /// Runs it. Answers whether every seed was good. `scratch` is removed by the caller unless a farm in it is kept.
    pub fn run(&self, options: &Options, scratch: &mut TempDir) -> Result<bool> {
        let start = Instant::now();
        if !options.small_disk {
            println!("left out: a full disk (no private mount namespace is allowed here; it needs root)");
        }
        let mut lane = Lane::create(options).context("failed to make a farm")?;
        let expected = undisturbed(&mut lane)?;
        let bytes = expected.bytes();
        println!(
            "without faults: {} builds, {} commands, {bytes} bytes of logs, {} reports, {:.1} s",
            expected.builds.len(),
            expected.begun(),
            expected.ids(),
            start.elapsed().as_secs_f64()
        );
        let shared = Shared {
            campaign: self,
            options,
            expected,
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            start,
            total: Mutex::default(),
        };
        let ended = std::thread::scope(|scope| {
            let first = [Some(lane)].into_iter().chain(std::iter::repeat_with(|| None));
            let lanes: Vec<_> = first
                .take(self.jobs)
                .map(|lane| scope.spawn(|| shared.seeds(lane)))
                .collect();
            let join = |lane: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                lane.join().unwrap_or_else(|_| bail!("a lane panicked"))
            };
            lanes.into_iter().map(join).collect::<Vec<_>>()
        });
        let total = shared.total.into_inner().unwrap_or_else(PoisonError::into_inner);
        println!("{}", total.summary(start.elapsed()));
        if !total.failed.is_empty() {
            scratch.disable_cleanup(true);
        }
        ended.into_iter().collect::<Result<()>>()?;
        Ok(total.failed.is_empty())
    }
}

/// What the builds come to when nothing happens.
fn undisturbed(lane: &mut Lane) -> Result<Found> {
    let Seen { found, mut late } = lane.run(&Plan::quiet())?;
    late.extend(check::problems(&found, &found, false));
    if !late.is_empty() {
        bail!(
            "the run without faults is not as it should be:\n  {}",
            late.join("\n  ")
        );
    }
    Ok(found)
}

impl Shared<'_> {
    /// A lane: takes the next seed until there is none.
    fn seeds(&self, first: Option<Lane>) -> Result<()> {
        let (mut lane, mut seen) = (first, 0);
        while let Some(seed) = self.next() {
            if seen >= SEEDS_A_FARM {
                lane = None;
            }
            let mut farm = match lane.take() {
                Some(farm) => farm,
                None => {
                    seen = 0;
                    Lane::create(self.options).context("failed to make a farm")?
                }
            };
            seen += 1;
            let plan = Plan::of(seed, self.options.database);
            let begun = Instant::now();
            let result = farm.run(&plan);
            let problems = self.judge(&plan, &result);
            self.tell(&plan, result.ok().as_ref(), begun.elapsed(), problems.is_empty());
            if problems.is_empty() {
                lane = Some(farm);
            } else {
                self.tell_failure(seed, farm, &problems);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<u64> {
        let late = self
            .campaign
            .limit
            .is_some_and(|limit| self.start.elapsed() >= limit);
        if late || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.campaign.seeds).then(|| self.campaign.from + number)
    }

    fn judge(&self, plan: &Plan, result: &Result<Seen>) -> Vec<String> {
        match result {
            Err(error) => vec![format!("{error:#}")],
            Ok(seen) => {
                let mut problems = seen.late.clone();
                let full = plan.fills_the_disk() && self.options.small_disk;
                problems.extend(check::problems(&self.expected, &seen.found, full));
                problems
            }
        }
    }

    fn tell(&self, plan: &Plan, seen: Option<&Seen>, took: Duration, good: bool) {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        total.seeds += 1;
        total.faults += plan.faults.len();
        let Some(Seen { found, .. }) = seen else {
            println!(
                "seed {:>5}  BROKEN OFF  {:>5.1} s  {}",
                plan.seed,
                took.as_secs_f64(),
                plan.words()
            );
            return;
        };
        total.builds += found.builds.len();
        if good {
            let ended = |build: &&Build| build.outcome == "exception";
            total.ended += found.builds.iter().filter(ended).count();
        }
        total.commands += found.begun();
        total.bytes += found.bytes();
        total.deliveries += found.deliveries.len();
        total.ids += found.ids();
        println!(
            "seed {:>5}  {}  {:>5.1} s  {} builds, {} commands, {} bytes, {}/{} reports  {}",
            plan.seed,
            if good { "good" } else { "BAD " },
            took.as_secs_f64(),
            found.builds.len(),
            found.begun(),
            found.bytes(),
            found.deliveries.len(),
            found.ids(),
            plan.words()
        );
    }

    fn tell_failure(&self, seed: u64, farm: Lane, problems: &[String]) {
        let text = format!(
            "{}\n{}",
            Plan::of(seed, self.options.database),
            problems.join("\n")
        );
        let folder = farm.keep(&text);
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        total.failed.push(seed);
        for line in text.lines() {
            println!("    {line}");
        }
        println!("    the farm's folder: {}", folder.display());
        println!("    again: {} --from {seed} --seeds 1", self.campaign.again);
    }
}

impl Total {
    fn summary(&self, took: Duration) -> String {
        let verdict = if self.failed.is_empty() {
            "all good".to_owned()
        } else {
            format!("{} bad: {:?}", self.failed.len(), self.failed)
        };
        format!(
            "{} seeds in {:.0} s, {verdict}: {} faults; {} builds ({} ended by a full disk, with the reason); {} commands \
             begun; {} bytes of logs compared; {} reports under {} ids",
            self.seeds,
            took.as_secs_f64(),
            self.faults,
            self.builds,
            self.ended,
            self.commands,
            self.bytes,
            self.deliveries,
            self.ids
        )
    }
}

/// The programs beside this one, or in the folder that was named.
pub fn programs(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = named {
        return Ok(std::path::absolute(folder)?);
    }
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    own.parent()
        .map(PathBuf::from)
        .context("expected this program in a folder")
}

/// How a database is asked for on the command line.
pub fn word(database: Database) -> &'static str {
    match database {
        Database::Sqlite => "sqlite",
        Database::Postgres => "postgres",
    }
}
