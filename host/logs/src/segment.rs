//! Live segments: `live/<log id>.log`, the growing file of one open log.
//!
//! ```text
//! magic      8 bytes  "CAPSTLOG"
//! version    u32      1
//! log id     i64
//! checksum   u32      CRC-32 of the 20 bytes before
//! frames     …        exactly as received, see capstan_wire::frame
//! ```
//!
//! Integers are little-endian. Offsets in the log count from the end of this header. The durable length is the truth:
//! whatever follows the last whole frame was never acknowledged and is cut off when the file is opened again. A segment
//! appears under its name only with a durable header, so a file with a bad header is damaged, not torn.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use capstan_model::LogId;
use capstan_wire::frame;

use crate::Error;
use crate::lines::Tally;

/// Bytes of the file before the first frame.
pub(crate) const HEADER: usize = 24;
/// What is read at a time; more than the longest frame.
pub(crate) const READ: usize = 256 * 1024;

pub(crate) const MAGIC: &[u8; 8] = b"CAPSTLOG";
pub(crate) const VERSION: u32 = 1;

/// The first bytes of a file of the log store; sealed files use the same form with another magic.
pub(crate) fn header(magic: &[u8; 8], version: u32, log: LogId) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(magic);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..20].copy_from_slice(&log.0.to_le_bytes());
    let sum = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Checks the first bytes of `file` against what [`header`] gives.
pub(crate) fn check_header(
    file: &File,
    path: &Path,
    magic: &[u8; 8],
    version: u32,
    log: LogId,
) -> Result<(), Error> {
    let mut found = [0; HEADER];
    if read_at(file, &mut found, 0).map_err(Error::io("read", path))? < HEADER {
        return Err(Error::corrupt(path, 0, "the file is shorter than its header"));
    }
    let found_version = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
    if found[..8] == *magic && found == header(magic, found_version, log) && found_version > version {
        return Err(Error::Version {
            path: path.to_owned(),
            expected: version,
            found: found_version,
        });
    }
    if found != header(magic, version, log) {
        return Err(Error::corrupt(
            path,
            0,
            format_args!("the header is not that of log {log}"),
        ));
    }
    Ok(())
}

/// Makes the empty segment of `log` at `path`, by way of `temporary`. Durable when it returns.
pub(crate) fn create(path: &Path, temporary: &Path, log: LogId) -> Result<File, Error> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(temporary);
    let file = open.map_err(Error::io("create", temporary))?;
    file.write_all_at(&header(MAGIC, VERSION, log), 0)
        .map_err(Error::io("write to", temporary))?;
    file.sync_all().map_err(Error::io("write to", temporary))?;
    publish(temporary, path)?;
    Ok(file)
}

/// Renames a durable file to its final name, durably.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<(), Error> {
    std::fs::rename(temporary, path).map_err(Error::io("create", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(Error::io("write to", folder))
}

/// Opens the segment of `log`, counts it, and cuts off what follows the last whole frame.
pub(crate) fn recover(path: &Path, log: LogId) -> Result<(File, Tally), Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    check_header(&file, path, MAGIC, VERSION, log)?;
    let mut tally = Tally::default();
    let mut buffer = vec![0; READ];
    loop {
        let position = HEADER as u64 + tally.totals().length;
        let size = read_at(&file, &mut buffer, position).map_err(Error::io("read", path))?;
        let mut walk = frame::frames(&buffer[..size]);
        walk.by_ref()
            .map_while(Result::ok)
            .for_each(|frame| tally.add(&frame));
        if walk.consumed() == 0 {
            break;
        }
    }
    let (good, size) = (
        HEADER as u64 + tally.totals().length,
        file.metadata().map(|m| m.len()),
    );
    let size = size.map_err(Error::io("read", path))?;
    if size > good {
        tracing::warn!(%log, cut = size - good, kept = tally.totals().length, "cut the torn end of a log");
        truncate(&file, path, good)?;
    }
    if tally.totals().length > 0 {
        // A killed process may have left them in memory only; from here on they count as durable.
        file.sync_data().map_err(Error::io("write to", path))?;
    }
    Ok((file, tally))
}

/// Writes `bytes` at `length` and makes them durable. If that fails, the file ends at `length` as before.
pub(crate) fn write(file: &File, path: &Path, length: u64, bytes: &[u8], sync: bool) -> Result<(), Error> {
    let position = HEADER as u64 + length;
    let written = file
        .write_all_at(bytes, position)
        .and_then(|()| if sync { file.sync_data() } else { Ok(()) });
    written.map_err(|error| {
        // The bytes come again, and dirty the pages anew: a failed sync is never taken for a good one later.
        if let Err(error) = truncate(file, path, position) {
            tracing::error!(%error, "could not cut off a failed write; the next open does it");
        }
        Error::io("write to", path)(error)
    })
}

fn truncate(file: &File, path: &Path, size: u64) -> Result<(), Error> {
    file.set_len(size)
        .and_then(|()| file.sync_data())
        .map_err(Error::io("cut", path))
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
