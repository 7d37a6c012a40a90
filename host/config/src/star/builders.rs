//! `builder(…)`. Called by `builtins`.

use capstan_model::Labels;
use capstan_model::plan::Builder;
use serde_json::Value as Json;

use super::arguments::Call;
use super::builtins::{define, references};
use super::collector::BuilderDefinition;
use super::values::Handle;
use super::{locks, properties, queueing, virtual_builders};

type Result<T> = starlark::Result<T>;

/// `builder("linux", labels = ["os=linux"], steps = [step.shell(command = "make")])`.
pub(super) fn builder(mut call: Call<'_, '_>) -> Result<Handle> {
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
    let project = call.text("project")?.unwrap_or_default();
    let (tags, labels) = (call.texts("tags")?, labels(&mut call)?);
    let directory = call.named("directory")?;
    let workdir = workdir(&mut call)?;
    let env = call.env("env")?;
    let given = properties::of(&mut call, "properties", true)?;
    let defaults = properties::of(&mut call, "defaults", true)?;
    let virtual_builder = virtual_builders::of(&mut call)?;
    let (collapse, queueing) = queueing::of(&mut call)?;
    let builder = Builder {
        name: name.clone().unwrap_or_default(),
        description,
        project,
        tags,
        workers,
        labels,
        directory,
        env,
        properties: given,
        defaults,
        virtual_builder,
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
            workdir,
            site: call.site,
        };
        call.collector.definitions.borrow_mut().builders.push(definition);
    }
    Ok(Handle::Builder(name))
}

/// What a worker's labels must fulfil: an expression, or a list of them that must all hold.
fn labels(call: &mut Call<'_, '_>) -> Result<Vec<String>> {
    const NAME: &str = "labels";
    let labels = match call.is_text(NAME) {
        true => call.text(NAME)?.into_iter().collect(),
        false => call.texts(NAME)?,
    };
    for text in &labels {
        if let Err(error) = text.parse::<Labels>() {
            let place = format!("{}: `{NAME}`: {text:?}: {error}", call.function);
            let fault = call.site.error_in(NAME, text, place);
            let fault = fault.hint("write it as in \"os=linux and (gpu or 'my label') and !slow\"");
            call.report(fault)?;
        }
    }
    Ok(labels)
}

/// Where its steps run unless they say otherwise: a text, or a value that is deferred until they begin.
fn workdir(call: &mut Call<'_, '_>) -> Result<Option<Json>> {
    const NAME: &str = "workdir";
    if call.is_deferred(NAME) {
        return call.value(NAME);
    }
    let Some(text) = call.text(NAME)? else {
        return Ok(None);
    };
    let climbs = text.split(['/', '\\']).any(|part| part == "..");
    if text.is_empty() || climbs || text.contains('\0') {
        let fault = call.site.error_at(NAME, format!("{}: `{NAME}`", call.function));
        call.report(
            fault
                .expected(
                    "a folder within the builder's, or a path from / that the worker grants, without `..`",
                )
                .found(format!("{text:?}")),
        )?;
    }
    Ok(Some(text.into()))
}
