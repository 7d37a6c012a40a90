//! The stub set for guests whose compiler brings WASI imports along (Python's, JavaScript's, C's): linked where the
//! manifest says `wasi = "stub"`. `inspect` asks which imports it has, `plugin` links it.
//!
//! It is made here, and not taken from a WASI runtime, so that nothing that opens a file or a socket is in the program
//! at all: what a guest could get of the world is clocks, random numbers and a place for its output, and those are
//! `world`'s. Everything else is answered by its type: a list is empty, an option is none, a result is an error. What
//! has no such answer ends the guest with the function's name.
//!
//! Nothing here waits, and no call gives the guest more time: a guest that sleeps moves its own clock forward.

mod answer;
mod functions;
mod world;

use wasmtime::component::types::{Component as Type, ComponentItem};
use wasmtime::component::{Linker, ResourceType};

pub(crate) use world::{Beginning, World, WorldHost, rest};

/// The interfaces of the set.
const INTERFACES: &[&str] = &[
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/timezone",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/instance-network",
    "sockets/ip-name-lookup",
    "sockets/network",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/udp",
    "sockets/udp-create-socket",
];

/// Whether an import is one of WASI, whichever version.
pub(crate) fn is_wasi(import: &str) -> bool {
    import.starts_with("wasi:")
}

/// Whether the set has this import: an interface of it, in some version 0.2.
pub(crate) fn has(import: &str) -> bool {
    interface(import).is_some()
}

fn interface(import: &str) -> Option<&'static str> {
    let (interface, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    version.strip_prefix("0.2.")?.parse::<u32>().ok()?;
    INTERFACES.iter().copied().find(|&known| known == interface)
}

/// Adds what the component imports of the set to the linker. The types are the component's own; those that do not fit a
/// function of [`functions`] are refused when the component is linked.
pub(crate) fn link<T: WorldHost>(linker: &mut Linker<T>, component: &Type) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    for (import, item) in component.imports(&engine) {
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (interface(import), item.ty)
        else {
            continue;
        };
        let mut linked = linker.instance(import)?;
        for (name, item) in instance.exports(&engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let known = functions::add(&mut linked, interface, name)?;
                    if !known {
                        answer::add(&mut linked, interface, name)?;
                    }
                }
                ComponentItem::Resource(_) => {
                    let (ty, dropped) = resource(name);
                    linked.resource(name, ty, move |mut store, rep| {
                        if dropped {
                            store.data_mut().world().forget(rep);
                        }
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What stands behind a resource of this name, and whether it is in the world's table.
fn resource(name: &str) -> (ResourceType, bool) {
    match name {
        "pollable" => (ResourceType::host::<world::Pollable>(), true),
        "input-stream" => (ResourceType::host::<world::Input>(), true),
        "output-stream" => (ResourceType::host::<world::Output>(), true),
        "error" => (ResourceType::host::<world::Fault>(), false),
        "network" => (ResourceType::host::<world::Network>(), true),
        _ => (ResourceType::host::<world::Never>(), false),
    }
}
