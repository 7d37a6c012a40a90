//! What is wrong with locks that can only be seen when everything is defined: workers without one, amounts that a worker
//! never has, a step that wants what its own build holds. Called by `resolve`.

use capstan_model::{Lock, LockAccess, Mode, Scope};

use crate::diagnostic::Diagnostic;
use crate::nearest::{choices, did_you_mean};
use crate::star::{BuilderDefinition, Definitions, Site, StepDefinition};

/// Every fault of locks.
pub(crate) fn faults(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = unknown_workers(definitions);
    for definition in &definitions.builders {
        let own = definition.builder.locks.fixed().unwrap_or_default();
        faults.extend(
            own.iter()
                .filter_map(|access| nowhere(definitions, definition, access)),
        );
        for step in definition.steps.iter().map(|&place| &definitions.steps[place]) {
            let wanted = step.step.locks.fixed().unwrap_or_default();
            faults.extend(
                wanted
                    .iter()
                    .filter_map(|access| held_already(definition, step, access)),
            );
            faults.extend(
                wanted
                    .iter()
                    .filter_map(|access| short(definitions, definition, step, access)),
            );
        }
    }
    faults
}

/// Locks that nothing takes.
pub(crate) fn unused(definitions: &Definitions) -> Vec<Diagnostic> {
    let lists = definitions.builders.iter().map(|d| &d.builder.locks);
    let lists: Vec<_> = lists
        .chain(definitions.steps.iter().map(|s| &s.step.locks))
        .collect();
    // What a function takes is known when it is called.
    if lists.iter().any(|list| list.fixed().is_none()) {
        return Vec::new();
    }
    let taken = |lock: &Lock| {
        let mut accesses = lists.iter().filter_map(|list| list.fixed()).flatten();
        accesses.any(|access| access.lock == lock.name)
    };
    let unused = definitions.locks.iter().filter(|(lock, _)| !taken(lock));
    unused
        .map(|(lock, site)| {
            site.warning(format!("no builder and no step takes the lock `{}`", lock.name))
                .code("unused-lock")
        })
        .collect()
}

fn unknown_workers(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for (lock, site) in &definitions.locks {
        for worker in lock
            .per_worker
            .keys()
            .filter(|name| !definitions.knows("worker", name))
        {
            let known = definitions.names("worker");
            let known = || known.iter().map(String::as_str);
            let fault = site.error_in("per_worker", worker, "unknown worker");
            faults.push(
                fault
                    .expected(match known().next() {
                        None => "a worker (none is defined)".to_owned(),
                        Some(_) => choices(known()),
                    })
                    .found(format!("`{worker}`"))
                    .maybe_hint(did_you_mean(worker, known())),
            );
        }
    }
    faults
}

/// The lock of an access that asks for so much of it, with the amount; an exclusive one fits every limit.
fn counted<'a>(definitions: &'a Definitions, access: &LockAccess) -> Option<(&'a Lock, &'a Site, u32)> {
    let Mode::Shared(amount) = access.mode else {
        return None;
    };
    let (lock, site) = definitions
        .locks
        .iter()
        .find(|(lock, _)| lock.name == access.lock)?;
    (lock.scope == Scope::Worker).then_some((lock, site, amount))
}

/// A build's lock that none of the builder's workers has enough of.
fn nowhere(
    definitions: &Definitions,
    definition: &BuilderDefinition,
    access: &LockAccess,
) -> Option<Diagnostic> {
    let (lock, site, amount) = counted(definitions, access)?;
    let workers = &definition.builder.workers;
    if workers.is_empty() || workers.iter().any(|worker| lock.limit_on(worker) >= amount) {
        return None;
    }
    let most = workers
        .iter()
        .map(|worker| lock.limit_on(worker))
        .max()
        .unwrap_or_default();
    let fault = definition.site.error_at("locks", "builder: `locks`");
    Some(
        fault
            .expected(format!(
                "at most {most} of the lock `{}`, the most that a worker of this builder has",
                lock.name
            ))
            .found(format!("an amount of {amount}, which could never be had"))
            .related(site.location(), "defined here"),
    )
}

/// A step's lock that one of the builder's workers has too little of: a build that ran there could not go on.
fn short(
    definitions: &Definitions,
    definition: &BuilderDefinition,
    step: &StepDefinition,
    access: &LockAccess,
) -> Option<Diagnostic> {
    let (lock, site, amount) = counted(definitions, access)?;
    let worker = definition
        .builder
        .workers
        .iter()
        .find(|worker| lock.limit_on(worker) < amount)?;
    let fault = step
        .site
        .error_at("locks", format!("the step `{}`: `locks`", step.step.name));
    Some(
        fault
            .expected(format!(
                "at most {} of the lock `{}` on the worker `{worker}`, where builds of `{}` may run",
                lock.limit_on(worker),
                lock.name,
                definition.builder.name
            ))
            .found(format!("an amount of {amount}, which could never be had there"))
            .related(site.location(), "defined here"),
    )
}

/// A step would wait for its own build.
fn held_already(
    definition: &BuilderDefinition,
    step: &StepDefinition,
    access: &LockAccess,
) -> Option<Diagnostic> {
    definition
        .builder
        .locks
        .fixed()?
        .iter()
        .find(|held| held.lock == access.lock)?;
    let fault = step
        .site
        .error_at("locks", format!("the step `{}`: `locks`", step.step.name));
    Some(
        fault
            .expected(format!(
                "locks that the builder `{}` does not hold already",
                definition.builder.name
            ))
            .found(format!(
                "the lock `{}`, which its build holds from start to end",
                access.lock
            ))
            .hint("leave it out of the step, or out of the builder")
            .related(definition.site.location(), "held here"),
    )
}
