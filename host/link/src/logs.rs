//! Log streams, the master's end: read as fast as the port stores, never faster.

use std::sync::Arc;

use bytes::Bytes;
use capstan_model::CommandId;
use capstan_wire::close::Code;
use capstan_wire::frame;
use capstan_wire::log_stream::{Assembler, Header, MAX_HEADER};
use capstan_wire::session::{Violation, master};
use futures::FutureExt;
use quinn::{ReadError, RecvStream, VarInt};

use crate::peer::{self, Peer};
use crate::serve::End;
use crate::{Port, Refusal};

/// Bytes that are stored at a time, if so many have come: one write to the disk for all of them.
const BATCH: usize = 256 * 1024;

/// Takes in log streams as long as the connection lives.
pub(crate) async fn accept(peer: Arc<Peer>, port: Arc<dyn Port>) {
    // A lost connection is noticed by the one who waits for that.
    while let Ok(stream) = peer.connection().accept_uni().await {
        let (peer, port) = (peer.clone(), port.clone());
        peer.tasks().clone().spawn(async move {
            if let Err(end) = receive(&peer, &*port, stream).await {
                peer.leave(end);
            }
        });
    }
}

async fn receive(peer: &Peer, port: &dyn Port, mut stream: RecvStream) -> Result<(), End> {
    let header = peer::receive(&mut stream, MAX_HEADER).await?;
    let Header { id, offset } =
        header.ok_or_else(|| End::protocol("expected the header of a log, found the end of the stream"))?;
    match peer.session(|session| session.stream_opened(id, offset))? {
        master::Stream::Read => copy(peer, port, &mut stream, id, offset).await,
        master::Stream::Unwanted => {
            stop(&mut stream);
            Ok(())
        }
    }
}

async fn copy(
    peer: &Peer,
    port: &dyn Port,
    stream: &mut RecvStream,
    id: CommandId,
    offset: u64,
) -> Result<(), End> {
    let mut assembler = Assembler::default();
    let mut offset = offset;
    loop {
        let ended = match fill(stream, &mut assembler).await {
            Ok(ended) => ended,
            Err(ReadError::Reset(_)) => {
                let pending = assembler.pending();
                return peer.session(|session| session.stream_ended(id, pending.max(1)));
            }
            // The connection is lost; what was stored counts.
            Err(_) => return Ok(()),
        };
        peer.heard();
        let frames = assembler
            .take()
            .map_err(|error| End::protocol(Violation::Frame { id, error }))?;
        let length = frames.len() as u64;
        // Boxed: most commands print nothing most of the time, and each has a stream that waits here.
        if !frames.is_empty() && !Box::pin(store(peer, port, id, offset, frames)).await? {
            stop(stream);
            return Ok(());
        }
        offset += length;
        if ended {
            return peer.session(|session| session.stream_ended(id, assembler.pending()));
        }
    }
}

/// Waits for bytes, then takes what else is there already. Returns whether the stream has ended.
async fn fill(stream: &mut RecvStream, assembler: &mut Assembler) -> Result<bool, ReadError> {
    // Less than a frame is pending, so there is room.
    let Some(first) = stream.read_chunk(BATCH - assembler.pending(), true).await? else {
        return Ok(true);
    };
    assembler.push(&first.bytes);
    while assembler.pending() < BATCH {
        match stream
            .read_chunk(BATCH - assembler.pending(), true)
            .now_or_never()
        {
            Some(Ok(Some(more))) => assembler.push(&more.bytes),
            Some(Ok(None)) => return Ok(true),
            Some(Err(error)) => return Err(error),
            None => break,
        }
    }
    Ok(false)
}

/// Stores what is new of these frames. Returns whether the log is wanted.
async fn store(peer: &Peer, port: &dyn Port, id: CommandId, offset: u64, frames: Bytes) -> Result<bool, End> {
    let known = peer.session(|session| session.log_bytes(id, offset, frames.len() as u64))?;
    let Some(known) = known else { return Ok(false) };
    let new = frames.slice(usize::try_from(known).unwrap_or(frames.len())..);
    if new.is_empty() {
        return Ok(true);
    }
    let offset = offset + known;
    if !is_boundary(&frames, frames.len() - new.len()) {
        return Err(End::protocol(Violation::Other { id, offset }));
    }
    match port.append(peer.name().to_owned(), id, offset, new).await {
        Ok(durable) => {
            let actions = peer.act(|session| Ok(session.stored(id, durable)))?;
            peer.carry_out(port, actions).await?;
            Ok(true)
        }
        Err(Refusal::Unknown) => {
            peer.session(|session| {
                session.abandon(id);
                Ok(())
            })?;
            Ok(false)
        }
        Err(Refusal::Failed(reason)) => Err(End::new(
            Code::Storage,
            format!("the log of command {id}: {reason}"),
        )),
    }
}

/// Whether a frame begins at `known`: the same log has its frames at the same places.
fn is_boundary(frames: &[u8], known: usize) -> bool {
    let mut walk = frame::frames(frames);
    while walk.consumed() < known {
        if !matches!(walk.next(), Some(Ok(_))) {
            return false;
        }
    }
    walk.consumed() == known
}

fn stop(stream: &mut RecvStream) {
    // A stream that has ended by itself needs no stopping.
    let _ended = stream.stop(VarInt::from_u32(Code::Unwanted as u32));
}
