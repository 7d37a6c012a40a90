//! The functions that a plugin exports, and whether they have the types that its world says: a plugin of which one does
//! not is refused when it is loaded, not when that function is called first. `plugin` asks.

use std::fmt::Write as _;

use capstan_model::plugin::PACKAGE;
use wasmtime::Engine;
use wasmtime::component::types::{Component, ComponentFunc, ComponentItem, Type};
use wasmtime::component::{ComponentNamedList, Lift, Lower, Resource};

use crate::Report;
use crate::bindings::completions::exports::capstan::plugin::completions::CompletedBuildset;
use crate::bindings::decisions;
use crate::bindings::scheduler::exports::capstan::plugin::scheduler::{Decision, Event};
use crate::bindings::source::exports::capstan::plugin::change_source::PollResult;
use crate::bindings::types::{Outcome, PluginError};

/// The longest description of a type; types can be far larger than the file that holds them.
const MAX_SHOWN: usize = 200;

/// One exported function.
struct Exported {
    interface: &'static str,
    name: &'static str,
    /// As the WIT has it; a test compares.
    signature: &'static str,
    /// The parameter, by its place, that is lent to the plugin.
    lent: Option<usize>,
    fits: fn(&ComponentFunc, &Component) -> wasmtime::Result<()>,
}

type Answer<T> = (Result<T, PluginError>,);

const CHECK: &str = "func(config: json) -> result<_, plugin-error>";

const fn exported(
    interface: &'static str,
    name: &'static str,
    signature: &'static str,
    fits: fn(&ComponentFunc, &Component) -> wasmtime::Result<()>,
) -> Exported {
    let lent = None;
    Exported {
        interface,
        name,
        signature,
        lent,
        fits,
    }
}

static EXPORTED: [Exported; 13] = [
    exported("step", "check", CHECK, fits::<(String,), Answer<()>>),
    exported(
        "step",
        "run",
        "func(config: json) -> result<outcome, plugin-error>",
        fits::<(String,), Answer<Outcome>>,
    ),
    exported("scheduler", "check", CHECK, fits::<(String,), Answer<()>>),
    exported(
        "scheduler",
        "handle",
        "func(config: json, state: list<u8>, now: timestamp-ms, event: event) -> result<decision, plugin-error>",
        fits::<(String, Vec<u8>, i64, Event), Answer<Decision>>,
    ),
    exported("change-source", "check", CHECK, fits::<(String,), Answer<()>>),
    exported(
        "change-source",
        "poll",
        "func(config: json, cursor: list<u8>) -> result<poll-result, plugin-error>",
        fits::<(String, Vec<u8>), Answer<PollResult>>,
    ),
    exported("reporter", "check", CHECK, fits::<(String,), Answer<()>>),
    Exported {
        lent: Some(1),
        ..exported(
            "reporter",
            "deliver",
            "func(config: json, report: borrow<report>) -> result<_, plugin-error>",
            fits::<(String, Resource<Report>), Answer<()>>,
        )
    },
    exported(
        "generator",
        "generate",
        "func(parameters: json) -> result<json, plugin-error>",
        fits::<(String,), Answer<String>>,
    ),
    exported(
        "migration",
        "migrate",
        "func(config: json, from-version: string, old: list<u8>) -> result<list<u8>, plugin-error>",
        fits::<(String, String, Vec<u8>), Answer<Vec<u8>>>,
    ),
    exported(
        "calls",
        "describe",
        "func(config: json) -> result<json, plugin-error>",
        fits::<(String,), Answer<String>>,
    ),
    exported(
        "calls",
        "call",
        "func(config: json, state: list<u8>, now: timestamp-ms, call: json) -> result<decision, plugin-error>",
        fits::<(String, Vec<u8>, i64, String), Answer<decisions::Decision>>,
    ),
    exported(
        "completions",
        "completed",
        "func(config: json, state: list<u8>, now: timestamp-ms, buildset: completed-buildset) -> result<decision, plugin-error>",
        fits::<(String, Vec<u8>, i64, CompletedBuildset), Answer<decisions::Decision>>,
    ),
];

/// Every function that plugins export: its interface, its name, its signature as the WIT has it.
pub fn exported_functions() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    EXPORTED
        .iter()
        .map(|function| (function.interface, function.name, function.signature))
}

/// A function with other types than its world says.
#[derive(Debug, thiserror::Error)]
#[error("`{function}` has another signature: expected {expected}, found {found} ({reason})")]
pub(crate) struct WrongSignature {
    /// `INTERFACE.NAME`.
    pub function: String,
    /// As the WIT has it.
    pub expected: &'static str,
    /// What the component has, its types written out.
    pub found: String,
    /// The first difference.
    pub reason: String,
}

/// Compares the functions of every interface of the plugin package that the component exports. Functions that are missing
/// are not looked for. `component` has its resources replaced by the host's.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<(), WrongSignature> {
    for (full, item) in component.exports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        let interface = full
            .strip_prefix(PACKAGE)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.split('@').next());
        for function in EXPORTED.iter().filter(|one| Some(one.interface) == interface) {
            let Some(found) = instance.get_export(engine, function.name) else {
                continue;
            };
            let ComponentItem::ComponentFunc(found) = found.ty else {
                continue;
            };
            function.check(&found, component)?;
        }
    }
    Ok(())
}

impl Exported {
    fn check(&self, found: &ComponentFunc, component: &Component) -> Result<(), WrongSignature> {
        let reason = match (self.fits)(found, component) {
            Err(error) => format!("{error:#}"),
            Ok(()) => match self.kept(found) {
                Some(name) => format!("the parameter `{name}` is lent, not given"),
                None => return Ok(()),
            },
        };
        Err(WrongSignature {
            function: format!("{}.{}", self.interface, self.name),
            expected: self.signature,
            found: shown(found),
            reason,
        })
    }

    /// The parameter that the component would keep and is only lent.
    fn kept(&self, found: &ComponentFunc) -> Option<String> {
        let (name, ty) = found.params().nth(self.lent?)?;
        (!matches!(ty, Type::Borrow(_))).then(|| name.to_owned())
    }
}

fn fits<Parameters, Results>(found: &ComponentFunc, component: &Component) -> wasmtime::Result<()>
where
    Parameters: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    found.typecheck::<Parameters, Results>(&component.instance_type())
}

/// A signature with its types written out, for they have no names of their own.
fn shown(function: &ComponentFunc) -> String {
    let mut out = "func(".to_owned();
    for (place, (name, ty)) in function.params().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(out, "{comma}{}: ", brief(name));
        show(&ty, &mut out);
        if out.len() > MAX_SHOWN {
            break;
        }
    }
    out.push(')');
    if let Some(ty) = function.results().next() {
        out.push_str(" -> ");
        show(&ty, &mut out);
    }
    out
}

/// Writes a type, and of a large one its beginning.
fn show(ty: &Type, out: &mut String) {
    if out.len() > MAX_SHOWN {
        out.push('…');
        return;
    }
    match ty {
        Type::Bool => out.push_str("bool"),
        Type::S8 => out.push_str("s8"),
        Type::U8 => out.push_str("u8"),
        Type::S16 => out.push_str("s16"),
        Type::U16 => out.push_str("u16"),
        Type::S32 => out.push_str("s32"),
        Type::U32 => out.push_str("u32"),
        Type::S64 => out.push_str("s64"),
        Type::U64 => out.push_str("u64"),
        Type::Float32 => out.push_str("f32"),
        Type::Float64 => out.push_str("f64"),
        Type::Char => out.push_str("char"),
        Type::String => out.push_str("string"),
        Type::List(list) => parts("list<", [(None, Some(list.ty()))], ">", out),
        Type::FixedLengthList(list) => parts("list<", [(None, Some(list.ty()))], ">", out),
        Type::Option(option) => parts("option<", [(None, Some(option.ty()))], ">", out),
        Type::Result(result) => parts("result<", [(None, result.ok()), (None, result.err())], ">", out),
        Type::Tuple(tuple) => parts("tuple<", tuple.types().map(|ty| (None, Some(ty))), ">", out),
        Type::Record(record) => {
            let fields = record.fields().map(|field| (Some(field.name), Some(field.ty)));
            parts("record { ", fields, " }", out);
        }
        Type::Variant(variant) => {
            let cases = variant.cases().map(|case| (Some(case.name), case.ty));
            parts("variant { ", cases, " }", out);
        }
        Type::Enum(names) => parts("enum { ", names.names().map(|name| (Some(name), None)), " }", out),
        Type::Flags(names) => parts(
            "flags { ",
            names.names().map(|name| (Some(name), None)),
            " }",
            out,
        ),
        Type::Own(_) => out.push_str("own<…>"),
        Type::Borrow(_) => out.push_str("borrow<…>"),
        Type::Map(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => out.push_str("another type"),
    }
}

/// Writes what a type is made of: names, types, or both; a result without a type has `_`.
fn parts<'a>(
    open: &str,
    parts: impl IntoIterator<Item = (Option<&'a str>, Option<Type>)>,
    close: &str,
    out: &mut String,
) {
    out.push_str(open);
    for (place, (name, ty)) in parts.into_iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        if out.len() > MAX_SHOWN {
            out.push('…');
            break;
        }
        match (name, ty) {
            (Some(name), None) => out.push_str(brief(name)),
            (None, None) => out.push('_'),
            (name, Some(ty)) => {
                if let Some(name) = name {
                    let _ = write!(out, "{}: ", brief(name));
                }
                show(&ty, out);
            }
        }
    }
    out.push_str(close);
}

/// Names in a component are as long as its author likes.
fn brief(name: &str) -> &str {
    name.get(..64).unwrap_or(name)
}
