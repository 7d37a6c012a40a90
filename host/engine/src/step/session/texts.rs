//! What a step writes into logs by itself, and what its logs are called: a replay comes to the same names and the same places.

use super::super::halt::Halt;
use super::super::port::Abandoned;
use super::super::spec::is_log_name;
use super::{Seen, Session};
use crate::call::Trap;
use crate::limits::{MAX_PAYLOAD, MAX_TEXT};

/// Text that waits for its row.
pub(super) struct Text {
    log: String,
    offset: u64,
    text: String,
}

impl Seen {
    /// Notes that a log has its writer. A step that starts thousands of commands looks for a free name thousands of times.
    pub(super) fn take_log(&mut self, log: String) {
        if let Some((plain, _)) = log.rsplit_once('-') {
            let next = self.numbers.get(plain).copied().unwrap_or(2);
            if log == format!("{plain}-{next}") {
                let taken = |n: &u32| self.logs.contains(&format!("{plain}-{n}"));
                let free = (next + 1..).find(|n| !taken(n)).unwrap_or(u32::MAX);
                self.numbers.insert(plain.to_owned(), free);
            }
        }
        self.logs.insert(log);
    }
}

impl Session {
    /// Text comes after its row: without the row, a second run might write something else at the same place.
    pub(super) async fn write_texts(&mut self) -> Result<(), Abandoned> {
        self.text_bytes = 0;
        for Text { log, offset, text } in std::mem::take(&mut self.texts) {
            let end = offset + text.len() as u64;
            if self.written.get(&log).is_some_and(|&written| written >= end) {
                continue;
            }
            self.port.write_log(log.clone(), offset, text).await?;
            self.written.insert(log, end);
        }
        Ok(())
    }

    /// Appends text to a log of the step's own.
    pub(crate) async fn text(&mut self, name: &str, text: String) -> Result<(), Halt> {
        self.seen.text_total += text.len() as u64;
        if self.seen.text_total > MAX_TEXT {
            return Err(Trap::TooMuch(format!("more than {} MiB of text in logs", MAX_TEXT >> 20)).into());
        }
        if self.text_bytes + text.len() > MAX_PAYLOAD {
            self.save().await?;
        }
        if !self.seen.text_logs.contains_key(name) {
            let log = self.claim_log(name);
            self.seen.text_logs.insert(name.to_owned(), (log, 0));
        }
        let Some((log, offset)) = self.seen.text_logs.get_mut(name) else {
            return Ok(());
        };
        self.text_bytes += text.len();
        let place = *offset;
        *offset += text.len() as u64;
        self.texts.push(Text {
            log: log.clone(),
            offset: place,
            text,
        });
        Ok(())
    }

    /// A log of this name, or of this name with a number if the step has one: each log has one writer.
    pub(crate) fn claim_log(&mut self, wanted: &str) -> String {
        let log = self.free_log(wanted);
        self.seen.take_log(log.clone());
        log
    }

    /// The name that `claim_log` would give.
    pub(crate) fn free_log(&self, wanted: &str) -> String {
        let plain = if is_log_name(wanted) {
            wanted.to_owned()
        } else {
            "text".to_owned()
        };
        if !self.seen.logs.contains(&plain) {
            return plain;
        }
        let first = self.seen.numbers.get(&plain).copied().unwrap_or(2);
        let numbered = (first..).map(|n| format!("{plain}-{n}"));
        numbered
            .into_iter()
            .find(|name| !self.seen.logs.contains(name))
            .unwrap_or(plain)
    }
}
