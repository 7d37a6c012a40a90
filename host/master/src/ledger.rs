//! What one build has to note, in order. What nothing outside the process depends on yet waits here, in memory, and
//! commits together with the first thing that must be durable: so a step's end, the next step's beginning and the `Start`
//! of its command are one transaction.
//!
//! A crash loses what waits, and loses with it nothing but the memory of it: whatever left the process, and whatever a
//! plugin was answered by the world, was committed first, with everything noted before. The build is then taken up at that
//! point and comes to the same again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use capstan_model::journal::Effect;
use capstan_model::{CommandId, Timestamp};
use capstan_store::{CommandLog, Record};
use tokio::sync::Notify;

use crate::Error;
use crate::farm::Farm;

/// Nothing waits for longer: somebody looks at the build's page meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Default)]
pub(crate) struct Ledger {
    waiting: Mutex<Waiting>,
    /// Rings when something waits.
    noted: Notify,
    /// Held over a commit: what is noted meanwhile comes later.
    committing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    records: Vec<(Timestamp, Record)>,
    /// Commands whose end is among the records, and the workers that hold them.
    ended: HashMap<CommandId, String>,
    /// Whether properties of the build changed since somebody asked.
    properties: bool,
}

impl Ledger {
    /// Notes something that may wait.
    pub fn note(&self, at: Timestamp, record: Record) {
        let mut waiting = self.waiting();
        if let Record::Journal { effects, .. } = &record {
            waiting.properties |= effects
                .iter()
                .any(|effect| matches!(effect, Effect::SetProperty(_)));
        }
        waiting.records.push((at, record));
        self.noted.notify_one();
    }

    /// Notes the end of a command; its worker may forget it once that is durable.
    pub fn note_end(
        &self,
        id: CommandId,
        worker: &str,
        records: impl IntoIterator<Item = (Timestamp, Record)>,
    ) {
        let mut waiting = self.waiting();
        waiting.records.extend(records);
        waiting.ended.insert(id, worker.to_owned());
        self.noted.notify_one();
    }

    /// Commits what has waited for long enough, as long as it is polled. A fault is left to the next commit, which cannot be
    /// put off.
    pub async fn commit_in_time(&self, farm: &Farm) -> Infallible {
        loop {
            self.noted.notified().await;
            tokio::time::sleep(PATIENCE).await;
            if let Err(error) = Box::pin(self.commit(farm)).await {
                tracing::warn!(%error, "failed to note how a build goes; trying again with what comes next");
            }
        }
    }

    /// Makes all that waits durable.
    pub async fn commit(&self, farm: &Farm) -> Result<Option<CommandLog>, Error> {
        let _in_order = self.committing.lock().await;
        let (records, ended) = {
            let mut waiting = self.waiting();
            (
                std::mem::take(&mut waiting.records),
                std::mem::take(&mut waiting.ended),
            )
        };
        if records.is_empty() && ended.is_empty() {
            return Ok(None);
        }
        let mut taken = Taken {
            ledger: self,
            records,
            ended,
        };
        let log = match taken.records.is_empty() {
            true => None,
            false => farm.store.record(taken.records.clone()).await?,
        };
        taken.records.clear();
        // One by one: who drops this in between leaves the rest to the next commit.
        while let Some((id, worker)) = taken
            .ended
            .iter()
            .next()
            .map(|(id, worker)| (*id, worker.clone()))
        {
            farm.commands.close_writer(id).await;
            farm.commands.remove(id);
            farm.link()?.forget(&worker, id);
            taken.ended.remove(&id);
        }
        Ok(log)
    }

    /// Whether properties of the build may have changed since the last call.
    pub fn changed_properties(&self) -> bool {
        std::mem::take(&mut self.waiting().properties)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records on their way into the store. Those that did not get there wait again, before what was noted since: each may be
/// noted twice.
struct Taken<'a> {
    ledger: &'a Ledger,
    records: Vec<(Timestamp, Record)>,
    ended: HashMap<CommandId, String>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut waiting = self.ledger.waiting();
        waiting.records.splice(0..0, self.records.drain(..));
        waiting.ended.extend(self.ended.drain());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use capstan_config::Operator;
    use capstan_model::{LogId, SystemClock};
    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::{Master, Options};

    /// A master without anything to do, and the folder that it lives in.
    pub(crate) async fn master() -> (crate::Handle, tempfile::TempDir) {
        // As the program does; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ci.star"), "").unwrap();
        let text = Operator::template().replace(":8010", ":0").replace(":9010", ":0");
        let options = Options {
            operator: Operator::parse(&text, folder.path()).unwrap(),
            built_in: &[],
            clock: Arc::new(SystemClock),
        };
        (Master::start(options).await.unwrap().handle(), folder)
    }

    #[tokio::test]
    async fn an_end_that_could_not_be_recorded_is_not_forgotten() {
        let (handle, _folder) = master().await;
        let (farm, ledger) = (&handle.0, Ledger::default());
        let id = CommandId(Uuid::new_v4());
        let nobodys = Record::LogComplete {
            log: LogId(1),
            length: 0,
            lines: 0,
        };
        ledger.note_end(id, "w1", [(Timestamp(1), nobodys)]);
        farm.store.close().await;
        assert!(ledger.commit(farm).await.is_err());
        let waiting = ledger.waiting();
        assert_eq!(waiting.records.len(), 1);
        assert!(
            waiting.ended.contains_key(&id),
            "its worker was told to forget it, and nobody knows how it ended"
        );
    }

    #[tokio::test]
    async fn an_end_whose_commit_was_cut_off_is_told_with_the_next_one() {
        let (handle, _folder) = master().await;
        let (farm, ledger) = (&handle.0, Ledger::default());
        let ids = [(); 3].map(|()| CommandId(Uuid::new_v4()));
        for id in ids {
            ledger.note_end(id, "w1", []);
        }
        // Somebody opens a writer: who wants to close one has to wait.
        let mut opening = Box::pin(
            farm.commands
                .writer(ids[0], async || std::future::pending().await),
        );
        assert!((&mut opening).now_or_never().is_none());
        assert!(ledger.commit(farm).now_or_never().is_none());
        assert_eq!(ledger.waiting().ended.len(), ids.len());
        drop(opening);
        ledger.commit(farm).await.unwrap();
        assert!(ledger.waiting().ended.is_empty());
    }
}
