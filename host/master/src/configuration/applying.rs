//! Puts a configuration in force: first what has to be durable, then what everybody sees, then those who are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use capstan_config::Lock;
use capstan_model::Timestamp;
use capstan_model::plan::Plan;
use capstan_store::Applied;

use super::Configured;
use crate::farm::Farm;
use crate::plugins::{Accept, Origin, Registry};
use crate::{Error, schedulers};

/// Puts a configuration in force, all of it or nothing: what it pins becomes durable first, then everybody sees the new plan at once,
/// then all are told. If they cannot be, everybody sees the old one again. `Started` is for all schedulers after a start or reload
/// (`anew`), else for those whose plugin was exchanged.
pub(crate) async fn apply(farm: &Farm, configured: Configured, anew: bool) -> Result<(), Error> {
    let Configured {
        plan,
        functions,
        registry,
        record,
        compiled,
        ..
    } = configured;
    let now = farm.clock.now();
    let (before, was) = (farm.plugins.load_full(), farm.plan());
    let changed = anew || *was != plan;
    farm.store
        .apply(durable(&before, &was, &registry, &plan, changed), now)
        .await?;
    note(farm, record).await;
    let told = registry.told(&before);
    if functions.len() == plan.functions.len() {
        farm.functions.hold(plan.digest(), functions);
    }
    let plan = Arc::new(plan);
    farm.plugins.store(Arc::new(registry));
    if changed {
        show(farm, &plan);
    }
    // Not before: what served the scheduler until now would take it, with the parameters of before. A start tells all of them
    // once more, should the master end here.
    let same = |scheduler| !anew && was.schedulers.contains(scheduler);
    let started = plan.schedulers.iter().filter(|scheduler| !same(scheduler));
    let started = started.map(|scheduler| scheduler.name.clone()).collect();
    let loaded = anew.then(|| {
        let payload = serde_json::json!({ "plan": plan.digest() });
        ("config.loaded".to_owned(), payload)
    });
    let events = told
        .iter()
        .map(|event| (event.kind.to_owned(), event.payload.clone()));
    let events = loaded.into_iter().chain(events).collect();
    if let Err(error) = farm.store.tell_applied(started, events, now).await {
        take_back(farm, before, &was, changed, now).await;
        return Err(error.into());
    }
    let took = compiled.elapsed();
    for event in told {
        event.log(took);
    }
    Ok(())
}

/// Everybody goes by this plan from now on.
fn show(farm: &Farm, plan: &Arc<Plan>) {
    farm.locks.define(plan);
    farm.plan.send_replace(plan.clone());
    farm.workers_changed.notify_one();
}

/// Puts what was in force before back: whoever asked for another configuration is told that there is none.
async fn take_back(farm: &Farm, before: Arc<Registry>, was: &Arc<Plan>, changed: bool, now: Timestamp) {
    let durable = Applied {
        plugins: Some(before.rows()),
        followers: schedulers::followers(was),
        ..Applied::default()
    };
    farm.plugins.store(before);
    if changed {
        show(farm, was);
    }
    // A database that fails here, too, is put right by the next start or reload.
    if let Err(error) = farm.store.apply(durable, now).await {
        tracing::warn!(%error, "failed to note that the configuration of before is in force again");
    }
}

/// What would be missed after a restart: the bytes of what is used or came from the folder, which versions are in force, the
/// configuration's files, its workers, and who follows whom.
fn durable(before: &Registry, was: &Plan, after: &Registry, plan: &Plan, changed: bool) -> Applied {
    let pins = |plan: &Plan| -> BTreeSet<_> { plan.bundle.plugins.iter().map(|pin| pin.digest).collect() };
    let (pinned, stored) = (pins(plan), pins(was));
    let known: BTreeMap<_, _> = before
        .in_force
        .values()
        .map(|chosen| (chosen.digest(), &chosen.origin))
        .collect();
    let mut components = Vec::new();
    for chosen in after.in_force.values() {
        let digest = chosen.digest();
        let from_folder = |origin: &Origin| matches!(origin, Origin::File(_));
        let is_there = known
            .get(&digest)
            .is_some_and(|origin| from_folder(origin) || stored.contains(&digest));
        if !is_there && (from_folder(&chosen.origin) || pinned.contains(&digest)) {
            components.push(chosen.version.bytes.to_vec());
        }
    }
    let rows = after.rows();
    let workers = plan.workers.iter().map(|worker| worker.name.clone());
    Applied {
        components,
        plugins: (rows != before.rows() || before.built_in.is_empty()).then_some(rows),
        bundle: changed.then(|| plan.bundle.clone()),
        workers: workers.filter(|_| changed).collect(),
        followers: schedulers::followers(plan),
    }
}

/// Notes in the lock what was accepted without anybody's help. A lock that cannot be written costs a question at the next
/// start, no plugin.
async fn note(farm: &Farm, record: Vec<Accept>) {
    if record.is_empty() {
        return;
    }
    let folder = farm.folder.clone();
    let noted = tokio::task::spawn_blocking(move || {
        Lock::update(&folder, |lock| {
            for accept in record {
                let (kind, name) = accept.key;
                // Somebody may have decided otherwise meanwhile.
                if lock.get(kind, &name).map(|known| known.digest) == accept.instead_of {
                    lock.accept(kind, &name, accept.digest, &accept.version, accept.rights);
                }
            }
        })
    });
    match noted.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "failed to note which plugins are in use"),
        Err(error) => tracing::error!(%error, "failed to note which plugins are in use"),
    }
}

#[cfg(test)]
mod tests {
    use capstan_config::Operator;
    use sqlx::{Connection as _, SqliteConnection};

    use crate::ledger::tests::master;
    use crate::retention;

    #[tokio::test]
    async fn what_nobody_can_be_told_of_is_not_in_force() {
        let (handle, folder) = master().await;
        let (farm, at) = (&handle.0, |name: &str| folder.path().join(name));
        std::fs::write(at("ci.star"), "x = lock(\"x\")\nbuilder(\"new\", steps = [])").unwrap();
        let rules = "\n[retention]\n\n[[retention.rules]]\nnewest_builds = 2\n";
        std::fs::write(at("capstan.toml"), Operator::template() + rules).unwrap();
        let mut database = SqliteConnection::connect(&farm.operator.database.backend.url())
            .await
            .unwrap();
        let fault = "CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.kind = 'config.loaded'
                     BEGIN SELECT RAISE(ABORT, 'forced'); END";
        sqlx::raw_sql(fault).execute(&mut database).await.unwrap();

        let refused = farm.reload().await.unwrap_err().to_string();
        assert!(refused.contains("forced"), "{refused}");
        assert!(farm.plan().builder("new").is_none(), "requests are taken for it");
        assert!(farm.locks.status().is_empty());
        assert_eq!(
            retention::forecast(farm).await.unwrap().rules,
            0,
            "what goes is gone"
        );

        sqlx::raw_sql("DROP TRIGGER fault")
            .execute(&mut database)
            .await
            .unwrap();
        let told = farm.reload().await.unwrap();
        assert!(
            told.changes.contains(&"~ retention".to_owned()),
            "{:?}",
            told.changes
        );
        assert!(farm.plan().builder("new").is_some() && farm.locks.status().len() == 1);
        assert_eq!(retention::forecast(farm).await.unwrap().rules, 1);
    }
}
