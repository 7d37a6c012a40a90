//! Who is away: how long nobody was master before this one, and which workers have lost their connection. What comes of it
//! is noted for the running builds, so that people see it and see that nothing was lost.
//!
//! `service` asks at the start and lets [`watch`] run; `workers` says who leaves and who returns.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capstan_model::{Clock, Timestamp};
use capstan_store::Away;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;

/// How often it is noted that the master is alive, and looked who is away.
const TICK: Duration = Duration::from_secs(1);
/// Who is back sooner was not away: a daemon that was replaced, a connection that another one took over.
const SHORT: Duration = Duration::from_secs(2);
/// A worker that has not found the new master by then is away by itself: it dials at least every 15 seconds.
const HOMECOMING: Duration = Duration::from_secs(20);
/// Longer than what is read here.
const LONGEST: u64 = 256;

/// A moment, as the machine counts: by its uptime, which nobody can turn, and by the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moment {
    /// Which uptime it is.
    boot: String,
    up_ms: u64,
    clock: Timestamp,
}

impl Moment {
    fn now(clock: &dyn Clock) -> Self {
        let boot = read(Path::new("/proc/sys/kernel/random/boot_id"));
        let up = read(Path::new("/proc/uptime"));
        let seconds = up
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<f64>().ok());
        Self {
            boot: boot.split_whitespace().collect(),
            up_ms: Duration::try_from_secs_f64(seconds.unwrap_or(0.0))
                .map_or(0, |up| u64::try_from(up.as_millis()).unwrap_or(0)),
            clock: clock.now(),
        }
    }

    /// Always of the same length, since it is written over the one before.
    fn to_line(&self) -> String {
        let boot = if self.boot.is_empty() { "-" } else { &self.boot };
        format!("{boot:<36} {:>20} {:>20}\n", self.up_ms, self.clock.0)
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split_whitespace();
        let (boot, up_ms, clock) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            boot: if boot == "-" {
                String::new()
            } else {
                boot.to_owned()
            },
            up_ms: up_ms.parse().ok()?,
            clock: Timestamp(clock.parse().ok()?),
        })
    }

    /// How long ago `before` was. Within one uptime that is exact; over a restart of the machine only the clock knows, unless
    /// it was turned back.
    fn since(&self, before: &Self) -> Option<u64> {
        let same = !self.boot.is_empty() && self.boot == before.boot;
        let by_uptime = self.up_ms.checked_sub(before.up_ms).filter(|_| same);
        by_uptime.or_else(|| u64::try_from(self.clock.0.saturating_sub(before.clock.0)).ok())
    }
}

/// The beginning of a text file; empty if there is none.
fn read(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    file.map_or_else(|_| String::new(), |_| text)
}

/// The file that says when a master was last alive. It is not synced: a killed master loses nothing, and after a power
/// failure an older moment is as good.
pub(crate) struct Alive {
    path: PathBuf,
    file: File,
}

impl Alive {
    /// Opens it for the one master of this data folder, and says how long there was none.
    pub fn open(data: &Path, clock: &dyn Clock) -> Result<(Self, Away), Error> {
        let path = data.join("master.alive");
        let before = Moment::from_line(&read(&path));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::failed(format!("open {}", path.display()), e))?;
        let now = Moment::now(clock);
        let away = Away {
            ms: before.as_ref().and_then(|before| now.since(before)),
            last_alive: before.map(|before| before.clock),
        };
        Ok((Self { path, file }, away))
    }

    /// Notes that the master is alive.
    pub fn touch(&self, clock: &dyn Clock) {
        let line = Moment::now(clock).to_line();
        if let Err(error) = self.file.write_all_at(line.as_bytes(), 0) {
            tracing::warn!(file = %self.path.display(), %error, "failed to note that the master is alive");
        }
    }
}

/// The workers that have left since this master began and are not back.
#[derive(Default)]
pub(crate) struct Absences(Mutex<HashMap<String, Gone>>);

struct Gone {
    /// When it was last heard of.
    since: Instant,
    noted: bool,
}

impl Absences {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Gone>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's connection is gone, and it had said nothing for so long. One that lives says something several times within
    /// `idle`: only what is more than half of that is silence.
    pub fn left(&self, worker: &str, silent: Duration, idle: Duration) {
        let now = Instant::now();
        let silent = if silent > idle / 2 {
            silent.min(idle)
        } else {
            Duration::ZERO
        };
        let since = now.checked_sub(silent).unwrap_or(now);
        self.all().insert(worker.to_owned(), Gone { since, noted: false });
    }

    /// A worker is back: after how many milliseconds, if it has left since this master began.
    pub fn returned(&self, worker: &str) -> Option<u64> {
        let gone = self.all().remove(worker)?;
        u64::try_from(gone.since.elapsed().as_millis()).ok()
    }

    /// Who has been away long enough for it to be noted, and how long.
    fn due(&self) -> Vec<(String, Duration)> {
        let all = self.all();
        let due = all
            .iter()
            .map(|(worker, gone)| (worker, gone, gone.since.elapsed()));
        due.filter(|(_, gone, away)| !gone.noted && *away >= SHORT)
            .map(|(worker, _, away)| (worker.clone(), away))
            .collect()
    }

    fn noted(&self, worker: &str) {
        if let Some(gone) = self.all().get_mut(worker) {
            gone.noted = true;
        }
    }
}

/// Keeps the moment of the last sign of life, and notes which workers are away, until `shutdown`.
pub(crate) async fn watch(farm: Arc<Farm>, alive: Alive, shutdown: CancellationToken) {
    let alive = Arc::new(alive);
    let began = Instant::now();
    let mut welcomed = false;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let ends = tokio::select! {
            () = shutdown.cancelled() => true,
            _ = ticks.tick() => false,
        };
        let (file, clock) = (alive.clone(), farm.clock.clone());
        // A disk that hangs holds up nothing else. A panic there would have nothing to say.
        let _written = tokio::task::spawn_blocking(move || file.touch(&*clock)).await;
        if ends {
            return;
        }
        let mut result = note_absences(&farm).await;
        if !welcomed && began.elapsed() >= HOMECOMING {
            result = result.and(note_missing(&farm).await);
            welcomed = result.is_ok();
        }
        if let Err(error) = result {
            tracing::warn!(%error, "failed to note that workers are away; trying again");
        }
    }
}

async fn note_absences(farm: &Farm) -> Result<(), Error> {
    for (worker, away) in farm.absences.due() {
        let now = farm.clock.now();
        let since = now.plus_ms(i64::try_from(away.as_millis()).map_or(0, |ms| -ms));
        farm.store.worker_is_away(&worker, since, now).await?;
        farm.absences.noted(&worker);
    }
    Ok(())
}

/// Workers whose builds run and that have not come to this master at all.
async fn note_missing(farm: &Farm) -> Result<(), Error> {
    let now = farm.clock.now();
    let builds = farm.store.running_builds().await?;
    for worker in farm.store.workers().await? {
        let runs = builds.iter().any(|build| build.worker == worker.name);
        if runs && !worker.connected {
            let since = worker.since.unwrap_or(now);
            farm.store.worker_is_away(&worker.name, since, now).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use capstan_model::{ManualClock, SystemClock};

    use super::*;

    fn moment(boot: &str, up_ms: u64, clock: i64) -> Moment {
        Moment {
            boot: boot.to_owned(),
            up_ms,
            clock: Timestamp(clock),
        }
    }

    #[test]
    fn a_turned_clock_does_not_change_how_long_nobody_was_master() {
        let before = moment("a", 10_000, 5_000_000);
        for (after, away) in [
            (moment("a", 12_000, 5_002_000), Some(2000)),
            (moment("a", 12_000, 1_402_000), Some(2000)),
            (moment("a", 12_000, 8_602_000), Some(2000)),
            // Another uptime: only the clock knows, and one that was turned back does not.
            (moment("b", 3000, 5_090_000), Some(90_000)),
            (moment("b", 3000, 4_000_000), None),
            // A machine that counts no uptime.
            (moment("", 0, 5_002_000), Some(2000)),
        ] {
            assert_eq!(after.since(&before), away, "{after:?}");
        }
    }

    #[test]
    fn a_moment_is_read_as_it_was_written_and_a_torn_one_is_none() {
        let now = Moment::now(&SystemClock);
        let (line, old) = (now.to_line(), moment("", 0, -1).to_line());
        assert_eq!(line.len(), old.len(), "one is written over the other");
        assert_eq!(Moment::from_line(&line), Some(now));
        assert_eq!(Moment::from_line(&old), Some(moment("", 0, -1)));
        for cut in 0..line.len() {
            assert_eq!(Moment::from_line(&line[..cut]), None, "{cut}");
        }
        assert_eq!(Moment::from_line("a b c\n"), None);
    }

    #[test]
    fn the_file_tells_the_next_master_and_a_damaged_one_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(1000));
        let (alive, away) = Alive::open(folder.path(), &clock).unwrap();
        assert_eq!(away, Away::default());
        alive.touch(&clock);
        clock.advance_ms(-500);
        let (_, away) = Alive::open(folder.path(), &clock).unwrap();
        assert_eq!(away.last_alive, Some(Timestamp(1000)));
        assert!(away.ms.is_none_or(|ms| ms < 60_000), "{away:?}");
        std::fs::write(folder.path().join("master.alive"), b"\xff\0 1 2\n").unwrap();
        assert_eq!(Alive::open(folder.path(), &clock).unwrap().1, Away::default());
    }

    #[test]
    fn who_is_back_soon_was_not_away() {
        let absences = Absences::default();
        assert_eq!(absences.returned("w"), None);
        let idle = SHORT * 3;
        absences.left("w", Duration::from_secs(1), idle);
        assert_eq!(absences.due(), []);
        assert!(absences.returned("w").is_some_and(|ms| ms < 60_000));
        absences.left("w", Duration::MAX, idle);
        assert_eq!(absences.due().len(), 1);
        absences.noted("w");
        assert_eq!(absences.due(), [], "noted once");
    }
}
