//! Sealed logs: `sealed/<log id / 1000>/<log id>.clog`, compressed and indexed, never changed again.
//!
//! ```text
//! header     24 bytes  as of a live segment, with the magic "CAPSCLOG" and version 1
//! blocks     …         each a zstd frame with its checksum: whole log frames, about 256 KiB before compression
//! index      …         CBOR, see `Index`: totals, blocks by offset, checkpoints by line
//! trailer    32 bytes  index position u64, index length u64, CRC-32 of the index u32,
//!                      CRC-32 of the 20 bytes before u32, magic "CAPSCEND"
//! ```
//!
//! Integers are little-endian. Readers of the index ignore fields that they do not know. The file appears under its name
//! only when all of it is durable, and the live segment goes after that: a crash between the two leaves both, and the
//! sealed one holds.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use capstan_model::LogId;
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::CParameter;

use crate::Error;
use crate::lines::{Checkpoint, Totals};
use crate::segment::{self, HEADER};
use crate::view::View;

const MAGIC: &[u8; 8] = b"CAPSCLOG";
const VERSION: u32 = 1;
const END: &[u8; 8] = b"CAPSCEND";
const TRAILER: usize = 32;

/// The largest block before compression that a reader accepts.
const MAX_BLOCK: usize = 2 * segment::READ;
/// The largest index that a reader accepts; a terabyte's is smaller.
const MAX_INDEX: u64 = 1 << 30;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    totals: Totals,
    blocks: Vec<Block>,
    checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Block {
    /// The offset in the log of its first frame.
    offset: u64,
    /// Where it is in the file.
    position: u64,
    /// Its size before compression.
    size: u32,
    /// Its size in the file.
    packed: u32,
}

/// A sealed log, open for reading.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: File,
    path: PathBuf,
    index: Index,
}

/// Writes the sealed form of `view`, whose `contents` were counted while it grew, to `path` by way of `temporary`.
pub(crate) fn write(
    path: &Path,
    temporary: &Path,
    log: LogId,
    view: &View,
    contents: (Totals, Vec<Checkpoint>),
    level: i32,
) -> Result<(), Error> {
    let file = File::create(temporary).map_err(Error::io("create", temporary))?;
    let written = write_all(&file, temporary, log, view, contents, level)
        .and_then(|()| file.sync_all().map_err(Error::io("write to", temporary)));
    if let Err(error) = written {
        // A full disk gets its space back at once; what is left otherwise goes when the store is opened.
        let _ = std::fs::remove_file(temporary);
        return Err(error);
    }
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        folder.parent().map_or(Ok(()), segment::sync_folder)?;
    }
    segment::publish(temporary, path)
}

fn write_all(
    file: &File,
    path: &Path,
    log: LogId,
    view: &View,
    contents: (Totals, Vec<Checkpoint>),
    level: i32,
) -> Result<(), Error> {
    let failed = || Error::io("write to", path);
    let mut out = BufWriter::new(file);
    out.write_all(&segment::header(MAGIC, VERSION, log))
        .map_err(failed())?;
    let mut index = Index {
        totals: contents.0,
        blocks: Vec::new(),
        checkpoints: contents.1,
    };
    let mut packer = zstd::bulk::Compressor::new(level).map_err(failed())?;
    packer
        .set_parameter(CParameter::ChecksumFlag(true))
        .map_err(failed())?;
    let (mut offset, mut position, mut chunk) = (0, HEADER as u64, Vec::new());
    while offset < index.totals.length {
        view.read(offset, &mut chunk)?;
        let packed = packer.compress(&chunk).map_err(failed())?;
        out.write_all(&packed).map_err(failed())?;
        // Blocks are bounded by `segment::READ`, so their sizes fit.
        index.blocks.push(Block {
            offset,
            position,
            size: chunk.len() as u32,
            packed: packed.len() as u32,
        });
        offset += chunk.len() as u64;
        position += packed.len() as u64;
    }
    let mut encoded = Vec::new();
    ciborium::into_writer(&index, &mut encoded).map_err(|e| Error::corrupt(path, position, e))?;
    out.write_all(&encoded).map_err(failed())?;
    out.write_all(&trailer(position, &encoded)).map_err(failed())?;
    out.flush().map_err(failed())
}

fn trailer(position: u64, index: &[u8]) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..8].copy_from_slice(&position.to_le_bytes());
    trailer[8..16].copy_from_slice(&(index.len() as u64).to_le_bytes());
    trailer[16..20].copy_from_slice(&crc32fast::hash(index).to_le_bytes());
    let sum = crc32fast::hash(&trailer[..20]);
    trailer[20..24].copy_from_slice(&sum.to_le_bytes());
    trailer[24..].copy_from_slice(END);
    trailer
}

impl Sealed {
    /// Opens the sealed form of `log`; `None` when there is none.
    pub(crate) fn open(path: &Path, log: LogId) -> Result<Option<Self>, Error> {
        let file = match OpenOptions::new().read(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        segment::check_header(&file, path, MAGIC, VERSION, log)?;
        let index = read_index(&file, path)?;
        Ok(Some(Self {
            file,
            path: path.to_owned(),
            index,
        }))
    }

    pub(crate) fn totals(&self) -> Totals {
        self.index.totals
    }

    pub(crate) fn checkpoints(&self) -> &[Checkpoint] {
        &self.index.checkpoints
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the whole frames from `offset` to the end of its block into `chunk`.
    pub(crate) fn read(&self, offset: u64, chunk: &mut Vec<u8>) -> Result<(), Error> {
        let damaged = |position, reason: &str| Error::corrupt(&self.path, position, reason);
        let after = self.index.blocks.partition_point(|block| block.offset <= offset);
        let Some(&block) = after.checked_sub(1).and_then(|at| self.index.blocks.get(at)) else {
            return Err(damaged(0, "the index has no block for this offset"));
        };
        let (size, packed) = (block.size as usize, block.packed as usize);
        if size > MAX_BLOCK || packed > zstd::zstd_safe::compress_bound(MAX_BLOCK) {
            return Err(damaged(block.position, "the index has an impossible block"));
        }
        let mut bytes = vec![0; packed];
        let found = segment::read_at(&self.file, &mut bytes, block.position);
        if found.map_err(Error::io("read", &self.path))? < packed {
            return Err(damaged(block.position, "the file ends within a block"));
        }
        let unpacked = zstd::bulk::decompress(&bytes, size)
            .map_err(|error| Error::corrupt(&self.path, block.position, error))?;
        // `block` is the last one that starts at or before `offset`.
        let skip = usize::try_from(offset - block.offset).unwrap_or(usize::MAX);
        let wanted = unpacked
            .get(skip..)
            .filter(|rest| !rest.is_empty() && unpacked.len() == size);
        *chunk = wanted
            .ok_or_else(|| damaged(block.position, "a block is shorter than the index says"))?
            .to_vec();
        Ok(())
    }
}

fn read_index(file: &File, path: &Path) -> Result<Index, Error> {
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let at = size.saturating_sub(TRAILER as u64);
    let mut found = [0; TRAILER];
    segment::read_at(file, &mut found, at).map_err(Error::io("read", path))?;
    let number = |range: std::ops::Range<usize>| {
        found[range]
            .iter()
            .rev()
            .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
    };
    let (position, length) = (number(0..8), number(8..16));
    let fits = length <= MAX_INDEX && position.checked_add(length) == Some(at);
    if found[24..] != *END || number(20..24) != u64::from(crc32fast::hash(&found[..20])) || !fits {
        return Err(Error::corrupt(path, at, "the file does not end with its trailer"));
    }
    let mut encoded = vec![0; usize::try_from(length).unwrap_or(0)];
    segment::read_at(file, &mut encoded, position).map_err(Error::io("read", path))?;
    if number(16..20) != u64::from(crc32fast::hash(&encoded)) {
        return Err(Error::corrupt(
            path,
            position,
            "the index does not have its checksum",
        ));
    }
    ciborium::from_reader(encoded.as_slice()).map_err(|error| Error::corrupt(path, position, error))
}
