//! The schedulers of a scenario: what a step that asks them is answered, and when what they made has ended. The farm asks here.

use std::collections::BTreeMap;

use capstan_engine::{Abandoned, Awaited, Child, Children, Triggered};
use capstan_model::{BuildsetId, Timestamp};
use serde_json::Value;

use crate::format::step::Trigger;
use crate::rules::{Found, Rules};

/// What was asked for in this run or in one before it.
#[derive(Clone, Default)]
pub(super) struct Asked {
    /// By the row of the journal: asked again under the same row it is the same call.
    calls: BTreeMap<u32, Call>,
    /// Those that schedulers made; the first is number 1.
    made: Vec<Made>,
}

#[derive(Clone)]
struct Call {
    scheduler: String,
    call: Value,
    answer: Triggered,
}

#[derive(Clone)]
struct Made {
    scheduler: String,
    ends: Timestamp,
    said: Trigger,
}

impl Asked {
    /// The answer to a call; the error says what the scenario lacks.
    pub(super) fn call(
        &mut self,
        rules: &Rules<Trigger>,
        seq: u32,
        (scheduler, call): (String, Value),
        now: Timestamp,
    ) -> Result<Triggered, String> {
        let same = |known: &&Call| known.scheduler == scheduler && known.call == call;
        if let Some(known) = self.calls.get(&seq).filter(same) {
            return Ok(known.answer.clone());
        }
        let said = match rules.answer(&scheduler) {
            Found::Answer(said) => said.clone(),
            Found::Free => Trigger::default(),
            Found::None => {
                return Err(format!(
                    "no [[trigger]] fits `{scheduler}`, or those that do are used up"
                ));
            }
        };
        let answer = match &said.refused {
            Some(problems) => {
                let pair =
                    |problem: &crate::format::step::Refusal| (problem.path.clone(), problem.message.clone());
                Triggered::Refused(problems.iter().map(pair).collect())
            }
            None => Triggered::Made(self.make(&scheduler, &said, now)),
        };
        let known = Call {
            scheduler,
            call,
            answer: answer.clone(),
        };
        self.calls.insert(seq, known);
        Ok(answer)
    }

    fn make(&mut self, scheduler: &str, said: &Trigger, now: Timestamp) -> Vec<BuildsetId> {
        let made = (0..said.buildsets).map(|_| {
            self.made.push(Made {
                scheduler: scheduler.to_owned(),
                ends: now.plus_ms(said.after.0),
                said: said.clone(),
            });
            BuildsetId(self.made.len().try_into().unwrap_or(i64::MAX))
        });
        made.collect()
    }

    /// What waiting for these comes to, and when.
    pub(super) fn ended(&self, buildsets: &[BuildsetId]) -> Result<(Timestamp, Awaited), Abandoned> {
        let (mut at, mut all) = (Timestamp(0), Vec::new());
        for &buildset in buildsets {
            let place = usize::try_from(buildset.0 - 1).ok();
            let made = place.and_then(|place| self.made.get(place));
            let made = made.ok_or_else(|| Abandoned(format!("the buildset {buildset} was never made")))?;
            if let Some(reason) = &made.said.deadlock {
                return Ok((made.ends, Awaited::Deadlock(reason.clone())));
            }
            at = at.max(made.ends);
            all.push(made.children(buildset));
        }
        Ok((at, Awaited::Completed(all)))
    }
}

impl Made {
    fn children(&self, buildset: BuildsetId) -> Children {
        let builds = self.said.builds.iter().map(|build| Child {
            builder: build.builder.clone(),
            number: build.number,
            outcome: build.outcome,
        });
        Children {
            buildset,
            scheduler: self.scheduler.clone(),
            outcome: self.said.worst(),
            builds: builds.collect(),
        }
    }
}
