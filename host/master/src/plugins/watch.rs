//! Looks at the plugin folder and the lock about once a second, and at versions that keep trapping, and puts what is new in
//! force. One task of the master.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use capstan_config::{LOCK_FILE, Lock};
use capstan_engine::Plugin;
use capstan_model::Digest;
use tokio_util::sync::CancellationToken;

use super::folder::{self, Stamp};
use super::registry::{InForce, Key, Origin, Registry};
use crate::Error;
use crate::configuration::{self, Request};
use crate::farm::Farm;

/// How often to look. What looks the same on two looks is not being written any more.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = farm.suspects.notified() => {}
            () = tokio::time::sleep(LOOK) => {
                if let Err(error) = watch.look(&farm).await {
                    watch.complain(&error);
                }
            }
        }
        if let Err(error) = go_back(&farm).await {
            watch.complain(&error);
        }
    }
}

/// What was seen at the last look.
#[derive(Default)]
struct Watch {
    seen: BTreeMap<String, Stamp>,
    lock: Option<Option<Stamp>>,
    complaint: String,
}

impl Watch {
    async fn look(&mut self, farm: &Farm) -> Result<(), Error> {
        let registry = farm.plugins.load_full();
        let (folder, lock) = (registry.settings.folder.clone(), farm.folder.join(LOCK_FILE));
        let looked = tokio::task::spawn_blocking(move || (folder::look(&folder), Stamp::of(&lock)));
        let (files, lock) = looked
            .await
            .map_err(|e| Error::failed("look at the plugin folder", e))?;
        let files = files?;
        let unsettled = differing(&self.seen, &files);
        let known: BTreeMap<_, _> = registry
            .files
            .iter()
            .filter_map(|file| Some((file.name.clone(), file.stamp.clone()?)))
            .collect();
        let news = differing(&known, &files);
        self.seen = files;
        // At first, too: it may have changed since the master read it at its start.
        let new_lock = self.lock.as_ref() != Some(&lock);
        if new_lock || news.difference(&unsettled).next().is_some() {
            refresh(farm, None, unsettled).await?;
        }
        // Only now: what failed is tried again.
        self.lock = Some(lock);
        self.complaint.clear();
        Ok(())
    }

    /// Says what is wrong, once.
    fn complain(&mut self, error: &Error) {
        let words = error.to_string();
        if words != self.complaint {
            tracing::error!("failed to look for new plugins: {words}");
            self.complaint = words;
        }
    }
}

/// The names that are in one alone, or in both with different stamps.
fn differing(a: &BTreeMap<String, Stamp>, b: &BTreeMap<String, Stamp>) -> BTreeSet<String> {
    let names = a.keys().chain(b.keys());
    names
        .filter(|&name| a.get(name) != b.get(name))
        .cloned()
        .collect()
}

/// Puts the plugin folder as it is now in force, as far as the lock and the configuration allow it.
async fn refresh(farm: &Farm, lock: Option<Lock>, unsettled: BTreeSet<String>) -> Result<(), Error> {
    let _one_at_a_time = farm.reloading.lock().await;
    let lock = lock.map_or_else(|| Lock::load(&farm.folder).map_err(|e| e.to_string()), Ok);
    let request = Request::plugins(farm, lock, unsettled);
    let configured = configuration::carry_out(request).await?;
    configuration::apply(farm, configured, false).await
}

/// Gives up versions that keep trapping, or that cannot read what they have to, for those before them.
async fn go_back(farm: &Farm) -> Result<(), Error> {
    let registry = farm.plugins.load_full();
    let failing: Vec<_> = registry
        .in_force
        .iter()
        .filter(|(_, chosen)| registry.has_failed(chosen) || farm.condemned.contains(chosen))
        .collect();
    if failing.is_empty() {
        return Ok(());
    }
    farm.condemned.clear();
    let withdraw = |lock: &mut Lock| {
        failing
            .iter()
            .for_each(|(key, chosen)| give_up(lock, key, chosen))
    };
    if let Err(error) = Lock::update(&farm.folder, withdraw) {
        tracing::error!(%error, "failed to note that a version of a plugin was given up");
    }
    // Where nobody knows what was accepted, that is what is in force.
    let mut lock = Lock::load(&farm.folder).unwrap_or_else(|_| as_in_force(&registry));
    withdraw(&mut lock);
    // A file that is being exchanged right now is looked at soon enough.
    let files = registry.files.iter().map(|file| file.name.clone()).collect();
    refresh(farm, Some(lock), files).await
}

fn as_in_force(registry: &Registry) -> Lock {
    let mut lock = Lock::default();
    for ((kind, name), chosen) in &registry.in_force {
        let rights = chosen.version.plugin.manifest().rights.clone();
        lock.accept(*kind, name, chosen.digest(), chosen.version.version(), rights);
    }
    lock
}

fn give_up(lock: &mut Lock, key: &Key, chosen: &InForce) {
    let (kind, name) = key;
    if lock.get(*kind, name).is_none() {
        let rights = chosen.version.plugin.manifest().rights.clone();
        lock.accept(*kind, name, chosen.digest(), chosen.version.version(), rights);
    }
    let back_to = match &chosen.predecessor {
        Some((version, Origin::File(_))) => Some((version.digest(), version.version())),
        _ => None,
    };
    lock.withdraw(*kind, name, chosen.digest(), back_to);
}

/// Versions that somebody found unfit.
#[derive(Default)]
pub(crate) struct Condemned(std::sync::Mutex<BTreeSet<Digest>>);

impl Condemned {
    fn contains(&self, chosen: &InForce) -> bool {
        let all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        chosen.on_trial() && all.contains(&chosen.digest())
    }

    fn add(&self, digest: Digest) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(digest);
    }

    /// They are given up now; one that is accepted once more is tried once more.
    fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clear();
    }
}

/// What is to be done about a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// What is done about any plugin's.
    Usual,
    /// To make it again at once: the version is new, and may be given up soon.
    Again,
    /// To wait for the version before: this one is given up now.
    Wait,
}

impl Farm {
    /// A call of this plugin trapped.
    pub fn trapped(&self, plugin: &Plugin) -> Advice {
        let registry: Arc<Registry> = self.plugins.load_full();
        match registry.on_trial(plugin) {
            None => Advice::Usual,
            Some(chosen) if registry.has_failed(chosen) => {
                self.suspects.notify_one();
                Advice::Wait
            }
            Some(_) if registry.settings.return_after > 0 => Advice::Again,
            Some(_) => Advice::Usual,
        }
    }

    /// This version cannot go on from where the one before it was.
    pub fn unfit(&self, plugin: &Plugin) -> Advice {
        if self.plugins.load().on_trial(plugin).is_none() {
            return Advice::Usual;
        }
        self.condemned.add(plugin.digest());
        self.suspects.notify_one();
        Advice::Wait
    }
}
