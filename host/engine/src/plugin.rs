//! One loaded plugin: its manifest, its compiled code linked with its world, and counts of what it did.

use std::sync::Arc;

use capstan_model::plugin::{self, Kind, Limits, Manifest, Wasi};
use capstan_model::{Clock, Digest};
use serde_json::Value;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::audit::Ear;
use crate::bindings::calls::TakesCallsPre;
use crate::bindings::completions::FollowsPre;
use crate::bindings::migration::MigratesPre;
use crate::bindings::{generator, reporter, scheduler, source, step};
use crate::call::{CallError, CallState, call_guest};
use crate::counters::{Counters, RefusalCount, Stats};
use crate::engine::{Inner, Runtime};
use crate::inspect::{self, LoadError, inspect};
use crate::limits::{Resolved, resolve};
use crate::places::Places;
use crate::signatures::{self, WrongSignature};
use crate::step::{StepState, canonical};
use crate::ticker::Ticker;
use crate::wasi::WorldHost;

/// A plugin that is ready to be called. Cloning it is cheap; clones share the counts.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    facts: Arc<Facts>,
    code: Code,
    beside: Beside,
    engine: Arc<Inner>,
}

/// What a scheduler or a change source exports beside its world.
#[derive(Default)]
pub(crate) struct Beside {
    pub migration: Option<MigratesPre<CallState>>,
    pub calls: Option<TakesCallsPre<CallState>>,
    pub completions: Option<FollowsPre<CallState>>,
}

/// What does not depend on the code.
pub(crate) struct Facts {
    pub manifest: Manifest,
    pub digest: Digest,
    pub imports: Vec<String>,
    pub limits: Resolved,
    pub counters: Counters,
    /// For guests that read the machine's.
    pub clock: Arc<dyn Clock>,
    /// What interrupts its guests.
    pub ticker: Arc<Ticker>,
    /// How many instances it may have of all that its kind has.
    pub share: Arc<Places>,
    /// Who is told of refusals.
    pub audit: Ear,
}

/// The component, linked with what its kind may import.
pub(crate) enum Code {
    Step(step::StepPluginPre<StepState>),
    Scheduler(scheduler::SchedulerPluginPre<CallState>),
    Source(source::ChangeSourcePluginPre<CallState>),
    Reporter(reporter::ReporterPluginPre<CallState>),
    Generator(generator::GeneratorPluginPre<CallState>),
}

impl Plugin {
    pub(crate) fn load(engine: &Arc<Inner>, bytes: &[u8]) -> Result<Self, LoadError> {
        let outside = inspect(bytes)?;
        let (name, kind) = (outside.manifest.plugin.name.clone(), outside.manifest.plugin.kind);
        let slice = if kind == Kind::Step {
            engine.options.step_ms
        } else {
            engine.options.call_ms
        };
        let limits = resolve(&outside.manifest.limits, &engine.options, slice).map_err(|greedy| {
            LoadError::Greedy {
                name: name.clone(),
                limit: greedy.limit,
                asked: greedy.asked,
                allowed: greedy.allowed,
            }
        })?;
        let digest = Digest::of(bytes);
        let linked = link(engine, &outside.manifest, digest, bytes, outside.beside);
        let (code, beside) = linked.map_err(|error| unfit(name, outside.newer, error))?;
        let (manifest, imports) = (outside.manifest, outside.imports);
        let facts = Facts {
            manifest,
            digest,
            imports,
            limits,
            counters: Counters::default(),
            clock: Arc::clone(&engine.clock),
            ticker: Arc::clone(&engine.ticker),
            share: Arc::new(Places::new(engine.runtime(kind).share(kind))),
            audit: Arc::clone(&engine.audit),
        };
        Ok(Self(Arc::new(Loaded {
            facts: Arc::new(facts),
            code,
            beside,
            engine: Arc::clone(engine),
        })))
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.0.facts.manifest
    }

    /// Its name in configurations.
    pub fn name(&self) -> &str {
        self.0.facts.name()
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.manifest().plugin.kind
    }

    /// The digest of its file: its identity.
    pub fn digest(&self) -> Digest {
        self.0.facts.digest
    }

    /// The interfaces that its code imports: what it can do at most.
    pub fn imports(&self) -> &[String] {
        &self.0.facts.imports
    }

    /// The world that it implements, with the package's version, as row 0 of a journal names it.
    pub fn world(&self) -> String {
        format!(
            "{}/{}@{}",
            plugin::PACKAGE,
            self.kind().world(),
            plugin::PACKAGE_VERSION
        )
    }

    /// Its limits, those of the manifest completed with the operator's.
    pub fn limits(&self) -> Limits {
        let limits = &self.0.facts.limits;
        Limits {
            memory_mib: u32::try_from(limits.memory >> 20).ok(),
            call_ms: Some(limits.slice_ms),
            journal_rows: Some(limits.journal_rows),
        }
    }

    /// How often it was called, and what came of it.
    pub fn stats(&self) -> Stats {
        self.0.facts.counters.stats()
    }

    /// What it was refused, the last first; of different values the last hundred.
    pub fn refusals(&self) -> Vec<RefusalCount> {
        self.0.facts.counters.refusals()
    }

    /// Checks parameters, of any kind of plugin; a generator checks them when it generates. The plugin can reach nothing but its diagnostics meanwhile.
    pub async fn check(&self, config: &Value) -> Result<(), CallError> {
        let config = canonical::text(config);
        let state = || CallState::new(self.facts(), None);
        match &self.0.code {
            Code::Step(pre) => call_guest!(self, pre, StepState::for_check(self.facts()), |guest, store| {
                guest.capstan_plugin_step().call_check(&mut store, &config)
            }),
            Code::Scheduler(pre) => call_guest!(self, pre, state(), |guest, store| guest
                .capstan_plugin_scheduler()
                .call_check(&mut store, &config)),
            Code::Source(pre) => call_guest!(self, pre, state(), |guest, store| guest
                .capstan_plugin_change_source()
                .call_check(&mut store, &config)),
            Code::Reporter(pre) => call_guest!(self, pre, state(), |guest, store| guest
                .capstan_plugin_reporter()
                .call_check(&mut store, &config)),
            Code::Generator(_) => Ok(()),
        }
    }

    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.0.facts
    }

    pub(crate) fn code(&self) -> &Code {
        &self.0.code
    }

    pub(crate) fn beside(&self) -> &Beside {
        &self.0.beside
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.0.engine.runtime(self.kind())
    }

    pub(crate) fn wrong_kind(&self, expected: Kind) -> CallError {
        CallError::WrongKind {
            expected,
            found: self.kind(),
            name: self.name().to_owned(),
        }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.kind(), self.name(), self.digest().short())
    }
}

type Linked = (Code, Beside);

/// Why a component could not be linked, in words for whoever made it.
fn unfit(name: String, newer: Option<String>, error: wasmtime::Error) -> LoadError {
    // Types never change, so that another version is no excuse for them.
    let error = match error.downcast::<WrongSignature>() {
        Ok(wrong) => {
            return LoadError::Signature {
                name,
                function: wrong.function,
                expected: wrong.expected,
                found: wrong.found,
                reason: wrong.reason,
            };
        }
        Err(error) => error,
    };
    match newer {
        Some(needs) => LoadError::Version {
            name,
            needs,
            newer: true,
            lacks: Vec::new(),
        },
        None => LoadError::Invalid {
            name,
            reason: format!("{error:#}"),
        },
    }
}

fn link(
    engine: &Inner,
    manifest: &Manifest,
    digest: Digest,
    bytes: &[u8],
    exports: inspect::Beside,
) -> wasmtime::Result<Linked> {
    let (kind, stubs) = (manifest.plugin.kind, manifest.plugin.wasi);
    let component = engine
        .cache
        .compile(&engine.runtime(kind).engine, digest, bytes)?;
    let linkers = &engine.linkers;
    let beside = |pre: InstancePre<CallState>| -> wasmtime::Result<Beside> {
        Ok(Beside {
            migration: exports
                .migration
                .then(|| MigratesPre::new(pre.clone()))
                .transpose()?,
            calls: exports
                .calls
                .then(|| TakesCallsPre::new(pre.clone()))
                .transpose()?,
            completions: exports.completions.then(|| FollowsPre::new(pre)).transpose()?,
        })
    };
    Ok(match kind {
        Kind::Step => {
            let pre = fit(&linkers.step, &component, stubs)?;
            (Code::Step(step::StepPluginPre::new(pre)?), Beside::default())
        }
        Kind::Scheduler => {
            let pre = fit(&linkers.scheduler, &component, stubs)?;
            let code = Code::Scheduler(scheduler::SchedulerPluginPre::new(pre.clone())?);
            (code, beside(pre)?)
        }
        Kind::ChangeSource => {
            let pre = fit(&linkers.source, &component, stubs)?;
            let code = Code::Source(source::ChangeSourcePluginPre::new(pre.clone())?);
            let migration = beside(pre)?.migration;
            let beside = Beside {
                migration,
                ..Beside::default()
            };
            (code, beside)
        }
        Kind::Reporter => {
            let pre = fit(&linkers.reporter, &component, stubs)?;
            (
                Code::Reporter(reporter::ReporterPluginPre::new(pre)?),
                Beside::default(),
            )
        }
        Kind::Generator => {
            let pre = fit(&linkers.generator, &component, stubs)?;
            (
                Code::Generator(generator::GeneratorPluginPre::new(pre)?),
                Beside::default(),
            )
        }
    })
}

/// Links a component with what its kind may import and, where its manifest says so, with the WASI stubs. What it exports
/// has to have the types of its world.
fn fit<T: WorldHost>(
    linker: &Linker<T>,
    component: &Component,
    stubs: Option<Wasi>,
) -> wasmtime::Result<InstancePre<T>> {
    match stubs {
        None => checked(linker, component),
        Some(Wasi::Stub) => {
            let mut linker = linker.clone();
            crate::wasi::link(&mut linker, &component.component_type())?;
            checked(&linker, component)
        }
    }
}

fn checked<T: 'static>(linker: &Linker<T>, component: &Component) -> wasmtime::Result<InstancePre<T>> {
    let linked = linker.instantiate_pre(component)?;
    signatures::check(linker.engine(), &linker.substituted_component_type(component)?)?;
    Ok(linked)
}

impl Facts {
    pub(crate) fn name(&self) -> &str {
        &self.manifest.plugin.name
    }
}
