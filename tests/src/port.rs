//! Ports for servers that are stopped and started again at the same place.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

/// Below those that systems give to clients: while a server is away nobody else gets its port by chance.
const PORTS: Range<u16> = 12_000..32_000;

/// More are not tried.
const TRIES: u32 = 100;

/// An address of the loopback that `bind` takes.
pub fn free(bind: impl Fn(SocketAddr) -> io::Result<()>) -> io::Result<SocketAddr> {
    let mut last = None;
    for _ in 0..TRIES {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS)));
        match bind(address) {
            Ok(()) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}
