//! Pipelines: `pipeline(…)` in the operator's files says which file of a repository gives a builder its steps, and what they may be;
//! `steps([…])` in such a file gives them. Called by `builtins`.

use std::path::{Component, Path};

use capstan_model::plan::{Env, LockList, PluginUse, Step};
use capstan_model::plugin::Kind;
use capstan_model::{AllowedStep, Condition, EndBuildOn, PIPELINE, Pipeline, Rules};
use serde_json::Value as Json;

use super::arguments::Call;
use super::builders;
use super::collector::{Collector, StepDefinition, failure};
use super::values::{Function, Handle, kind};
use crate::nearest::{choices, did_you_mean};

type Result<T> = starlark::Result<T>;

/// The most steps that one pipeline has.
const MAX_STEPS: usize = 500;

/// The longest path of a pipeline's file, in bytes.
const MAX_PATH: usize = 500;

/// What a pipeline may do beside the steps that its catalogue has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The builder that it is for.
    pub(crate) builder: String,
    /// The secrets that it may name; without a list any.
    pub(crate) secrets: Option<Vec<String>>,
    /// Where its steps run that say nothing.
    pub(crate) workdir: Option<Json>,
}

/// Refuses what belongs to the operator's files in a pipeline, and the other way round.
pub(super) fn belongs(function: &Function, collector: &Collector) -> Result<()> {
    if collector.policy.is_none() {
        return match function {
            Function::Steps => Err(failure(
                "expected `steps` in the pipeline of a repository, found it in a configuration; a builder has `steps = […]`",
            )),
            _ => Ok(()),
        };
    }
    let theirs = match function {
        Function::Plugin { kind: number, .. } => kind(*number) == Kind::Step,
        Function::Secret | Function::Interpolate | Function::Prop | Function::Steps => true,
        Function::ReadJson | Function::ReadToml | Function::ReadLines => true,
        Function::Print | Function::Range | Function::Multiply => true,
        _ => false,
    };
    match theirs {
        true => Ok(()),
        false => Err(failure(format!(
            "expected what a pipeline may call, found `{function}`, which is for the operator's configuration; \
             a pipeline has step.…(…), steps(…), secret(…), prop(…) and interpolate(…)"
        ))),
    }
}

/// The name of a secret, unless a pipeline names one that its builder does not allow.
pub(super) fn allowed_secret(
    name: String,
    argument: &str,
    call: &mut Call<'_, '_>,
) -> Result<Option<String>> {
    let Some(policy) = &call.collector.policy else {
        return Ok(Some(name));
    };
    let Some(allowed) = policy.secrets.as_ref().filter(|list| !list.contains(&name)) else {
        return Ok(Some(name));
    };
    let expected = match allowed.as_slice() {
        [] => format!(
            "no secret: the builder `{}` allows its pipeline none",
            policy.builder
        ),
        some => format!(
            "{}, which the builder `{}` allows its pipeline",
            choices(some.iter().map(String::as_str)),
            policy.builder
        ),
    };
    let fault = call
        .site
        .error_at(argument, call.function.clone())
        .code("not-allowed");
    let fault = fault.expected(expected).found(format!("`{name}`"));
    call.report(fault.hint("the operator lists it in pipeline(…, allow_secrets = […])"))?;
    Ok(None)
}

/// `pipeline("ci/capstan.star", repository = "https://…", allow = ["git", "shell"])`, among the steps of a builder.
pub(super) fn pipeline(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.name(true)?;
    let file = file(&mut call)?;
    let repository = required(&mut call, "repository", "a string, the repository that is built")?;
    let allow = allowed(&mut call)?;
    // Rights are patterns, and these become some.
    let expected = "the name of a secret, without `*` and `@`";
    let secrets = call.list("allow_secrets", expected, |value| {
        let text = value.unpack_str();
        let text = text.filter(|text| !text.is_empty() && !text.contains(['*', '@']));
        match Handle::from_value(value) {
            Some(Handle::Secret(name)) => Some(name.clone()),
            _ => text.map(str::to_owned),
        }
    })?;
    call.only(&[])?;
    let (Some(file), Some(repository), false) = (file, repository, call.faulty) else {
        return Ok(Handle::Broken);
    };
    let pipeline = Pipeline {
        file,
        repository,
        allow,
        secrets,
        workdir: None,
    };
    let step = Step {
        name: name.clone().unwrap_or_else(|| PIPELINE.to_owned()),
        plugin: PluginUse {
            plugin: PIPELINE.to_owned(),
            digest: Pipeline::version(),
            config: serde_json::to_value(pipeline).unwrap_or_default(),
            location: call.site.location(),
        },
        rules: Rules::default(),
        always_run: false,
        run_if: Condition::always(),
        hide_if: Condition::never(),
        end_build_on: EndBuildOn::default(),
        locks: LockList::default(),
        env: Env::default(),
    };
    let mut definitions = call.collector.definitions.borrow_mut();
    definitions.steps.push(StepDefinition {
        step,
        named: name.is_some(),
        takes_workdir: true,
        asks: Vec::new(),
        site: call.site,
    });
    Ok(Handle::Step(definitions.steps.len() - 1))
}

fn required(call: &mut Call<'_, '_>, name: &'static str, expected: &str) -> Result<Option<String>> {
    let given = call.has(name);
    let text = call.text(name)?;
    if text.as_ref().is_none_or(String::is_empty) && !(given && call.faulty) {
        let fault = call.site.error_at(name, call.function.clone());
        let found = if given { "an empty one" } else { "nothing" };
        call.report(fault.expected(format!("`{name}` = {expected}")).found(found))?;
        return Ok(None);
    }
    Ok(text)
}

fn file(call: &mut Call<'_, '_>) -> Result<Option<String>> {
    let Some(text) = required(call, "file", "a string, the pipeline's file in the repository")? else {
        return Ok(None);
    };
    if is_path(&text) {
        return Ok(Some(text));
    }
    let fault = call.site.error_at("file", call.function.clone());
    call.report(
        fault
            .expected("a path from the top of the repository, such as \"ci/capstan.star\", without `..`")
            .found(format!("{text:?}")),
    )?;
    Ok(None)
}

/// Whether it is a plain path to a file below the top.
pub(crate) fn is_path(text: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let normal: Vec<_> = text.split('/').collect();
    (1..=MAX_PATH).contains(&text.len())
        && !text.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
        && normal.iter().all(|part| !matches!(*part, "" | "." | ".."))
        && Path::new(text).components().all(plain)
}

/// The steps that the pipeline may use, as the configuration calls them: `["git", "shell"]`.
fn allowed(call: &mut Call<'_, '_>) -> Result<Vec<AllowedStep>> {
    const NAME: &str = "allow";
    let given = call.texts(NAME)?;
    if given.is_empty() && !call.faulty {
        let fault = call.site.error_at(NAME, call.function.clone());
        let fault = fault
            .expected("`allow` = a list of steps that the pipeline may use, such as [\"git\", \"shell\"]");
        call.report(fault.found("none"))?;
    }
    let catalogue = &call.collector.catalogue;
    let mut allowed: Vec<AllowedStep> = Vec::new();
    for name in given {
        let function = name.strip_prefix("step.").unwrap_or(&name);
        let Some(plugin) = catalogue.get(Kind::Step, function) else {
            let known = || catalogue.functions(Kind::Step);
            let fault = call
                .site
                .error_in(NAME, &name, format!("{}: `{NAME}`", call.function));
            let fault = fault.expected(choices(known())).found(format!("`{name}`"));
            call.report(fault.maybe_hint(did_you_mean(function, known())))?;
            continue;
        };
        let step = AllowedStep {
            plugin: plugin.name.clone(),
            digest: plugin.digest,
        };
        if !allowed.contains(&step) {
            allowed.push(step);
        }
    }
    Ok(allowed)
}

/// `steps([step.git(…), step.shell(…)])`, once in a pipeline.
pub(super) fn steps(mut call: Call<'_, '_>) -> Result<Handle> {
    let collector = call.collector;
    let Some(policy) = &collector.policy else {
        return Ok(Handle::Broken);
    };
    call.only(&["steps"])?;
    let again = collector
        .definitions
        .borrow()
        .builders
        .first()
        .map(|first| first.site.location());
    if let Some(first) = again {
        let fault = call.site.error(call.function.clone());
        let fault = fault.expected("one call of `steps`").found("another");
        call.report(fault.related(first, "first called here"))?;
        return Ok(Handle::Broken);
    }
    if !call.has("steps") {
        let fault = call.site.error(call.function.clone());
        call.report(fault.expected("a list of steps").found("nothing"))?;
        return Ok(Handle::Broken);
    }
    call.give_name(&policy.builder);
    let handle = builders::builder(call)?;
    if let Some(built) = collector.definitions.borrow_mut().builders.first_mut() {
        built.workdir = policy.workdir.clone();
    }
    Ok(handle)
}

/// What is wrong with a pipeline as a whole, once it was evaluated.
pub(crate) fn amiss(steps: usize) -> Option<(String, String)> {
    match steps {
        0 => Some((
            "a call of steps([…]) with at least one step".to_owned(),
            "none".to_owned(),
        )),
        many if many > MAX_STEPS => Some((format!("at most {MAX_STEPS} steps"), many.to_string())),
        _ => None,
    }
}
