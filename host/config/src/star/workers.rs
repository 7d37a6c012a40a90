//! `worker(…)`, and `environment(…)`, which every command has. Called by `builtins`.

use capstan_model::plan::Worker;

use super::arguments::Call;
use super::builtins::define;
use super::properties;
use super::site::Site;
use super::values::Handle;

/// The longest name that a worker's certificate takes.
const MAX_NAME: usize = 64;

type Result<T> = starlark::Result<T>;

/// `worker("w1", slots = 2, labels = ["gpu"])`.
pub(super) fn worker(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    let slots = call.count("slots")?;
    let labels = call.texts("labels")?;
    let given = properties::of(&mut call, "properties", false)?;
    let defaults = properties::of(&mut call, "defaults", false)?;
    let env = call.env("env")?;
    call.only(&[])?;
    let Some(name) = name else {
        return Ok(Handle::Broken);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(plain) || name.starts_with(['.', '-']) || name.len() > MAX_NAME {
        let fault = call.site.error_at("name", call.function.clone());
        call.report(
            fault
                .expected(format!(
                    "a name of at most {MAX_NAME} letters, digits, `.`, `_` and `-`"
                ))
                .found(format!("`{name}`")),
        )?;
    }
    if define(&mut call, "worker", &name)? && !call.faulty {
        let worker = Worker {
            name: name.clone(),
            slots,
            labels,
            properties: given,
            defaults,
            env,
            location: call.site.location(),
        };
        call.collector
            .definitions
            .borrow_mut()
            .workers
            .push((worker, call.site));
    }
    Ok(Handle::Worker(name))
}

/// `environment({"LANG": "C"})`: the environment of every command of every builder. There is one.
pub(super) fn environment(mut call: Call<'_, '_>) -> Result<Handle> {
    let env = call.env("variables")?;
    call.only(&[])?;
    let key = ("environment", String::new());
    let first = call
        .collector
        .definitions
        .borrow()
        .names
        .get(&key)
        .map(Site::location);
    match first {
        Some(first) => {
            let fault = call.site.error("environment");
            let fault = fault.expected("one call").found("a second one");
            call.report(fault.related(first, "the first one is here"))?;
        }
        None => {
            let mut definitions = call.collector.definitions.borrow_mut();
            definitions.names.insert(key, call.site);
            definitions.env = env;
        }
    }
    Ok(Handle::Other(call.function))
}
