//! From files to a plan in force: loads plugins and evaluates the configuration; `applying` puts the result in force, all or nothing.
//!
//! A start and a reload read everything. When only a plugin file has changed, the configuration in force is evaluated again with
//! it: an edit of `ci.star` that nobody asked to load stays out.

mod applying;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use capstan_config::{
    Diagnostic, Evaluated, Farm as Files, Functions, Lock, Operator, PluginInfo, Problem, Retention,
};
use capstan_engine::{CallError, Engine, Options, Plugin};
use capstan_model::plan::{Bundle, Plan, PluginUse};
use capstan_model::plugin::Kind;
use capstan_model::{Digest, Timestamp};
use capstan_store::Store;

use crate::Error;
use crate::farm::Farm;
use crate::plugins::{
    Accept, BuiltIn as Included, Choice, InForce, Key, Look, Origin, Proposal, Registry, Settings, Settled,
    load_version, read_file, settle,
};

pub(crate) use applying::apply;

/// A configuration that was found good, with the plugins that it was checked against.
pub struct Configured {
    /// What it means.
    pub plan: Plan,
    /// The functions that it keeps; none where the plan in force stays as it is.
    pub functions: Functions,
    /// What is allowed but looks wrong, and what the configuration printed.
    pub remarks: Vec<Diagnostic>,
    /// Plugin files that a master would not use as they are.
    pub grants: Vec<String>,
    /// The plugins.
    pub registry: Registry,
    /// What the lock has to be told.
    record: Vec<Accept>,
    /// Since when all plugins were compiled.
    compiled: Instant,
}

/// The components that are part of a program, by file name.
pub type BuiltIn = &'static [(&'static str, &'static [u8])];

/// The plugin engine as the operator limits it; compiled plugins are kept in the data folder.
pub fn engine(operator: &Operator) -> Result<Engine, Error> {
    let mut options = Options {
        cache_dir: Some(operator.master.data.join("cache")),
        ..Options::default()
    };
    let limits = &operator.limits.plugin;
    options.memory_mib = limits.memory_mib.unwrap_or(options.memory_mib);
    options.call_ms = limits.call_ms.unwrap_or(options.call_ms);
    options.step_ms = limits.call_ms.unwrap_or(options.step_ms);
    options.journal_rows = limits.journal_rows.unwrap_or(options.journal_rows);
    options.max_memory_mib = options.max_memory_mib.max(options.memory_mib);
    options.max_call_ms = options.max_call_ms.max(options.step_ms);
    options.max_journal_rows = options.max_journal_rows.max(options.journal_rows);
    Engine::new(options).map_err(|e| Error::failed("start the plugin engine", e))
}

/// What is to be loaded and evaluated.
pub(crate) struct Request {
    pub engine: Engine,
    pub built_in: BuiltIn,
    pub before: Arc<Registry>,
    pub settings: Settings,
    /// The Starlark files.
    pub files: Files,
    /// The plan to stay with if no change of a plugin fits these files.
    pub otherwise: Option<Arc<Plan>>,
    /// What the operator accepted, or why nobody knows.
    pub lock: Result<Lock, String>,
    /// Whether files that were not accepted are left out, or only remarked on.
    pub enforce: bool,
    pub unsettled: BTreeSet<String>,
    pub anew: bool,
    pub now: Timestamp,
}

/// Loads the plugins and evaluates the configuration of the farm that `operator` describes. Changes nothing, and takes each
/// plugin file as it is: what a master would not use is remarked on.
pub async fn configure(operator: &Operator, engine: &Engine, built_in: BuiltIn) -> Result<Configured, Error> {
    let request = Request {
        enforce: false,
        ..Request::all(operator, engine, built_in, Arc::default(), Timestamp(0))
    };
    configure_as(operator, request).await
}

impl Request {
    /// Everything anew, as the operator's file describes it.
    pub fn all(
        operator: &Operator,
        engine: &Engine,
        built_in: BuiltIn,
        before: Arc<Registry>,
        now: Timestamp,
    ) -> Self {
        Self {
            engine: engine.clone(),
            built_in,
            before,
            settings: Settings::new(operator),
            files: operator.farm(),
            otherwise: None,
            lock: Lock::load(&operator.folder).map_err(|e| e.to_string()),
            enforce: true,
            unsettled: BTreeSet::new(),
            anew: true,
            now,
        }
    }

    /// The plugin folder alone, for the plan in force.
    pub fn plugins(farm: &Farm, lock: Result<Lock, String>, unsettled: BTreeSet<String>) -> Self {
        let (plan, before) = (farm.plan(), farm.plugins.load_full());
        // A file that is being edited says nothing yet: what the operator said last holds.
        let settings = match Operator::load(&farm.folder) {
            Ok(operator) => Settings {
                folder: before.settings.folder.clone(),
                ..Settings::new(&operator)
            },
            Err(error) => {
                tracing::warn!(%error, "plugins keep the rights that they have");
                before.settings.clone()
            }
        };
        let bundle = Bundle {
            plugins: Vec::new(),
            ..plan.bundle.clone()
        };
        Self {
            engine: farm.engine.clone(),
            built_in: farm.built_in,
            before,
            settings,
            files: Files::bundle(bundle),
            otherwise: Some(plan),
            lock,
            enforce: true,
            unsettled,
            anew: false,
            now: farm.clock.now(),
        }
    }
}

/// What was in force when the last master of the farm ended: the files of the folder that are still the same, and the store's
/// bytes for the others.
pub(crate) async fn remembered(
    operator: &Operator,
    engine: &Engine,
    built_in: BuiltIn,
    store: &Store,
) -> Result<Registry, Error> {
    let mut registry = Registry::default();
    for row in store.plugins_in_force().await? {
        let path = operator.master.plugins.join(&row.origin);
        let known = [row.version.digest].into_iter().chain(row.predecessor);
        let mut versions = Vec::new();
        for digest in known {
            let included = built_in.iter().find(|(_, bytes)| Digest::of(bytes) == digest);
            let (bytes, origin) = match included {
                Some((name, bytes)) => (Some(bytes.to_vec()), Origin::BuiltIn((*name).to_owned())),
                None => (
                    stored(&path, digest, store).await?,
                    Origin::File(row.origin.clone()),
                ),
            };
            let Some(bytes) = bytes else { break };
            let engine = engine.clone();
            let loaded = tokio::task::spawn_blocking(move || load_version(&engine, bytes)).await;
            match loaded.map_err(|e| Error::failed("load a plugin", e))? {
                Ok(version) => versions.push((version, origin)),
                Err(error) => {
                    tracing::warn!(plugin = row.name, %error, "a version that was in force cannot be loaded any more");
                    break;
                }
            }
        }
        let mut versions = versions.into_iter();
        if let Some((version, origin)) = versions.next() {
            let mut chosen = InForce::new(version, origin, row.since);
            chosen.predecessor = versions.next();
            registry.in_force.insert((row.kind, row.name), chosen);
        }
    }
    Ok(registry)
}

/// The bytes of that digest, from the file or else from the store.
async fn stored(path: &Path, digest: Digest, store: &Store) -> Result<Option<Vec<u8>>, Error> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_file(&path).ok());
    let bytes = read.await.map_err(|e| Error::failed("read a plugin", e))?;
    match bytes.filter(|bytes| Digest::of(bytes) == digest) {
        Some(bytes) => Ok(Some(bytes)),
        None => Ok(store.blob(digest).await?),
    }
}

/// Evaluates a whole configuration, with the operator's file that it came with.
pub(crate) async fn configure_as(operator: &Operator, request: Request) -> Result<Configured, Error> {
    let mut configured = carry_out(request).await?;
    let infos: Vec<_> = configured.registry.active().map(info).collect();
    let used = &configured.plan.bundle.plugins;
    let builders: Vec<_> = configured
        .plan
        .builders
        .iter()
        .map(|builder| builder.name.as_str())
        .collect();
    let grants = operator.check_grants(&infos, used, &builders);
    configured.remarks.extend(grants);
    Ok(configured)
}

/// Compiling and evaluating are synchronous and may take a while; a plugin's own check is a call into the engine.
pub(crate) async fn carry_out(request: Request) -> Result<Configured, Error> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || evaluate(request, &runtime));
    done.await
        .map_err(|e| Error::failed("evaluate the configuration", e))?
}

fn evaluate(request: Request, runtime: &tokio::runtime::Handle) -> Result<Configured, Error> {
    let built_in = built_in(&request);
    let Request {
        engine,
        before,
        settings,
        files,
        otherwise,
        lock,
        enforce,
        unsettled,
        anew,
        now,
        built_in: _,
    } = request;
    let look = Look {
        engine: &engine,
        before: &before,
        settings,
        lock,
        enforce,
        unsettled,
        anew,
        now,
    };
    let Proposal {
        registry,
        wanted,
        record,
        remarks: grants,
    } = look.propose(built_in)?;
    let compiled = Instant::now();
    let checks = Checks::default();
    let mut fits = |choice: &Choice| {
        let infos: Vec<_> = choice
            .values()
            .map(|chosen| info(&chosen.version.plugin))
            .collect();
        let check = |kind: Kind, wanted: &PluginUse| checks.check(runtime, choice, kind, wanted);
        let generate = |wanted: &PluginUse| checks.generate(runtime, choice, wanted);
        capstan_config::evaluate_with(&files, &infos, &check, &generate)
    };
    let settled = match (settle(&before.in_force, &wanted, &mut fits), otherwise) {
        (Ok(settled), _) => settled,
        (Err(faults), None) => return Err(Error::Config(faults)),
        (Err(faults), Some(plan)) => Settled::nothing(&before.in_force, &wanted, &faults, &plan),
    };
    let Evaluated {
        plan,
        functions,
        remarks,
    } = settled.evaluated.clone();
    let (registry, record) = registry.settled(&before, &wanted, settled, record);
    Ok(Configured {
        plan,
        functions,
        remarks,
        grants,
        registry,
        record,
        compiled,
    })
}

fn built_in(request: &Request) -> Vec<Included> {
    if !request.before.built_in.is_empty() {
        return request.before.built_in.clone();
    }
    let load = |(name, bytes): &(&str, &[u8])| Included {
        name: (*name).to_owned(),
        size: bytes.len() as u64,
        loaded: load_version(&request.engine, bytes.to_vec()).map_err(|error| error.to_string()),
    };
    request.built_in.iter().map(load).collect()
}

fn info(plugin: &Plugin) -> PluginInfo {
    PluginInfo::new(plugin.manifest().clone(), plugin.digest())
}

/// What plugins said of parameters, and what generators made of them: each is asked once, however often the configuration is evaluated to find out which
/// versions fit. A plugin that does not answer costs its time limit, and once is enough.
#[derive(Default)]
struct Checks {
    checked: RefCell<BTreeMap<(Digest, String), Checked>>,
    generated: RefCell<BTreeMap<(Digest, String), Generated>>,
}

/// What one plugin said of one set of parameters.
type Checked = Result<(), Vec<Problem>>;

/// What a generator made of one set of parameters.
type Generated = Result<serde_json::Value, Vec<Problem>>;

impl Checks {
    fn check(
        &self,
        runtime: &tokio::runtime::Handle,
        choice: &Choice,
        kind: Kind,
        wanted: &PluginUse,
    ) -> Result<(), Vec<Problem>> {
        let key = (wanted.digest, wanted.config.to_string());
        if let Some(known) = self.checked.borrow().get(&key) {
            return known.clone();
        }
        let found = runtime.block_on(check(choice, kind, wanted));
        self.checked.borrow_mut().insert(key, found.clone());
        found
    }

    /// The same parameters give the same builders, so one call does for all evaluations.
    fn generate(&self, runtime: &tokio::runtime::Handle, choice: &Choice, wanted: &PluginUse) -> Generated {
        let key = (wanted.digest, wanted.config.to_string());
        if let Some(known) = self.generated.borrow().get(&key) {
            return known.clone();
        }
        let made = match chosen(choice, Kind::Generator, wanted) {
            Ok(plugin) => runtime.block_on(generate(plugin, &wanted.config)),
            Err(problems) => Err(problems),
        };
        self.generated.borrow_mut().insert(key, made.clone());
        made
    }
}

/// Lets a generator make builders.
pub(crate) async fn generate(
    plugin: &Plugin,
    parameters: &serde_json::Value,
) -> Result<serde_json::Value, Vec<Problem>> {
    plugin.generate(parameters).await.map_err(problems)
}

fn chosen<'c>(choice: &'c Choice, kind: Kind, wanted: &PluginUse) -> Result<&'c Plugin, Vec<Problem>> {
    let key: Key = (kind, wanted.plugin.clone());
    let chosen = choice.get(&key).filter(|chosen| chosen.digest() == wanted.digest);
    let chosen = chosen.ok_or_else(|| problem(format!("there is no {kind} `{}`", wanted.plugin)))?;
    Ok(&chosen.version.plugin)
}

fn problem(message: String) -> Vec<Problem> {
    vec![Problem {
        path: String::new(),
        message,
    }]
}

fn problems(error: CallError) -> Vec<Problem> {
    match error {
        CallError::InvalidConfig(problems) => problems
            .into_iter()
            .map(|p| Problem {
                path: p.path,
                message: p.message,
            })
            .collect(),
        other => problem(other.to_string()),
    }
}

async fn check(choice: &Choice, kind: Kind, wanted: &PluginUse) -> Result<(), Vec<Problem>> {
    let plugin = chosen(choice, kind, wanted)?;
    plugin.check(&wanted.config).await.map_err(problems)
}

/// Loads the farm's configuration anew, and the operator's rules of retention. What was withdrawn is tried again.
pub(crate) async fn load(farm: &Farm) -> Result<(Configured, Retention), Error> {
    let operator = Operator::load(&farm.folder).map_err(|e| Error::Invalid(e.to_string()))?;
    if let Err(error) = Lock::update(&farm.folder, Lock::forgive) {
        tracing::warn!(%error, "failed to note that withdrawn plugins are tried again");
    }
    let before = farm.plugins.load_full();
    let request = Request::all(&operator, &farm.engine, farm.built_in, before, farm.clock.now());
    let configured = configure_as(&operator, request).await?;
    Ok((configured, operator.retention))
}
