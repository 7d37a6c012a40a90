//! The arguments that every step has beside its plugin's: what its result means, whether it runs, whether pages show it. Called by
//! `builtins`.

use capstan_model::{Condition, Deferred, EndBuildOn, Outcome, Rules};
use serde_json::Value as Json;

use super::arguments::Call;
use super::convert::describe;
use crate::nearest::{choices, did_you_mean};
use crate::schema::Schema;

type Result<T> = starlark::Result<T>;

/// See the module.
pub(super) struct Conduct {
    pub(super) rules: Rules,
    pub(super) always_run: bool,
    pub(super) run_if: Condition,
    pub(super) hide_if: Condition,
    pub(super) end_build_on: EndBuildOn,
}

/// Takes them. A plugin that declares a parameter of a name that is not reserved takes that over.
pub(super) fn of(call: &mut Call<'_, '_>, schema: &Schema) -> Result<Conduct> {
    let usual = Rules::default();
    let more = |call: &mut Call<'_, '_>, name| match schema.declares(name) {
        true => Ok(false),
        false => call.flag(name, false),
    };
    let rules = Rules {
        halt_on_failure: call.flag("halt_on_failure", usual.halt_on_failure)?,
        flunk_on_failure: call.flag("flunk_on_failure", usual.flunk_on_failure)?,
        warn_on_failure: call.flag("warn_on_failure", usual.warn_on_failure)?,
        halt_on_warnings: more(call, "halt_on_warnings")?,
        flunk_on_warnings: more(call, "flunk_on_warnings")?,
        warn_on_warnings: more(call, "warn_on_warnings")?,
    };
    Ok(Conduct {
        rules,
        always_run: call.flag("always_run", false)?,
        run_if: condition(call, schema, "run_if", Condition::always())?,
        hide_if: condition(call, schema, "hide_if", Condition::never())?,
        end_build_on: ends(call, schema)?,
    })
}

fn condition(
    call: &mut Call<'_, '_>,
    schema: &Schema,
    name: &'static str,
    usual: Condition,
) -> Result<Condition> {
    if schema.declares(name) {
        return Ok(usual);
    }
    match call.value(name)? {
        None => Ok(usual),
        Some(Json::Bool(flag)) => Ok(Condition::Known(flag)),
        Some(value) if Deferred::is(&value) => Ok(Condition::Deferred(value)),
        Some(value) => {
            let fault = call.site.error_at(name, format!("{}: `{name}`", call.function));
            let fault = fault
                .expected("True, False, a function of the build, prop(…) or interpolate(…)")
                .found(value.to_string());
            call.report(fault)?;
            Ok(usual)
        }
    }
}

/// `{"warnings": "success"}`: the step's results that end the build, each with the build's.
fn ends(call: &mut Call<'_, '_>, schema: &Schema) -> Result<EndBuildOn> {
    const NAME: &str = "end_build_on";
    let mut ends = EndBuildOn::new();
    if schema.declares(NAME) {
        return Ok(ends);
    }
    for (of_step, of_build) in call.dict(NAME)? {
        let text = of_build.unpack_str();
        match (
            of_step.parse::<Outcome>(),
            text.and_then(|text| text.parse().ok()),
        ) {
            (Ok(of_step), Some(of_build)) => {
                ends.insert(of_step, of_build);
            }
            (step, _) => {
                let found = match step {
                    Err(_) => format!("{of_step:?}"),
                    Ok(_) => describe(of_build),
                };
                let words = || Outcome::ALL.into_iter().map(Outcome::as_str);
                let hint = did_you_mean(found.trim_matches('"'), words());
                let place = format!("{}: `{NAME}`", call.function);
                let fault = call.site.error_in(NAME, &of_step, place);
                let fault = fault
                    .expected(format!(
                        "results of the step with results of the build, each {}",
                        choices(words())
                    ))
                    .found(found);
                call.report(fault.maybe_hint(hint))?;
            }
        }
    }
    Ok(ends)
}
