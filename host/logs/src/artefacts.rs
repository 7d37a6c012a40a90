//! The bytes of artefacts: one file for each content, `<first two digits>/<digest>`, written once and never changed. The master
//! stores what a worker handed over; the web server reads.
//!
//! A file has its name only when all of it is on the disk. What a crash leaves behind lies in `tmp` and goes at the next
//! start; a file that no row names is harmless: the same content finds it there.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use capstan_model::{Channel, Digest, Hasher, LogId};
use futures::TryStreamExt as _;

use crate::{Channels, Error, Logs, blocking, segment};

/// So long content that was stored just now is not removed: the row that will name it may be on its way. After a crash the step
/// stores it again.
const ON_ITS_WAY: Duration = Duration::from_secs(3600);
/// When so many are remembered, those of longer ago are forgotten first.
const MANY: usize = 1024;

/// A store of artefacts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Artefacts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    next: AtomicU64,
    /// What was stored of late, and when.
    recent: Mutex<HashMap<Digest, Instant>>,
}

impl Artefacts {
    /// The store in the folder `root`, which is made if missing. What a crash left half-written goes. One process at a time:
    /// who has the log store open has this one, too.
    pub fn at(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref().to_owned();
        let temporary = root.join("tmp");
        std::fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
        for entry in std::fs::read_dir(&temporary).map_err(Error::io("read", &temporary))? {
            let path = entry.map_err(Error::io("read", &temporary))?.path();
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        segment::sync_folder(&root)?;
        let next = AtomicU64::new(0);
        let recent = Mutex::default();
        Ok(Self(Arc::new(Inner { root, next, recent })))
    }

    /// Removes content that no row names. `false` if it was stored just now, so that a row may come to name it: then it stays.
    pub async fn remove(&self, sha256: Digest) -> Result<bool, Error> {
        let this = self.clone();
        blocking(move || {
            let path = this.path(sha256);
            let mut recent = this.recent();
            recent.retain(|_, stored| stored.elapsed() < ON_ITS_WAY);
            if recent.contains_key(&sha256) {
                return Ok(false);
            }
            // Whoever stores it now waits for the lock, and then finds no file.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io("remove", &path)(error))
                }
                _ => Ok(true),
            }
        })
        .await
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of that digest, from its first byte on, and its size.
    pub async fn open(&self, sha256: Digest) -> Result<(tokio::fs::File, u64), Error> {
        let path = self.path(sha256);
        blocking(move || {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            let size = file.metadata().map_err(Error::io("read", &path))?.len();
            Ok((tokio::fs::File::from_std(file), size))
        })
        .await
    }

    /// Stores these bytes. Durable when it returns.
    pub async fn put(&self, content: Vec<u8>) -> Result<Digest, Error> {
        let this = self.clone();
        blocking(move || {
            let mut draft = this.draft()?;
            draft.write(&content)?;
            Ok(this.keep(draft)?.0)
        })
        .await
    }

    /// Stores what a command printed to standard output, as far as the log goes now. Answers the digest and the size.
    /// Durable when it returns; the log stays as it is.
    pub async fn put_output(&self, logs: &Logs, log: LogId) -> Result<(Digest, u64), Error> {
        let pieces = logs.raw(log, Channels::only(Channel::Stdout)).await?;
        let this = self.clone();
        let mut draft = blocking(move || this.draft()).await?;
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.try_next().await? {
            draft = add(draft, piece).await?;
        }
        let this = self.clone();
        blocking(move || this.keep(draft)).await
    }

    fn path(&self, sha256: Digest) -> PathBuf {
        let name = sha256.to_string();
        self.0.root.join(&name[..2]).join(name)
    }

    fn draft(&self) -> Result<Draft, Error> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let path = self.0.root.join("tmp").join(number.to_string());
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        Ok(Draft {
            file: made.map_err(Error::io("create", &path))?,
            path: Some(path),
            hasher: Hasher::default(),
            size: 0,
        })
    }

    /// Makes a draft durable under its digest.
    fn keep(&self, mut draft: Draft) -> Result<(Digest, u64), Error> {
        let sha256 = std::mem::take(&mut draft.hasher).finish();
        let (path, size) = (self.path(sha256), draft.size);
        // Before it is looked for: what is found then is not removed.
        {
            let mut recent = self.recent();
            if recent.len() >= MANY {
                recent.retain(|_, stored| stored.elapsed() < ON_ITS_WAY);
            }
            recent.insert(sha256, Instant::now());
        }
        if std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == size) {
            // Whoever put it there may have died, or be, between its name and the name's durability.
            if let Some(folder) = path.parent() {
                segment::sync_folder(folder)?;
            }
            segment::sync_folder(&self.0.root)?;
            return Ok((sha256, size));
        }
        if let Some(temporary) = &draft.path {
            draft.file.sync_all().map_err(Error::io("write to", temporary))?;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            segment::sync_folder(&self.0.root)?;
        }
        if let Some(temporary) = draft.path.take() {
            segment::publish(&temporary, &path)?;
        }
        Ok((sha256, size))
    }
}

/// A file that has no name yet. It goes if it gets none.
struct Draft {
    file: File,
    path: Option<PathBuf>,
    hasher: Hasher,
    size: u64,
}

impl Draft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.clone().unwrap_or_default();
        self.file.write_all(bytes).map_err(Error::io("write to", &path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays goes at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn add(mut draft: Draft, piece: Bytes) -> Result<Draft, Error> {
    blocking(move || {
        draft.write(&piece)?;
        Ok(draft)
    })
    .await
}

#[cfg(test)]
mod tests {
    use capstan_wire::frame;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn what_was_printed_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::open(folder.path().join("logs"), Options::default()).unwrap();
        let artefacts = Artefacts::at(folder.path().join("artefacts")).unwrap();
        let content: Vec<u8> = (0..700_000u32)
            .flat_map(|n| (n ^ (n >> 7)).to_le_bytes())
            .collect();
        let mut frames = Vec::new();
        frame::encode(&mut frames, 0, Channel::Header, b"file build/x\n");
        frame::encode(&mut frames, 1, Channel::Stdout, &content);
        frame::encode(&mut frames, 2, Channel::Header, b"exit code 0\n");
        let mut writer = logs.writer(LogId(1)).await.unwrap();
        writer.append(0, frames.into()).await.unwrap();

        let stored = artefacts.put_output(&logs, LogId(1)).await.unwrap();
        assert_eq!(stored, (Digest::of(&content), content.len() as u64));
        // Again, as after a crash: the same, and nothing is left over.
        assert_eq!(artefacts.put_output(&logs, LogId(1)).await.unwrap(), stored);
        assert_eq!(artefacts.put(content.clone()).await.unwrap(), stored.0);
        let (mut file, size) = artefacts.open(stored.0).await.unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).await.unwrap();
        assert!(read == content && size == stored.1);
        let left = std::fs::read_dir(folder.path().join("artefacts/tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[tokio::test]
    async fn content_that_was_stored_just_now_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let old = Artefacts::at(folder.path()).unwrap();
        let stored = old.put(b"content".to_vec()).await.unwrap();
        assert!(!old.remove(stored).await.unwrap());
        assert!(old.open(stored).await.is_ok());
        // Another process knows nothing of it: what it wants to be named by a row it stores again.
        let new = Artefacts::at(folder.path()).unwrap();
        assert!(new.remove(stored).await.unwrap());
        assert!(new.open(stored).await.is_err());
        assert!(new.remove(stored).await.unwrap());
        assert_eq!(new.put(b"content".to_vec()).await.unwrap(), stored);
        assert!(new.open(stored).await.is_ok());
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_no_artefact() {
        let folder = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::at(folder.path()).unwrap();
        let whole = artefacts.put(b"whole".to_vec()).await.unwrap();
        std::fs::write(folder.path().join("tmp/9"), b"half").unwrap();
        // A file of another length is none of ours: a disk that forgot what it had synced.
        let path = artefacts.path(whole);
        std::fs::write(&path, b"").unwrap();
        let artefacts = Artefacts::at(folder.path()).unwrap();
        assert!(!folder.path().join("tmp/9").exists());
        assert_eq!(artefacts.put(b"whole".to_vec()).await.unwrap(), whole);
        assert_eq!(std::fs::read(path).unwrap(), b"whole");
        assert!(artefacts.open(Digest::of(b"half")).await.is_err());
    }
}
