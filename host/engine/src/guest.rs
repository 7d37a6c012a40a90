//! What every store carries, whatever the kind of plugin: memory and time accounting, diagnostics, rights.

use std::sync::Arc;
use std::time::{Duration, Instant};

use capstan_model::plugin::{Right, Rights};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::bindings::log::Level;
use crate::call::Trap;
use crate::limits::{MAX_LIFTED, MAX_MESSAGE, MAX_MESSAGES, MAX_REQUESTS, MAX_TABLE, Resolved, TICK_MS};
use crate::plugin::Facts;

/// The accounts of one instance.
pub(crate) struct Guest {
    pub facts: Arc<Facts>,
    grants: Arc<Rights>,
    limits: Resolved,
    memory: usize,
    table: usize,
    ticks: u32,
    waited: bool,
    requests: u32,
    messages: u32,
    last_error: Option<String>,
    /// How long the guest waited for others: commands, servers, durable rows.
    pub away: Duration,
    /// Set before the guest is ended by the host; says more than the trap does.
    pub fault: Option<Trap>,
}

/// Store data that carries a [`Guest`].
pub(crate) trait HasGuest: 'static {
    fn guest(&mut self) -> &mut Guest;
}

/// Makes a store whose guest is limited.
pub(crate) fn store<T: HasGuest + Send>(engine: &wasmtime::Engine, data: T) -> Store<T> {
    let mut store = Store::new(engine, data);
    store.limiter(|data| data.guest());
    store.set_hostcall_fuel(MAX_LIFTED);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().guest().tick()));
    store
}

impl Guest {
    pub(crate) fn new(facts: Arc<Facts>, grants: Arc<Rights>) -> Self {
        let limits = facts.limits;
        Self {
            facts,
            grants,
            limits,
            memory: 0,
            table: 0,
            ticks: 0,
            waited: false,
            requests: 0,
            messages: 0,
            last_error: None,
            away: Duration::ZERO,
            fault: None,
        }
    }

    /// Checks one right on both sides. The error is the text for the guest; it is counted.
    pub(crate) fn allow(&self, right: Right, value: &str) -> Result<(), String> {
        let asked = &self.facts.manifest.rights;
        capstan_model::plugin::check_right(self.facts.name(), asked, &self.grants, right, value).map_err(
            |refusal| {
                self.facts.counters.refused(&refusal);
                refusal.to_string()
            },
        )
    }

    /// Notes that a request leaves the guest for the world: its time starts anew, the number of requests is bounded.
    pub(crate) fn request(&mut self) -> wasmtime::Result<()> {
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            return Err(self.end(Trap::TooMuch(format!(
                "more than {MAX_REQUESTS} requests in one call"
            ))));
        }
        self.left();
        Ok(())
    }

    /// Starts the guest's time anew, for a host call that is bounded otherwise. The tick that passed during the call
    /// is not the guest's.
    pub(crate) fn left(&mut self) {
        self.ticks = 0;
        self.waited = true;
    }

    /// Ends a wait that began at `since`: neither the time limit nor the count of the guest's time has it.
    pub(crate) fn returned(&mut self, since: Instant) {
        self.away += since.elapsed();
        self.left();
    }

    /// Remembers why the host ends the guest, and makes the error that does it.
    pub(crate) fn end(&mut self, trap: Trap) -> wasmtime::Error {
        let error = wasmtime::Error::msg(trap.to_string());
        self.fault.get_or_insert(trap);
        error
    }

    /// Called when an epoch ends while the guest runs: gives others their turn, or ends a guest that ran too long.
    fn tick(&mut self) -> UpdateDeadline {
        if !std::mem::take(&mut self.waited) {
            self.ticks += 1;
        }
        if self.ticks.saturating_mul(TICK_MS) < self.limits.slice_ms {
            return UpdateDeadline::Yield(1);
        }
        self.fault.get_or_insert(Trap::Deadline {
            ms: self.limits.slice_ms,
        });
        UpdateDeadline::Interrupt
    }

    /// Passes one diagnostic message on. `silent` while a step is replayed: it was passed on the first time. Answers what it
    /// took of it, none where there were too many.
    pub(crate) fn log(&mut self, level: Level, mut message: String, silent: bool) -> Option<String> {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        if end < message.len() {
            message.truncate(end);
            message.push('…');
        }
        if matches!(level, Level::Error) {
            self.last_error = Some(message.clone());
        }
        self.messages = self.messages.saturating_add(1);
        if self.messages > MAX_MESSAGES {
            return None;
        }
        if silent {
            return Some(message);
        }
        let plugin = self.facts.name();
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
        }
        Some(message)
    }

    /// Says why a call into the guest failed, and counts it.
    pub(crate) fn explain(&mut self, error: &wasmtime::Error) -> Trap {
        self.facts.counters.trapped();
        if let Some(fault) = self.fault.take() {
            return fault;
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::StackOverflow) => Trap::StackOverflow,
            // What a panic compiles to; the SDK's panic hook has sent the text through `log`.
            Some(wasmtime::Trap::UnreachableCodeReached) => {
                let text = self
                    .last_error
                    .take()
                    .unwrap_or_else(|| "without a message".to_owned());
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                Trap::Panic(text.trim_start_matches("panicked at ").to_owned())
            }
            Some(wasmtime::Trap::MemoryOutOfBounds) => {
                Trap::Other("it reached outside its memory; too deep a recursion does that too".to_owned())
            }
            Some(trap) => Trap::Other(trap.to_string()),
            None => Trap::Other(error.root_cause().to_string()),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(dropped) = self.messages.checked_sub(MAX_MESSAGES).filter(|&n| n > 0) {
            let plugin = self.facts.name();
            tracing::warn!(target: "plugin", plugin, dropped, "more than {MAX_MESSAGES} messages in one call");
        }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // All memories of the instance together. Growing fails the same way on every replay: by ending the call.
        self.memory = self.memory.saturating_add(desired.saturating_sub(current));
        if self.memory > self.limits.memory {
            return Err(self.end(Trap::OutOfMemory {
                limit_mib: self.limits.memory >> 20,
            }));
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.table = self.table.saturating_add(desired.saturating_sub(current));
        if self.table > MAX_TABLE {
            return Err(self.end(Trap::TooMuch(format!("more than {MAX_TABLE} table elements"))));
        }
        Ok(true)
    }
}
