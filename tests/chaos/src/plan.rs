//! What happens to the farm in one seed: which faults, when, for how long. The same seed gives the same plan on every
//! machine; what the farm was doing at that moment depends on the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// The workers of a farm.
pub const WORKERS: [&str; 2] = ["w1", "w2"];
/// Faults begin within so long after the builds were asked for: about as long as they take when nothing happens.
const WINDOW_MS: u64 = 3_000;
/// Between the end of one fault and the next one of the same thing.
const BREATH: Duration = Duration::from_millis(30);

/// What the farm keeps its data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Database {
    /// A file.
    Sqlite,
    /// A private cluster for each lane.
    Postgres,
}

/// One fault. Workers are numbered as in [`WORKERS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The master is killed; it starts again when the fault ends.
    KillMaster,
    /// The master is asked to end, as for an upgrade.
    StopMaster,
    /// The master stands still.
    FreezeMaster,
    /// A worker's daemon is killed.
    KillDaemon(usize),
    /// A worker's daemon is asked to end.
    StopDaemon(usize),
    /// A worker's daemon stands still.
    FreezeDaemon(usize),
    /// Nothing passes between a worker and the master.
    Cut(usize),
    /// Only one direction passes: `true` is towards the master.
    HalfCut(usize, bool),
    /// Datagrams of a worker are lost, overtake each other, and are late.
    Rough {
        /// Which worker.
        worker: usize,
        /// The part that is lost, in percent.
        loss: u8,
        /// The part that others overtake, in percent.
        reorder: u8,
        /// How late, in milliseconds.
        delay: u8,
    },
    /// The master sees a worker at a new address.
    Move(usize),
    /// No room where the master keeps its logs.
    FullDisk,
    /// The clock of the master (`None`) or of a worker is wrong by so many milliseconds.
    Clock(Option<usize>, i64),
    /// The database crashes and starts again.
    RestartDatabase,
}

/// What only one fault at a time can happen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Master,
    Daemon(usize),
    Way(usize),
    Weather(usize),
    Disk,
    Clock(Option<usize>),
    Database,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// From the moment when the builds were asked for.
    pub at: Duration,
    /// Until it is healed.
    pub lasts: Duration,
    /// What happens.
    pub fault: Fault,
}

/// Everything that happens in one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which.
    pub seed: u64,
    /// How long a step's plugin stays in memory while its command runs; from the master's next start on.
    pub keep_instances: &'static str,
    /// How long a connection may be silent; from the master's next start on.
    pub idle: &'static str,
    /// When somebody pushes a commit.
    pub push: Duration,
    /// In the order in which they begin.
    pub faults: Vec<Timed>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, database: Database) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let keep_instances = ["0s", "200ms", "30s"][random.random_range(0..3)];
        let idle = ["2s", "20s"][random.random_range(0..2)];
        let push = ms(random.random_range(0..WINDOW_MS));
        let count = random.random_range(3..=8);
        let mut drawn: Vec<_> = (0..count)
            .map(|_| {
                let at = ms(random.random_range(0..WINDOW_MS));
                let (fault, lasts) = draw(&mut random, database);
                Timed { at, lasts, fault }
            })
            .collect();
        drawn.sort_by_key(|timed| timed.at);
        Self {
            seed,
            keep_instances,
            idle,
            push,
            faults: one_after_the_other(drawn),
        }
    }

    /// A plan in which nothing happens.
    pub fn quiet() -> Self {
        Self {
            seed: 0,
            keep_instances: "30s",
            idle: "20s",
            push: Duration::ZERO,
            faults: Vec::new(),
        }
    }

    /// Whether the disk is full for a while, so that a build may end with that reason.
    pub fn fills_the_disk(&self) -> bool {
        self.faults.iter().any(|timed| timed.fault == Fault::FullDisk)
    }

    /// Its faults as short words in their order: `M9` is a master killed with signal 9.
    pub fn words(&self) -> String {
        let words: Vec<_> = self.faults.iter().map(|timed| timed.fault.word()).collect();
        words.join(" ")
    }
}

/// What happens, and for how long: the commonest things most often.
fn draw(random: &mut SmallRng, database: Database) -> (Fault, Duration) {
    let worker = random.random_range(0..WORKERS.len());
    let all = match database {
        Database::Sqlite => 29,
        Database::Postgres => 33,
    };
    let (fault, longest) = match random.random_range(0..all) {
        0..6 => (Fault::KillMaster, 800),
        6..8 => (Fault::StopMaster, 500),
        8..10 => (Fault::FreezeMaster, 1_000),
        10..14 => (Fault::KillDaemon(worker), 800),
        14..16 => (Fault::StopDaemon(worker), 500),
        16..18 => (Fault::FreezeDaemon(worker), 1_000),
        18..20 => (Fault::Cut(worker), 2_500),
        20 => (Fault::HalfCut(worker, random.random_bool(0.5)), 1_500),
        21..23 => (rough(random, worker), 3_000),
        23..25 => (Fault::Move(worker), 0),
        25..27 => (Fault::FullDisk, 1_500),
        27 => (Fault::Clock(None, jump(random)), 2_000),
        28 => (Fault::Clock(Some(worker), jump(random)), 2_000),
        _ => (Fault::RestartDatabase, 0),
    };
    (fault, ms(random.random_range(0..=longest)))
}

fn rough(random: &mut SmallRng, worker: usize) -> Fault {
    Fault::Rough {
        worker,
        loss: random.random_range(1..30),
        reorder: random.random_range(0..50),
        delay: random.random_range(0..80),
    }
}

/// Seconds to hours, forth or back.
fn jump(random: &mut SmallRng) -> i64 {
    let size = [3_000, 90_000, 7_200_000][random.random_range(0..3)];
    let size = random.random_range(size / 2..=size);
    if random.random_bool(0.5) { size } else { -size }
}

/// Moves each fault behind the one before it of the same thing.
fn one_after_the_other(faults: Vec<Timed>) -> Vec<Timed> {
    let mut free = BTreeMap::new();
    let mut moved: Vec<_> = faults
        .into_iter()
        .map(|mut timed| {
            let free = free.entry(timed.fault.target()).or_insert(Duration::ZERO);
            timed.at = timed.at.max(*free);
            *free = timed.at + timed.lasts + BREATH;
            timed
        })
        .collect();
    moved.sort_by_key(|timed| timed.at);
    moved
}

impl Fault {
    fn target(self) -> Target {
        match self {
            Self::KillMaster | Self::StopMaster | Self::FreezeMaster => Target::Master,
            Self::KillDaemon(worker) | Self::StopDaemon(worker) | Self::FreezeDaemon(worker) => {
                Target::Daemon(worker)
            }
            Self::Cut(worker) | Self::HalfCut(worker, _) => Target::Way(worker),
            Self::Rough { worker, .. } | Self::Move(worker) => Target::Weather(worker),
            Self::FullDisk => Target::Disk,
            Self::Clock(whose, _) => Target::Clock(whose),
            Self::RestartDatabase => Target::Database,
        }
    }

    fn word(self) -> String {
        let name = |worker: usize| WORKERS[worker];
        match self {
            Self::KillMaster => "M9".to_owned(),
            Self::StopMaster => "M15".to_owned(),
            Self::FreezeMaster => "Mz".to_owned(),
            Self::KillDaemon(worker) => format!("{}-9", name(worker)),
            Self::StopDaemon(worker) => format!("{}-15", name(worker)),
            Self::FreezeDaemon(worker) => format!("{}-z", name(worker)),
            Self::Cut(worker) => format!("{}-cut", name(worker)),
            Self::HalfCut(worker, _) => format!("{}-half", name(worker)),
            Self::Rough { worker, .. } => format!("{}-rough", name(worker)),
            Self::Move(worker) => format!("{}-move", name(worker)),
            Self::FullDisk => "full".to_owned(),
            Self::Clock(None, _) => "M-clock".to_owned(),
            Self::Clock(Some(worker), _) => format!("{}-clock", name(worker)),
            Self::RestartDatabase => "db".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::KillMaster => f.write_str("kill -9 the master"),
            Self::StopMaster => f.write_str("stop the master"),
            Self::FreezeMaster => f.write_str("freeze the master"),
            Self::KillDaemon(worker) => write!(f, "kill -9 the daemon of {}", WORKERS[worker]),
            Self::StopDaemon(worker) => write!(f, "stop the daemon of {}", WORKERS[worker]),
            Self::FreezeDaemon(worker) => write!(f, "freeze the daemon of {}", WORKERS[worker]),
            Self::Cut(worker) => write!(f, "cut {} off", WORKERS[worker]),
            Self::HalfCut(worker, true) => write!(f, "{} hears nothing", WORKERS[worker]),
            Self::HalfCut(worker, false) => write!(f, "{} is not heard", WORKERS[worker]),
            Self::Rough {
                worker,
                loss,
                reorder,
                delay,
            } => {
                let name = WORKERS[worker];
                write!(
                    f,
                    "{name} loses {loss} %, reorders {reorder} %, is {delay} ms late"
                )
            }
            Self::Move(worker) => write!(f, "{} comes from a new address", WORKERS[worker]),
            Self::FullDisk => f.write_str("the disk of the logs is full"),
            Self::Clock(whose, by) => {
                let whose = whose.map_or("the master", |worker| WORKERS[worker]);
                write!(f, "the clock of {whose} is off by {by} ms")
            }
            Self::RestartDatabase => f.write_str("crash and restart the database"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |time: Duration| time.as_secs_f64();
        writeln!(
            f,
            "seed {}: keep_instances {}, idle {}",
            self.seed, self.keep_instances, self.idle
        )?;
        writeln!(f, "  {:>6.3} s           push a commit", at(self.push))?;
        for timed in &self.faults {
            let (from, lasts) = (at(timed.at), at(timed.lasts));
            writeln!(f, "  {from:>6.3} s +{lasts:>6.3} s  {}", timed.fault)?;
        }
        Ok(())
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_each_time_and_seeds_differ() {
        let all: BTreeSet<_> = (0..100)
            .map(|seed| {
                let plan = Plan::of(seed, Database::Sqlite);
                assert_eq!(plan, Plan::of(seed, Database::Sqlite));
                plan.to_string()
            })
            .collect();
        assert_eq!(all.len(), 100);
    }

    #[test]
    fn every_fault_happens_and_two_of_one_thing_never_at_once() {
        let mut words = BTreeSet::new();
        for seed in 0..500 {
            let plan = Plan::of(seed, Database::Postgres);
            let mut free = BTreeMap::new();
            for timed in &plan.faults {
                words.insert(timed.fault.word());
                let free = free.entry(timed.fault.target()).or_insert(Duration::ZERO);
                assert!(*free <= timed.at, "{plan}");
                *free = timed.at + timed.lasts;
            }
        }
        let all = "M-clock M15 M9 Mz db full w1-15 w1-9 w1-clock w1-cut w1-half w1-move w1-rough w1-z w2-15 w2-9 \
                   w2-clock w2-cut w2-half w2-move w2-rough w2-z";
        assert_eq!(words.into_iter().collect::<Vec<_>>().join(" "), all);
    }

    #[test]
    fn without_a_database_server_none_is_restarted() {
        let plans = (0..500).map(|seed| Plan::of(seed, Database::Sqlite));
        assert!(
            plans
                .flat_map(|plan| plan.faults)
                .all(|t| t.fault != Fault::RestartDatabase)
        );
    }
}
