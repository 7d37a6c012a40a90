//! Sends one log: from the spool to a stream, as fast as the master takes it. The stream's flow control is
//! the only brake, and it brakes nothing but this task: the supervisor goes on writing to the disk.

use std::io;
use std::sync::Arc;

use capstan_model::CommandId;
use capstan_wire::control;
use capstan_wire::log_stream::Header;
use tokio::sync::Notify;

use super::{Session, lock};
use crate::folder::{Folder, Log};

/// As much is read at a time: large enough for the disk, small enough for many commands at once.
const CHUNK: u64 = 256 * 1024;

/// Why a log could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spool is shorter than it was, or the disk fails.
    #[error("the log of command {id} could not be read at offset {offset}: {source}")]
    Spool {
        /// Whose log.
        id: CommandId,
        /// Where.
        offset: u64,
        /// What the system said.
        source: io::Error,
        /// Neither finished nor reset: the master has yet to be told what that means.
        stream: Box<quinn::SendStream>,
    },
    /// The header is too long; it never is.
    #[error(transparent)]
    Header(#[from] control::Error),
}

/// Sends the log until its end, or until the connection or the master's interest ends.
pub async fn send(
    connection: quinn::Connection,
    session: Session,
    id: CommandId,
    offset: u64,
    folder: Folder,
    ready: Arc<Notify>,
) -> Result<(), Error> {
    // Without a connection there is nothing to do; the main task knows already.
    let Ok(mut stream) = connection.open_uni().await else {
        return Ok(());
    };
    if stream
        .write_all(&control::encode(&Header { id, offset })?)
        .await
        .is_err()
    {
        return Ok(());
    }
    let mut log = None;
    let mut buffer = Vec::new();
    loop {
        let next = lock(&session).next_piece(id, CHUNK);
        let Some(piece) = next else {
            buffer = Vec::new();
            tokio::select! {
                () = ready.notified() => continue,
                // The master wants no more of it, or is gone.
                _ = stream.stopped() => return Ok(()),
            }
        };
        let length = usize::try_from(piece.to - piece.from).unwrap_or(0);
        buffer.resize(length, 0);
        if length > 0
            && let Err(source) = read(&mut log, &folder, &mut buffer, piece.from)
        {
            return Err(Error::Spool {
                id,
                offset: piece.from,
                source,
                stream: Box::new(stream),
            });
        }
        if stream.write_all(&buffer).await.is_err() {
            return Ok(());
        }
        if piece.last {
            let _ = stream.finish();
            return Ok(());
        }
    }
}

/// Blocks for the time of one read, which the page cache makes short: the bytes are fresh, or are wanted one
/// chunk at a time.
fn read(log: &mut Option<Log>, folder: &Folder, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if log.is_none() {
        *log = Some(folder.log()?);
    }
    log.as_ref().map_or(Ok(()), |log| log.read(buffer, offset))
}
