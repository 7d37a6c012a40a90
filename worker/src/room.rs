//! Small records in files with room set aside: a record is written over what was there, in place. That changes neither the
//! file's size nor its blocks nor any name, so that one sync of its data makes it durable, without the file system's
//! journal; and it works on a full disk.
//!
//! ```text
//! the record as JSON, a line end, its CRC-32 in hexadecimal, a line end, spaces up to the size of the head
//! what belongs to the record, if anything
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// No file, or nothing but room.
    Nothing,
    /// Neither room nor a whole record: a crash of the machine interrupted a write, or somebody else wrote it.
    Torn,
    /// This.
    Record(T),
}

impl<T> Found<T> {
    /// The record, if there is a whole one.
    pub fn record(self) -> Option<T> {
        match self {
            Self::Record(record) => Some(record),
            Self::Nothing | Self::Torn => None,
        }
    }
}

/// A record with its padding. One that is longer than `head` is [`io::ErrorKind::InvalidData`].
pub fn encode<T: Serialize>(record: &T, head: usize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
    let sum = crc32fast::hash(&bytes);
    write!(bytes, "\n{sum:08x}\n")?;
    if bytes.len() > head {
        let found = bytes.len();
        let text = format!("expected a record of at most {head} bytes, found one of {found}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    bytes.resize(head, b' ');
    Ok(bytes)
}

/// Reads the record of the file at `path`.
pub fn read<T: DeserializeOwned>(path: &Path, head: usize) -> io::Result<Found<T>> {
    match File::open(path) {
        Ok(mut file) => read_from(&mut file, head),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// Reads the record of a file, from its beginning.
pub fn read_from<T: DeserializeOwned>(file: &mut File, head: usize) -> io::Result<Found<T>> {
    let mut bytes = Vec::with_capacity(head);
    file.take(head as u64).read_to_end(&mut bytes)?;
    if bytes.iter().all(|byte| *byte == b' ') {
        return Ok(Found::Nothing);
    }
    Ok(decode(&bytes).map_or(Found::Torn, Found::Record))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let (json, sum) = (lines.next()?, lines.next()?);
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if crc32fast::hash(json) != sum {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// Reads what follows the record, at most `length` bytes.
pub fn read_rest(file: &mut File, head: usize, length: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(head as u64))?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a file with nothing but room, or leaves one as it is that is as large. Not durable.
pub fn make(path: &Path, size: usize) -> io::Result<()> {
    if has(path, size) {
        return Ok(());
    }
    File::create(path)?.write_all(&vec![b' '; size])
}

/// Whether the file is there and as large.
pub fn has(path: &Path, size: usize) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.len() == size as u64)
}

/// Writes over the beginning of a file, durable. A file that has the room for it needs no more; one that was made or grew
/// here (`false`) needs its folder synced, too.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let had_room = file.metadata()?.len() >= bytes.len() as u64;
    file.write_all(bytes)?;
    if had_room {
        file.sync_data()?;
    } else {
        file.sync_all()?;
    }
    Ok(had_room)
}

/// Makes a file's record nothing but room again. Not durable: whoever reads it after a crash of the machine tells by the
/// record's id that it is another's.
pub fn clear(path: &Path, head: usize) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(&vec![b' '; head])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_torn_one_is_told_from_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let found = || read::<Vec<String>>(&path, 512).unwrap();
        assert_eq!(found(), Found::Nothing);
        make(&path, 1024).unwrap();
        assert_eq!(found(), Found::Nothing);
        let long = vec!["a longer record".to_owned(); 10];
        let mut bytes = encode(&long, 512).unwrap();
        bytes.extend_from_slice(b"more");
        assert!(overwrite(&path, &bytes).unwrap(), "there was room");
        assert_eq!(found(), Found::Record(long));
        let mut file = File::open(&path).unwrap();
        assert_eq!(read_rest(&mut file, 512, 4).unwrap(), b"more");
        // The first bytes of another record, as a crash would leave them.
        let short = encode(&vec!["b".to_owned(); 10], 512).unwrap();
        overwrite(&path, &short[..20]).unwrap();
        assert_eq!(found(), Found::Torn);
        clear(&path, 512).unwrap();
        assert_eq!(found(), Found::Nothing);
        assert!(has(&path, 1024));
        encode(&"x".repeat(600), 512).unwrap_err();
    }
}
