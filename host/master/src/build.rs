//! The build machine: one task per build, which carries its steps out in order and folds their results.
//!
//! Everything it decides is in the store when the next thing begins, so that a build is taken up where it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::plan::Phase;
use capstan_model::{BuildId, EnvValue, Outcome, StepId};
use capstan_store::{Build, BuildFinish, Record, Step, StepState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::farm::Farm;
use crate::ledger::Ledger;
use crate::{report, step};

/// How long to wait before a build whose store failed is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// What the plan says of a step beside its plugin; kept with the step's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepOptions {
    pub halt_on_failure: bool,
    pub flunk_on_failure: bool,
    pub warn_on_failure: bool,
    pub always_run: bool,
    pub env: BTreeMap<String, EnvValue>,
    pub builder_dir: String,
}

impl StepOptions {
    pub fn of(
        step: &capstan_model::plan::Step,
        builder_dir: String,
        env: BTreeMap<String, EnvValue>,
    ) -> Self {
        Self {
            halt_on_failure: step.halt_on_failure,
            flunk_on_failure: step.flunk_on_failure,
            warn_on_failure: step.warn_on_failure,
            always_run: step.always_run,
            env,
            builder_dir,
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            halt_on_failure: self.halt_on_failure,
            flunk_on_failure: self.flunk_on_failure,
            warn_on_failure: self.warn_on_failure,
        }
    }

    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub fn from_value(value: &Value) -> Result<Self, Error> {
        Self::deserialize(value).map_err(|e| Error::failed("read a step's options", e))
    }
}

/// What a step's failure means to its build.
#[derive(Clone, Copy, Debug)]
struct Rules {
    halt_on_failure: bool,
    flunk_on_failure: bool,
    warn_on_failure: bool,
}

/// How a build stands after some of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    outcome: Outcome,
    halted: bool,
}

impl Standing {
    const BEGINNING: Self = Self {
        outcome: Outcome::Success,
        halted: false,
    };

    /// Buildbot's rules: a failure counts as the step's rules say; exception, retry and cancelled always count, and
    /// end the build.
    fn after(self, result: Outcome, rules: Rules) -> Self {
        let (counts_as, halts) = match result {
            Outcome::Success | Outcome::Skipped | Outcome::Warnings => (Outcome::Success, false),
            Outcome::Failure if rules.flunk_on_failure => (Outcome::Failure, rules.halt_on_failure),
            Outcome::Failure if rules.warn_on_failure => (Outcome::Warnings, rules.halt_on_failure),
            Outcome::Failure => (Outcome::Success, rules.halt_on_failure),
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => (result, true),
        };
        Self {
            outcome: self.outcome.worst(counts_as),
            halted: self.halted || halts,
        }
    }
}

/// Carries a build out to its end. Faults of the store are waited out; the build stays what it is meanwhile.
pub(crate) async fn run(farm: Arc<Farm>, id: BuildId) {
    farm.stops.register(id);
    let ledger = Arc::new(Ledger::default());
    while let Err(error) = carry_out(&farm, &ledger, id).await {
        tracing::error!(build = %id, %error, "failed to carry on with a build; trying again");
        tokio::time::sleep(PAUSE).await;
    }
    farm.stops.forget(id);
    farm.workers_changed.notify_one();
}

/// A build that waits holds little: whatever else there is to do is boxed, and the rows of the store are not kept meanwhile.
async fn carry_out(farm: &Arc<Farm>, ledger: &Arc<Ledger>, id: BuildId) -> Result<(), Error> {
    let Some(mut kept) = Box::pin(take_up(farm, ledger, id)).await? else {
        return Ok(());
    };
    let mut standing = Standing::BEGINNING;
    let mut failed = Vec::new();
    let mut done = None;
    // Asked for one by one: a step may have inserted others.
    while let Some(next) = Box::pin(next_step(farm, id, done)).await? {
        done = Some(next.step.id);
        let (rules, name) = (next.options.rules(), next.step.name.clone());
        let result = tokio::select! {
            result = advance(farm, ledger, &mut kept, next, standing) => result?,
            never = ledger.commit_in_time(farm) => match never {},
        };
        if ledger.changed_properties() {
            Box::pin(ledger.commit(farm)).await?;
            kept.row = None;
        }
        if !result.is_good() {
            failed.push(name);
        }
        standing = standing.after(result, rules);
    }
    Box::pin(conclude(farm, ledger, kept, standing.outcome, &failed)).await
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

/// Runs, takes up, skips, or just reads one step, and answers its result.
async fn advance(
    farm: &Arc<Farm>,
    ledger: &Arc<Ledger>,
    kept: &mut Kept,
    next: Box<Next>,
    standing: Standing,
) -> Result<Outcome, Error> {
    if let (StepState::Complete, Some(outcome)) = (next.step.state, next.step.outcome) {
        return Ok(outcome);
    }
    let unwanted = standing.halted || farm.stops.reason(kept.id).is_some();
    if next.step.state == StepState::Pending && unwanted && !next.options.always_run {
        let skipped = Record::Finish {
            step: next.step.id,
            outcome: Outcome::Skipped,
            summary: "not run".to_owned(),
        };
        ledger.note(farm.clock.now(), skipped);
        return Ok(Outcome::Skipped);
    }
    let build = Box::pin(kept.row(farm)).await?;
    let (outcome, row) = step::run(farm, ledger, build, next).await?;
    kept.row = row;
    Ok(outcome)
}

async fn conclude(
    farm: &Farm,
    ledger: &Ledger,
    mut kept: Kept,
    outcome: Outcome,
    failed: &[String],
) -> Result<(), Error> {
    ledger.commit(farm).await?;
    let stopped = farm.stops.reason(kept.id);
    let outcome = match stopped {
        Some(_) => outcome.worst(Outcome::Cancelled),
        None => outcome,
    };
    let build = kept.row(farm).await?;
    finish(
        farm,
        &build,
        outcome,
        &summary(outcome, failed, stopped.as_deref()),
    )
    .await
}

async fn finish(farm: &Farm, build: &Build, outcome: Outcome, summary: &str) -> Result<(), Error> {
    let plan = farm.plan();
    let finish = BuildFinish {
        outcome,
        summary: summary.to_owned(),
        reports: report::due(&plan, &build.builder, Phase::Finished),
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

fn summary(outcome: Outcome, failed: &[String], stopped: Option<&str>) -> String {
    match (stopped, failed) {
        (Some(reason), _) => format!("stopped: {reason}"),
        (None, []) => format!(
            "build {}",
            if outcome == Outcome::Success {
                "successful"
            } else {
                outcome.as_str()
            }
        ),
        (None, names) => format!("{outcome}: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(halt: bool, flunk: bool, warn: bool) -> Rules {
        Rules {
            halt_on_failure: halt,
            flunk_on_failure: flunk,
            warn_on_failure: warn,
        }
    }

    #[test]
    fn a_failure_counts_as_the_step_says() {
        for (halt, flunk, warn, expected) in [
            (true, true, false, (Outcome::Failure, true)),
            (false, true, false, (Outcome::Failure, false)),
            (false, false, true, (Outcome::Warnings, false)),
            (true, false, false, (Outcome::Success, true)),
        ] {
            let after = Standing::BEGINNING.after(Outcome::Failure, rules(halt, flunk, warn));
            assert_eq!((after.outcome, after.halted), expected);
        }
    }

    #[test]
    fn a_later_success_mends_nothing_and_faults_of_the_farm_end_the_build() {
        let all = rules(true, true, true);
        let failed = Standing::BEGINNING.after(Outcome::Failure, all);
        assert_eq!(failed.after(Outcome::Success, all), failed);
        for fault in [Outcome::Exception, Outcome::Retry, Outcome::Cancelled] {
            let after = Standing::BEGINNING.after(fault, rules(false, false, false));
            assert_eq!((after.outcome, after.halted), (fault, true));
        }
    }
}
