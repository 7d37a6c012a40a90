//! Sends one log: from the spool to a stream, as fast as the master takes it. The stream's flow control is
//! the only brake, and it brakes nothing but this task: the supervisor goes on writing to the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use capstan_model::CommandId;
use capstan_wire::control;
use capstan_wire::log_stream::Header;
use tokio::sync::Notify;

use super::{Session, lock};

/// As much is read at a time: large enough for the disk, small enough for many commands at once.
const CHUNK: u64 = 256 * 1024;

/// Why a log could not be sent; the connection ends, the next one tries again.
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
    spool: PathBuf,
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
    let mut file = None;
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
            && let Err(source) = read(&mut file, &spool, &mut buffer, piece.from)
        {
            // Not finished: the master would take what it has for all of it.
            let _ = stream.reset(0u8.into());
            return Err(Error::Spool {
                id,
                offset: piece.from,
                source,
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
fn read(file: &mut Option<File>, spool: &PathBuf, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if file.is_none() {
        *file = Some(File::open(spool)?);
    }
    file.as_ref()
        .map_or(Ok(()), |file| file.read_exact_at(buffer, offset))
}
