//! The two wasmtime engines behind every plugin: a deterministic one for steps, which are replayed, and an ordinary
//! one for the rest. Made once by the master.

use std::path::PathBuf;
use std::sync::Arc;

use capstan_model::journal::Entry;
use capstan_model::plugin::Kind;
use capstan_model::{Clock, SystemClock};
use futures::future::BoxFuture;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::audit::{Audit, Ear};
use crate::bindings::{decisions, generator, reporter, scheduler, source, step};
use crate::cache::Cache;
use crate::call::CallState;
use crate::inspect::LoadError;
use crate::limits::MAX_TABLE;
use crate::places::Places;
use crate::plugin::Plugin;
use crate::step::{Replay, StepEnd, StepError, StepPort, StepRun, StepState, StopSignal};
use crate::ticker::Ticker;

/// Core instances of one component.
const MAX_CORE_INSTANCES: u32 = 60;

/// What an instance's memory keeps for the next one: more than a usual guest touches. Giving pages back is a system call
/// that waits for whoever else changes the process's mappings, and a guest that gives back all of its memory does so for
/// milliseconds.
const RESIDENT: usize = 2 << 20;

/// How plugins are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where compiled plugins are kept; `None` compiles anew at each start. Holds machine code that is executed as it
    /// is, so it is made readable and writable for its owner alone.
    pub cache_dir: Option<PathBuf>,
    /// The most that is kept there, in bytes: beyond it what was used longest ago is removed. `None` keeps everything.
    pub cache_room: Option<u64>,
    /// Steps that are inside a guest, or wait with a warm one, at the same time. When more want to run, those that wait
    /// give up their instances early; if none does, they wait for their turn.
    pub step_instances: u32,
    /// Calls of other plugins at the same time; more wait for their turn.
    pub call_instances: u32,
    /// Memory of one instance, in MiB, where the manifest names none.
    pub memory_mib: u32,
    /// The most that a manifest may ask for.
    pub max_memory_mib: u32,
    /// Time of one call inside a scheduler, change source or reporter between two host calls, in milliseconds.
    pub call_ms: u32,
    /// The same for steps.
    pub step_ms: u32,
    /// The most that a manifest may ask for, of either kind.
    pub max_call_ms: u32,
    /// Journal rows of one step.
    pub journal_rows: u32,
    /// The most that a manifest may ask for.
    pub max_journal_rows: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_room: None,
            step_instances: 1000,
            call_instances: 64,
            memory_mib: 64,
            max_memory_mib: 512,
            call_ms: 2000,
            step_ms: 5000,
            max_call_ms: 60_000,
            journal_rows: 10_000,
            max_journal_rows: 100_000,
        }
    }
}

/// Why there is no plugin runtime.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused its configuration.
    #[error("set up the WebAssembly engine: {0}")]
    Setup(String),
    /// The compile cache cannot be made private.
    #[error(
        "expected a private folder for compiled plugins at {path}: {source}; name another in capstan.toml"
    )]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The thread that limits running time cannot be started.
    #[error("start the thread that interrupts plugins: {0}")]
    Ticker(std::io::Error),
}

/// The plugin runtime. Cloning it is cheap.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub options: Options,
    pub cache: Cache,
    pub steps: Runtime,
    pub calls: Runtime,
    pub linkers: Linkers,
    pub ticker: Arc<Ticker>,
    pub clock: Arc<dyn Clock>,
    pub audit: Ear,
}

/// One wasmtime engine and the places in its pool.
pub(crate) struct Runtime {
    pub engine: wasmtime::Engine,
    /// Taken before a store is made, and held as long as it.
    pub places: Arc<Places>,
    /// How many places there are.
    instances: u32,
}

/// What each kind of plugin is linked with. Every import of its world is there; a right that is missing answers `denied`.
pub(crate) struct Linkers {
    pub step: Linker<StepState>,
    pub scheduler: Linker<CallState>,
    pub source: Linker<CallState>,
    pub reporter: Linker<CallState>,
    pub generator: Linker<CallState>,
}

impl Engine {
    /// Makes both engines and starts the thread that interrupts guests; it ends with the last clone.
    pub fn new(options: Options) -> Result<Self, EngineError> {
        Self::with_clock(options, Arc::new(SystemClock))
    }

    /// The same with another clock, for plugins that read the machine's.
    pub fn with_clock(options: Options, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        let cache = Cache::open(options.cache_dir.clone(), options.cache_room)?;
        let steps = Runtime::new(&options, options.step_instances, true)?;
        let calls = Runtime::new(&options, options.call_instances, false)?;
        let ticker = Ticker::start(&[&steps.engine, &calls.engine])?;
        let linkers = Linkers::new(&steps.engine, &calls.engine).map_err(setup)?;
        Ok(Self(Arc::new(Inner {
            options,
            cache,
            steps,
            calls,
            linkers,
            ticker,
            clock,
            audit: Ear::default(),
        })))
    }

    /// Tells `audit` of every refusal from now on, of plugins that are loaded already, too. Only the first one is told.
    pub fn audit_to(&self, audit: Arc<dyn Audit>) {
        let _known = self.0.audit.set(audit);
    }

    /// Checks one plugin file and makes it ready to be called. Compiles it unless the cache has it, which takes from
    /// tenths of a second to many seconds: call it where blocking is allowed.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        Plugin::load(&self.0, bytes)
    }

    /// Runs a step from its beginning or, if its journal has rows, from where it was left. Dropping the future
    /// leaves the step as its journal has it, to be run again.
    pub fn run_step(
        &self,
        run: StepRun,
        port: Arc<dyn StepPort>,
        stop: StopSignal,
    ) -> BoxFuture<'static, Result<StepEnd, StepError>> {
        crate::step::run(run, port, stop)
    }

    /// Runs a step's component against a recorded journal, row 0 first, with nothing behind it: no command, no network, no
    /// store. The component need not be the one that the journal was made with. Bounded as any other run.
    pub async fn replay(&self, plugin: &Plugin, journal: Vec<Entry>) -> Result<Replay, StepError> {
        crate::step::replay(plugin, journal).await
    }

    /// How many instances of steps are in memory now. A step that waits without one is not among them.
    pub fn live_steps(&self) -> u64 {
        self.0.steps.live()
    }
}

impl Inner {
    pub(crate) fn runtime(&self, kind: Kind) -> &Runtime {
        match kind {
            Kind::Step => &self.steps,
            Kind::ChangeSource | Kind::Scheduler | Kind::Reporter | Kind::Generator => &self.calls,
        }
    }
}

impl Runtime {
    fn new(options: &Options, instances: u32, deterministic: bool) -> Result<Self, EngineError> {
        let instances = instances.max(1);
        let pooled = wasmtime::Engine::new(&config(options, deterministic, Some(instances)));
        let engine = match pooled {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(%error, instances, "no address space for a pool of plugin instances: each is made when needed");
                wasmtime::Engine::new(&config(options, deterministic, None)).map_err(setup)?
            }
        };
        Ok(Self {
            engine,
            places: Arc::new(Places::new(instances as usize)),
            instances,
        })
    }

    /// How many of the places one plugin may take, so that none keeps all others from being called. Steps wait in their
    /// places, and give them up when another wants one: a plugin may have nearly all of them.
    pub(crate) fn share(&self, kind: Kind) -> usize {
        let all = self.instances as usize;
        match kind {
            Kind::Step => all - all / 8,
            Kind::ChangeSource | Kind::Scheduler | Kind::Reporter | Kind::Generator => (all / 4).max(1),
        }
    }

    /// How many instances there are now: what the pool has given out or, without a pool, the places that are taken.
    fn live(&self) -> u64 {
        let taken = || (self.instances as usize).saturating_sub(self.places.free()) as u64;
        self.engine
            .pooling_allocator_metrics()
            .map_or_else(taken, |pool| pool.component_instances())
    }
}

fn setup(error: wasmtime::Error) -> EngineError {
    EngineError::Setup(format!("{error:#}"))
}

fn config(options: &Options, deterministic: bool, pool: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Guests are synchronous; without asynchronous WIT a call costs half.
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_memory64(false)
        .cranelift_nan_canonicalization(deterministic)
        .relaxed_simd_deterministic(deterministic);
    if let Some(instances) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool_of(options, instances)));
    }
    config
}

fn pool_of(options: &Options, instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // A component made by wit-component has a main module, a shim and a fix-up; one of Python has some thirty. These
        // are counted, nothing is set aside for them.
        .total_core_instances(instances.saturating_mul(MAX_CORE_INSTANCES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        // A QuickJS brings two besides its own: those of the adapter for WASI and of what stands in for it. Address space only.
        .total_memories(instances.saturating_mul(3))
        .max_memories_per_component(3)
        .total_tables(instances.saturating_mul(4))
        .max_tables_per_component(8)
        .table_elements(MAX_TABLE)
        .total_stacks(instances)
        .max_memory_size((options.max_memory_mib as usize) << 20)
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT);
    pool
}

impl Linkers {
    fn new(steps: &wasmtime::Engine, calls: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let mut linkers = Self {
            step: Linker::new(steps),
            scheduler: Linker::new(calls),
            source: Linker::new(calls),
            reporter: Linker::new(calls),
            generator: Linker::new(calls),
        };
        step::StepPlugin::add_to_linker::<_, HasSelf<StepState>>(&mut linkers.step, |state| state)?;
        scheduler::SchedulerPlugin::add_to_linker::<_, HasSelf<CallState>>(
            &mut linkers.scheduler,
            |state| state,
        )?;
        // Types alone, of what some schedulers export beside their world.
        decisions::add_to_linker::<_, HasSelf<CallState>>(&mut linkers.scheduler, |state| state)?;
        source::ChangeSourcePlugin::add_to_linker::<_, HasSelf<CallState>>(&mut linkers.source, |state| {
            state
        })?;
        reporter::ReporterPlugin::add_to_linker::<_, HasSelf<CallState>>(&mut linkers.reporter, |state| {
            state
        })?;
        generator::GeneratorPlugin::add_to_linker::<_, HasSelf<CallState>>(
            &mut linkers.generator,
            |state| state,
        )?;
        Ok(linkers)
    }
}
