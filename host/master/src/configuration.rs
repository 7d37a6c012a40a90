//! From files to a plan in force: loads plugins, evaluates the configuration, and applies the result all or nothing.

use std::sync::Arc;

use capstan_config::{Diagnostic, Evaluated, Operator, PluginInfo, Problem};
use capstan_engine::{CallError, Engine, Options, Plugin};
use capstan_model::plan::{Plan, PluginUse};
use capstan_model::plugin::Kind;
use capstan_store::SchedulerEvent;

use crate::Error;
use crate::farm::Farm;
use crate::plugins::Registry;

/// A configuration that was found good, with the plugins that it was checked against.
pub struct Configured {
    /// What it means.
    pub plan: Plan,
    /// What is allowed but looks wrong, and what the configuration printed.
    pub remarks: Vec<Diagnostic>,
    /// Grants that can have no effect.
    pub grants: Vec<String>,
    /// The plugins.
    pub registry: Registry,
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

/// Loads the plugins and evaluates the configuration of the farm that `operator` describes. Changes nothing.
pub async fn configure(operator: &Operator, engine: &Engine, built_in: BuiltIn) -> Result<Configured, Error> {
    configure_after(operator, engine, built_in, Arc::default()).await
}

async fn configure_after(
    operator: &Operator,
    engine: &Engine,
    built_in: BuiltIn,
    before: Arc<Registry>,
) -> Result<Configured, Error> {
    let (operator, engine) = (operator.clone(), engine.clone());
    let runtime = tokio::runtime::Handle::current();
    // Compiling and evaluating are synchronous and may take a while; a plugin's own check is a call into the engine.
    let configured =
        tokio::task::spawn_blocking(move || evaluate(&operator, &engine, built_in, &before, &runtime));
    configured
        .await
        .map_err(|e| Error::failed("evaluate the configuration", e))?
}

fn evaluate(
    operator: &Operator,
    engine: &Engine,
    built_in: BuiltIn,
    before: &Registry,
    runtime: &tokio::runtime::Handle,
) -> Result<Configured, Error> {
    let registry = Registry::load(
        engine,
        before,
        built_in,
        &operator.master.plugins,
        operator.grants.clone(),
    )?;
    let info = |plugin: &Plugin| PluginInfo::new(plugin.manifest().clone(), plugin.digest());
    let infos: Vec<_> = registry.active().map(|(plugin, _)| info(plugin)).collect();
    let check = |kind: Kind, wanted: &PluginUse| runtime.block_on(check(&registry, kind, wanted));
    let evaluated = capstan_config::evaluate(&operator.farm(), &infos, &check).map_err(Error::Config)?;
    let Evaluated { plan, remarks } = evaluated;
    let grants = operator.check_grants(&infos);
    Ok(Configured {
        plan,
        remarks,
        grants,
        registry,
    })
}

async fn check(registry: &Registry, kind: Kind, wanted: &PluginUse) -> Result<(), Vec<Problem>> {
    let problem = |message: String| {
        vec![Problem {
            path: String::new(),
            message,
        }]
    };
    let (plugin, _) = registry.find(kind, wanted).map_err(|e| problem(e.to_string()))?;
    plugin.check(&wanted.config).await.map_err(|error| match error {
        CallError::InvalidConfig(problems) => problems
            .into_iter()
            .map(|p| Problem {
                path: p.path,
                message: p.message,
            })
            .collect(),
        other => problem(other.to_string()),
    })
}

/// Loads the farm's configuration anew.
pub(crate) async fn load(farm: &Farm) -> Result<Configured, Error> {
    let operator = Operator::load(&farm.folder).map_err(|e| Error::Invalid(e.to_string()))?;
    configure_after(&operator, &farm.engine, farm.built_in, farm.plugins.load_full()).await
}

/// Puts a configuration in force: what it pins becomes durable first, then everybody sees the new plan at once.
pub(crate) async fn apply(farm: &Farm, configured: Configured) -> Result<(), Error> {
    let Configured { plan, registry, .. } = configured;
    let now = farm.clock.now();
    for (plugin, bytes) in registry.active() {
        if plan
            .bundle
            .plugins
            .iter()
            .any(|pin| pin.digest == plugin.digest())
        {
            farm.store.put_blob(bytes.to_vec()).await?;
        }
    }
    farm.store.put_plan(plan.bundle.clone(), now).await?;
    for worker in &plan.workers {
        farm.store.upsert_worker(&worker.name, now).await?;
    }
    for scheduler in &plan.schedulers {
        farm.store
            .enqueue_event(&scheduler.name, SchedulerEvent::Started, now)
            .await?;
    }
    farm.store
        .record_event("config.loaded", serde_json::json!({ "plan": plan.digest() }), now)
        .await?;
    farm.plugins.store(Arc::new(registry));
    farm.plan.send_replace(Arc::new(plan));
    farm.workers_changed.notify_one();
    Ok(())
}
