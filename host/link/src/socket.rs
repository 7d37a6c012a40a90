//! The one UDP socket of all workers, with buffers that hold more than a burst.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Error, Options};

/// Binds the socket and asks for its buffers. Systems clamp the size silently, so what was granted is read back.
pub(crate) fn bind(options: &Options) -> Result<UdpSocket, Error> {
    let failed = |source| Error::Socket {
        address: options.listen,
        source,
    };
    let socket = Socket::new(
        Domain::for_address(options.listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(failed)?;
    if let SocketAddr::V6(address) = options.listen
        && address.ip().is_unspecified()
    {
        // `[::]` means every address of this machine.
        socket.set_only_v6(false).map_err(failed)?;
    }
    socket.bind(&options.listen.into()).map_err(failed)?;
    request_buffers(&socket, options.udp_buffer);
    Ok(socket.into())
}

fn request_buffers(socket: &Socket, wanted: usize) {
    let receive = socket
        .set_recv_buffer_size(wanted)
        .and_then(|()| socket.recv_buffer_size());
    let send = socket
        .set_send_buffer_size(wanted)
        .and_then(|()| socket.send_buffer_size());
    let granted = receive.and_then(|receive| Ok(receive.min(send?)));
    if !granted.as_ref().is_ok_and(|granted| *granted >= wanted) {
        tracing::warn!(
            wanted,
            granted = granted.unwrap_or(0),
            "the system grants the workers' UDP socket small buffers, packets will be lost under load; \
             raise the limits net.core.rmem_max and net.core.wmem_max"
        );
    }
}
