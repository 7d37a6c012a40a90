//! What a running step needs of its master: a journal that is durable, commands, a clock, logs.

use capstan_model::journal::{Effect, Entry};
use capstan_model::{BuildsetId, CommandId, CommandSpec, Completion, Digest, Stored, Timestamp};
use futures::future::{BoxFuture, FutureExt as _, ready};
use serde_json::Value;

use super::StopSignal;
use super::triggers::{Awaited, Triggered};

/// The master cannot go on with a step: its store failed, or another master has taken over. Nothing more is recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Abandoned(pub String);

/// Why a command has no completion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandFault {
    /// The worker is gone, and with it what the command did. Recorded as the answer.
    #[error("{0}")]
    Lost(String),
    /// Not recorded: the step is run again.
    #[error(transparent)]
    Abandoned(#[from] Abandoned),
}

/// Why the bytes of an artefact were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// There is no room, or the disk fails. Recorded as the answer.
    #[error("{0}")]
    Unavailable(String),
    /// Not recorded: the step is run again.
    #[error(transparent)]
    Abandoned(#[from] Abandoned),
}

/// The master's side of one step. Every method may be called again with the same arguments after a restart.
pub trait StepPort: Send + Sync {
    /// Appends rows to the journal and applies what they change, in one transaction. Durable when it answers `Ok`.
    /// The first row's `seq` is the number of rows that the journal has; anything else means that another master
    /// writes it.
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>>;

    /// As `append`, where the last row is the `Start` of a command: its row commits with it.
    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>>;

    /// The journal as it is stored, row 0 first. Asked for when a step that has waited without an instance goes on.
    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>>;

    /// From now on the step waits without an instance. What can be read again need not be kept in memory.
    fn parked(&self) {}

    /// Hands a command to the worker, which starts it unless it has it. `seq` is the `Start`, durable already.
    fn start_command(
        &self,
        seq: u32,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>>;

    /// Waits until a command has ended and every byte of its output is stored. May be dropped and called again.
    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>>;

    /// Asks for the end of a command's process tree; does not wait for it. A command that has ended or was never
    /// dispatched stays as it is, and is not started any more.
    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>>;

    /// Waits for an instant.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()>;

    /// The master's clock.
    fn now(&self) -> Timestamp;

    /// Writes text of the step at this offset, in bytes, of its log of that name. What lies below the stored length
    /// is there already and is ignored; the step never leaves a gap.
    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>>;

    /// The text of a patch of the build's sources. The same whenever it is asked for: it is kept by its digest.
    fn patch(&self, digest: Digest) -> BoxFuture<'_, Result<String, Abandoned>> {
        let reason = format!("the text of the patch {} is not here", digest.short());
        ready(Err(Abandoned(reason))).boxed()
    }

    /// The largest file that may become an artefact, in bytes.
    fn max_artefact(&self) -> u64 {
        1 << 30
    }

    /// Why the build can have no artefact of this name, if it cannot: it has one, or too many.
    fn no_room_for(&self, name: String) -> BoxFuture<'_, Result<Option<String>, Abandoned>> {
        let _ = name;
        ready(Ok(None)).boxed()
    }

    /// Stores what a command that has ended printed to standard output, `size` bytes. Durable when it answers. What the
    /// artefact is called becomes known with the row that answers the step, whose effect it is.
    fn store_output(
        &self,
        command: CommandId,
        name: String,
        size: u64,
    ) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        let _ = (command, name, size);
        nowhere()
    }

    /// The same for what the step made itself.
    fn store_content(&self, name: String, content: Vec<u8>) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        let _ = (name, content);
        nowhere()
    }

    /// Asks a scheduler for builds and waits for what it decides. The same row of the same step is the same call, however often it
    /// is made. A build that is stopped waits for a moment only.
    fn call_scheduler(
        &self,
        seq: u32,
        scheduler: String,
        call: Value,
        stop: StopSignal,
    ) -> BoxFuture<'_, Result<Triggered, Abandoned>> {
        let _ = (seq, call, stop);
        let message = format!("expected a scheduler, found none `{scheduler}`: there are none here");
        ready(Ok(Triggered::Refused(vec![(String::new(), message)]))).boxed()
    }

    /// Waits until these buildsets are complete. `give_back`: others may use the build's slot meanwhile; it has one again when
    /// this answers. May be dropped and called again.
    fn wait_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        give_back: bool,
    ) -> BoxFuture<'_, Result<Awaited, Abandoned>> {
        let _ = (buildsets, give_back);
        ready(Ok(Awaited::Completed(Vec::new()))).boxed()
    }

    /// Cancels what has not ended of these buildsets.
    fn cancel_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        reason: String,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        let _ = (buildsets, reason);
        ready(Ok(())).boxed()
    }
}

/// The answer of a port that stores no artefacts.
fn nowhere<'a>() -> BoxFuture<'a, Result<Stored, StoreFault>> {
    let reason = "no artefacts are stored here".to_owned();
    ready(Err(StoreFault::Unavailable(reason))).boxed()
}
