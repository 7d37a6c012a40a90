//! One function per plugin: `step.shell(…)`, `schedule.nightly(…)`, `poll.git(…)`, `report.mail(…)`. The parameters are checked
//! against the plugin's schema. Called by `builtins`.

use capstan_model::Deferred;
use capstan_model::plan::{Env, Judging, LockList, Phase, PluginUse, Reporter, Scheduler, Source, Step};
use capstan_model::plugin::Kind;

use super::arguments::Call;
use super::builtins::{define, references};
use super::collector::StepDefinition;
use super::values::Handle;
use super::{conduct, locks};
use crate::nearest::{choices, did_you_mean};
use crate::plugins::Plugin;
use crate::render::{ANOTHER_NAME, twice};
use crate::schema::Schema;
use crate::triggering;

type Result<T> = starlark::Result<T>;

/// A call of a plugin's function.
pub(super) fn plugin(kind: Kind, function: &str, mut call: Call<'_, '_>) -> Result<Handle> {
    let collector = call.collector;
    let Some((plugin, schema)) = known(kind, function, &mut call)? else {
        return Ok(Handle::Broken);
    };
    match kind {
        Kind::Step => step(plugin, schema, call),
        Kind::ChangeSource => {
            let name = call.name(false)?;
            let plugin_use = parameters(kind, plugin, schema, &mut call)?;
            let Some(name) = name else {
                return Ok(Handle::Broken);
            };
            if define(&mut call, "change source", &name)? && !call.faulty {
                let source = Source {
                    name,
                    plugin: plugin_use,
                };
                collector
                    .definitions
                    .borrow_mut()
                    .sources
                    .push((source, call.site));
            }
            Ok(Handle::Other(call.function))
        }
        Kind::Scheduler => scheduler(plugin, schema, call),
        Kind::Reporter => reporter(plugin, schema, call),
        // What it answers is more than one handle: see `generators`.
        Kind::Generator => Ok(Handle::Other(call.function)),
    }
}

/// The plugin of that name and its schema; without a usable one that is reported.
pub(super) fn known<'c>(
    kind: Kind,
    function: &str,
    call: &mut Call<'_, 'c>,
) -> Result<Option<(&'c Plugin, &'c Schema)>> {
    let collector = call.collector;
    let Some(plugin) = collector.catalogue.get(kind, function) else {
        unknown_plugin(kind, function, call)?;
        return Ok(None);
    };
    match &plugin.schema {
        Ok(schema) => Ok(Some((plugin, schema))),
        Err(reason) => {
            let message = format!("the {kind} plugin `{}` cannot be used: {reason}", plugin.name);
            let fault = call.site.error(message).hint("replace the plugin's file");
            call.report(fault)?;
            Ok(None)
        }
    }
}

fn unknown_plugin(kind: Kind, function: &str, call: &mut Call<'_, '_>) -> Result<()> {
    let known: Vec<&str> = call.collector.catalogue.functions(kind).collect();
    let expected = match known.as_slice() {
        [] => format!("a {kind} plugin (none is installed)"),
        known => choices(known.iter().copied()),
    };
    let hint = did_you_mean(function, known.iter().copied()).unwrap_or_else(|| match call.collector.policy {
        Some(_) => "the operator lists what a pipeline may use in pipeline(…, allow = […])".to_owned(),
        None => "a plugin's file goes into the plugin folder".to_owned(),
    });
    let fault = call.site.error(format!("unknown {kind} plugin"));
    call.report(fault.expected(expected).found(format!("`{function}`")).hint(hint))
}

/// What a step has beside its plugin's parameters.
struct Common {
    name: Option<String>,
    conduct: conduct::Conduct,
    env: Env,
    locks: LockList,
}

fn common(schema: &Schema, call: &mut Call<'_, '_>) -> Result<Common> {
    let name = call.name(true)?;
    let conduct = conduct::of(call, schema)?;
    let mut env = if schema.declares("env") {
        Env::default()
    } else {
        call.env("env")?
    };
    let locks = if schema.declares("locks") {
        LockList::default()
    } else {
        locks::list(call)?
    };
    if schema.declares("env") {
        env.fixed.extend(call.paths("env"));
    }
    Ok(Common {
        name,
        conduct,
        env,
        locks,
    })
}

/// Whether something is wrong with arguments that a step is to have unless a call says otherwise; what is missing is up to the call.
pub(super) fn faulty_defaults(function: &str, mut call: Call<'_, '_>) -> Result<bool> {
    let Some((plugin, schema)) = known(Kind::Step, function, &mut call)? else {
        return Ok(true);
    };
    call.partial = true;
    common(schema, &mut call)?;
    parameters(Kind::Step, plugin, schema, &mut call)?;
    Ok(call.faulty)
}

fn step(plugin: &Plugin, schema: &Schema, mut call: Call<'_, '_>) -> Result<Handle> {
    let given = call.named.get("workdir").is_some_and(|value| !value.is_none());
    let takes_workdir = schema.declares("workdir") && !given;
    let Common {
        name,
        conduct,
        env,
        locks,
    } = common(schema, &mut call)?;
    let plugin_use = parameters(Kind::Step, plugin, schema, &mut call)?;
    if schema.declares("env")
        && let Some(name) = twice(&plugin_use.config, &env.fixed)
    {
        let place = format!("{}: `secrets[{name:?}]`", call.function);
        let fault = call.site.error_in("secrets", name, place);
        call.report(
            fault
                .expected(ANOTHER_NAME)
                .found("a variable that `env` sets, too"),
        )?;
    }
    if call.faulty {
        return Ok(Handle::Broken);
    }
    // A file of a repository sees nothing of the farm: what it names is looked for when the step runs.
    let asks = match call.collector.policy {
        Some(_) => Vec::new(),
        None => triggering::asked(schema, &plugin_use.config),
    };
    let named = name.is_some();
    let name = name.unwrap_or_else(|| plugin.name.clone());
    let step = Step {
        name,
        plugin: plugin_use,
        rules: conduct.rules,
        always_run: conduct.always_run,
        run_if: conduct.run_if,
        hide_if: conduct.hide_if,
        end_build_on: conduct.end_build_on,
        locks,
        env,
    };
    let mut definitions = call.collector.definitions.borrow_mut();
    definitions.steps.push(StepDefinition {
        step,
        named,
        takes_workdir,
        asks,
        site: call.site,
    });
    Ok(Handle::Step(definitions.steps.len() - 1))
}

fn scheduler(plugin: &Plugin, schema: &Schema, mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    let given = call.has("builders");
    let (mut builders, mut builders_by) = (Vec::new(), None);
    if call.is_function("builders") {
        builders_by = call.function("builders", 1)?;
    } else {
        builders = references(&mut call, "builders", "a builder or its name")?;
    }
    if builders.is_empty() && builders_by.is_none() && !call.faulty {
        let fault = call.site.error_at("builders", call.function.clone());
        let found = if given { "an empty list" } else { "nothing" };
        call.report(
            fault
                .expected("`builders` = a list with at least one builder, or a function of the request")
                .found(found),
        )?;
    }
    let own = |call: &mut Call<'_, '_>, name| match schema.declares(name) {
        true => Ok(false),
        false => call.flag(name, false),
    };
    let cancel_older = own(&mut call, "cancel_older")?;
    let fail_fast = own(&mut call, "fail_fast")?;
    let judging = judging(&mut call, schema)?;
    let plugin_use = parameters(Kind::Scheduler, plugin, schema, &mut call)?;
    let Some(name) = name else {
        return Ok(Handle::Broken);
    };
    if define(&mut call, "scheduler", &name)? && !call.faulty {
        let scheduler = Scheduler {
            name,
            builders,
            builders_by,
            follows: schema.named("scheduler", &plugin_use.config),
            cancel_older,
            fail_fast,
            judging,
            plugin: plugin_use,
        };
        call.collector
            .definitions
            .borrow_mut()
            .schedulers
            .push((scheduler, call.site));
    }
    Ok(Handle::Other(call.function))
}

/// The functions that have a say in what a scheduler takes and asks for; a plugin's own parameter of such a name goes before.
fn judging(call: &mut Call<'_, '_>, schema: &Schema) -> Result<Judging> {
    let mut own = |name| match schema.declares(name) {
        true => Ok(None),
        false => call.function(name, 1),
    };
    let (change_filter, is_important) = (own("change_filter")?, own("is_important")?);
    // A number is the plugin's business.
    let priority = match call.is_function("priority") {
        true => call.function("priority", 1)?,
        false => None,
    };
    Ok(Judging {
        change_filter,
        is_important,
        priority,
    })
}

fn reporter(plugin: &Plugin, schema: &Schema, mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(true)?.unwrap_or_else(|| plugin.name.clone());
    let builders = references(&mut call, "builders", "a builder or its name")?;
    let given = call.has("on");
    let mut phases = call.list("on", "\"started\" or \"finished\"", |value| {
        [Phase::Started, Phase::Finished]
            .into_iter()
            .find(|phase| value.unpack_str() == Some(phase.as_str()))
    })?;
    phases.dedup();
    if phases.is_empty() {
        phases.push(Phase::Finished);
        if given && !call.faulty {
            let fault = call.site.error_at("on", call.function.clone());
            call.report(
                fault
                    .expected("`on` = a list with \"started\" or \"finished\"")
                    .found("an empty list"),
            )?;
        }
    }
    let plugin_use = parameters(Kind::Reporter, plugin, schema, &mut call)?;
    if define(&mut call, "reporter", &name)? && !call.faulty {
        let reporter = Reporter {
            name,
            builders,
            phases,
            plugin: plugin_use,
        };
        call.collector
            .definitions
            .borrow_mut()
            .reporters
            .push((reporter, call.site));
    }
    Ok(Handle::Other(call.function))
}

/// The plugin's own parameters: what is left after the common arguments.
pub(super) fn parameters(
    kind: Kind,
    plugin: &Plugin,
    schema: &Schema,
    call: &mut Call<'_, '_>,
) -> Result<PluginUse> {
    if !schema.is_open() {
        let declared: Vec<&str> = schema.parameters().collect();
        call.only(&declared)?;
    }
    let was_faulty = std::mem::take(&mut call.faulty);
    let config = call.rest(|name| schema.takes_null(name))?;
    if kind != Kind::Step {
        known_now(kind, &config, call)?;
    }
    // A parameter without a JSON form is missing from the object: further faults would only follow from that.
    if !call.faulty {
        let incomplete = call.stray || call.partial;
        for fault in schema
            .check(&config)
            .into_iter()
            .filter(|fault| !(fault.missing && incomplete))
        {
            let message = match fault.path.as_str() {
                "" => call.function.clone(),
                path => format!("{}: `{path}`", call.function),
            };
            let at = match &fault.parameter {
                Some(parameter) => call.site.error_at(parameter, message),
                None => call.site.error(message),
            };
            call.report(
                at.expected(fault.expected)
                    .found(fault.found)
                    .maybe_hint(fault.hint),
            )?;
        }
        for path in schema.open_secrets(&config) {
            let parameter = path.split(['.', '[']).next().unwrap_or_default();
            let place = format!("{}: `{path}`", call.function);
            let fault = call.site.error_at(parameter, place);
            let fault = fault.expected("a secret that the configuration names");
            call.report(
                fault
                    .found("a value that whoever starts a build may choose")
                    .hint("list what it can be: secret(…, among = [\"a-secret\", …])"),
            )?;
        }
    }
    call.faulty |= was_faulty;
    let location = call.site.location();
    Ok(PluginUse {
        plugin: plugin.name.clone(),
        digest: plugin.digest,
        config,
        location,
    })
}

/// Only steps belong to a build that a value could be rendered for. A scheduler may take functions, which it is asked for by number.
fn known_now(kind: Kind, config: &serde_json::Value, call: &mut Call<'_, '_>) -> Result<()> {
    for (name, value) in config.as_object().into_iter().flatten() {
        if !Deferred::within(value) || kind == Kind::Scheduler && functions_alone(value) {
            continue;
        }
        let fault = call.site.error_at(name, format!("{}: `{name}`", call.function));
        let fault = fault.expected("a value that is known when the configuration is loaded");
        call.report(
            fault
                .found("one that is known only when a build runs")
                .hint("only steps and builders take those"),
        )?;
    }
    Ok(())
}

fn functions_alone(value: &serde_json::Value) -> bool {
    match Deferred::of(value) {
        Some(deferred) => matches!(deferred, Ok(Deferred::Function(_))),
        None => match value {
            serde_json::Value::Array(items) => items.iter().all(functions_alone),
            serde_json::Value::Object(map) => map.values().all(functions_alone),
            _ => true,
        },
    }
}
