//! The log of a command on disk: masked, cut into frames, appended by one writer.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use capstan_model::Channel;
use capstan_wire::frame;

use super::mask::{Masker, Patterns, SHORTEST};
use crate::folder::{Folder, SHORT_LOG};
use crate::os;

/// Why nothing more is written; the command cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// No room on the disk.
    #[error("the worker's disk is full: its log could not be written beyond {0} bytes")]
    Disk(u64),
    /// More than the worker's owner wants to keep.
    #[error("its log exceeds the worker's spool quota of {0} bytes")]
    Quota(u64),
    /// The disk failed otherwise.
    #[error("its log could not be written on the worker: {0}")]
    Broken(String),
}

/// See the module.
pub struct Spool {
    file: File,
    length: u64,
    quota: Option<u64>,
    begun: Instant,
    patterns: Option<Patterns>,
    maskers: [Masker; 2],
    payload: [u64; 2],
    full: Option<Full>,
    frames: Vec<u8>,
    masked: Vec<u8>,
    /// All of it, as long as it is short.
    whole: Vec<u8>,
}

impl Spool {
    /// A new spool, in the place of one that a supervisor left that was killed before it started the command. Times in it
    /// count from `begun`. It is empty: a log that has begun is that of a command that was started.
    pub fn create(
        path: &Path,
        quota: Option<u64>,
        secrets: &BTreeMap<String, String>,
        begun: Instant,
    ) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Self {
            file,
            length: 0,
            quota,
            begun,
            patterns: Patterns::new(secrets),
            maskers: Default::default(),
            payload: [0; 2],
            full: None,
            frames: Vec::new(),
            masked: Vec::new(),
            whole: Vec::new(),
        })
    }

    /// Says which of the secrets are not masked.
    pub fn admit_short(&mut self, secrets: &BTreeMap<String, String>) {
        for (name, _) in secrets.iter().filter(|(_, value)| value.len() < SHORTEST) {
            self.header(&format!(
                "the secret {name} is shorter than {SHORTEST} bytes and is not masked"
            ));
        }
    }

    /// Takes what came through a pipe.
    pub fn output(&mut self, channel: Channel, bytes: &[u8]) {
        let Some(patterns) = &self.patterns else {
            return self.append(channel, bytes);
        };
        let mut masked = std::mem::take(&mut self.masked);
        masked.clear();
        self.maskers[index(channel)].push(patterns, bytes, &mut masked);
        self.append(channel, &masked);
        self.masked = masked;
    }

    /// Takes bytes of a file, as they are: a file with secrets cut out of it would be another file.
    pub fn plain(&mut self, bytes: &[u8]) {
        self.append(Channel::Stdout, bytes);
    }

    /// The pipe has ended: writes what was held back as the possible beginning of a secret.
    pub fn end_of(&mut self, channel: Channel) {
        let Some(patterns) = &self.patterns else { return };
        let mut rest = Vec::new();
        self.maskers[index(channel)].finish(patterns, &mut rest);
        self.append(channel, &rest);
    }

    /// Says something about the command itself, as lines.
    pub fn header(&mut self, text: &str) {
        let mut bytes = match &self.patterns {
            Some(patterns) => patterns.mask(text.as_bytes()),
            None => text.as_bytes().to_vec(),
        };
        bytes.push(b'\n');
        self.append(Channel::Header, &bytes);
    }

    /// Why output is being lost, if it is.
    pub fn full(&self) -> Option<&Full> {
        self.full.as_ref()
    }

    /// Bytes of whole frames.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Payload bytes of a channel that was read from a pipe.
    pub fn payload(&self, channel: Channel) -> u64 {
        self.payload[index(channel)]
    }

    /// All of it, if it is short.
    pub fn whole(&self) -> Option<&[u8]> {
        (self.length == self.whole.len() as u64).then_some(&self.whole)
    }

    /// Makes all of it durable, and that it is in `folder`.
    pub fn sync(&mut self, folder: &Folder) -> Result<(), Full> {
        let synced = self.file.sync_all().and_then(|()| folder.sync_names());
        synced.map_err(|error| self.fault(&error))
    }

    fn append(&mut self, channel: Channel, bytes: &[u8]) {
        if bytes.is_empty() || self.full.is_some() {
            return;
        }
        self.frames.clear();
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        frame::encode(&mut self.frames, elapsed, channel, bytes);
        if let Some(quota) = self
            .quota
            .filter(|quota| self.length + self.frames.len() as u64 > *quota)
        {
            self.full = Some(Full::Quota(quota));
            return;
        }
        match self.file.write_all(&self.frames) {
            Ok(()) => {
                self.length += self.frames.len() as u64;
                if self.length <= SHORT_LOG as u64 {
                    self.whole.extend_from_slice(&self.frames);
                } else {
                    self.whole = Vec::new();
                }
                if channel != Channel::Header {
                    self.payload[index(channel)] += bytes.len() as u64;
                }
            }
            Err(error) => {
                // A torn frame would end the log for every reader; if this fails too, readers cut it off
                // themselves.
                let _ = self.file.set_len(self.length);
                self.full = Some(self.fault(&error));
            }
        }
    }

    fn fault(&self, error: &io::Error) -> Full {
        if os::is_disk_full(error) {
            Full::Disk(self.length)
        } else {
            Full::Broken(error.to_string())
        }
    }
}

fn index(channel: Channel) -> usize {
    usize::from(channel == Channel::Stderr)
}
