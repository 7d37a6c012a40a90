//! What the master's tasks share, and the operations of its [`Handle`](crate::Handle).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use capstan_config::Operator;
use capstan_engine::{Caller, Engine, Plugin, Ports};
use capstan_link::Handle as Link;
use capstan_logs::{Artefacts, Logs};
use capstan_model::plan::{Plan, PluginUse};
use capstan_model::plugin::Kind;
use capstan_model::{BuildId, Clock, Digest, Property, RequestId, SourceStamp, Timestamp};
use capstan_secrets::Secrets;
use capstan_store::{NewBuildset, Store};
use capstan_wire::join::{self, Join};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::commands::Commands;
use crate::configuration::BuiltIn;
use crate::functions::KnownFunctions;
use crate::handle::{About, Force, Forced, Invitation, Reloaded, WorkerStatus};
use crate::interruptions::Absences;
use crate::locks::{Locks, Slots};
use crate::pipelines::Pipelines;
use crate::plugins::Registry;
use crate::plugins::watch::Condemned;
use crate::queue::Queue;
use crate::retention::Retention;
use crate::stops::Stops;
use crate::{Error, configuration, rebuild, workers};

/// One running master's parts.
pub(crate) struct Farm {
    pub operator: Operator,
    pub folder: PathBuf,
    pub store: Store,
    pub queue: Queue,
    pub logs: Logs,
    pub artefacts: Artefacts,
    pub engine: Engine,
    pub secrets: Secrets,
    pub clock: Arc<dyn Clock>,
    pub installation: Uuid,
    pub epoch: u64,
    pub started: Timestamp,
    pub built_in: BuiltIn,
    pub plugins: ArcSwap<Registry>,
    pub plan: watch::Sender<Arc<Plan>>,
    pub functions: KnownFunctions,
    pub reloading: tokio::sync::Mutex<()>,
    /// Rings when a plugin's new version may have to be given up.
    pub suspects: Notify,
    pub condemned: Condemned,
    pub ports: Ports,
    pub pipelines: Pipelines,
    pub link: OnceLock<Link>,
    pub link_address: OnceLock<SocketAddr>,
    pub url: OnceLock<String>,
    pub commands: Commands,
    pub stops: Stops,
    pub locks: Locks,
    pub slots: Slots,
    pub absences: Absences,
    pub workers_changed: Notify,
    /// Rings when logs have become complete that can be sealed.
    pub to_seal: Notify,
    pub retention: Retention,
}

impl Farm {
    /// The plan in force.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// The plan in force, and a bell for the next one.
    pub fn plans(&self) -> watch::Receiver<Arc<Plan>> {
        self.plan.subscribe()
    }

    /// The master itself.
    pub fn about(&self) -> About {
        About {
            title: self.operator.master.title.clone(),
            url: self
                .url
                .get()
                .cloned()
                .unwrap_or_else(|| self.operator.master.url.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.epoch,
            started: self.started,
        }
    }

    /// The plugin that a definition was checked against, and what it may reach; `owner` is the definition's name.
    pub fn plugin(&self, kind: Kind, owner: &str, wanted: &PluginUse) -> Result<(Plugin, Caller), Error> {
        let (plugin, grants) = self.plugins.load().find(kind, wanted)?;
        Ok((
            plugin,
            Caller {
                owner: owner.to_owned(),
                grants,
                ports: self.ports.clone(),
            },
        ))
    }

    /// The plugin with that digest, from memory or from the store: builds keep what they were made from.
    pub async fn pinned(&self, digest: Digest) -> Result<Plugin, Error> {
        if let Some(plugin) = self.plugins.load().by_digest(digest) {
            return Ok(plugin);
        }
        let missing = || {
            Error::failed(
                "find a plugin",
                format!("version {} is neither loaded nor stored", digest.short()),
            )
        };
        let bytes = self.store.blob(digest).await?.ok_or_else(missing)?;
        let engine = self.engine.clone();
        let loaded = tokio::task::spawn_blocking(move || engine.load(&bytes));
        let loaded = loaded.await.map_err(|e| Error::failed("load a plugin", e))?;
        loaded.map_err(|e| Error::failed("load a plugin", e))
    }

    /// The link; set before any task runs.
    pub fn link(&self) -> Result<&Link, Error> {
        self.link
            .get()
            .ok_or_else(|| Error::failed("reach workers", "the link is not open yet"))
    }

    pub async fn force(&self, builder: &str, force: Force) -> Result<Forced, Error> {
        let plan = self.plan();
        if plan.builder(builder).is_none() {
            return Err(not_found(
                "builder",
                builder,
                plan.builders.iter().map(|b| b.name.as_str()),
            ));
        }
        force.check()?;
        let property = |(name, value)| Property {
            name,
            value,
            source: "force".to_owned(),
        };
        let source = SourceStamp {
            codebase: force.codebase,
            repository: force.repository,
            project: String::new(),
            branch: force.branch,
            revision: force.revision,
            patch: None,
        };
        let buildset = NewBuildset {
            scheduler: None,
            builders: vec![builder.to_owned()],
            sources: vec![source],
            priority: force.priority,
            reason: force.reason.unwrap_or_else(|| "forced".to_owned()),
            properties: force.properties.into_iter().map(property).collect(),
            changes: Vec::new(),
            ..NewBuildset::default()
        };
        let buildset = rebuild::obliged(&plan, None, buildset);
        let made = self.store.submit(buildset, self.clock.now()).await?;
        Ok(Forced {
            buildset: made.buildset,
            requests: made.requests,
        })
    }

    pub async fn stop_build(&self, build: BuildId, reason: &str) -> Result<(), Error> {
        let found = self.store.build(build).await?;
        let found = found.ok_or_else(|| not_found("build", &build.to_string(), []))?;
        if found.outcome.is_some() {
            return Err(Error::Conflict(format!("build {build} has ended already")));
        }
        // First durable, then told: a master that dies between the two stops the build when it takes it up.
        self.store.request_stop(build, reason, self.clock.now()).await?;
        self.stops.stop(build, reason);
        Ok(())
    }

    pub async fn cancel_request(&self, request: RequestId, reason: &str) -> Result<(), Error> {
        if self
            .store
            .cancel_request(request, reason, self.clock.now())
            .await?
        {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "request {request} is not waiting: it does not exist, has a build, or has ended"
        )))
    }

    pub async fn reload(&self) -> Result<Reloaded, Error> {
        let _one_at_a_time = self.reloading.lock().await;
        let before = self.plan();
        let (configured, rules) = configuration::load(self).await?;
        let plugins = self.plugins.load_full();
        let mut changes = configured.registry.lines(&plugins);
        changes.extend(configured.registry.settings.regranted(&plugins.settings));
        changes.extend(capstan_config::diff(&before, &configured.plan));
        let remarks = capstan_config::grouped(&configured.remarks);
        let warnings = remarks.iter().map(ToString::to_string);
        let warnings = warnings.chain(configured.grants.iter().cloned());
        let warnings = warnings.chain(configured.registry.complaints()).collect();
        configuration::apply(self, configured, true).await?;
        if self.retention.follow(rules) {
            changes.push("~ retention".to_owned());
        }
        Ok(Reloaded { changes, warnings })
    }

    pub async fn invite(&self, worker: &str, ttl_ms: u64) -> Result<Invitation, Error> {
        let plan = self.plan();
        if !plan.workers.iter().any(|known| known.name == worker) {
            return Err(not_found(
                "worker",
                worker,
                plan.workers.iter().map(|w| w.name.as_str()),
            ));
        }
        let secret = join::Secret::new(rand::random());
        let now = self.clock.now();
        let expires = now.plus_ms(i64::try_from(ttl_ms).unwrap_or(i64::MAX));
        self.store
            .create_invite(worker, secret.digest(), expires, now)
            .await?;
        let link = self.link()?;
        let port = self.door()?.port();
        // Port 0 stands for whichever was free.
        let real = |address: &String| match address.strip_suffix(":0") {
            Some(host) => format!("{host}:{port}"),
            None => address.clone(),
        };
        let addresses = self.operator.link.advertise.iter().map(real).collect();
        let join = Join {
            addresses,
            authority: link.authority(),
            secret,
            name: worker.to_owned(),
        };
        Ok(Invitation {
            join: join.encode(),
            expires,
        })
    }

    pub async fn pause_worker(&self, worker: &str, reason: Option<&str>) -> Result<(), Error> {
        self.known_worker(worker).await?;
        let paused = self.store.set_paused(worker, reason, self.clock.now());
        match reason {
            Some(_) => paused.await?,
            None => self.queue.end_quarantine(worker, paused).await?,
        }
        self.workers_changed.notify_one();
        Ok(())
    }

    pub async fn revoke_worker(&self, worker: &str) -> Result<(), Error> {
        self.known_worker(worker).await?;
        self.store.revoke_worker(worker, self.clock.now()).await?;
        let link = self.link()?;
        // What it runs is lost to its builds; it hears of that before it is sent away.
        self.commands.stop_all(worker, "this worker was revoked", link);
        link.disconnect(worker, "this worker was revoked", true);
        Ok(())
    }

    async fn known_worker(&self, worker: &str) -> Result<(), Error> {
        let rows = self.store.workers().await?;
        if rows.iter().any(|row| row.name == worker) {
            return Ok(());
        }
        Err(not_found(
            "worker",
            worker,
            rows.iter().map(|row| row.name.as_str()),
        ))
    }

    fn door(&self) -> Result<SocketAddr, Error> {
        self.link_address
            .get()
            .copied()
            .ok_or_else(|| Error::failed("reach workers", "the link is not open yet"))
    }

    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, Error> {
        workers::status(self).await
    }
}

/// There is no such thing; the nearest name is offered.
pub(crate) fn not_found<'a>(
    what: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    let nearest = known
        .into_iter()
        .max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let nearest = nearest
        .filter(|known| strsim::jaro(known, name) > 0.7)
        .map(str::to_owned);
    Error::NotFound {
        what,
        name: name.to_owned(),
        nearest,
    }
}
