//! The build machine: one task per build, which carries its steps out in order and folds their results.
//!
//! Everything it decides is in the store when the next thing begins, so that a build is taken up where it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::plan::Phase;
use capstan_model::{BuildId, EnvValue, Outcome};
use capstan_store::{BuildFinish, Record, Step, StepState};
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

    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub fn from_value(value: &Value) -> Result<Self, Error> {
        Self::deserialize(value).map_err(|e| Error::failed("read a step's options", e))
    }
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

    /// Buildbot's rules: a failure counts as the step's options say; exception, retry and cancelled always count, and
    /// end the build.
    fn after(self, result: Outcome, options: &StepOptions) -> Self {
        let (counts_as, halts) = match result {
            Outcome::Success | Outcome::Skipped | Outcome::Warnings => (Outcome::Success, false),
            Outcome::Failure if options.flunk_on_failure => (Outcome::Failure, options.halt_on_failure),
            Outcome::Failure if options.warn_on_failure => (Outcome::Warnings, options.halt_on_failure),
            Outcome::Failure => (Outcome::Success, options.halt_on_failure),
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

async fn carry_out(farm: &Arc<Farm>, ledger: &Arc<Ledger>, id: BuildId) -> Result<(), Error> {
    // What could not be noted when the store failed: what follows reads it.
    ledger.commit(farm).await?;
    let Some(mut build) = farm.store.build(id).await? else {
        return Err(Error::failed("find a build", id));
    };
    if build.outcome.is_some() {
        // It ended, but the store could not tell.
        return Ok(());
    }
    if let Some(reason) = &build.stop_requested {
        farm.stops.stop(id, reason);
    }
    let mut standing = Standing::BEGINNING;
    let mut failed = Vec::new();
    let mut done = None;
    // Asked for one by one: a step may have inserted others.
    while let Some(next) = farm.store.next_step(id, done).await? {
        done = Some(next.id);
        let options = StepOptions::from_value(&next.options)?;
        let result = tokio::select! {
            result = advance(farm, ledger, &build, &next, &options, standing) => result?,
            never = ledger.commit_in_time(farm) => match never {},
        };
        if ledger.changed_properties() {
            ledger.commit(farm).await?;
            build.properties = farm
                .store
                .build(id)
                .await?
                .map_or(build.properties, |b| b.properties);
        }
        if !result.is_good() {
            failed.push(next.name.clone());
        }
        standing = standing.after(result, &options);
    }
    ledger.commit(farm).await?;
    let stopped = farm.stops.reason(id);
    if stopped.is_some() {
        standing.outcome = standing.outcome.worst(Outcome::Cancelled);
    }
    finish(
        farm,
        &build,
        standing.outcome,
        &summary(standing.outcome, &failed, stopped.as_deref()),
    )
    .await
}

/// Runs, takes up, skips, or just reads one step, and answers its result.
async fn advance(
    farm: &Arc<Farm>,
    ledger: &Arc<Ledger>,
    build: &capstan_store::Build,
    next: &Step,
    options: &StepOptions,
    standing: Standing,
) -> Result<Outcome, Error> {
    if let (StepState::Complete, Some(outcome)) = (next.state, next.outcome) {
        return Ok(outcome);
    }
    let unwanted = standing.halted || farm.stops.reason(build.id).is_some();
    if next.state == StepState::Pending && unwanted && !options.always_run {
        let skipped = Record::Finish {
            step: next.id,
            outcome: Outcome::Skipped,
            summary: "not run".to_owned(),
        };
        ledger.note(farm.clock.now(), skipped);
        return Ok(Outcome::Skipped);
    }
    step::run(farm, ledger, build, next, options).await
}

async fn finish(
    farm: &Arc<Farm>,
    build: &capstan_store::Build,
    outcome: Outcome,
    summary: &str,
) -> Result<(), Error> {
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

    fn options(halt: bool, flunk: bool, warn: bool) -> StepOptions {
        StepOptions {
            halt_on_failure: halt,
            flunk_on_failure: flunk,
            warn_on_failure: warn,
            always_run: false,
            env: BTreeMap::new(),
            builder_dir: "b".to_owned(),
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
            let after = Standing::BEGINNING.after(Outcome::Failure, &options(halt, flunk, warn));
            assert_eq!((after.outcome, after.halted), expected);
        }
    }

    #[test]
    fn a_later_success_mends_nothing_and_faults_of_the_farm_end_the_build() {
        let all = options(true, true, true);
        let failed = Standing::BEGINNING.after(Outcome::Failure, &all);
        assert_eq!(failed.after(Outcome::Success, &all), failed);
        for fault in [Outcome::Exception, Outcome::Retry, Outcome::Cancelled] {
            let after = Standing::BEGINNING.after(fault, &options(false, false, false));
            assert_eq!((after.outcome, after.halted), (fault, true));
        }
    }
}
