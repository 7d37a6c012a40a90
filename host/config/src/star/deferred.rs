//! `interpolate`, `prop`, `render`: what a configuration writes where a value is known only when a build runs.

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::deferred::{ChosenSecret, Hole, Name, Part, PropertyOr, Template};
use capstan_model::{Deferred, is_name};

use super::arguments::Call;
use super::pipeline;
use super::values::Handle;
use crate::template;

type Result<T> = starlark::Result<T>;

/// `interpolate("{branch:-main}-{tag}", tag = …)`.
pub(super) fn interpolate(mut call: Call<'_, '_>) -> Result<Handle> {
    let text = call.text("template")?;
    let Some(text) = text else {
        if !call.faulty {
            let fault = call.site.error("interpolate");
            call.report(
                fault
                    .expected("a text with holes such as \"{branch}\"")
                    .found("nothing"),
            )?;
        }
        return Ok(Handle::Broken);
    };
    let secrets = call.secrets();
    let given = call.rest(|_| true)?;
    if call.faulty {
        return Ok(Handle::Broken);
    }
    let values: BTreeMap<String, serde_json::Value> = match given {
        serde_json::Value::Object(map) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let names: BTreeSet<&str> = values.keys().map(String::as_str).collect();
    let parts = match template::parse(&text, &names) {
        Ok(parts) => parts,
        Err(fault) => {
            let at = call
                .site
                .error_within(&text, fault.at, fault.width, "interpolate");
            call.report(
                at.expected(fault.expected)
                    .found(fault.found)
                    .maybe_hint(fault.hint),
            )?;
            return Ok(Handle::Broken);
        }
    };
    if let Some((name, secret)) = secrets.into_iter().next() {
        return alone(&mut call, &text, &parts, &name, secret);
    }
    let template = Template { text, parts, values };
    Ok(deferred(&Deferred::Interpolate(template)))
}

/// A secret goes where the target takes one, as a whole: a text around it would have to be put together where the value must
/// not be known.
fn alone(call: &mut Call<'_, '_>, text: &str, parts: &[Part], name: &str, secret: Handle) -> Result<Handle> {
    if let [
        Part::Hole(Hole {
            of: Name::Value(value),
            instead: None,
            filters,
        }),
    ] = parts
        && value == name
        && filters.is_empty()
    {
        return Ok(secret);
    }
    let shown = match &secret {
        Handle::Secret(secret) => secret,
        _ => name,
    };
    let at = text.find(&format!("{{{name}")).unwrap_or_default();
    let fault = call.site.error_within(
        text,
        at,
        name.len() + 2,
        format!("interpolate: the secret `{shown}`"),
    );
    call.report(
        fault
            .expected("a secret that stands alone, as the value of a variable in `env`")
            .found("a text around it")
            .hint("put the text together in the command: `\"Bearer $TOKEN\"`"),
    )?;
    Ok(Handle::Broken)
}

/// `prop("name", default = …)`.
pub(super) fn prop(mut call: Call<'_, '_>) -> Result<Handle> {
    let name = call.text("name")?.filter(|name| !name.is_empty());
    let default = call.given("default")?;
    call.only(&[])?;
    let Some(name) = name else {
        if !call.faulty {
            let fault = call.site.error("prop");
            call.report(fault.expected("the name of a property").found("nothing"))?;
        }
        return Ok(Handle::Broken);
    };
    if call.faulty {
        return Ok(Handle::Broken);
    }
    Ok(deferred(&Deferred::Property(PropertyOr {
        name,
        default: default.map(Box::new),
    })))
}

/// `render(function)`.
pub(super) fn render(mut call: Call<'_, '_>) -> Result<Handle> {
    let function = call.function("function", 1)?;
    call.only(&[])?;
    match function {
        Some(function) => Ok(deferred(&Deferred::Function(function.number))),
        None if call.faulty => Ok(Handle::Broken),
        None => {
            let fault = call.site.error("render");
            call.report(fault.expected("a function").found("nothing"))?;
            Ok(Handle::Broken)
        }
    }
}

/// `secret(prop("key"), among = ["staging-key", "production-key"])`: which of these it is, somebody else may say.
pub(super) fn secret(mut call: Call<'_, '_>) -> Result<Handle> {
    let of = call.value("name")?;
    let given = call.has("among");
    let names = call.list("among", "the name of a secret", |value| {
        match (value.unpack_str(), Handle::from_value(value)) {
            (Some(text), _) => Some(text.to_owned()).filter(|text| is_name(text)),
            (_, Some(Handle::Secret(name))) => Some(name.clone()),
            _ => None,
        }
    })?;
    call.only(&[])?;
    if names.is_empty() && !call.faulty {
        let fault = call.site.error_at("among", call.function.clone());
        let fault = fault.expected("`among` = a list of the secrets that it can be");
        let found = if given { "an empty list" } else { "nothing" };
        call.report(
            fault
                .found(found)
                .hint("a value that is known only when a build runs may come from whoever started it"),
        )?;
    }
    let mut among = Vec::with_capacity(names.len());
    for name in names {
        among.extend(pipeline::allowed_secret(name, "among", &mut call)?);
    }
    let (Some(of), false) = (of, call.faulty) else {
        return Ok(Handle::Broken);
    };
    let of = Box::new(of);
    Ok(deferred(&Deferred::Secret(ChosenSecret { of, among })))
}

fn deferred(value: &Deferred) -> Handle {
    Handle::Deferred(value.to_value().to_string())
}
