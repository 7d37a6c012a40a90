//! The arguments of one call, taken one after the other; every fault is reported, with its place, before the call ends.

mod env;

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::plan::FunctionRef;
use capstan_model::{MAX_NAME, is_name};
use serde_json::Value as Json;
use starlark::environment::Module;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::dict::DictRef;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value};

use super::collector::Collector;
use super::convert::{Keeper, Unfit, describe, function, is_deferred, is_function, to_json};
use super::site::Site;
use super::values::Handle;
use crate::diagnostic::Diagnostic;
use crate::nearest::{choices, did_you_mean};

/// The arguments of a call that are not taken yet.
pub(super) struct Call<'v, 'c> {
    pub(super) collector: &'c Collector,
    pub(super) site: Site,
    /// The file that is being run; none in a call of a kept function.
    module: Option<&'c Module<'v>>,
    /// `builder`, `step.shell`.
    pub(super) function: String,
    pub(super) named: BTreeMap<String, Value<'v>>,
    /// The names that `taken` was asked for.
    known: Vec<&'static str>,
    /// See [`Call::give_name`].
    given_name: Option<String>,
    /// Whether something was reported.
    pub(super) faulty: bool,
    /// Whether an argument was given that means nothing; one that is missing may be meant by it.
    pub(super) stray: bool,
    /// Whether arguments may be missing, because others are given later.
    pub(super) partial: bool,
    /// The variables in `env` that are not the plugin's to set.
    apart: BTreeSet<String>,
}

type Result<T> = starlark::Result<T>;

impl<'v, 'c> Call<'v, 'c> {
    /// Takes the arguments apart. `positional` names those that may stand without their name.
    pub(super) fn new(
        function: String,
        positional: &[&str],
        args: &Arguments<'v, '_>,
        eval: &Evaluator<'v, 'c, '_>,
    ) -> Result<Self> {
        let collector = Collector::of(eval)?;
        let named = args
            .names_map()?
            .into_iter()
            .map(|(name, value)| (name.as_str().to_owned(), value))
            .collect();
        let mut call = Self {
            collector,
            site: Site::of(eval),
            // What a pipeline gives is stored as data: no function of it outlives its evaluation.
            module: Some(eval.module()).filter(|_| !collector.is_call() && collector.policy.is_none()),
            function,
            named,
            known: Vec::new(),
            given_name: None,
            faulty: false,
            stray: false,
            partial: false,
            apart: BTreeSet::new(),
        };
        for (i, value) in args.positions(eval.heap())?.enumerate() {
            match positional.get(i) {
                Some(name) if !call.named.contains_key(*name) => {
                    call.named.insert((*name).to_owned(), value);
                }
                _ => {
                    let fault = call.site.error(call.function.clone());
                    call.stray = true;
                    call.report(
                        fault
                            .expected("named arguments: `name = value`")
                            .found(describe(value)),
                    )?;
                    break;
                }
            }
        }
        Ok(call)
    }

    /// A call of another function from the same place, without arguments so far.
    pub(super) fn another(&self, function: String, site: Site) -> Self {
        Self {
            site,
            function,
            named: BTreeMap::new(),
            known: Vec::new(),
            faulty: false,
            stray: false,
            partial: false,
            apart: BTreeSet::new(),
            given_name: None,
            ..*self
        }
    }

    /// Reports a fault of this call.
    pub(super) fn report(&mut self, fault: Diagnostic) -> Result<()> {
        self.faulty = true;
        self.collector.report(fault)
    }

    /// Whether an argument was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Gives the call a name that is not written there.
    pub(super) fn give_name(&mut self, name: &str) {
        self.given_name = Some(name.to_owned());
    }

    /// Takes an argument; `None` means "not given".
    fn take(&mut self, name: &'static str) -> Option<Value<'v>> {
        self.known.push(name);
        self.named.remove(name).filter(|value| !value.is_none())
    }

    fn wrong(&mut self, name: &str, expected: &str, value: Value<'v>) -> Result<()> {
        if Handle::from_value(value) == Some(&Handle::Broken) {
            self.faulty = true;
            return Ok(());
        }
        let fault = self.site.error_at(name, format!("{}: `{name}`", self.function));
        let mut fault = fault.expected(expected).found(describe(value));
        let names =
            expected.starts_with("a list") && (expected.contains("name") || expected.contains("string"));
        if names && value.unpack_str().is_some() {
            fault = fault.hint(format!("write `{name} = [{}]`", describe(value)));
        }
        self.report(fault)
    }

    /// A name: `None` if there is no usable one, which is reported unless `optional`.
    pub(super) fn name(&mut self, optional: bool) -> Result<Option<String>> {
        if let Some(name) = self.given_name.take() {
            return Ok(Some(name));
        }
        let Some(value) = self.take("name") else {
            if !optional {
                let fault = self.site.error(self.function.clone());
                self.report(fault.expected("`name` = a string").found("nothing"))?;
            }
            return Ok(None);
        };
        match value.unpack_str() {
            Some(name) if is_name(name) => Ok(Some(name.to_owned())),
            _ => {
                let expected =
                    format!("a name of 1 to {MAX_NAME} printable characters, without spaces at its ends");
                self.wrong("name", &expected, value)?;
                Ok(None)
            }
        }
    }

    /// A name beside the first one.
    pub(super) fn named(&mut self, name: &'static str) -> Result<Option<String>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.unpack_str() {
            Some(text) if is_name(text) => Ok(Some(text.to_owned())),
            _ => {
                let expected =
                    format!("a name of 1 to {MAX_NAME} printable characters, without spaces at its ends");
                self.wrong(name, &expected, value)?;
                Ok(None)
            }
        }
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = value.unpack_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(name, "a string", value)?;
        }
        Ok(text)
    }

    /// `True` or `False`.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool> {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        let flag = value.unpack_bool();
        if flag.is_none() {
            self.wrong(name, "True or False", value)?;
        }
        Ok(flag.unwrap_or(default))
    }

    /// A whole number of at least 1.
    pub(super) fn count(&mut self, name: &'static str) -> Result<Option<u32>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let count = u32::unpack_value(value)
            .ok()
            .flatten()
            .filter(|&n| n > 0 && value.unpack_bool().is_none());
        if count.is_none() {
            self.wrong(name, "a whole number of at least 1", value)?;
        }
        Ok(count)
    }

    /// A whole number, also below 0.
    pub(super) fn integer(&mut self, name: &'static str) -> Result<Option<i32>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = i32::unpack_value(value).ok().flatten();
        let number = number.filter(|_| value.unpack_bool().is_none());
        if number.is_none() {
            self.wrong(name, "a whole number within 32 bits", value)?;
        }
        Ok(number)
    }

    /// A list whose elements `pick` makes something of.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        element: &str,
        pick: impl Fn(Value<'v>) -> Option<T>,
    ) -> Result<Vec<T>> {
        let Some(value) = self.take(name) else {
            return Ok(Vec::new());
        };
        let list = ListRef::from_value(value).map(|list| list.content());
        let Some(items) = list.or_else(|| TupleRef::from_value(value).map(|tuple| tuple.content())) else {
            self.wrong(name, &format!("a list, each element {element}"), value)?;
            return Ok(Vec::new());
        };
        let mut picked = Vec::new();
        for &item in items {
            match pick(item) {
                Some(item) => picked.push(item),
                None if Handle::from_value(item) == Some(&Handle::Broken) => self.faulty = true,
                None => {
                    let fault = self
                        .site
                        .error_at(name, format!("{}: an element of `{name}`", self.function));
                    self.report(fault.expected(element).found(describe(item)))?;
                }
            }
        }
        Ok(picked)
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>> {
        self.list(name, "a string that is not empty", |value| {
            value
                .unpack_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        })
    }

    /// A dict of JSON values.
    pub(super) fn object(&mut self, name: &'static str) -> Result<BTreeMap<String, Json>> {
        let mut object = BTreeMap::new();
        for (key, value) in self.dict(name)? {
            if let Some(json) = self.json(name, value)? {
                object.insert(key, json);
            }
        }
        Ok(object)
    }

    /// A dict with texts as its keys.
    pub(super) fn dict(&mut self, name: &'static str) -> Result<Vec<(String, Value<'v>)>> {
        let Some(value) = self.take(name) else {
            return Ok(Vec::new());
        };
        let Some(dict) = DictRef::from_value(value) else {
            self.wrong(name, "a dict", value)?;
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        for (key, item) in dict.iter() {
            match key.unpack_str() {
                Some(key) => entries.push((key.to_owned(), item)),
                None => self.wrong(name, "strings as keys", key)?,
            }
        }
        Ok(entries)
    }

    /// Any JSON value.
    pub(super) fn value(&mut self, name: &'static str) -> Result<Option<Json>> {
        match self.take(name) {
            Some(value) => self.json(name, value),
            None => Ok(None),
        }
    }

    fn keeper(&self) -> Keeper<'v, 'c> {
        Keeper {
            collector: self.collector,
            module: self.module,
            only_looks: self.partial,
            location: self.site.location(),
        }
    }

    /// A JSON value, `None` included where it is written.
    pub(super) fn given(&mut self, name: &'static str) -> Result<Option<Json>> {
        self.known.push(name);
        match self.named.remove(name) {
            Some(value) => self.json(name, value),
            None => Ok(None),
        }
    }

    /// A function of the configuration, which is kept to be called later with so many arguments.
    pub(super) fn function(&mut self, name: &'static str, arguments: usize) -> Result<Option<FunctionRef>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        if !is_function(value) {
            self.wrong(name, "a function", value)?;
            return Ok(None);
        }
        match function(value, arguments, &self.keeper()) {
            Ok(kept) => Ok(Some(kept)),
            Err(Unfit::Other { expected, found, .. }) => {
                let fault = self.site.error_at(name, format!("{}: `{name}`", self.function));
                self.report(fault.expected(expected).found(found))?;
                Ok(None)
            }
            Err(Unfit::Broken) => Ok(None),
        }
    }

    /// Whether an argument that is not taken yet is a function.
    pub(super) fn is_function(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|&value| is_function(value))
    }

    /// Whether an argument that is not taken yet is known only when a build runs.
    pub(super) fn is_deferred(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|&value| is_deferred(value))
    }

    /// Whether an argument that is not taken yet is a text.
    pub(super) fn is_text(&self, name: &str) -> bool {
        self.named
            .get(name)
            .is_some_and(|value| value.unpack_str().is_some())
    }

    /// The arguments left that are secrets, by name.
    pub(super) fn secrets(&self) -> BTreeMap<String, Handle> {
        let named = self.named.iter();
        named
            .filter_map(|(name, value)| match Handle::from_value(*value) {
                Some(handle) if handle.is_secret() => Some((name.clone(), handle.clone())),
                _ => None,
            })
            .collect()
    }

    fn json(&mut self, name: &str, value: Value<'v>) -> Result<Option<Json>> {
        match to_json(value, &self.keeper()) {
            Ok(json) => Ok(Some(json)),
            Err(Unfit::Broken) => {
                self.faulty = true;
                Ok(None)
            }
            Err(Unfit::Other {
                expected,
                found,
                hint,
            }) => {
                let fault = self.site.error_at(name, format!("{}: `{name}`", self.function));
                self.report(fault.expected(expected).found(found).maybe_hint(hint))?;
                Ok(None)
            }
        }
    }

    /// Takes everything that is left as JSON: the parameters of a plugin. `keep_none` says which keep a `None`.
    pub(super) fn rest(&mut self, keep_none: impl Fn(&str) -> bool) -> Result<Json> {
        let mut object = serde_json::Map::new();
        for (name, value) in std::mem::take(&mut self.named) {
            if value.is_none() && !keep_none(&name) {
                continue;
            }
            if let Some(mut json) = self.json(&name, value)? {
                if let (true, Json::Object(env)) = (name == "env", &mut json) {
                    env.retain(|variable, _| !self.apart.contains(variable));
                }
                object.insert(name, json);
            }
        }
        Ok(Json::Object(object))
    }

    /// Reports, and drops, every argument left whose name is neither taken nor among `others`.
    pub(super) fn only(&mut self, others: &[&str]) -> Result<()> {
        let known: Vec<&str> = others.iter().copied().chain(self.known.iter().copied()).collect();
        let unknown: Vec<String> = self
            .named
            .keys()
            .filter(|n| !others.contains(&n.as_str()))
            .cloned()
            .collect();
        for name in unknown {
            self.named.remove(&name);
            self.stray = true;
            let fault = self
                .site
                .error_at(&name, format!("unknown parameter of {}", self.function));
            let fault = fault
                .expected(choices(known.iter().copied()))
                .found(format!("`{name}`"));
            self.report(fault.maybe_hint(did_you_mean(&name, known.iter().copied())))?;
        }
        Ok(())
    }
}
