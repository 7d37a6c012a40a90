//! Lists of locks that functions of the configuration answer: called when the worker is known, and checked like those that are
//! written down.

use std::collections::HashSet;

use capstan_config::{BuildContext, CallLimits};
use capstan_model::plan::{FunctionRef, Plan};
use capstan_model::{Digest, LockAccess, Mode};

use crate::Error;
use crate::farm::Farm;

/// What a function of that plan wants for a build. The inner error says what is wrong with the function or its answer.
pub(crate) async fn chosen(
    farm: &Farm,
    plan: Digest,
    function: &FunctionRef,
    build: &BuildContext,
) -> Result<Result<Vec<LockAccess>, String>, Error> {
    let args = vec![build.argument()];
    let answer = match farm
        .call(plan, function.number, args, CallLimits::default())
        .await?
    {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let list: Vec<LockAccess> = match serde_json::from_value(answer) {
        Ok(list) => list,
        Err(_) => {
            return Ok(Err(wrong(
                function,
                "expected it to return a list of locks, found something else",
            )));
        }
    };
    Ok(fits(&farm.plan(), &list, &build.worker)
        .map(|()| list)
        .map_err(|fault| wrong(function, &fault)))
}

fn wrong(function: &FunctionRef, fault: &str) -> String {
    format!(
        "locks: the function `{}` at {}: {fault}",
        function.name, function.location
    )
}

/// Whether such a list can ever be had on that worker.
fn fits(plan: &Plan, list: &[LockAccess], worker: &str) -> Result<(), String> {
    let mut seen = HashSet::new();
    for access in list {
        if !seen.insert(&access.lock) {
            return Err(format!(
                "expected each lock once, found the lock `{}` again",
                access.lock
            ));
        }
        let limit = plan
            .locks
            .iter()
            .find(|lock| lock.name == access.lock)
            .map(|lock| match access.scope {
                capstan_model::Scope::Farm => lock.limit,
                capstan_model::Scope::Worker => lock.limit_on(worker),
            });
        if let (Mode::Shared(amount), Some(limit)) = (access.mode, limit)
            && amount > limit
        {
            return Err(format!(
                "expected at most {limit} of the lock `{}`, found an amount of {amount}, which can never be had",
                access.lock
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_can_never_be_had_are_refused() {
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "bundle": { "entry": "", "files": {}, "plugins": [] }, "workers": [], "builders": [], "sources": [],
            "schedulers": [], "reporters": [],
            "locks": [{ "name": "x", "limit": 2, "scope": "worker", "per_worker": { "big": 4 },
                        "location": { "file": "", "line": 0, "column": 0 } }],
        }))
        .unwrap();
        let access = |mode| LockAccess {
            lock: "x".to_owned(),
            scope: capstan_model::Scope::Worker,
            mode,
        };
        let three = [access(Mode::Shared(3))];
        assert_eq!(fits(&plan, &three, "big"), Ok(()));
        assert!(
            fits(&plan, &three, "w1")
                .unwrap_err()
                .contains("at most 2 of the lock `x`")
        );
        let twice = [access(Mode::Exclusive), access(Mode::Shared(1))];
        assert!(fits(&plan, &twice, "big").unwrap_err().contains("each lock once"));
        assert_eq!(fits(&plan, &[], "w1"), Ok(()));
    }
}
