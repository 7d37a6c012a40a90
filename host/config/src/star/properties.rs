//! `properties(…)`, which every build has, and the arguments `properties` and `defaults` of workers and builders.

use std::collections::BTreeMap;

use capstan_model::{Deferred, Properties, Property};
use serde_json::Value as Json;

use super::arguments::Call;
use super::values::Handle;

type Result<T> = starlark::Result<T>;

/// `properties(team = "core")` or `properties({"team": "core"})`; several calls add up.
pub(super) fn global(mut call: Call<'_, '_>) -> Result<Handle> {
    let mut given = of(&mut call, "properties", false)?;
    let Json::Object(named) = call.rest(|_| true)? else {
        return Ok(Handle::Broken);
    };
    checked(&mut call, "", named.iter(), false)?;
    given.extend(named);
    let mut twice = None;
    if !call.faulty {
        let mut definitions = call.collector.definitions.borrow_mut();
        for (name, value) in given {
            if definitions.properties.insert(name.clone(), value).is_some() {
                twice = Some(name);
            }
        }
    }
    if let Some(name) = twice {
        let fault = call.site.error_at(&name, "properties: a property of all builds");
        call.report(fault.expected("another name").found(format!("`{name}` again")))?;
    }
    Ok(Handle::Other(call.function))
}

/// A dict of properties; those of builders may be deferred, until a build starts.
pub(super) fn of(
    call: &mut Call<'_, '_>,
    argument: &'static str,
    deferred: bool,
) -> Result<BTreeMap<String, Json>> {
    let properties = call.object(argument)?;
    checked(call, argument, properties.iter(), deferred)?;
    Ok(properties)
}

fn checked<'a>(
    call: &mut Call<'_, '_>,
    argument: &str,
    properties: impl Iterator<Item = (&'a String, &'a Json)>,
    deferred: bool,
) -> Result<()> {
    let mut all = Properties::default();
    for (name, value) in properties {
        let at = if argument.is_empty() { name } else { argument };
        if Deferred::within(value) && !deferred {
            let fault = call
                .site
                .error_in(at, name, format!("{}: the property `{name}`", call.function));
            let fault = fault.expected("a value that is known when the configuration is loaded");
            call.report(
                fault
                    .found("one that is known only when a build runs")
                    .hint("a builder's `properties` and `defaults` take those"),
            )?;
        }
        all.insert(Property {
            name: name.clone(),
            value: value.clone(),
            source: String::new(),
        });
    }
    if let Err(error) = all.check() {
        let fault = call
            .site
            .error_at(argument, format!("{}: {error}", call.function));
        call.report(fault)?;
    }
    Ok(())
}
