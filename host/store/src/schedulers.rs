//! What schedulers are told and what they decide: an event or timer is consumed in the transaction that carries its
//! decision out, so each is decided upon exactly once.

mod calls;
mod completed;
mod enabling;
mod patches;

use capstan_model::{BuildsetId, CallId, Change, ChangeId, Outcome, SourceStamp, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use calls::{Answer, Call, CallProblem};
pub(crate) use completed::{set_followers, tell_followers};

use crate::buildsets::{self, Buildset, NewBuildset, Submitted};
use crate::events::Draft;
use crate::sql::{Conn, Json, Row, args};
use crate::versions::{Memory, Version};
use crate::writer::Tx;
use crate::{Error, Store, changes};

/// What a scheduler is told.
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerEvent {
    /// It was configured, or configured anew, or the master was started.
    Started,
    /// A change was accepted.
    Change(Box<Change>),
    /// A build ended.
    Finished(Finished),
    /// A buildset of a scheduler that it follows is complete.
    Completed(Box<CompletedBuildset>),
    /// It is asked for builds.
    Call(Value),
}

/// A buildset whose requests have all ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletedBuildset {
    /// The buildset itself.
    pub buildset: Buildset,
    /// Its builds, oldest first.
    pub builds: Vec<CompletedBuild>,
}

/// A build of such a buildset.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletedBuild {
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was asked to check out, at the revisions that its property `got_revision` names.
    pub sources: Vec<SourceStamp>,
}

/// A build that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was asked to check out.
    pub sources: Vec<SourceStamp>,
}

/// What a decision answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// The event with that key, as [`Store::next_event`] gave it.
    Event(i64),
    /// A timer that was due.
    Timer {
        /// Its name.
        name: String,
        /// When it was due: a timer that was set anew meanwhile is another one.
        at: Timestamp,
    },
}

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name, unique within its scheduler.
    pub name: String,
    /// When it is due.
    pub at: Timestamp,
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTimer {
    /// Whose it is.
    pub scheduler: String,
    /// The timer.
    pub timer: Timer,
}

/// All that an event leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The scheduler's new state.
    pub state: Vec<u8>,
    /// The version of its plugin that made it.
    pub by: Option<Version>,
    /// What is to be built.
    pub buildsets: Vec<NewBuildset>,
    /// Timers to set; each replaces the one of its name.
    pub set_timers: Vec<Timer>,
    /// Names of timers to clear.
    pub clear_timers: Vec<String>,
}

/// A scheduler as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerStatus {
    /// Its name.
    pub name: String,
    /// How many events wait for it.
    pub waiting: u64,
    /// Whether it is told of events and its timers run.
    pub enabled: bool,
    /// Its earliest timer.
    pub next: Option<Timestamp>,
    /// When it last gave an event up; `None` if it has decided since.
    pub failed: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
}

/// An event as it is kept: a change by its key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Payload {
    Started,
    Change(ChangeId),
    Finished(Finished),
    Completed(BuildsetId),
    Call(CallId),
}

impl Store {
    /// The scheduler's state; `None` before its first decision.
    pub async fn scheduler_state(&self, scheduler: &str) -> Result<Option<Memory>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT state, state_digest, state_version FROM schedulers WHERE name = $1";
        let row = conn.row(sql, args![scheduler]).await?;
        row.map_or(Ok(None), |row| {
            Memory::read(&row, "state", "state_digest", "state_version")
        })
    }

    /// Every scheduler that has ever decided or failed, by name.
    pub async fn schedulers(&self) -> Result<Vec<SchedulerStatus>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT id, name, failed, error, enabled,
                   (SELECT MIN(at) FROM timers WHERE timers.scheduler = schedulers.name) AS next_timer,
                   (SELECT COUNT(*) FROM scheduler_events WHERE scheduler_events.scheduler = schedulers.name) AS waiting
                   FROM schedulers ORDER BY name";
        let status = |row: &Row| {
            Ok(SchedulerStatus {
                name: row.get("name")?,
                waiting: row.get("waiting")?,
                enabled: row.get::<i64>("enabled")? != 0,
                next: row.maybe("next_timer")?,
                failed: row.maybe("failed")?,
                error: row.maybe("error")?,
            })
        };
        conn.rows(sql, args![]).await?.iter().map(status).collect()
    }

    /// The oldest event that the scheduler has not decided upon, with its key.
    pub async fn next_event(&self, scheduler: &str) -> Result<Option<(i64, SchedulerEvent)>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT id, payload FROM scheduler_events WHERE scheduler = $1 ORDER BY id LIMIT 1";
        let Some(row) = conn.row(sql, args![scheduler]).await? else {
            return Ok(None);
        };
        let event = match row.get::<Json<Payload>>("payload")?.0 {
            Payload::Started => SchedulerEvent::Started,
            Payload::Finished(finished) => SchedulerEvent::Finished(finished),
            Payload::Change(id) => {
                let change = changes::load(&mut conn, id).await?;
                let missing =
                    || row.corrupt("payload", &format!("expected a change, found none with id {id}"));
                SchedulerEvent::Change(Box::new(change.ok_or_else(missing)?))
            }
            Payload::Completed(id) => {
                let missing = || {
                    row.corrupt(
                        "payload",
                        &format!("expected a buildset, found none with id {id}"),
                    )
                };
                let found = completed::load(&mut conn, id).await?;
                SchedulerEvent::Completed(Box::new(found.ok_or_else(missing)?))
            }
            Payload::Call(id) => {
                let missing = || row.corrupt("payload", &format!("expected a call, found none with id {id}"));
                SchedulerEvent::Call(calls::body(&mut conn, id).await?.ok_or_else(missing)?)
            }
        };
        Ok(Some((row.get("id")?, event)))
    }

    /// Leaves an event for a scheduler and rings the bell. `Started` waits at most once. A call is left with
    /// [`call_scheduler`](Self::call_scheduler) instead.
    pub async fn enqueue_event(
        &self,
        scheduler: &str,
        event: SchedulerEvent,
        now: Timestamp,
    ) -> Result<(), Error> {
        let scheduler = scheduler.to_owned();
        let payload = match event {
            SchedulerEvent::Started => Payload::Started,
            SchedulerEvent::Change(change) => Payload::Change(change.id),
            SchedulerEvent::Finished(finished) => Payload::Finished(finished),
            SchedulerEvent::Completed(set) => Payload::Completed(set.buildset.id),
            SchedulerEvent::Call(_) => {
                return Err(Error::invalid(
                    "expected an event, found a call, which has an answer",
                ));
            }
        };
        self.write(move |tx| async move { enqueue(tx, &scheduler, &payload, now).await }.boxed())
            .await
    }

    /// The scheduler's earliest timer.
    pub async fn next_timer(&self, scheduler: &str) -> Result<Option<(String, Timestamp)>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT name, at FROM timers WHERE scheduler = $1 ORDER BY at, name LIMIT 1";
        let row = conn.row(sql, args![scheduler]).await?;
        row.map(|row| Ok((row.get("name")?, row.get("at")?))).transpose()
    }

    /// Every timer that is due, earliest first.
    pub async fn due_timers(&self, now: Timestamp) -> Result<Vec<DueTimer>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT scheduler, name, at FROM timers WHERE at <= $1 ORDER BY at, scheduler, name";
        let due = |row: &Row| {
            let timer = Timer {
                name: row.get("name")?,
                at: row.get("at")?,
            };
            Ok(DueTimer {
                scheduler: row.get("scheduler")?,
                timer,
            })
        };
        conn.rows(sql, args![now]).await?.iter().map(due).collect()
    }

    /// Carries a decision out. [`Error::Conflict`] when the event or timer is gone: it was decided upon before.
    /// [`Error::Invalid`] when the decision names a change that does not exist.
    pub async fn commit_decision(
        &self,
        scheduler: &str,
        consumed: Consumed,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Vec<Submitted>, Error> {
        let scheduler = scheduler.to_owned();
        self.write(move |tx| commit(tx, scheduler, consumed, decision, now).boxed())
            .await
    }

    /// Gives an event or timer up: it is consumed, the scheduler's state stays.
    pub async fn scheduler_failed(
        &self,
        scheduler: &str,
        consumed: Consumed,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (scheduler, reason) = (scheduler.to_owned(), reason.to_owned());
        self.write(move |tx| give_up(tx, scheduler, consumed, reason, now).boxed())
            .await
    }
}

/// Leaves an event for a scheduler.
pub(crate) async fn enqueue(
    tx: &mut Tx,
    scheduler: &str,
    payload: &Payload,
    now: Timestamp,
) -> Result<(), Error> {
    if matches!(payload, Payload::Started) {
        let waits = "SELECT id FROM scheduler_events WHERE scheduler = $1 AND payload = $2";
        if tx.row(waits, args![scheduler, Json(payload)]).await?.is_some() {
            return Ok(());
        }
    }
    let insert = "INSERT INTO scheduler_events (scheduler, payload, created) VALUES ($1, $2, $3)";
    tx.run(insert, args![scheduler, Json(payload), now]).await?;
    tx.ring();
    tx.ring_for_scheduler(scheduler);
    Ok(())
}

async fn commit(
    tx: &mut Tx,
    scheduler: String,
    consumed: Consumed,
    decision: Decision,
    now: Timestamp,
) -> Result<Vec<Submitted>, Error> {
    // Events are dropped when a scheduler is switched off, timers stay: one may be in the plugin's hands meanwhile.
    if matches!(consumed, Consumed::Timer { .. }) && !enabling::is_enabled(tx, &scheduler).await? {
        return Err(Error::conflict(format!(
            "expected the scheduler `{scheduler}` to be enabled, found it disabled"
        )));
    }
    let event = consume(tx, &scheduler, &consumed).await?;
    let patches = patches::of(tx, event.as_ref()).await?;
    if matches!(event, Some(Payload::Call(_))) && decision.buildsets.is_empty() && patches.are_there() {
        return Err(Error::invalid(
            "patch: expected a scheduler that builds at once, found one that builds later, without the patch",
        ));
    }
    let (digest, version) = decision.by.map(|by| (by.digest, by.version)).unzip();
    tx.run(
        "INSERT INTO schedulers (name, state, state_digest, state_version, enabled) VALUES ($1, $2, $3, $4, 1)
         ON CONFLICT (name) DO UPDATE SET state = excluded.state, state_digest = excluded.state_digest,
         state_version = excluded.state_version, failed = NULL, error = NULL",
        args![&scheduler, decision.state, digest, version],
    )
    .await?;
    for name in &decision.clear_timers {
        tx.run(
            "DELETE FROM timers WHERE scheduler = $1 AND name = $2",
            args![&scheduler, name],
        )
        .await?;
    }
    for timer in decision.set_timers {
        let set = "INSERT INTO timers (scheduler, name, at) VALUES ($1, $2, $3)
                   ON CONFLICT (scheduler, name) DO UPDATE SET at = excluded.at";
        tx.run(set, args![&scheduler, timer.name, timer.at]).await?;
    }
    let mut submitted = Vec::with_capacity(decision.buildsets.len());
    for mut buildset in decision.buildsets {
        patches.put_on(&mut buildset.sources)?;
        submitted.push(buildsets::insert(tx, buildset, now).await?);
    }
    if let Some(Payload::Call(call)) = event {
        calls::answer(tx, call, &Answer::Made(submitted.clone()), now).await?;
    }
    Ok(submitted)
}

async fn give_up(
    tx: &mut Tx,
    scheduler: String,
    consumed: Consumed,
    reason: String,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(Payload::Call(call)) = consume(tx, &scheduler, &consumed).await? {
        calls::answer(tx, call, &Answer::refused("", &reason), now).await?;
    }
    tx.run(
        "INSERT INTO schedulers (name, enabled, failed, error) VALUES ($1, 1, $2, $3) ON CONFLICT (name)
         DO UPDATE SET failed = excluded.failed, error = excluded.error",
        args![&scheduler, now, &reason],
    )
    .await?;
    Draft::new("scheduler.failed")
        .payload(json!({ "scheduler": scheduler, "reason": reason }))
        .add(tx, now);
    Ok(())
}

/// Takes what is decided upon away; answers the event, if it was none of the timers.
pub(crate) async fn consume(
    conn: &mut Conn,
    scheduler: &str,
    consumed: &Consumed,
) -> Result<Option<Payload>, Error> {
    let mut event = None;
    let (gone, what) = match consumed {
        Consumed::Event(id) => {
            let delete = "DELETE FROM scheduler_events WHERE id = $1 AND scheduler = $2 RETURNING payload";
            let row = conn.row(delete, args![*id, scheduler]).await?;
            let payload = row.map(|row| row.get::<Json<Payload>>("payload")).transpose()?;
            event = payload.map(|payload| payload.0);
            (u64::from(event.is_some()), format!("event {id}"))
        }
        Consumed::Timer { name, at } => {
            let delete = "DELETE FROM timers WHERE scheduler = $1 AND name = $2 AND at = $3";
            (
                conn.run(delete, args![scheduler, name, *at]).await?,
                format!("timer `{name}`"),
            )
        }
    };
    match gone {
        0 => Err(Error::conflict(format!(
            "expected {what} of scheduler `{scheduler}` to be waiting, found none"
        ))),
        _ => Ok(event),
    }
}
