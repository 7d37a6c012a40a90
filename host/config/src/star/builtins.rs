//! What configurations call: `worker`, `builder`, `secret`, and one function per plugin. Each call checks its
//! arguments, registers what it defines and answers a handle to it.

use capstan_model::Deferred;
use capstan_model::plan::{
    Builder, Env, LockList, Phase, PluginUse, Reporter, Scheduler, Source, Step, Worker,
};
use capstan_model::plugin::Kind;
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};
use starlark::eval::{Arguments, Evaluator};
use starlark::values::Value;
use starlark::values::none::NoneType;

use super::arguments::Call;
use super::collector::{BuilderDefinition, Collector, StepDefinition, failure};
use super::site::Site;
use super::values::{Function, Handle, Namespace, kind};
use super::{conduct, deferred, limits, locks, properties, queueing, read};
use crate::diagnostic::PRINTED;
use crate::nearest::{choices, did_you_mean};
use crate::plugins::{Catalogue, Plugin};
use crate::schema::Schema;

/// The longest line that `print` keeps, in characters.
const MAX_PRINTED: usize = 2000;

type Result<T> = starlark::Result<T>;

/// The names that every file of a configuration starts with.
pub(super) fn globals(catalogue: &Catalogue) -> Globals {
    let mut globals = GlobalsBuilder::extended_by(&[
        LibraryExtension::StructType,
        LibraryExtension::SetType,
        LibraryExtension::Map,
        LibraryExtension::Filter,
        LibraryExtension::Partial,
        LibraryExtension::Json,
        LibraryExtension::Typing,
    ]);
    for function in [
        Function::Worker,
        Function::Builder,
        Function::Secret,
        Function::Properties,
        Function::Interpolate,
        Function::Prop,
        Function::Render,
        Function::Lock,
        Function::Queue,
        Function::Print,
        Function::Range,
        Function::ReadJson,
        Function::ReadToml,
        Function::ReadLines,
    ] {
        globals.set(&function.to_string(), function);
    }
    globals.set(MULTIPLY, Function::Multiply);
    for kind in Kind::ALL {
        let functions = catalogue.functions(kind).map(str::to_owned).collect();
        globals.set(kind.namespace(), Namespace::new(kind, functions));
    }
    globals.build()
}

/// What `*` is replaced by; no name that a file can define.
pub(super) const MULTIPLY: &str = "*";

/// Carries out a call.
pub(super) fn call<'v>(
    function: &Function,
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> Result<Value<'v>> {
    let at_run_time = [
        Function::Print,
        Function::Range,
        Function::Multiply,
        Function::Interpolate,
        Function::Prop,
    ];
    if Collector::of(eval)?.is_call() && !at_run_time.contains(function) {
        return Err(failure(format!(
            "expected `{function}` to be called while the configuration is loaded, found a call by a function that a build asks"
        )));
    }
    let handle = match function {
        Function::Worker => worker(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Builder => builder(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Secret => secret(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Properties => {
            properties::global(Call::new(function.to_string(), &["properties"], args, eval)?)?
        }
        Function::Interpolate => {
            deferred::interpolate(Call::new(function.to_string(), &["template"], args, eval)?)?
        }
        Function::Prop => deferred::prop(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Render => deferred::render(Call::new(function.to_string(), &["function"], args, eval)?)?,
        Function::Lock => locks::lock(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Queue => queueing::queue(Call::new(function.to_string(), &[], args, eval)?)?,
        Function::Access {
            lock,
            on_workers,
            exclusive,
        } => locks::access(
            lock,
            *on_workers,
            *exclusive,
            Call::new(function.to_string(), &["amount"], args, eval)?,
        )?,
        Function::Plugin { kind: number, name } => plugin(
            kind(*number),
            name,
            Call::new(function.to_string(), &[], args, eval)?,
        )?,
        Function::Print => return print(args, eval),
        Function::Range => return limits::range(args, eval),
        Function::Multiply => return limits::multiply(args, eval),
        Function::ReadJson | Function::ReadToml | Function::ReadLines => {
            return read::call(function, args, eval);
        }
    };
    Ok(eval.heap().alloc(handle))
}

fn worker(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    let slots = call.count("slots")?;
    let labels = call.texts("labels")?;
    let given = properties::of(&mut call, "properties", false)?;
    let defaults = properties::of(&mut call, "defaults", false)?;
    call.only(&[])?;
    let Some(name) = name else {
        return Ok(Handle::Broken);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(plain) || name.starts_with(['.', '-']) {
        let fault = call.site.error_at("name", call.function.clone());
        call.report(
            fault
                .expected("a name of letters, digits, `.`, `_` and `-`")
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

fn builder(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    let steps = call.list(
        "steps",
        "a step such as step.shell(…)",
        |value| match Handle::from_value(value) {
            Some(Handle::Step(place)) => Some(*place),
            _ => None,
        },
    )?;
    let workers = references(&mut call, "workers", "a worker or its name")?;
    let description = call.text("description")?.unwrap_or_default();
    let (tags, labels) = (call.texts("tags")?, call.texts("labels")?);
    let env = call.env("env")?;
    let given = properties::of(&mut call, "properties", true)?;
    let defaults = properties::of(&mut call, "defaults", true)?;
    let (collapse, queueing) = queueing::of(&mut call)?;
    let builder = Builder {
        name: name.clone().unwrap_or_default(),
        description,
        tags,
        workers,
        labels,
        env,
        properties: given,
        defaults,
        collapse,
        queueing,
        cancel_older: call.flag("cancel_older", false)?,
        locks: locks::list(&mut call)?,
        steps: Vec::new(),
        location: call.site.location(),
    };
    call.only(&[])?;
    let Some(name) = name else {
        return Ok(Handle::Broken);
    };
    if define(&mut call, "builder", &name)? && !call.faulty {
        let definition = BuilderDefinition {
            builder,
            steps,
            site: call.site,
        };
        call.collector.definitions.borrow_mut().builders.push(definition);
    }
    Ok(Handle::Builder(name))
}

fn secret(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    call.only(&[])?;
    Ok(name.map_or(Handle::Broken, Handle::Secret))
}

/// Claims a name; a second claim is reported and answers `false`.
pub(super) fn define(call: &mut Call<'_, '_>, what: &'static str, name: &str) -> Result<bool> {
    let key = (what, name.to_owned());
    let first = call
        .collector
        .definitions
        .borrow()
        .names
        .get(&key)
        .map(Site::location);
    let Some(first) = first else {
        call.collector
            .definitions
            .borrow_mut()
            .names
            .insert(key, call.site.clone());
        return Ok(true);
    };
    let fault = call
        .site
        .error_at("name", format!("duplicate name of a {what}"))
        .code("duplicate-name");
    let fault = fault
        .expected("another name")
        .found(format!("`{name}` again"))
        .related(first, "first defined here");
    call.report(fault)?;
    Ok(false)
}

/// Builders or workers, by handle or by name; whether they exist is looked at when everything is defined.
fn references(call: &mut Call<'_, '_>, name: &'static str, element: &str) -> Result<Vec<String>> {
    call.list(name, element, |value| {
        match (value.unpack_str(), Handle::from_value(value)) {
            (Some(text), _) => Some(text.to_owned()),
            (_, Some(Handle::Worker(worker))) if name == "workers" => Some(worker.clone()),
            (_, Some(Handle::Builder(builder))) if name == "builders" => Some(builder.clone()),
            _ => None,
        }
    })
}

/// A call of a plugin's function.
fn plugin(kind: Kind, function: &str, mut call: Call<'_, '_>) -> Result<Handle> {
    let collector = call.collector;
    let Some(plugin) = collector.catalogue.get(kind, function) else {
        return unknown_plugin(kind, function, call);
    };
    let schema = match &plugin.schema {
        Ok(schema) => schema,
        Err(reason) => {
            let message = format!("the {kind} plugin `{}` cannot be used: {reason}", plugin.name);
            let fault = call.site.error(message).hint("replace the plugin's file");
            call.report(fault)?;
            return Ok(Handle::Broken);
        }
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
    }
}

fn unknown_plugin(kind: Kind, function: &str, mut call: Call<'_, '_>) -> Result<Handle> {
    let known: Vec<&str> = call.collector.catalogue.functions(kind).collect();
    let expected = match known.as_slice() {
        [] => format!("a {kind} plugin (none is installed)"),
        known => choices(known.iter().copied()),
    };
    let hint = did_you_mean(function, known.iter().copied())
        .unwrap_or_else(|| "a plugin's file goes into the plugin folder".to_owned());
    let fault = call.site.error(format!("unknown {kind} plugin"));
    call.report(fault.expected(expected).found(format!("`{function}`")).hint(hint))?;
    Ok(Handle::Broken)
}

fn step(plugin: &Plugin, schema: &Schema, mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(true)?;
    let conduct = conduct::of(&mut call, schema)?;
    let env = if schema.declares("env") {
        Env::default()
    } else {
        call.env("env")?
    };
    let locks = if schema.declares("locks") {
        LockList::default()
    } else {
        locks::list(&mut call)?
    };
    let plugin_use = parameters(Kind::Step, plugin, schema, &mut call)?;
    if call.faulty {
        return Ok(Handle::Broken);
    }
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
        site: call.site,
    });
    Ok(Handle::Step(definitions.steps.len() - 1))
}

fn scheduler(plugin: &Plugin, schema: &Schema, mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(false)?;
    let given = call.has("builders");
    let (mut builders, mut builders_by) = (Vec::new(), None);
    if call.is_function("builders") {
        builders_by = call.function("builders")?;
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
fn parameters(kind: Kind, plugin: &Plugin, schema: &Schema, call: &mut Call<'_, '_>) -> Result<PluginUse> {
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
        let stray = call.stray;
        for fault in schema
            .check(&config)
            .into_iter()
            .filter(|fault| !(fault.missing && stray))
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

fn print<'v>(args: &Arguments<'v, '_>, eval: &mut Evaluator<'v, '_, '_>) -> Result<Value<'v>> {
    args.no_named_args()?;
    let texts: Vec<String> = args.positions(eval.heap())?.map(Value::to_str).collect();
    let text: String = texts.join(" ").chars().take(MAX_PRINTED).collect();
    let mut note = Site::of(eval).warning(text).note().code(PRINTED);
    note.snippet = None;
    note.related.clear();
    let collector = Collector::of(eval)?;
    // What a function prints in a build has no reader.
    if !collector.is_call() {
        collector.report(note)?;
    }
    Ok(eval.heap().alloc(NoneType))
}
