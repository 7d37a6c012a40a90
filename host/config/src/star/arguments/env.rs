//! The argument `env` of workers, builders and steps, and what `environment` takes.

use std::collections::BTreeMap;

use capstan_model::plan::Env;
use capstan_model::{Deferred, EnvValue};
use serde_json::Value as Json;
use starlark::values::Value;
use starlark::values::dict::DictRef;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;

use super::super::convert::{describe, is_deferred};
use super::super::values::Handle;
use super::{Call, Result};

impl Call<'_, '_> {
    /// A dict of environment variables: a text sets, `None` removes, a list is joined as a path, `secret(…)` fills in a secret. A
    /// value may be deferred, or all of it.
    pub(in crate::star) fn env(&mut self, name: &'static str) -> Result<Env> {
        let mut env = Env::default();
        let secret = |value| Handle::from_value(value).is_some_and(Handle::is_secret);
        if self
            .named
            .get(name)
            .is_some_and(|&value| is_deferred(value) && !secret(value))
        {
            env.map = self.value(name)?;
            return Ok(env);
        }
        for (variable, value) in self.dict(name)? {
            match (is_name(&variable), value.unpack_str(), Handle::from_value(value)) {
                (false, ..) => {
                    let fault = self
                        .site
                        .error_in(name, &variable, format!("{}: `{name}`", self.function));
                    self.report(
                        fault
                            .expected("names of variables, without `=`")
                            .found(format!("{variable:?}")),
                    )?;
                }
                (_, Some(text), _) if !text.contains('\0') => {
                    env.fixed.insert(variable, EnvValue::Set(text.to_owned()));
                }
                (_, _, Some(Handle::Secret(secret))) => {
                    env.fixed.insert(variable, EnvValue::Secret(secret.clone()));
                }
                _ if value.is_none() => {
                    env.fixed.insert(variable, EnvValue::Unset);
                }
                _ if let Some(entries) = path(value) => {
                    env.fixed.insert(variable, EnvValue::Path(entries));
                }
                _ if is_list(value) => {
                    if let Some(list) = self.json(name, value)? {
                        self.deferred_path(name, &variable, list, &mut env)?;
                    }
                }
                _ if is_deferred(value) => {
                    if let Some(deferred) = self.json(name, value)? {
                        env.deferred.insert(variable, deferred);
                    }
                }
                (_, _, Some(Handle::Broken)) => self.faulty = true,
                _ => {
                    let place = format!("{}: `{name}[{variable:?}]`", self.function);
                    let fault = self.site.error_in(name, &variable, place);
                    self.report(
                        fault
                            .expected("a string, a list of them, None or secret(…)")
                            .found(describe(value)),
                    )?;
                }
            }
        }
        Ok(env)
    }

    /// A list in `env` of which something is known only when a build runs.
    fn deferred_path(&mut self, name: &'static str, variable: &str, list: Json, env: &mut Env) -> Result<()> {
        let known = |item: &Json| item.as_str().is_some_and(|text| !text.contains('\0'));
        let items = list.as_array().into_iter().flatten();
        if let Some(found) = items.into_iter().find(|item| !known(item) && !Deferred::is(item)) {
            let place = format!("{}: `{name}[{variable:?}]`", self.function);
            let fault = self.site.error_in(name, variable, place);
            let fault = fault.expected("a list of strings, which is joined as a path");
            return self.report(fault.found(format!("{found} in it")));
        }
        env.deferred.insert(variable.to_owned(), list);
        Ok(())
    }

    /// The lists in the dict `env` of a plugin that has a parameter of this name: the plugin knows texts, the worker joins lists. What
    /// the plugin gets is what [`Call::rest`] leaves of it.
    pub(in crate::star) fn paths(&mut self, name: &'static str) -> BTreeMap<String, EnvValue> {
        let mut paths = BTreeMap::new();
        let Some(dict) = self.named.get(name).and_then(|&value| DictRef::from_value(value)) else {
            return paths;
        };
        for (key, value) in dict.iter() {
            // What is no name stays where the plugin's schema and its check see it.
            let name = key.unpack_str().filter(|name| is_name(name));
            if let (Some(key), Some(entries)) = (name, path(value)) {
                paths.insert(key.to_owned(), EnvValue::Path(entries));
            }
        }
        self.apart = paths.keys().cloned().collect();
        paths
    }
}

/// Whether a variable can have that name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['=', '\0'])
}

fn is_list(value: Value<'_>) -> bool {
    ListRef::from_value(value).is_some() || TupleRef::from_value(value).is_some()
}

/// A list of texts.
fn path(value: Value<'_>) -> Option<Vec<String>> {
    let list = ListRef::from_value(value).map(|list| list.content());
    let items = list.or_else(|| TupleRef::from_value(value).map(|tuple| tuple.content()))?;
    let texts = items.iter().map(|item| item.unpack_str());
    let texts = texts.map(|text| text.filter(|text| !text.contains('\0')).map(str::to_owned));
    texts.collect()
}
