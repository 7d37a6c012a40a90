//! A step's artefacts: what its commands handed over, or it made itself, into the store of artefacts; and the logs that carried
//! files, which go when they are not needed any more.

use capstan_engine::{Abandoned, StoreFault};
use capstan_model::{CommandId, Digest, LogId, Stored};
use capstan_store::Record;

use super::{Host, abandoned};
use crate::Error;

/// So many artefacts a build has at most.
const MOST: u64 = 1000;

impl Host {
    pub(super) async fn no_room_for(&self, name: &str) -> Result<Option<String>, Abandoned> {
        let store = &self.farm.store;
        if let Some(known) = store.artefact(self.build_id, name).await.map_err(abandoned)? {
            let step = store.step(known.step).await.map_err(abandoned)?;
            let step = step.map_or_else(|| known.step.to_string(), |step| step.name);
            return Ok(Some(format!(
                "expected a new name, found that the step `{step}` of this build has stored an artefact `{name}`"
            )));
        }
        let count = store.count_artefacts(self.build_id).await.map_err(abandoned)?;
        Ok(
            (count >= MOST)
                .then(|| format!("a build has at most {MOST} artefacts, and this one has as many")),
        )
    }

    pub(super) async fn store_output(
        &self,
        command: CommandId,
        name: String,
        size: u64,
    ) -> Result<Stored, StoreFault> {
        let row = self.farm.store.command(command).await.map_err(abandoned)?;
        let log = row
            .ok_or_else(|| Abandoned(format!("command {command} has no row")))?
            .log;
        let stored = self.farm.artefacts.put_output(&self.farm.logs, log).await;
        let (sha256, found) = stored.map_err(refused)?;
        if found != size {
            return Err(StoreFault::Unavailable(format!(
                "expected {size} bytes of the file, found {found}: the disk has lost some"
            )));
        }
        Ok(Stored { name, size, sha256 })
    }

    pub(super) async fn store_content(&self, name: String, content: Vec<u8>) -> Result<Stored, StoreFault> {
        let size = content.len() as u64;
        let sha256: Digest = self.farm.artefacts.put(content).await.map_err(refused)?;
        Ok(Stored { name, size, sha256 })
    }

    /// Removes the logs that carried files whose commands have ended. Their answers are durable: nobody reads them any more.
    pub(super) async fn drop_transports(&self) {
        let over: Vec<LogId> = {
            let commands = self.commands();
            let over = commands.iter().filter(|asked| asked.transport && asked.ended);
            over.map(|asked| asked.log).collect()
        };
        for log in over {
            // Tried again at the end of the step.
            if let Err(error) = self.farm.logs.remove(log).await {
                tracing::warn!(%log, %error, "failed to remove what carried an artefact");
            }
        }
    }

    /// At the end of the step: removes all logs that carried files, and notes that they are gone.
    pub(super) async fn end_transports(&self) -> Result<(), Error> {
        let logs: Vec<LogId> = match self.taken_up {
            true => {
                self.ledger.commit(&self.farm).await?;
                self.farm.store.transports(self.step).await?
            }
            false => {
                let commands = self.commands();
                let transports = commands.iter().filter(|asked| asked.transport);
                transports.map(|asked| asked.log).collect()
            }
        };
        let (length, lines) = (0, 0);
        for log in logs {
            match self.farm.logs.remove(log).await {
                Ok(()) => self
                    .ledger
                    .note(self.farm.clock.now(), Record::LogSealed { log, length, lines }),
                Err(error) => {
                    tracing::error!(%log, %error, "what carried an artefact cannot be removed; it may be deleted by hand");
                }
            }
        }
        Ok(())
    }
}

/// Bytes that could not be stored. The step is told: it ends, and says so.
fn refused(error: capstan_logs::Error) -> StoreFault {
    StoreFault::Unavailable(format!("the artefact could not be stored: {error}"))
}
