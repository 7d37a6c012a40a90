//! `read_json`, `read_toml`, `read_lines`: data files beside the configuration.

use serde_json::{Number, Value as Json};
use starlark::eval::{Arguments, Evaluator};
use starlark::values::dict::AllocDict;
use starlark::values::list::{AllocList, ListRef};
use starlark::values::{Heap, Value};

use super::collector::{Collector, failure};
use super::convert::describe;
use super::site::Site;
use super::used::unused;
use super::values::Function;
use crate::diagnostic::locate;
use crate::farm::{Sort, resolve};

/// Reads the file that the only argument names.
pub(super) fn call<'v>(
    function: &Function,
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let used = used(function, args)?;
    let values: Vec<_> = args.positions(eval.heap())?.collect();
    let [path] = values.as_slice() else {
        return Err(failure(format!(
            "{function}: expected one path, found {} arguments",
            values.len()
        )));
    };
    let Some(written) = path.unpack_str() else {
        return Err(failure(format!(
            "{function}: expected a path, found {}",
            describe(*path)
        )));
    };
    let collector = Collector::of(eval)?;
    let site = Site::of(eval);
    let text = resolve(site.file(), written)
        .and_then(|path| Ok((collector.reader.borrow_mut().text(&path, Sort::Data)?, path)))
        .map_err(|error| failure(format!("{function}: {error}")));
    let (text, path) = text?;
    let heap = eval.heap();
    match function {
        Function::ReadLines => return Ok(heap.alloc(AllocList(text.lines()))),
        Function::ReadToml => toml(&text, &path),
        _ => json(&text, &path),
    }
    .and_then(|data| {
        if let Some(used) = used {
            remark(collector, &site, &path, &data, &used)?;
        }
        Ok(alloc(heap, &data))
    })
}

/// Which keys are used, if that is said.
fn used<'v>(function: &Function, args: &Arguments<'v, '_>) -> starlark::Result<Option<Vec<String>>> {
    if matches!(function, Function::ReadLines) {
        args.no_named_args()?;
    }
    let mut patterns = None;
    for (name, value) in args.names_map()? {
        if name.as_str() != "used" {
            return Err(failure(format!(
                "{function}: expected a path and `used`, found `{}`",
                name.as_str()
            )));
        }
        let wrong = |found: Value<'v>| {
            failure(format!(
                "{function}: `used`: expected a list of keys such as \"builders.*.name\", found {}",
                describe(found)
            ))
        };
        let list = ListRef::from_value(value).ok_or_else(|| wrong(value))?;
        let texts = list
            .iter()
            .map(|item| item.unpack_str().map(str::to_owned).ok_or_else(|| wrong(item)));
        patterns = Some(texts.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(patterns)
}

fn remark(
    collector: &Collector,
    site: &Site,
    path: &str,
    data: &Json,
    used: &[String],
) -> starlark::Result<()> {
    let (named, more) = unused(data, used);
    if named.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = named.iter().map(|key| format!("`{key}`")).collect();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let text = format!("{path} has keys that nothing uses: {}{more}", named.join(", "));
    let remark = site.warning(text).code("unused-key");
    collector.report(remark.hint("take them away, or name them in `used`"))
}

fn json(text: &str, path: &str) -> starlark::Result<Json> {
    serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason
            .rsplit_once(" at line")
            .map_or(reason.as_str(), |(reason, _)| reason);
        failure(format!(
            "read_json: expected JSON in {path}:{}:{}: {reason}",
            error.line(),
            error.column()
        ))
    })
}

fn toml(text: &str, path: &str) -> starlark::Result<Json> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let (place, _) = locate(path, text, error.span().map_or(0, |span| span.start));
        let reason = error.message().replace('\n', ", ");
        failure(format!("read_toml: expected TOML in {place}: {reason}"))
    })?;
    Ok(toml_to_json(toml::Value::Table(table)))
}

/// Dates become texts, as they were written; numbers that JSON lacks become `None`.
fn toml_to_json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => Json::String(text),
        toml::Value::Integer(number) => Json::Number(number.into()),
        toml::Value::Float(number) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        toml::Value::Boolean(flag) => Json::Bool(flag),
        toml::Value::Datetime(when) => Json::String(when.to_string()),
        toml::Value::Array(items) => Json::Array(items.into_iter().map(toml_to_json).collect()),
        toml::Value::Table(table) => Json::Object(
            table
                .into_iter()
                .map(|(key, item)| (key, toml_to_json(item)))
                .collect(),
        ),
    }
}

pub(super) fn alloc<'v>(heap: Heap<'v>, value: &Json) -> Value<'v> {
    match value {
        Json::Null => Value::new_none(),
        Json::Bool(flag) => Value::new_bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => heap.alloc(whole),
            None => heap.alloc(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => heap.alloc(text.as_str()),
        Json::Array(items) => heap.alloc(AllocList(items.iter().map(|item| alloc(heap, item)))),
        Json::Object(map) => heap.alloc(AllocDict(
            map.iter().map(|(key, item)| (key.as_str(), alloc(heap, item))),
        )),
    }
}
