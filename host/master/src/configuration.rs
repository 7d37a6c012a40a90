//! From files to a plan in force: loads plugins, evaluates the configuration, and applies the result all or nothing.

use std::sync::Arc;

use capstan_config::{Diagnostic, Evaluated, Operator, PluginInfo, Problem};
use capstan_engine::{CallError, Engine};
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
    /// The plugins.
    pub registry: Registry,
}

/// Loads the plugins and evaluates the configuration of the farm that `operator` describes. Changes nothing.
pub async fn configure(
    operator: &Operator,
    engine: &Engine,
    built_in: &[(&str, &[u8])],
) -> Result<Configured, Error> {
    let registry = Registry::load(
        engine,
        built_in,
        &operator.master.plugins,
        operator.grants.clone(),
    )?;
    let infos: Vec<_> = registry
        .active()
        .map(|(plugin, _)| PluginInfo::new(plugin.manifest().clone(), plugin.digest()))
        .collect();
    let farm = operator.farm();
    let runtime = tokio::runtime::Handle::current();
    // Evaluation is synchronous and may take a while; a plugin's own check is a call into the engine.
    tokio::task::spawn_blocking(move || {
        let check = |kind: Kind, wanted: &PluginUse| runtime.block_on(check(&registry, kind, wanted));
        let evaluated = capstan_config::evaluate(&farm, &infos, &check).map_err(Error::Config)?;
        let Evaluated { plan, remarks } = evaluated;
        Ok(Configured {
            plan,
            remarks,
            registry,
        })
    })
    .await
    .map_err(|e| Error::failed("evaluate the configuration", e))?
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
    configure(&operator, &farm.engine, farm.built_in).await
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
