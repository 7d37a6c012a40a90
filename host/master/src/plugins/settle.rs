//! Which of the proposed versions the configuration fits: all of them or, if it does not fit all, as many as it fits. One bad
//! plugin never keeps the others from being used.

use std::collections::BTreeMap;

use capstan_config::{Diagnostic, Evaluated, Functions, Severity};
use capstan_model::Digest;
use capstan_model::plan::Plan;

use super::proposal::Accept;
use super::registry::{Choice, File, InForce, Key, Refused, Registry};

/// What is put in force.
pub(crate) struct Settled {
    pub choice: Choice,
    pub evaluated: Evaluated,
    /// Why a proposed version is not among them.
    pub kept: BTreeMap<Key, String>,
}

impl Settled {
    /// Nothing changes, and this is why.
    pub fn nothing(before: &Choice, wanted: &Choice, faults: &[Diagnostic], plan: &Plan) -> Self {
        let keys = changed(before, wanted).into_iter();
        Self {
            choice: before.clone(),
            evaluated: Evaluated {
                plan: plan.clone(),
                functions: Functions::default(),
                remarks: Vec::new(),
            },
            kept: keys.map(|key| (key, reason(faults))).collect(),
        }
    }
}

impl Registry {
    /// With what is put in force, and what the lock has to be told then.
    pub(crate) fn settled(
        mut self,
        before: &Self,
        wanted: &Choice,
        settled: Settled,
        mut record: Vec<Accept>,
    ) -> (Self, Vec<Accept>) {
        let Settled { mut choice, kept, .. } = settled;
        for (key, reason) in kept {
            let digest = wanted.get(&key).map(InForce::digest);
            let misfit = format!("the configuration does not fit it: {reason}");
            let of_file = |file: &&mut File| {
                file.loaded
                    .as_ref()
                    .is_ok_and(|version| version.key() == key && Some(version.digest()) == digest)
            };
            if let Some(file) = self.files.iter_mut().find(of_file) {
                file.refused = Some(Refused::Kept(misfit.clone()));
            }
            let Some(chosen) = choice.get_mut(&key) else {
                continue;
            };
            let before = chosen.predecessor.as_ref().map(|(version, _)| version.digest());
            chosen.note = Some(match digest {
                None => format!("its file is gone, and the configuration uses it: {reason}"),
                Some(_) if digest == before => {
                    chosen.predecessor = None;
                    format!("it keeps crashing, and the version before cannot be used again: {misfit}")
                }
                Some(_) => misfit,
            });
        }
        record.retain(|accept| choice.get(&accept.key).map(InForce::digest) == Some(accept.digest));
        self.in_force = choice;
        self.retire(before);
        (self, record)
    }
}

/// How often the configuration is evaluated to find out which versions it fits. Who exchanges hundreds of files that only fit
/// together may have to exchange the rest with another look.
const MOST_TRIES: u32 = 1000;

/// Evaluates the configuration with these plugins.
pub(crate) type Evaluate<'a> = dyn FnMut(&Choice) -> Result<Evaluated, Vec<Diagnostic>> + 'a;

/// Takes the proposed versions one by one where they do not fit all together. Without any that does, the faults are those of
/// the whole proposal.
pub(crate) fn settle(
    before: &Choice,
    wanted: &Choice,
    evaluate: &mut Evaluate<'_>,
) -> Result<Settled, Vec<Diagnostic>> {
    let faults = match evaluate(wanted) {
        Ok(evaluated) => {
            return Ok(Settled {
                choice: wanted.clone(),
                evaluated,
                kept: BTreeMap::new(),
            });
        }
        Err(faults) => faults,
    };
    let changed = changed(before, wanted);
    let mut left = MOST_TRIES;
    let mut evaluate = |choice: &Choice| {
        left = left.checked_sub(1).ok_or_else(|| faults.clone())?;
        evaluate(choice)
    };
    // Usually one is bad. Trying without it finds others that only fit together.
    for key in &changed {
        let mut choice = wanted.clone();
        take(&mut choice, key, before);
        if let Ok(evaluated) = evaluate(&choice) {
            let kept = BTreeMap::from([(key.clone(), reason(&faults))]);
            return Ok(Settled {
                choice,
                evaluated,
                kept,
            });
        }
    }
    one_by_one(before, wanted, changed, &mut evaluate).ok_or(faults)
}

fn one_by_one(
    before: &Choice,
    wanted: &Choice,
    mut changed: Vec<Key>,
    evaluate: &mut Evaluate<'_>,
) -> Option<Settled> {
    let mut choice = wanted.clone();
    changed.iter().for_each(|key| take(&mut choice, key, before));
    let mut evaluated = evaluate(&choice).ok();
    let mut kept = BTreeMap::new();
    loop {
        let waiting = changed.len();
        changed.retain(|key| {
            let mut more = choice.clone();
            take(&mut more, key, wanted);
            match evaluate(&more) {
                Ok(found) => {
                    evaluated = Some(found);
                    choice = more;
                    kept.remove(key);
                    false
                }
                Err(faults) => {
                    kept.insert(key.clone(), reason(&faults));
                    true
                }
            }
        });
        if changed.is_empty() || changed.len() == waiting {
            break;
        }
    }
    evaluated.map(|evaluated| Settled {
        choice,
        evaluated,
        kept,
    })
}

/// What differs between two choices.
pub(crate) fn changed(before: &Choice, wanted: &Choice) -> Vec<Key> {
    let digest = |choice: &Choice, key: &Key| -> Option<Digest> { choice.get(key).map(InForce::digest) };
    let mut keys: Vec<_> = before.keys().chain(wanted.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| digest(before, key) != digest(wanted, key));
    keys
}

/// Takes one plugin as it is in another choice.
fn take(choice: &mut Choice, key: &Key, from: &Choice) {
    match from.get(key) {
        Some(chosen) => choice.insert(key.clone(), chosen.clone()),
        None => choice.remove(key),
    };
}

fn reason(faults: &[Diagnostic]) -> String {
    let error = faults
        .iter()
        .find(|fault| fault.severity == Severity::Error)
        .or_else(|| faults.first());
    error.map_or_else(|| "the configuration has faults".to_owned(), ToString::to_string)
}
