//! What JSON of a generator becomes in a configuration: plain values, and objects with a key such as `$secret` for what a file would
//! call a function for. Called by `generators`.

use serde_json::{Map, Value as Json};
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::{Heap, Value};

use super::arguments::Call;
use super::values::Handle;
use super::{deferred, locks};
use crate::nearest::{choices, did_you_mean};

/// The keys that make an object such a form.
const FORMS: [&str; 4] = ["$interpolate", "$lock", "$prop", "$secret"];

type Result<T> = starlark::Result<T>;

/// The value of `call`'s argument of that name. What is wrong with it is reported for that argument.
pub(super) fn value<'v>(
    json: Json,
    argument: &str,
    call: &mut Call<'v, '_>,
    heap: Heap<'v>,
) -> Result<Value<'v>> {
    Ok(match json {
        Json::Null => Value::new_none(),
        Json::Bool(flag) => Value::new_bool(flag),
        Json::String(text) => heap.alloc(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => heap.alloc(whole),
            (None, float) => heap.alloc(float.unwrap_or_default()),
        },
        Json::Array(items) => {
            let items: Result<Vec<_>> = items
                .into_iter()
                .map(|item| value(item, argument, call, heap))
                .collect();
            heap.alloc(AllocList(items?))
        }
        Json::Object(object) => match FORMS.into_iter().find(|form| object.contains_key(*form)) {
            Some(form) => heap.alloc(made(form, object, argument, call, heap)?),
            None => {
                let mut entries = Vec::new();
                for (key, item) in object {
                    entries.push((key, value(item, argument, call, heap)?));
                }
                heap.alloc(AllocDict(entries))
            }
        },
    })
}

/// `{"$prop": "name", "default": 3}` is `prop("name", default = 3)`.
fn made<'v>(
    form: &'static str,
    mut object: Map<String, Json>,
    argument: &str,
    call: &mut Call<'v, '_>,
    heap: Heap<'v>,
) -> Result<Handle> {
    let first = object.remove(form).unwrap_or_default();
    let name = if form == "$interpolate" {
        "template"
    } else {
        "name"
    };
    let mut inner = call.another(
        form.trim_start_matches('$').to_owned(),
        call.site.deeper(argument),
    );
    let first = value(first, argument, call, heap)?;
    let rest = match (form, object.remove("values")) {
        ("$interpolate", Some(Json::Object(values))) if object.is_empty() => values,
        (_, None) => object,
        (_, Some(values)) => {
            object.insert("values".to_owned(), values);
            object
        }
    };
    for (name, item) in rest {
        let item = value(item, argument, call, heap)?;
        inner.named.insert(name, item);
    }
    if form == "$lock" {
        return lock(first, inner);
    }
    inner.named.insert(name.to_owned(), first);
    match form {
        "$interpolate" => deferred::interpolate(inner),
        "$prop" => deferred::prop(inner),
        _ => super::builtins::secret(inner),
    }
}

/// A lock of the configuration, by its name: `{"$lock": "database", "amount": 2}`, `{"$lock": "database", "exclusive": true}`.
fn lock<'v>(name: Value<'v>, mut call: Call<'v, '_>) -> Result<Handle> {
    let exclusive = call.flag("exclusive", false)?;
    let name = name.unpack_str().unwrap_or_default();
    let (found, known) = {
        let definitions = call.collector.definitions.borrow();
        let all = definitions.locks.iter().map(|(lock, _)| lock);
        let found = all.clone().find(|lock| lock.name == name);
        let found = found.map(|lock| lock.scope == capstan_model::Scope::Worker);
        (found, all.map(|lock| lock.name.clone()).collect::<Vec<_>>())
    };
    let Some(on_workers) = found else {
        let known = || known.iter().map(String::as_str);
        let expected = match known().next() {
            None => "a lock that is defined before the generator is called (there is none)".to_owned(),
            Some(_) => choices(known()),
        };
        let fault = call
            .site
            .error("unknown lock")
            .code("unknown-name")
            .expected(expected);
        call.report(
            fault
                .found(format!("`{name}`"))
                .maybe_hint(did_you_mean(name, known())),
        )?;
        return Ok(Handle::Broken);
    };
    locks::access(name, on_workers, exclusive, call)
}
