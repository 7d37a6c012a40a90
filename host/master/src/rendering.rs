//! Deferred values at work: what a build tells functions and templates of itself, and the parameters with which a step begins.
//! The rendering is `capstan_config`'s.

use std::collections::BTreeMap;

use capstan_config::{BuildContext, Functions, RenderError, Renderer};
use capstan_engine::{CallError, Plugin};
use capstan_model::{Deferred, EnvValue};
use capstan_store::{Build, Step};
use serde_json::{Map, Value};

use crate::Error;
use crate::build::StepOptions;
use crate::farm::Farm;

/// What a step begins with.
pub(crate) struct Rendered {
    pub config: Value,
    pub env: Option<BTreeMap<String, EnvValue>>,
}

impl Rendered {
    /// Nothing of it was deferred.
    pub fn as_planned(step: &Step) -> Self {
        Self {
            config: step.config.clone(),
            env: None,
        }
    }
}

/// A build as templates and functions see it.
pub(crate) fn context(build: &Build) -> BuildContext {
    let mut properties = build.properties.clone();
    properties.set_default("buildnumber", build.number, "build");
    BuildContext {
        properties,
        sources: build.sources.clone(),
        builder: build.made_by.clone(),
        worker: build.worker.clone(),
        number: Some(build.number),
    }
}

/// Renders one value for a build, with more that functions are told of it. The inner error says what is wrong with the value.
pub(crate) async fn value(
    farm: &Farm,
    build: &Build,
    facts: Map<String, Value>,
    value: Value,
) -> Result<Result<Value, String>, Error> {
    let context = context(build);
    blocking(farm, build, move |functions| {
        let renderer = Renderer::new(&context, functions).with_facts(facts);
        renderer.value(&value)
    })
    .await
}

/// What a step begins with, checked as at load. The inner error is a fault of the step's definition, with its place.
pub(crate) async fn step(
    farm: &Farm,
    build: &Build,
    step: &Step,
    options: &StepOptions,
    plugin: &Plugin,
) -> Result<Result<Rendered, String>, Error> {
    if let Some(fault) = &options.fault {
        return Ok(Err(fault.clone()));
    }
    let parameters = Deferred::within(&step.config);
    if !parameters && options.layers.is_empty() {
        return Ok(Ok(Rendered::as_planned(step)));
    }
    let context = context(build);
    let (config, layers, known) = (step.config.clone(), options.layers.clone(), options.env.clone());
    let schema = plugin.manifest().parameters.clone();
    let rendered = blocking(farm, build, move |functions| {
        let renderer = Renderer::new(&context, functions);
        let (config, paths) = match parameters {
            true => renderer.parameters(&schema, &config)?,
            false => (config, BTreeMap::new()),
        };
        let mut env = match layers.is_empty() {
            true => None,
            false => Some(renderer.env(&layers)?),
        };
        if !paths.is_empty() {
            env.get_or_insert(known).extend(paths);
        }
        Ok(Rendered { config, env })
    })
    .await?;
    let checked = match rendered {
        Ok(rendered) if parameters => accepted(plugin, rendered).await,
        other => other,
    };
    Ok(checked.map_err(|fault| match &options.location {
        Some(location) => format!("{location}: {fault}"),
        None => fault,
    }))
}

/// The plugin's own word on parameters that it has not seen yet.
async fn accepted(plugin: &Plugin, rendered: Rendered) -> Result<Rendered, String> {
    match plugin.check(&rendered.config).await {
        Ok(()) => Ok(rendered),
        Err(CallError::InvalidConfig(problems)) => {
            let problems = problems.iter().map(|problem| match problem.path.as_str() {
                "" => problem.message.clone(),
                path => format!("`{path}`: {}", problem.message),
            });
            Err(problems.collect::<Vec<_>>().join("; "))
        }
        Err(other) => Err(other.to_string()),
    }
}

/// Renders where blocking is allowed, with the functions of the plan that the build is pinned to. A plan that cannot be evaluated
/// any more fails what asks, not the master's task.
async fn blocking<T: Send + 'static>(
    farm: &Farm,
    build: &Build,
    render: impl FnOnce(&Functions) -> Result<T, RenderError> + Send + 'static,
) -> Result<Result<T, String>, Error> {
    let functions = match farm.functions(build.plan).await {
        Ok(functions) => functions,
        // A store that cannot be read now may be later.
        Err(error @ Error::Store(_)) => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let render = move || render(&functions).map_err(|error| error.to_string());
    let rendered = tokio::task::spawn_blocking(render).await;
    rendered.map_err(|error| Error::failed("render the values of a step", error))
}
