//! The store through its public door, with crashes made by arranging the files that they leave.

use std::path::PathBuf;

use bytes::Bytes;
use capstan_model::Channel::{self, Header, Stderr, Stdout};
use capstan_wire::frame;
use futures::TryStreamExt;
use proptest::prelude::*;

use super::*;

const LOG: LogId = LogId(1042);

mod damage;
mod offsets;
mod reading;

struct Farm {
    folder: tempfile::TempDir,
    logs: Option<Logs>,
}

impl Farm {
    fn new() -> Self {
        let mut farm = Self {
            folder: tempfile::tempdir().unwrap(),
            logs: None,
        };
        farm.restart();
        farm
    }

    /// As after a crash: nothing is flushed or closed first.
    fn restart(&mut self) {
        self.logs = None;
        // Test data needs no power failure.
        let options = Options {
            sync: false,
            ..Options::default()
        };
        self.logs = Some(Logs::open(self.folder.path(), options).unwrap());
    }

    fn logs(&self) -> &Logs {
        self.logs.as_ref().unwrap()
    }

    fn live(&self) -> PathBuf {
        self.folder.path().join("live/1042.log")
    }

    fn sealed(&self) -> PathBuf {
        self.folder.path().join("sealed/1/1042.clog")
    }

    async fn write(&self, bytes: &[u8]) {
        let mut writer = self.logs().writer(LOG).await.unwrap();
        let length = writer.length();
        writer
            .append(length, Bytes::copy_from_slice(bytes))
            .await
            .unwrap();
    }

    async fn raw(&self, channels: Channels) -> Vec<u8> {
        let pieces = self.logs().raw(LOG, channels).await.unwrap();
        pieces
            .try_fold(Vec::new(), |all, piece| async move {
                Ok([all, piece.to_vec()].concat())
            })
            .await
            .unwrap()
    }

    async fn lines(&self, from: u64, count: usize) -> Vec<(u64, Channel, String)> {
        let found = self.logs().read_lines(LOG, from, count).await.unwrap();
        found
            .lines
            .iter()
            .map(|line| (line.number, line.channel, line.to_text()))
            .collect()
    }

    async fn all_frames(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let next = self
                .logs()
                .frames_from(LOG, all.len() as u64, 100_000)
                .await
                .unwrap();
            if next.is_empty() {
                return all;
            }
            all.extend_from_slice(&next);
        }
    }
}

fn frames(parts: &[(Channel, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (elapsed, (channel, payload)) in parts.iter().enumerate() {
        frame::encode(&mut bytes, elapsed as u64, *channel, payload);
    }
    bytes
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
