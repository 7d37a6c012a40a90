//! The functions of the set that do something.

use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};

use super::world::{Held, Input, Network, Output, Pollable, Stream, WorldHost, heard};
use crate::call::Trap;
use crate::limits::MAX_PAYLOAD;

/// How much a stream takes at once.
const PERMIT: u64 = 64 << 10;
const NANOS: u128 = u64::MAX as u128;

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// The fault of a stream. There is no other than that it has ended.
#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    Failed(Resource<super::world::Fault>),
    #[component(name = "closed")]
    Closed,
}

type Streamed<T> = wasmtime::Result<(Result<T, StreamError>,)>;

/// Adds one function, if it is one of these.
pub(super) fn add<T: WorldHost>(
    linked: &mut LinkerInstance<'_, T>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    match interface {
        "clocks/wall-clock" | "clocks/monotonic-clock" => clock(linked, interface, name),
        "random/random" | "random/insecure" | "random/insecure-seed" => random(linked, name),
        "io/poll" => poll(linked, name),
        "io/streams" => stream(linked, name),
        "cli/stdin" | "cli/stdout" | "cli/stderr" | "cli/exit" => program(linked, name),
        "sockets/instance-network" if name == "instance-network" => linked
            .func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
                Ok((made::<T, Network>(&mut store, Held::Other)?,))
            })
            .map(|()| true),
        _ => Ok(false),
    }
}

fn clock<T: WorldHost>(
    linked: &mut LinkerInstance<'_, T>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    match (interface, name) {
        ("clocks/wall-clock", "now") => {
            linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
                let passed = store.data_mut().passed();
                let (seconds, nanoseconds) = store.data_mut().world().read_wall(passed);
                Ok((Datetime { seconds, nanoseconds },))
            })
        }
        ("clocks/wall-clock", "resolution") => linked.func_wrap(name, |_: StoreContextMut<'_, T>, (): ()| {
            Ok((Datetime {
                seconds: 0,
                nanoseconds: 1000,
            },))
        }),
        (_, "now") => linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
            let passed = store.data_mut().passed();
            Ok((nanos(store.data_mut().world().read_clock(passed)),))
        }),
        (_, "resolution") => linked.func_wrap(name, |_: StoreContextMut<'_, T>, (): ()| Ok((1000_u64,))),
        (_, "subscribe-instant") => {
            linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (at,): (u64,)| {
                Ok((made::<T, Pollable>(
                    &mut store,
                    Held::Ready(Duration::from_nanos(at)),
                )?,))
            })
        }
        (_, "subscribe-duration") => {
            linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (span,): (u64,)| {
                let passed = store.data_mut().passed();
                let now = store.data_mut().world().read_clock(passed);
                let at = now.saturating_add(Duration::from_nanos(span));
                Ok((made::<T, Pollable>(&mut store, Held::Ready(at))?,))
            })
        }
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn random<T: WorldHost>(linked: &mut LinkerInstance<'_, T>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-random-bytes" | "get-insecure-random-bytes" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (bytes,): (u64,)| match usize::try_from(bytes) {
                Ok(bytes) if bytes <= MAX_PAYLOAD => Ok((store.data_mut().world().random(bytes),)),
                _ => Err(store.data_mut().guest().end(Trap::TooMuch(format!(
                    "{bytes} random bytes at once, at most {MAX_PAYLOAD} fit"
                )))),
            },
        ),
        "get-random-u64" | "get-insecure-random-u64" => linked
            .func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
                Ok((number(&mut store),))
            }),
        "insecure-seed" | "get-insecure-seed" => linked
            .func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
                Ok(((number(&mut store), number(&mut store)),))
            }),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn poll<T: WorldHost>(linked: &mut LinkerInstance<'_, T>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "poll" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (all,): (Vec<Resource<Pollable>>,)| {
                if all.is_empty() {
                    let error = Trap::Other("it polls an empty list, which WASI forbids".to_owned());
                    return Err(store.data_mut().guest().end(error));
                }
                let places: Vec<u32> = all.iter().map(Resource::rep).collect();
                let passed = store.data_mut().passed();
                Ok((store.data_mut().world().poll(passed, &places),))
            },
        ),
        "[method]pollable.ready" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (one,): (Resource<Pollable>,)| {
                let passed = store.data_mut().passed();
                Ok((store.data_mut().world().ready(passed, one.rep()),))
            },
        ),
        "[method]pollable.block" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (one,): (Resource<Pollable>,)| {
                let passed = store.data_mut().passed();
                store.data_mut().world().poll(passed, &[one.rep()]);
                Ok(())
            },
        ),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn stream<T: WorldHost>(linked: &mut LinkerInstance<'_, T>, name: &str) -> wasmtime::Result<bool> {
    let Some(method) = name.strip_prefix("[method]") else {
        return Ok(false);
    };
    match method {
        "input-stream.read" | "input-stream.blocking-read" => linked.func_wrap(
            name,
            |_: StoreContextMut<'_, T>, _: (Resource<Input>, u64)| -> Streamed<Vec<u8>> {
                Ok((Err(StreamError::Closed),))
            },
        ),
        "input-stream.skip" | "input-stream.blocking-skip" => linked.func_wrap(
            name,
            |_: StoreContextMut<'_, T>, _: (Resource<Input>, u64)| -> Streamed<u64> {
                Ok((Err(StreamError::Closed),))
            },
        ),
        "input-stream.subscribe" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, _: (Resource<Input>,)| {
                Ok((made::<T, Pollable>(&mut store, Held::Ready(Duration::ZERO))?,))
            },
        ),
        "output-stream.subscribe" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, _: (Resource<Output>,)| {
                Ok((made::<T, Pollable>(&mut store, Held::Ready(Duration::ZERO))?,))
            },
        ),
        "output-stream.check-write" => linked.func_wrap(
            name,
            |_: StoreContextMut<'_, T>, _: (Resource<Output>,)| -> Streamed<u64> { Ok((Ok(PERMIT),)) },
        ),
        "output-stream.write" | "output-stream.blocking-write-and-flush" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (out, bytes): (Resource<Output>, Vec<u8>)| -> Streamed<()> {
                let host = store.data_mut();
                match host.world().stream(out.rep()) {
                    Some(stream) => heard(host, stream, &bytes).map(|()| (Ok(()),)),
                    None => Ok((Err(StreamError::Closed),)),
                }
            },
        ),
        "output-stream.flush" | "output-stream.blocking-flush" => linked.func_wrap(
            name,
            |_: StoreContextMut<'_, T>, _: (Resource<Output>,)| -> Streamed<()> { Ok((Ok(()),)) },
        ),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn program<T: WorldHost>(linked: &mut LinkerInstance<'_, T>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-stdin" => linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
            Ok((made::<T, Input>(&mut store, Held::Other)?,))
        }),
        "get-stdout" => linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
            Ok((made::<T, Output>(&mut store, Held::Stream(Stream::Output))?,))
        }),
        "get-stderr" => linked.func_wrap(name, |mut store: StoreContextMut<'_, T>, (): ()| {
            Ok((made::<T, Output>(&mut store, Held::Stream(Stream::Error))?,))
        }),
        "exit" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                Err(left(
                    store.data_mut(),
                    if status.is_ok() { "success" } else { "failure" },
                ))
            },
        ),
        "exit-with-code" => linked.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (code,): (u8,)| -> wasmtime::Result<()> {
                Err(left(store.data_mut(), &format!("code {code}")))
            },
        ),
        _ => return Ok(false),
    }?;
    Ok(true)
}

/// Ends a guest that called `exit`. What it said last on standard error is the best reason.
fn left<T: WorldHost>(host: &mut T, how: &str) -> wasmtime::Error {
    super::rest(host);
    let guest = host.guest();
    let said = guest
        .complaint()
        .map(|said| format!(": {said}"))
        .unwrap_or_default();
    guest.end(Trap::Exited(format!("{how}{said}")))
}

/// A new handle of the guest's.
fn made<T: WorldHost, R: 'static>(
    store: &mut StoreContextMut<'_, T>,
    held: Held,
) -> wasmtime::Result<Resource<R>> {
    match store.data_mut().world().hold(held) {
        Ok(place) => Ok(Resource::new_own(place)),
        Err(trap) => Err(store.data_mut().guest().end(trap)),
    }
}

fn number<T: WorldHost>(store: &mut StoreContextMut<'_, T>) -> u64 {
    let bytes = store.data_mut().world().random(8);
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().min(NANOS)).unwrap_or(u64::MAX)
}
