//! The functions of the set that do nothing: each is answered by the type of its result.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ResultType, Type};
use wasmtime::component::{LinkerInstance, ResourceAny, Val};

use super::world::WorldHost;
use crate::call::Trap;

/// Error codes that say best that something is not there, the best first. WASI's interfaces have one of them each.
const REFUSALS: &[&str] = &[
    "access-denied",
    "access",
    "not-permitted",
    "not-supported",
    "unsupported",
];

/// Adds one function.
pub(super) fn add<T: WorldHost>(
    linked: &mut LinkerInstance<'_, T>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    let full: Arc<str> = format!("wasi:{interface} {name}").into();
    linked.func_new_async(
        name,
        move |mut store: StoreContextMut<'_, T>, ty: ComponentFunc, given: &[Val], results: &mut [Val]| {
            let full = Arc::clone(&full);
            Box::new(async move {
                for (place, wanted) in results.iter_mut().zip(ty.results()) {
                    *place = match nothing(&wanted) {
                        Some(value) => value,
                        None => return Err(store.data_mut().guest().end(Trap::Forbidden(full.to_string()))),
                    };
                }
                // Handles that were lent to the call must be given back.
                for handle in given.iter().filter_map(handle) {
                    handle.resource_drop_async(&mut store).await?;
                }
                Ok(())
            })
        },
    )
}

/// A handle among the parameters; WASI has none within lists or records but in `poll`, which is a function of its own.
fn handle(given: &Val) -> Option<ResourceAny> {
    match given {
        Val::Resource(handle) => Some(*handle),
        Val::Option(Some(inner)) => handle(inner),
        _ => None,
    }
}

/// The value of this type that says that there is nothing.
fn nothing(wanted: &Type) -> Option<Val> {
    match wanted {
        Type::List(_) => Some(Val::List(Vec::new())),
        Type::Option(_) => Some(Val::Option(None)),
        Type::String => Some(Val::String(String::new())),
        Type::Result(result) => refusal(result),
        _ => None,
    }
}

fn refusal(result: &ResultType) -> Option<Val> {
    let Some(error) = result.err() else {
        return Some(Val::Result(Err(None)));
    };
    let code = match &error {
        Type::Enum(codes) => {
            let known = REFUSALS
                .iter()
                .find(|&&refusal| codes.names().any(|name| name == refusal));
            let code = known.map(|&known| known.to_owned());
            Val::Enum(code.or_else(|| codes.names().next().map(str::to_owned))?)
        }
        Type::Variant(cases) => {
            let plain = cases.cases().find(|case| case.ty.is_none())?;
            Val::Variant(plain.name.to_owned(), None)
        }
        _ => return None,
    };
    Some(Val::Result(Err(Some(Box::new(code)))))
}
