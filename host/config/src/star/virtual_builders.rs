//! `builder(…, virtual = {"name": …})`: under which name the builds of a builder are shown. Called by `builders`.

use std::collections::BTreeMap;

use capstan_model::{Deferred, VirtualBuilder};
use serde_json::Value as Json;

use super::arguments::Call;
use crate::nearest::{choices, did_you_mean};

const ARGUMENT: &str = "virtual";

/// The dict, checked as far as its values are known: each may be deferred until a build starts.
pub(super) fn of(call: &mut Call<'_, '_>) -> starlark::Result<BTreeMap<String, Json>> {
    let given = call.object(ARGUMENT)?;
    if given.is_empty() {
        return Ok(given);
    }
    let place = format!("{}: `{ARGUMENT}`", call.function);
    let keys = VirtualBuilder::KEYS;
    for key in given.keys().filter(|key| !keys.contains(&key.as_str())) {
        let fault = call.site.error_in(ARGUMENT, key, place.clone());
        let fault = fault.expected(choices(keys)).found(format!("`{key}`"));
        call.report(fault.maybe_hint(did_you_mean(key, keys)))?;
    }
    if !given.contains_key("name") {
        let fault = call.site.error_at(ARGUMENT, place.clone());
        call.report(
            fault
                .expected("`name`, of what its builds are shown under")
                .found("none"),
        )?;
    }
    // What is not known yet could be anything, and is left out; a name there has to be.
    let mut known: serde_json::Map<_, _> = given
        .iter()
        .filter(|(key, value)| keys.contains(&key.as_str()) && !Deferred::within(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    known.entry("name").or_insert_with(|| "known later".into());
    let checked = serde_json::from_value::<VirtualBuilder>(known.into()).map_err(|error| error.to_string());
    if let Err(reason) = checked.and_then(|builder| builder.check()) {
        let fault = call.site.error_at(ARGUMENT, format!("{place}: {reason}"));
        call.report(fault)?;
    }
    Ok(given)
}
