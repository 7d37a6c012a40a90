//! `lock(…)`, what its value offers, and the argument `locks` of builders and steps. What needs the whole configuration is
//! looked at in `locking`.

use std::collections::BTreeMap;

use capstan_model::plan::LockList;
use capstan_model::{Lock, LockAccess, Mode, Scope};
use starlark::values::{UnpackValue, Value};

use super::arguments::Call;
use super::builtins::define;
use super::convert::describe;
use super::values::Handle;

type Result<T> = starlark::Result<T>;

/// `lock("database", limit = 3)`.
pub(super) fn lock(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    let limit = call.count("limit")?.unwrap_or(1);
    let scope = scope(&mut call)?;
    let per_worker = per_worker(&mut call)?;
    call.only(&[])?;
    let Some(name) = name else {
        return Ok(Handle::Broken);
    };
    if scope == Scope::Farm && !per_worker.is_empty() && !call.faulty {
        let fault = call.site.error_at("per_worker", "lock: `per_worker`");
        call.report(
            fault
                .expected("`scope = \"worker\"` beside it, for limits by worker")
                .found("a lock of the whole farm"),
        )?;
    }
    if define(&mut call, "lock", &name)? && !call.faulty {
        let lock = Lock {
            name: name.clone(),
            limit,
            scope,
            per_worker,
            location: call.site.location(),
        };
        let mut definitions = call.collector.definitions.borrow_mut();
        definitions.locks.push((lock, call.site));
    }
    Ok(Handle::Lock {
        name,
        on_workers: scope == Scope::Worker,
    })
}

fn scope(call: &mut Call<'_, '_>) -> Result<Scope> {
    if !call.has("scope") {
        return Ok(Scope::Farm);
    }
    match call.text("scope")?.as_deref() {
        None | Some("farm") => Ok(Scope::Farm),
        Some("worker") => Ok(Scope::Worker),
        Some(other) => {
            let fault = call.site.error_at("scope", "lock: `scope`");
            call.report(
                fault
                    .expected("\"farm\" or \"worker\"")
                    .found(format!("{other:?}")),
            )?;
            Ok(Scope::Farm)
        }
    }
}

fn per_worker(call: &mut Call<'_, '_>) -> Result<BTreeMap<String, u32>> {
    let mut limits = BTreeMap::new();
    for (worker, value) in call.dict("per_worker")? {
        match whole(value) {
            Some(limit) => drop(limits.insert(worker, limit)),
            None => {
                let fault =
                    call.site
                        .error_in("per_worker", &worker, format!("lock: `per_worker[{worker:?}]`"));
                call.report(
                    fault
                        .expected("a whole number of at least 1")
                        .found(describe(value)),
                )?;
            }
        }
    }
    Ok(limits)
}

fn whole(value: Value<'_>) -> Option<u32> {
    let number = u32::unpack_value(value).ok().flatten();
    number.filter(|&n| n > 0 && value.unpack_bool().is_none())
}

/// `database.shared(amount = 2)`, `database.exclusive()`.
pub(super) fn access(
    lock: &str,
    on_workers: bool,
    exclusive: bool,
    mut call: Call<'_, '_>,
) -> Result<Handle> {
    if exclusive && call.has("amount") {
        let fault = call.site.error_at("amount", "exclusive");
        call.report(
            fault
                .expected("no amount: it takes all of the lock")
                .found("`amount`"),
        )?;
        return Ok(Handle::Broken);
    }
    let amount = match exclusive {
        true => None,
        false => Some(call.count("amount")?.unwrap_or(1)),
    };
    call.only(&[])?;
    if call.faulty {
        return Ok(Handle::Broken);
    }
    Ok(Handle::Access {
        lock: lock.to_owned(),
        on_workers,
        amount,
    })
}

/// The argument `locks`: a list of what `shared` and `exclusive` answer. A lock by itself is one unit of it.
pub(super) fn list(call: &mut Call<'_, '_>) -> Result<LockList> {
    if call.is_function("locks") {
        return Ok(call
            .function("locks", 1)?
            .map_or_else(LockList::default, LockList::Function));
    }
    let accesses = call.list("locks", "a lock, its shared(…) or its exclusive()", |value| {
        Handle::from_value(value).and_then(wanted)
    })?;
    for (place, access) in accesses.iter().enumerate() {
        if accesses[..place].iter().any(|other| other.lock == access.lock) {
            let fault = call.site.error_at("locks", format!("{}: `locks`", call.function));
            call.report(
                fault
                    .expected("each lock once")
                    .found(format!("the lock `{}` again", access.lock))
                    .hint("shared(amount = …) takes more of one"),
            )?;
        }
        beyond(call, access)?;
    }
    Ok(LockList::Fixed(accesses))
}

/// More than there ever is of a lock.
fn beyond(call: &mut Call<'_, '_>, access: &LockAccess) -> Result<()> {
    let Mode::Shared(amount) = access.mode else {
        return Ok(());
    };
    let most = {
        let definitions = call.collector.definitions.borrow();
        let lock = definitions
            .locks
            .iter()
            .find(|(lock, _)| lock.name == access.lock);
        lock.filter(|(lock, _)| amount > lock.most())
            .map(|(lock, site)| (lock.most(), site.location()))
    };
    let Some((most, defined)) = most else {
        return Ok(());
    };
    let fault = call.site.error_at("locks", format!("{}: `locks`", call.function));
    call.report(
        fault
            .expected(format!("at most {most} of the lock `{}`", access.lock))
            .found(format!("an amount of {amount}, which could never be had"))
            .related(defined, "defined here"),
    )
}

/// The access that a value is; a lock by itself is one of it.
pub(super) fn wanted(handle: &Handle) -> Option<LockAccess> {
    let (lock, on_workers, amount) = match handle {
        Handle::Lock { name, on_workers } => (name, *on_workers, Some(1)),
        Handle::Access {
            lock,
            on_workers,
            amount,
        } => (lock, *on_workers, *amount),
        _ => return None,
    };
    Some(LockAccess {
        lock: lock.clone(),
        scope: if on_workers { Scope::Worker } else { Scope::Farm },
        mode: amount.map_or(Mode::Exclusive, Mode::Shared),
    })
}
