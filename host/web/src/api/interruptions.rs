//! What interrupted a build, in numbers for programs and in one line for people.

use capstan_model::Timestamp;
use capstan_store::{Build, Interruption as Row, InterruptionKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::pages::span;
use crate::{App, Error};

/// A time in which a build was without its master or its worker. What ran went on meanwhile.
#[derive(Serialize, ToSchema)]
pub(crate) struct Interruption {
    pub(crate) id: i64,
    /// Who was away: `master` or `worker`.
    pub(crate) kind: &'static str,
    pub(crate) began: i64,
    /// When it ended; `null` while it lasts, and where the build ended first.
    pub(crate) ended: Option<i64>,
    /// How long, in milliseconds: exact also where a clock was turned meanwhile, `null` where nobody knows.
    away_ms: Option<u64>,
    /// How many absences soon after one another these were.
    times: u32,
    /// Whether a command was lost by it.
    pub(crate) lost: bool,
    /// All that in a line.
    pub(crate) summary: String,
    /// While it lasts: who is silent.
    #[serde(skip)]
    pub(crate) silent: Option<String>,
}

impl Interruption {
    /// What interrupted the build so far, oldest first.
    pub(crate) async fn of_build(app: &App, build: &Build) -> Result<Vec<Self>, Error> {
        let now = app.control().now();
        let rows = app.store().interruptions(build.id).await?;
        Ok(rows
            .into_iter()
            .map(|row| Self::new(row, &build.worker, build.finished.is_none(), now))
            .collect())
    }

    fn new(row: Row, worker: &str, running: bool, now: Timestamp) -> Self {
        let who = match row.kind {
            InterruptionKind::Master => "master".to_owned(),
            InterruptionKind::Worker => format!("worker {worker}"),
        };
        let summary = summary(&row, &who, running, now);
        let lasts = running && row.ended.is_none() && !row.lost;
        Self {
            id: row.id,
            kind: row.kind.as_str(),
            began: row.began.0,
            ended: row.ended.map(|time| time.0),
            away_ms: row.away.filter(|_| !lasts),
            times: row.times,
            lost: row.lost,
            summary,
            silent: lasts.then_some(who),
        }
    }

    /// Whether it touches the time from one moment to another.
    pub(crate) fn touches(&self, from: i64, to: i64) -> bool {
        self.began <= to && self.ended.is_none_or(|ended| ended >= from)
    }
}

/// `master away 12 s, nothing lost`.
fn summary(row: &Row, who: &str, running: bool, now: Timestamp) -> String {
    let consequence = match (row.lost, row.kind) {
        (false, _) => ", nothing lost",
        (true, InterruptionKind::Worker) => ": its command was lost",
        (true, InterruptionKind::Master) => ": a command was lost",
    };
    let length = row.away.map(span);
    match (row.ended, length) {
        (None, Some(length)) if row.lost => format!("{who} away for longer than {length}{consequence}"),
        (None, _) if row.lost => format!("{who} away{consequence}"),
        (None, _) if running => format!("{who} silent for {}", span(now.since(row.began))),
        (None, _) => format!("{who} silent when the build ended"),
        (Some(_), Some(length)) if row.times > 1 => {
            format!("{who} away {} times, {length} in all{consequence}", row.times)
        }
        (Some(_), Some(length)) => format!("{who} away {length}{consequence}"),
        (Some(_), None) => format!("{who} away, nobody knows how long{consequence}"),
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::Timestamp;
    use capstan_store::InterruptionKind::{Master, Worker};

    use super::*;

    fn row(kind: InterruptionKind, ended: Option<i64>, away: Option<u64>) -> Row {
        Row {
            id: 1,
            kind,
            began: Timestamp(10_000),
            ended: ended.map(Timestamp),
            away,
            times: 1,
            lost: false,
        }
    }

    #[test]
    fn each_interruption_is_one_line() {
        let lost = |row: Row| Row { lost: true, ..row };
        let line = |row: Row, running| Interruption::new(row, "w1", running, Timestamp(50_000)).summary;
        for (row, running, expected) in [
            (
                row(Master, Some(22_000), Some(12_000)),
                true,
                "master away 12 s, nothing lost",
            ),
            (
                row(Worker, Some(50_000), Some(40_000)),
                false,
                "worker w1 away 40 s, nothing lost",
            ),
            (row(Worker, None, Some(0)), true, "worker w1 silent for 40 s"),
            (
                row(Worker, None, Some(0)),
                false,
                "worker w1 silent when the build ended",
            ),
            (
                lost(row(Worker, None, Some(300_000))),
                false,
                "worker w1 away for longer than 5 min 0 s: its command was lost",
            ),
            (
                lost(row(Worker, Some(50_000), Some(40_000))),
                true,
                "worker w1 away 40 s: its command was lost",
            ),
            (
                lost(row(Master, Some(22_000), Some(12_000))),
                true,
                "master away 12 s: a command was lost",
            ),
            (
                row(Master, Some(10_000), None),
                true,
                "master away, nobody knows how long, nothing lost",
            ),
            (
                Row {
                    times: 3,
                    ..row(Worker, Some(50_000), Some(9000))
                },
                true,
                "worker w1 away 3 times, 9.0 s in all, nothing lost",
            ),
        ] {
            assert_eq!(line(row, running), expected);
        }
    }

    #[test]
    fn a_clock_that_was_turned_back_makes_no_absurd_length() {
        let silent = Interruption::new(row(Worker, None, Some(0)), "w1", true, Timestamp(0));
        assert_eq!(silent.summary, "worker w1 silent for 0.0 s");
    }
}
