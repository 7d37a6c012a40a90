//! Reports: which ones a moment of a build owes, and what each says when it is delivered.

use capstan_engine::{Phase as ReportPhase, Report, StepResult};
use capstan_model::plan::{Phase, Plan};
use capstan_store::{NewReport, Report as Row};

use crate::Error;
use crate::farm::Farm;

/// The reports that reporters of `plan` owe for a moment of a build of `builder`. The store makes the delivery ids.
pub(crate) fn due(plan: &Plan, builder: &str, phase: Phase) -> Vec<NewReport> {
    let wanted = plan.reporters.iter().filter(|reporter| {
        let covered = reporter.builders.is_empty() || reporter.builders.iter().any(|name| name == builder);
        covered && reporter.phases.contains(&phase)
    });
    wanted
        .map(|reporter| NewReport {
            reporter: reporter.name.clone(),
            phase: phase.as_str().to_owned(),
        })
        .collect()
}

/// The whole report, as a reporter gets it, the same on each attempt. The outbox keeps what may change after the moment that
/// it is about; the rest is read when it is delivered.
pub(crate) async fn build(farm: &Farm, row: &Row) -> Result<Report, Error> {
    let id = row.build;
    let build = farm
        .store
        .build(id)
        .await?
        .ok_or_else(|| Error::failed("find a report's build", id))?;
    let finished = row.phase == Phase::Finished.as_str();
    let steps = if finished {
        farm.store.steps(id).await?
    } else {
        Vec::new()
    };
    let steps = steps.into_iter().map(|s| StepResult {
        name: s.name,
        outcome: s.outcome,
        summary: s.summary,
    });
    Ok(Report {
        delivery_id: row.delivery_id.clone(),
        phase: if finished {
            ReportPhase::Finished
        } else {
            ReportPhase::Started
        },
        url: format!("{}/builds/{id}", farm.about().url),
        number: build.number,
        builder: build.builder,
        made_by: build.made_by,
        worker: build.worker,
        reason: build.reason,
        outcome: build.outcome.filter(|_| finished),
        previous_outcome: row.payload.previous_outcome,
        summary: if finished {
            build.summary
        } else {
            "build started".to_owned()
        },
        sources: build.sources,
        properties: row.payload.properties.clone().unwrap_or(build.properties),
        steps: steps.collect(),
        started: build.started,
        finished: build.finished.filter(|_| finished),
    })
}
