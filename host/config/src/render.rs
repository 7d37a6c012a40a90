//! Deferred values become values: when a build starts those of its builder, when a step begins those of its parameters and its
//! environment. Pure; the master calls it where blocking is allowed, since functions of the configuration may be asked.

mod env;
mod filter;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use capstan_model::deferred::{
    ChosenSecret, Deferred, Hole, Instead, Name, Part, PropertyOr, SourceField, Template,
};
use capstan_model::{EnvValue, Properties, SourceStamp};
use serde_json::{Map, Value, json};

use crate::json::describe;
use crate::nearest::nearest;
use crate::schema::Schema;
use crate::star::{CallLimits, FunctionError, Functions};
use filter::{apply, is_empty, text};

/// How deep deferred values may hold deferred values.
const MAX_DEPTH: usize = 16;

/// What all values of one rendering may take, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// What all functions of one rendering may take together.
const MAX_TIME: Duration = Duration::from_secs(20);

/// The build for which values are rendered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildContext {
    /// Its properties as they are now.
    pub properties: Properties,
    /// What it builds.
    pub sources: Vec<SourceStamp>,
    /// Its builder.
    pub builder: String,
    /// Its worker.
    pub worker: String,
    /// Its number within its builder; a build that is only about to start has none.
    pub number: Option<u64>,
}

impl BuildContext {
    /// What functions of the configuration get: `build.properties["branch"]`, `build.sources[0]["revision"]`,
    /// `build.builder`, `build.worker`, `build.number`.
    pub fn argument(&self) -> Value {
        let properties: Map<_, _> = self
            .properties
            .iter()
            .map(|property| (property.name.clone(), property.value.clone()))
            .collect();
        let sources = self.sources.iter().map(|source| {
            json!({
                "codebase": source.codebase,
                "repository": source.repository,
                "project": source.project,
                "branch": source.branch,
                "revision": source.revision,
            })
        });
        json!({
            "properties": properties,
            "sources": sources.collect::<Vec<_>>(),
            "builder": self.builder,
            "worker": self.worker,
            "number": self.number,
        })
    }
}

/// Why a value cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", place(.path))]
pub struct RenderError {
    /// Where in what was rendered: `command[2]`, `env.PATH`.
    pub path: String,
    /// What was wrong.
    pub reason: Unrendered,
}

fn place(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!("`{path}`: "),
    }
}

/// What was wrong with a deferred value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "their texts say what they are")]
pub enum Unrendered {
    #[error("expected a property `{name}`, found none of that name{}", hint(.nearest))]
    UnknownProperty { name: String, nearest: Option<String> },
    #[error("expected a source of the codebase `{name}`, found none{}", hint(.nearest))]
    UnknownCodebase { name: String, nearest: Option<String> },
    #[error("expected a text or number in `{{{name}}}`, found {found}; `{{{name}|json}}` writes it as JSON")]
    NotText { name: String, found: String },
    #[error("expected {expected}, found {found}")]
    Unfit { expected: String, found: String },
    #[error(
        "expected a value without secrets, found one that names a secret; write secret(…) in the configuration itself"
    )]
    Secret,
    #[error("expected one of the secrets {}, found {found}", .among.join(", "))]
    NotAmong { among: Vec<String>, found: String },
    #[error("expected at most {MAX_BYTES} bytes of rendered values, found more")]
    TooLarge,
    #[error("expected deferred values that hold each other at most {MAX_DEPTH} deep, found more")]
    TooDeep,
    #[error("expected a deferred value that this version knows: {0}")]
    Unknown(String),
    #[error("expected functions that take at most {} seconds together, found more", MAX_TIME.as_secs())]
    TooLong,
    #[error("{0}")]
    Function(#[from] FunctionError),
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

type Result<T, E = Unrendered> = std::result::Result<T, E>;

/// Renders the values of one build or step. A function is asked once, however often it is used.
pub struct Renderer<'a> {
    context: &'a BuildContext,
    functions: &'a Functions,
    limits: CallLimits,
    facts: Map<String, Value>,
    answers: RefCell<BTreeMap<u32, Value>>,
    /// Whether what is rendered only chooses among secrets.
    choosing: Cell<bool>,
    left: Cell<usize>,
    deadline: Instant,
}

impl<'a> Renderer<'a> {
    /// Renders for `context`, with the functions of the plan that the values are from.
    pub fn new(context: &'a BuildContext, functions: &'a Functions) -> Self {
        Self {
            context,
            functions,
            limits: CallLimits::default(),
            facts: Map::new(),
            answers: RefCell::default(),
            choosing: Cell::new(false),
            left: Cell::new(MAX_BYTES),
            deadline: Instant::now() + MAX_TIME,
        }
    }

    /// The same with other limits for each function.
    #[must_use]
    pub fn with_limits(mut self, limits: CallLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, with more that functions are told of the build: `build.results`.
    #[must_use]
    pub fn with_facts(mut self, facts: Map<String, Value>) -> Self {
        self.facts = facts;
        self
    }

    /// A value with everything deferred in it rendered. A list in a list's place is spliced into it. What comes out is data: it
    /// is not rendered again.
    pub fn value(&self, value: &Value) -> Result<Value, RenderError> {
        self.at(value, "", 0)
    }

    /// A step's parameters, checked against the schema in its plugin's manifest, and the lists in an `env` of its own, which are the
    /// worker's to join.
    pub fn parameters(
        &self,
        schema: &Value,
        config: &Value,
    ) -> Result<(Value, BTreeMap<String, EnvValue>), RenderError> {
        let mut paths = BTreeMap::new();
        let mut rendered = self.value(config)?;
        let unfit = |path: String, expected: String, found: String| RenderError {
            path,
            reason: Unrendered::Unfit { expected, found },
        };
        let schema = Schema::new(capstan_model::plugin::Kind::Step, schema)
            .map_err(|reason| unfit(String::new(), "parameters that can be checked".to_owned(), reason))?;
        if let Value::Object(parameters) = &mut rendered {
            // Numbers in an environment are texts, whoever takes it over; a plugin's schema says texts alone.
            if let Some(Value::Object(variables)) = parameters.get_mut("env")
                && config.get("env").is_some_and(Deferred::within)
            {
                variables.values_mut().for_each(env::as_text);
                paths = env::paths(variables)?;
            }
            // As in a call: None is a value of a few parameters only, for the others it means "not given".
            parameters.retain(|name, value| !value.is_null() || schema.takes_null(name));
        }
        if let Some(fault) = schema.faults(&rendered).into_iter().next() {
            return Err(unfit(fault.path, fault.expected, fault.found));
        }
        match twice(&rendered, &paths) {
            Some(name) => {
                let found = "a variable that `env` sets, too".to_owned();
                Err(unfit(format!("secrets.{name}"), ANOTHER_NAME.to_owned(), found))
            }
            None => Ok((rendered, paths)),
        }
    }

    fn at(&self, value: &Value, path: &str, depth: usize) -> Result<Value, RenderError> {
        let wrong = |reason| RenderError {
            path: path.to_owned(),
            reason,
        };
        if let Some(deferred) = Deferred::of(value) {
            let deferred = deferred.map_err(|error| wrong(Unrendered::Unknown(error.to_string())))?;
            return self.deferred(&deferred, depth).map_err(wrong);
        }
        match value {
            Value::Array(items) => {
                let mut all = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let rendered = self.at(item, &format!("{path}[{i}]"), depth)?;
                    match rendered {
                        Value::Array(several) if Deferred::is(item) => all.extend(several),
                        one => all.push(one),
                    }
                }
                Ok(Value::Array(all))
            }
            Value::Object(map) => {
                let mut all = Map::new();
                for (key, item) in map {
                    let inner = match path {
                        "" => key.clone(),
                        path => format!("{path}.{key}"),
                    };
                    all.insert(key.clone(), self.at(item, &inner, depth)?);
                }
                Ok(Value::Object(all))
            }
            scalar => Ok(scalar.clone()),
        }
    }

    fn deferred(&self, deferred: &Deferred, depth: usize) -> Result<Value> {
        let value = self.unguarded(deferred, depth)?;
        let chosen = self.choosing.get() || matches!(deferred, Deferred::Secret(_));
        if names_secret(&value) && !chosen {
            return Err(Unrendered::Secret);
        }
        Ok(value)
    }

    /// The same, also if it looks like the name of a secret.
    fn unguarded(&self, deferred: &Deferred, depth: usize) -> Result<Value> {
        if depth >= MAX_DEPTH {
            return Err(Unrendered::TooDeep);
        }
        let value = match deferred {
            Deferred::Interpolate(template) => Value::String(self.template(template, depth + 1)?),
            Deferred::Property(property) => self.property(property, depth + 1)?,
            Deferred::Function(number) => self.function(*number, depth + 1)?,
            Deferred::Secret(secret) => self.secret(secret, depth + 1)?,
        };
        self.spend(size(&value))?;
        Ok(value)
    }

    /// The one that is chosen, as a secret that the configuration names itself.
    fn secret(&self, secret: &ChosenSecret, depth: usize) -> Result<Value> {
        // What chooses may name a secret, also within: only one that is listed comes out.
        let before = self.choosing.replace(true);
        let chosen = self.inner(&secret.of, depth);
        self.choosing.set(before);
        let chosen = chosen?;
        let name = match &chosen {
            Value::Object(map) if map.len() == 1 => map.get("secret").unwrap_or(&chosen),
            other => other,
        };
        match name
            .as_str()
            .filter(|name| secret.among.iter().any(|known| known == name))
        {
            Some(name) => Ok(json!({ "secret": name })),
            None => Err(Unrendered::NotAmong {
                among: secret.among.clone(),
                found: describe(name),
            }),
        }
    }

    /// A value within a deferred value, without a place of its own.
    fn inner(&self, value: &Value, depth: usize) -> Result<Value> {
        self.at(value, "", depth).map_err(|error| error.reason)
    }

    fn property(&self, property: &PropertyOr, depth: usize) -> Result<Value> {
        let found = self
            .context
            .properties
            .get(&property.name)
            .map(|found| &found.value);
        match (found, &property.default) {
            (Some(Value::Null) | None, Some(default)) => self.inner(default, depth),
            (Some(value), _) => Ok(value.clone()),
            (None, None) => Err(self.unknown(&property.name)),
        }
    }

    fn unknown(&self, name: &str) -> Unrendered {
        let known = self.context.properties.iter().map(|p| p.name.as_str());
        Unrendered::UnknownProperty {
            name: name.to_owned(),
            nearest: nearest(name, known).map(str::to_owned),
        }
    }

    fn function(&self, number: u32, depth: usize) -> Result<Value> {
        if let Some(answer) = self.answers.borrow().get(&number) {
            return Ok(answer.clone());
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Unrendered::TooLong);
        }
        let limits = CallLimits {
            time: self.limits.time.min(left),
            ..self.limits
        };
        let mut argument = self.context.argument();
        if let Value::Object(fields) = &mut argument {
            fields.extend(self.facts.clone());
        }
        let answer = self.functions.call(number, vec![argument], limits)?;
        // It may answer interpolate(…) or prop(…); an object that only looks so cannot come out of a call.
        let answer = self.inner(&answer, depth)?;
        self.answers.borrow_mut().insert(number, answer.clone());
        Ok(answer)
    }

    fn template(&self, template: &Template, depth: usize) -> Result<String> {
        let mut out = String::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => out.push_str(&self.hole(hole, template, depth)?),
            }
            if out.len() > self.left.get() {
                return Err(Unrendered::TooLarge);
            }
        }
        Ok(out)
    }

    fn hole(&self, hole: &Hole, template: &Template, depth: usize) -> Result<String> {
        let found = self.named(&hole.of, template, depth)?;
        let set = !matches!(found, Ok(Value::Null) | Err(_));
        let value = match (&hole.instead, found) {
            (Some(Instead::IfUnset(instead)), _) if !set => Value::String(instead.clone()),
            (Some(Instead::IfEmpty(instead)), found) if found.as_ref().map_or(true, is_empty) => {
                Value::String(instead.clone())
            }
            (Some(Instead::IfSet(instead)), _) => Value::String(match set {
                true => instead.clone(),
                false => String::new(),
            }),
            (_, found) => found?,
        };
        let mut value = value;
        for filter in &hole.filters {
            value = apply(filter, value, &hole.of, self.left.get())?;
        }
        text(value, &hole.of)
    }

    /// What a name stands for. The inner error is a value that is not there, for which there may be another.
    fn named(&self, name: &Name, template: &Template, depth: usize) -> Result<Result<Value>> {
        Ok(match name {
            Name::Property(name) => match self.context.properties.get(name) {
                Some(property) => Ok(property.value.clone()),
                None => Err(self.unknown(name)),
            },
            Name::Value(name) => match template.values.get(name) {
                Some(value) => match self.inner(value, depth) {
                    Err(missing @ Unrendered::UnknownProperty { .. }) => Err(missing),
                    other => Ok(other?),
                },
                None => Err(self.unknown(name)),
            },
            Name::Source { codebase, field } => self.source(codebase, *field),
            Name::Worker => Ok(self.context.worker.as_str().into()),
            Name::Builder => Ok(self.context.builder.as_str().into()),
            Name::BuildNumber => Ok(self.context.number.map_or(Value::Null, Value::from)),
        })
    }

    fn source(&self, codebase: &str, field: SourceField) -> Result<Value> {
        let sources = &self.context.sources;
        let Some(source) = sources.iter().find(|source| source.codebase == codebase) else {
            let known = sources.iter().map(|source| source.codebase.as_str());
            return Err(Unrendered::UnknownCodebase {
                name: codebase.to_owned(),
                nearest: nearest(codebase, known).map(str::to_owned),
            });
        };
        let value = match field {
            SourceField::Branch => source.branch.as_deref(),
            SourceField::Revision => source.revision.as_deref(),
            SourceField::Repository => Some(source.repository.as_str()),
            SourceField::Project => Some(source.project.as_str()),
            SourceField::Codebase => Some(source.codebase.as_str()),
        };
        Ok(value.map_or(Value::Null, Value::from))
    }

    fn spend(&self, bytes: usize) -> Result<()> {
        let left = self.left.get().checked_sub(bytes).ok_or(Unrendered::TooLarge)?;
        self.left.set(left);
        Ok(())
    }
}

/// What a plugin that sets variables to secrets cannot see: the name of one that a list in its `env` sets, which the worker joins.
pub(crate) fn twice<'c>(config: &'c Value, lists: &BTreeMap<String, EnvValue>) -> Option<&'c String> {
    let secrets = config.get("secrets").and_then(Value::as_object)?;
    secrets.keys().find(|name| lists.contains_key(*name))
}

/// What [`twice`] means to whoever wrote it.
pub(crate) const ANOTHER_NAME: &str = "another name";

/// About the bytes that a value takes.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(map) => map.iter().map(|(key, item)| key.len() + size(item)).sum(),
            _ => 0,
        }
}

/// Whether a plugin would take something in this value for the name of a secret. Properties come from people who may start a
/// build; which secret goes where is the configuration's to say.
fn names_secret(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(names_secret),
        Value::Object(map) => {
            map.len() == 1 && map.get("secret").is_some_and(Value::is_string)
                || map.values().any(names_secret)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
