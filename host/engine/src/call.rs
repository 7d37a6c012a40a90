//! One call into a plugin that has no journal: a fresh store, what came of it, and the data behind its host calls.

use std::sync::Arc;
use std::time::Duration;

use capstan_model::plugin::{Kind, Rights};
use serde::{Deserialize, Serialize};
use wasmtime::component::ResourceTable;

use crate::bindings::{decisions, log, types};
use crate::convert::readable;
use crate::guest::{Guest, HasGuest};
use crate::plugin::Facts;
use crate::ports::Ports;
use crate::wasi::WorldHost;

/// On whose behalf a plugin is called: what the operator granted it, and the world as it may reach it.
#[derive(Clone)]
pub struct Caller {
    /// The name of the scheduler, change source or reporter in the configuration: what it keeps belongs to that.
    pub owner: String,
    /// The operator's side of its rights.
    pub grants: Arc<Rights>,
    /// The ports.
    pub ports: Ports,
}

/// A fault in a plugin's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where in the parameters: `env.PATH`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// Problems of one check that are kept.
const MAX_PROBLEMS: usize = 100;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The parameters are wrong.
    #[error("invalid parameters: {}", list(.0))]
    InvalidConfig(Vec<Problem>),
    /// It may work later.
    #[error("{0}")]
    Transient(String),
    /// It will not work until somebody does something.
    #[error("{0}")]
    Permanent(String),
    /// The plugin answered something that is not allowed.
    #[error("the plugin's answer is malformed: {0}")]
    Malformed(String),
    /// The plugin is of another kind.
    #[error("expected a plugin of kind {expected}, found {name} of kind {found}")]
    WrongKind {
        /// The kind that has this call.
        expected: Kind,
        /// The plugin's own.
        found: Kind,
        /// The plugin's name.
        name: String,
    },
    /// The call was ended.
    #[error("the plugin was ended: {0}")]
    Trap(Trap),
}

fn list(problems: &[Problem]) -> String {
    let one = |p: &Problem| {
        if p.path.is_empty() {
            p.message.clone()
        } else {
            format!("{}: {}", p.path, p.message)
        }
    };
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why the host ended a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trap {
    /// It wanted more memory than it may have.
    #[error(
        "it needs more than its memory limit of {limit_mib} MiB; a higher `limits.memory_mib` in its manifest may help"
    )]
    OutOfMemory {
        /// The limit.
        limit_mib: usize,
    },
    /// It computed for too long without calling the host.
    #[error("it ran for more than {ms} ms without an answer")]
    Deadline {
        /// The limit.
        ms: u32,
    },
    /// It recursed too deeply.
    #[error("its stack overflowed")]
    StackOverflow,
    /// It panicked with this message, if its language reports one.
    #[error("it panicked: {0}")]
    Panic(String),
    /// It used more of something than anybody needs.
    #[error("it used too much: {0}")]
    TooMuch(String),
    /// It called `exit` instead of returning.
    #[error("it called exit ({0}); a plugin returns its answer")]
    Exited(String),
    /// It called something that it must not call here.
    #[error("it called {0}, which is not allowed here")]
    Forbidden(String),
    /// Any other fault of the code.
    #[error("{0}")]
    Other(String),
}

/// The data of a store for one call.
pub(crate) struct CallState {
    pub guest: Guest,
    pub table: ResourceTable,
    pub ports: Option<Ports>,
    /// The caller's name in the configuration; empty while parameters are checked.
    pub owner: String,
    /// How many messages are in the making.
    pub drafts: usize,
}

impl CallState {
    /// Without ports, for checking parameters.
    pub(crate) fn new(facts: &Arc<Facts>, caller: Option<&Caller>) -> Self {
        let grants = caller
            .map(|caller| Arc::clone(&caller.grants))
            .unwrap_or_default();
        let mut guest = Guest::new(Arc::clone(facts), grants);
        guest.place.owner = caller.map(|caller| caller.owner.clone()).unwrap_or_default();
        Self {
            guest,
            table: ResourceTable::new(),
            ports: caller.map(|caller| caller.ports.clone()),
            owner: caller.map(|caller| caller.owner.clone()).unwrap_or_default(),
            drafts: 0,
        }
    }

    /// The ports, for a call that reaches the world; while parameters are checked there are none.
    pub(crate) fn reach(&mut self, call: &str) -> wasmtime::Result<Ports> {
        self.guest.request()?;
        match &self.ports {
            Some(ports) => Ok(ports.clone()),
            None => Err(self.guest.end(Trap::Forbidden(call.to_owned()))),
        }
    }
}

impl HasGuest for CallState {
    fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }
}

impl WorldHost for CallState {
    fn passed(&mut self) -> Duration {
        self.guest.world.machine()
    }

    fn say(&mut self, level: log::Level, line: String) {
        self.guest.log(level, line, false);
    }
}

impl log::Host for CallState {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.guest.log(level, message, false);
        Ok(())
    }
}

impl types::Host for CallState {}

impl decisions::Host for CallState {}

impl From<types::PluginError> for CallError {
    fn from(error: types::PluginError) -> Self {
        match error {
            types::PluginError::InvalidConfig(problems) => Self::InvalidConfig(
                problems
                    .into_iter()
                    .take(MAX_PROBLEMS)
                    .map(|p| Problem {
                        path: readable(p.path),
                        message: readable(p.message),
                    })
                    .collect(),
            ),
            types::PluginError::Transient(text) => Self::Transient(readable(text)),
            types::PluginError::Permanent(text) => Self::Permanent(readable(text)),
        }
    }
}

/// Calls one exported function in a fresh store: waits for a place, instantiates, calls, explains. The store is
/// thrown away whatever happens.
macro_rules! call_guest {
    ($plugin:expr, $pre:expr, $state:expr, |$bindings:ident, $store:ident| $call:expr) => {{
        let plugin: &crate::plugin::Plugin = $plugin;
        let runtime = plugin.runtime();
        // Its share first: who waits for that takes no place from others.
        let _share = plugin.facts().share.take().await;
        let _place = runtime.places.take().await;
        let call = plugin.facts().counters.call();
        let mut $store = crate::guest::store(&runtime.engine, $state);
        let large = crate::guest::HasGuest::guest($store.data_mut()).large();
        let outcome = crate::aside::drive(large, async {
            match $pre.instantiate_async(&mut $store).await {
                Ok($bindings) => $call.await,
                Err(error) => Err(error),
            }
        })
        .await;
        let mut data = crate::guest::ended($store).await;
        crate::wasi::rest(&mut data);
        let guest = crate::guest::HasGuest::guest(&mut data);
        call.ended(guest.away, !matches!(outcome, Ok(Ok(_))));
        match outcome {
            Ok(answer) => answer.map_err(crate::call::CallError::from),
            Err(error) => Err(crate::call::CallError::Trap(guest.explain(&error))),
        }
    }};
}
pub(crate) use call_guest;
