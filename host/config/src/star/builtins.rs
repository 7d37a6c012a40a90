//! What configurations call: `worker`, `builder`, `secret`, and one function per plugin. Each call checks its
//! arguments, registers what it defines and answers a handle to it. Here it is found out which; `workers`, `builders`, `uses` and
//! others carry it out.

use capstan_model::plugin::Kind;
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};
use starlark::eval::{Arguments, Evaluator};
use starlark::values::Value;
use starlark::values::none::NoneType;

use super::arguments::Call;
use super::collector::{Collector, failure};
use super::site::Site;
use super::values::{Function, Handle, Namespace, kind};
use super::{
    builders, deferred, generators, limits, locks, pipeline, presets, properties, queueing, read, uses,
    workers,
};
use crate::diagnostic::PRINTED;
use crate::plugins::Catalogue;

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
        Function::Preset,
        Function::Environment,
        Function::Properties,
        Function::Interpolate,
        Function::Prop,
        Function::Render,
        Function::Lock,
        Function::Queue,
        Function::Pipeline,
        Function::Steps,
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
    pipeline::belongs(function, Collector::of(eval)?)?;
    let handle = match function {
        Function::Worker => workers::worker(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Builder => builders::builder(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Secret => secret(Call::new(function.to_string(), &["name"], args, eval)?)?,
        Function::Environment => {
            workers::environment(Call::new(function.to_string(), &["variables"], args, eval)?)?
        }
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
        Function::Pipeline => pipeline::pipeline(Call::new(function.to_string(), &["file"], args, eval)?)?,
        Function::Steps => pipeline::steps(Call::new(function.to_string(), &["steps"], args, eval)?)?,
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
        Function::Preset => {
            let call = Call::new(function.to_string(), &[presets::OF], args, eval)?;
            return presets::preset(call, eval.heap());
        }
        Function::Plugin { kind: number, name } if kind(*number) == Kind::Generator => {
            let call = Call::new(function.to_string(), &[], args, eval)?;
            return generators::generate(name, call, eval);
        }
        Function::Plugin { kind: number, name } => uses::plugin(
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

pub(super) fn secret(mut call: Call<'_, '_>) -> Result<Handle> {
    if call.is_deferred("name") {
        return deferred::secret(call);
    }
    let name = call.name(false)?;
    if call.has("among") {
        let fault = call.site.error_at("among", call.function.clone());
        call.report(
            fault
                .expected("`among` beside a name that is known only when a build runs, such as prop(\"key\")")
                .found("a name that is known now"),
        )?;
        return Ok(Handle::Broken);
    }
    call.only(&[])?;
    let name = match name {
        Some(name) => pipeline::allowed_secret(name, "name", &mut call)?,
        None => None,
    };
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
pub(super) fn references(call: &mut Call<'_, '_>, name: &'static str, element: &str) -> Result<Vec<String>> {
    call.list(name, element, |value| {
        match (value.unpack_str(), Handle::from_value(value)) {
            (Some(text), _) => Some(text.to_owned()),
            (_, Some(Handle::Worker(worker))) if name == "workers" => Some(worker.clone()),
            (_, Some(Handle::Builder(builder))) if name == "builders" => Some(builder.clone()),
            _ => None,
        }
    })
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
