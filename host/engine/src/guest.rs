//! What every store carries, whatever the kind of plugin: memory and time accounting, diagnostics, rights.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capstan_model::plugin::{Refusal, Right, Rights, Side, check_right};
use wasmtime::{ResourceLimiterAsync, Store, UpdateDeadline};

use crate::aside::{LARGE, Large};
use crate::audit::{Place, Refused, presentable};
use crate::bindings::log::Level;
use crate::call::Trap;
use crate::convert::readable;
use crate::limits::{MAX_LIFTED, MAX_MESSAGES, MAX_REQUESTS, MAX_TABLE, Resolved};
use crate::plugin::Facts;
use crate::wasi::{Beginning, World};

/// Lines of standard error that are remembered.
const LAST_WORDS: usize = 6;

/// The accounts of one instance.
pub(crate) struct Guest {
    pub facts: Arc<Facts>,
    grants: Arc<Rights>,
    limits: Resolved,
    memory: usize,
    large: Large,
    table: usize,
    /// What it used of its time.
    ran: Duration,
    waited: bool,
    requests: u32,
    messages: u32,
    last_error: Option<String>,
    /// The last lines of its standard error.
    last_words: VecDeque<String>,
    /// What it sees through WASI, if it imports that.
    pub world: World,
    /// Where in the farm it runs.
    pub place: Place,
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
    store.limiter_async(|data| data.guest());
    store.set_hostcall_fuel(MAX_LIFTED);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().guest().tick()));
    store
}

/// Ends an instance; what is left is its data. One with much memory is taken apart where that holds nobody up; without an executor
/// there is nobody.
pub(crate) async fn ended<T: HasGuest + Send>(mut store: Store<T>) -> T {
    if !store.data_mut().guest().large.is() || tokio::runtime::Handle::try_current().is_err() {
        return store.into_data();
    }
    match tokio::task::spawn_blocking(move || store.into_data()).await {
        Ok(data) => data,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The executor ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A line of the master's log about a guest: which plugin, and for whom it was called.
macro_rules! tell {
    ($guest:expr, $level:ident, $($text:tt)+) => {{
        let (facts, place) = (&$guest.facts, &$guest.place);
        tracing::$level!(
            target: "plugin",
            plugin = facts.name(),
            kind = facts.manifest.plugin.kind.as_str(),
            owner = some(&place.owner),
            builder = place.builder.as_deref(),
            step = place.step.map(|step| step.0),
            delivery = place.delivery.as_deref(),
            $($text)+
        )
    }};
}

/// A field that is left out where it is not known.
fn some(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

impl Guest {
    pub(crate) fn new(facts: Arc<Facts>, grants: Arc<Rights>) -> Self {
        let limits = facts.limits;
        let world = World::new(Beginning::Machine(Arc::clone(&facts.clock)));
        Self {
            facts,
            grants,
            limits,
            memory: 0,
            large: Large::default(),
            table: 0,
            ran: Duration::ZERO,
            waited: false,
            requests: 0,
            messages: 0,
            last_error: None,
            last_words: VecDeque::new(),
            world,
            place: Place::default(),
            away: Duration::ZERO,
            fault: None,
        }
    }

    /// Whether its memory is large, now and later.
    pub(crate) fn large(&self) -> Large {
        self.large.clone()
    }

    /// Checks one right on both sides. The error is the text for the guest; it is counted.
    pub(crate) fn allow(&self, right: Right, value: &str) -> Result<(), String> {
        let asked = &self.facts.manifest.rights;
        check_right(self.facts.name(), asked, &self.grants, right, value)
            .map_err(|refusal| self.refused(refusal))
    }

    /// The same for a secret: also whether it is for the builder whose build runs or is reported.
    pub(crate) fn allow_secret(&self, name: &str) -> Result<(), String> {
        // What stands behind an `@` is the master's to say.
        if name.contains('@') {
            let shown: String = name.chars().take(100).collect();
            return Err(format!("expected the name of a secret, found {shown:?}"));
        }
        match &self.place.builder {
            Some(builder) => self.allow(Right::Secrets, &format!("{name}@{builder}")),
            None => self.allow(Right::Secrets, name),
        }
    }

    /// The same for a request to a normalised URL. Answers whether the operator named its host, so that it may be one of
    /// his own network.
    pub(crate) fn allow_request(&self, method: &str, url: &str) -> Result<bool, String> {
        let request = format!("{method} {url}");
        self.allow(Right::Http, &request)?;
        Ok(self.grants.names_host(&request))
    }

    /// Notes what a port refused for want of a grant, and answers the text for the guest.
    pub(crate) fn refused_by_port(&self, right: Right, value: String, why: &str) -> String {
        let refusal = Refusal {
            plugin: self.facts.name().to_owned(),
            right,
            value,
            side: Side::Operator,
        };
        let key = right.as_str();
        let text = format!(
            "plugin `{0}` may not use {key} `{1}`: {why}; only a grant that names that very host reaches it: add it to \
             `{key}` under [grants.{0}] in capstan.toml",
            refusal.plugin, refusal.value
        );
        self.refused(refusal);
        text
    }

    /// Counts a refusal and tells the audit; the text is for the guest.
    fn refused(&self, refusal: Refusal) -> String {
        let text = refusal.to_string();
        let refusal = presentable(refusal);
        self.facts.counters.refused(&refusal);
        if let Some(audit) = self.facts.audit.get() {
            audit.refused(Refused {
                kind: self.facts.manifest.plugin.kind,
                digest: self.facts.digest,
                refusal,
                place: self.place.clone(),
            });
        }
        text
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
        self.ran = Duration::ZERO;
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
        let beat = self.facts.ticker.meets();
        if !std::mem::take(&mut self.waited) {
            self.ran += beat;
        }
        if self.ran < Duration::from_millis(u64::from(self.limits.slice_ms)) {
            // Not wasmtime's own way to yield: with that a busy executor would see to its timers and sockets only after
            // dozens of turns.
            return UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()));
        }
        self.fault.get_or_insert(Trap::Deadline {
            ms: self.limits.slice_ms,
        });
        UpdateDeadline::Interrupt
    }

    /// Passes one diagnostic message on. `silent` while a step is replayed: it was passed on the first time. Answers what it
    /// took of it, none where there were too many.
    pub(crate) fn log(&mut self, level: Level, message: String, silent: bool) -> Option<String> {
        let message = readable(message);
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
        match level {
            Level::Debug => tell!(self, debug, "{message}"),
            Level::Info => tell!(self, info, "{message}"),
            Level::Warn => tell!(self, warn, "{message}"),
            Level::Error => tell!(self, error, "{message}"),
        }
        Some(message)
    }

    /// Remembers a line of standard error: the last ones say what went wrong, should the guest be ended by it.
    pub(crate) fn complained(&mut self, line: &str) {
        if self.last_words.len() >= LAST_WORDS {
            self.last_words.pop_front();
        }
        self.last_words.push_back(line.to_owned());
    }

    /// What it said last of what goes wrong, in one line.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        let said = self.last_error.take().or_else(|| {
            let words = std::mem::take(&mut self.last_words);
            (!words.is_empty()).then(|| Vec::from(words).join(" "))
        })?;
        Some(said.split_whitespace().collect::<Vec<_>>().join(" "))
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
                let text = self.complaint().unwrap_or_else(|| "without a message".to_owned());
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
            tell!(
                self,
                warn,
                dropped,
                "more than {MAX_MESSAGES} messages in one call"
            );
        }
    }
}

#[async_trait::async_trait]
impl ResourceLimiterAsync for Guest {
    async fn memory_growing(
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
        if self.memory >= LARGE && self.large.now() {
            // Its next turn is the first one aside.
            tokio::task::yield_now().await;
        }
        Ok(true)
    }

    async fn table_growing(
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
