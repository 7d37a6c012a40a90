//! The build machine: one task per build, which carries its steps out in order and folds their results.
//!
//! Everything it decides is in the store when the next thing begins, so that a build is taken up where it was.

mod conditions;
mod course;
mod options;

use std::sync::Arc;
use std::time::Duration;

use capstan_model::plan::Phase;
use capstan_model::{BuildId, Condition, Outcome, Pipeline, StepId};
use capstan_store::{Build, BuildFinish, Record, Step, StepState};

use crate::Error;
use crate::farm::Farm;
use crate::ledger::Ledger;
use crate::locks::{Taken, release_step, take_step};
use crate::{pipelines, report, step};

pub(crate) use conditions::hides;
pub(crate) use course::{Became, Course};
pub(crate) use options::StepOptions;

/// How long to wait before a build whose store failed is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Carries a build out to its end. Faults of the store are waited out; the build stays what it is meanwhile.
pub(crate) async fn run(farm: Arc<Farm>, id: BuildId) {
    farm.stops.register(id);
    let ledger = Arc::new(Ledger::default());
    while let Err(error) = carry_out(&farm, &ledger, id).await {
        tracing::error!(build = %id, %error, "failed to carry on with a build; trying again");
        tokio::time::sleep(PAUSE).await;
    }
    farm.slots.forget(id);
    farm.locks.forget(id);
    farm.stops.forget(id);
    farm.workers_changed.notify_one();
}

/// A build that waits holds little: whatever else there is to do is boxed, and the rows of the store are not kept meanwhile.
async fn carry_out(farm: &Arc<Farm>, ledger: &Arc<Ledger>, id: BuildId) -> Result<(), Error> {
    let Some(mut kept) = Box::pin(take_up(farm, ledger, id)).await? else {
        return Ok(());
    };
    let mut course = Course::beginning();
    let mut done = None;
    // Asked for one by one: a step may have inserted others.
    while let Some(next) = Box::pin(next_step(farm, id, done)).await? {
        done = Some(next.step.id);
        let (options, name) = (next.options.clone(), next.step.name.clone());
        let became = tokio::select! {
            became = advance(farm, ledger, &mut kept, next, &course) => became?,
            never = ledger.commit_in_time(farm) => match never {},
        };
        if ledger.changed_properties() {
            Box::pin(ledger.commit(farm)).await?;
            kept.row = None;
        }
        course.add(name, &options, became);
    }
    Box::pin(conclude(farm, ledger, kept, &course)).await
}

/// Begins with a build, or goes on where another master or a fault left it. There is nothing for one that has ended.
async fn take_up(farm: &Farm, ledger: &Ledger, id: BuildId) -> Result<Option<Kept>, Error> {
    // What could not be noted when the store failed: what follows reads it.
    ledger.commit(farm).await?;
    let mut kept = Kept { id, row: None };
    let build = kept.row(farm).await?;
    if build.outcome.is_some() {
        // It ended, but the store could not tell.
        return Ok(None);
    }
    if let Some(reason) = &build.stop_requested {
        farm.stops.stop(id, reason);
    }
    kept.row = Some(build);
    Ok(Some(kept))
}

/// The row of a build, unless a step that waited let go of it or changed it.
struct Kept {
    id: BuildId,
    row: Option<Arc<Build>>,
}

impl Kept {
    async fn row(&mut self, farm: &Farm) -> Result<Arc<Build>, Error> {
        if let Some(row) = self.row.take() {
            return Ok(row);
        }
        let found = farm.store.build(self.id).await?;
        found
            .map(Arc::new)
            .ok_or_else(|| Error::failed("find a build", self.id))
    }
}

/// A step that is next.
pub(crate) struct Next {
    pub step: Step,
    pub options: StepOptions,
}

async fn next_step(farm: &Farm, id: BuildId, done: Option<StepId>) -> Result<Option<Box<Next>>, Error> {
    let Some(step) = farm.store.next_step(id, done).await? else {
        return Ok(None);
    };
    let options = StepOptions::from_value(&step.options)?;
    Ok(Some(Box::new(Next { step, options })))
}

/// Runs, takes up, skips, or just reads one step, and answers what became of it.
async fn advance(
    farm: &Arc<Farm>,
    ledger: &Arc<Ledger>,
    kept: &mut Kept,
    next: Box<Next>,
    course: &Course,
) -> Result<Became, Error> {
    if let (StepState::Complete, Some(outcome)) = (next.step.state, next.step.outcome) {
        // Its end became durable, and the word of that was lost: it may hold its locks still.
        Box::pin(release_step(farm, ledger, next.step.id, &next.options.locks)).await?;
        let ends = next.step.ends_build;
        return Ok(Became { outcome, ends });
    }
    if next.step.state == StepState::Pending {
        let unwanted = course.standing.halted || farm.stops.reason(kept.id).is_some();
        let left_out = match unwanted && !next.options.always_run {
            true => Some((Outcome::Skipped, "not run".to_owned())),
            false => Box::pin(declined(farm, kept, &next, course)).await?,
        };
        if let Some((outcome, summary)) = left_out {
            Box::pin(leave_out(farm, ledger, kept, &next, course, (outcome, summary))).await?;
            // It may have waited for its locks when the master before this one died.
            Box::pin(release_step(farm, ledger, next.step.id, &next.options.locks)).await?;
            return Ok(outcome.into());
        }
    }
    if Pipeline::is(next.step.digest) {
        let build = Box::pin(kept.row(farm)).await?;
        // The build's sources and steps are other ones then.
        return Box::pin(pipelines::run(farm, ledger, &build, next)).await;
    }
    if next.options.locks.is_empty() {
        return run_step(farm, ledger, kept, next, course).await;
    }
    let (step, locks) = (next.step.id, next.options.locks.clone());
    let refused = match Box::pin(take_locks(farm, ledger, kept, &next)).await? {
        Taken::Yes => None,
        Taken::Stopped => Some((Outcome::Skipped, "not run".to_owned())),
        Taken::Never(reason) => Some((Outcome::Exception, reason)),
    };
    if let Some((outcome, summary)) = refused {
        Box::pin(leave_out(farm, ledger, kept, &next, course, (outcome, summary))).await?;
        return Ok(outcome.into());
    }
    let became = run_step(farm, ledger, kept, next, course).await?;
    Box::pin(release_step(farm, ledger, step, &locks)).await?;
    Ok(became)
}

async fn run_step(
    farm: &Arc<Farm>,
    ledger: &Arc<Ledger>,
    kept: &mut Kept,
    next: Box<Next>,
    course: &Course,
) -> Result<Became, Error> {
    let build = Box::pin(kept.row(farm)).await?;
    let (became, row) = step::run(farm, ledger, build, next, course).await?;
    kept.row = row;
    Ok(became)
}

/// Waits for what a step wants. A step that always runs goes on waiting when its build is stopped.
async fn take_locks(farm: &Farm, ledger: &Ledger, kept: &mut Kept, next: &Next) -> Result<Taken, Error> {
    let build = kept.row(farm).await?;
    let Next { step, options } = next;
    let taken = take_step(farm, ledger, &build, step, &options.locks, options.always_run).await?;
    kept.row = Some(build);
    Ok(taken)
}

/// How a step ends that its condition keeps from running.
async fn declined(
    farm: &Arc<Farm>,
    kept: &mut Kept,
    next: &Next,
    course: &Course,
) -> Result<Option<(Outcome, String)>, Error> {
    let condition = &next.options.run_if;
    if let Condition::Known(runs) = condition {
        return Ok((!runs).then(|| (Outcome::Skipped, "not run: run_if is False".to_owned())));
    }
    let build = kept.row(farm).await?;
    let holds = conditions::holds(farm, &build, course, condition, None).await?;
    kept.row = Some(build);
    Ok(match holds {
        Ok(true) => None,
        Ok(false) => Some((
            Outcome::Skipped,
            "not run: its condition does not hold".to_owned(),
        )),
        Err(reason) => Some((Outcome::Exception, format!("run_if: {reason}"))),
    })
}

/// Ends a step that does not begin.
async fn leave_out(
    farm: &Arc<Farm>,
    ledger: &Ledger,
    kept: &mut Kept,
    next: &Next,
    course: &Course,
    (outcome, summary): (Outcome, String),
) -> Result<(), Error> {
    let (step, now) = (next.step.id, farm.clock.now());
    if !next.options.hide_if.is_never() {
        let build = kept.row(farm).await?;
        if hides(
            farm,
            Some(&build),
            course,
            &next.options.hide_if,
            (&next.step, outcome),
        )
        .await?
        {
            ledger.note(now, Record::Hide { step });
        }
        kept.row = Some(build);
    }
    let end = Record::Finish {
        step,
        outcome,
        summary,
    };
    ledger.note(now, end);
    Ok(())
}

async fn conclude(farm: &Farm, ledger: &Ledger, mut kept: Kept, course: &Course) -> Result<(), Error> {
    ledger.commit(farm).await?;
    let stopped = farm.stops.reason(kept.id);
    let outcome = match stopped {
        Some(_) => course.standing.outcome.worst(Outcome::Cancelled),
        None => course.standing.outcome,
    };
    let build = kept.row(farm).await?;
    let summary = course.summary(outcome, stopped.as_deref());
    finish(farm, &build, outcome, &summary).await
}

async fn finish(farm: &Farm, build: &Build, outcome: Outcome, summary: &str) -> Result<(), Error> {
    let plan = farm.plan();
    let finish = BuildFinish {
        outcome,
        summary: summary.to_owned(),
        reports: report::due(&plan, &build.made_by, Phase::Finished),
        subscribers: plan
            .schedulers
            .iter()
            .map(|scheduler| scheduler.name.clone())
            .collect(),
        // The requests of a build that is to be tried again wait for the next one.
        retry: outcome == Outcome::Retry,
    };
    farm.store
        .finish_build(build.id, finish, farm.clock.now())
        .await?;
    tracing::info!(build = %build.id, builder = build.builder, number = build.number, %outcome, "a build ended");
    Ok(())
}
