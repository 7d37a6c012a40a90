//! `capstan plugin remove`: takes a plugin's file out of the plugin folder, and its entry out of the lock.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use capstan_config::{Lock, Operator};
use capstan_model::plugin::Kind;

use super::folder::{self, Installed};
use crate::cli::{Common, RemoveArguments};
use crate::output::{plain, print};

/// Removes it, unless the configuration uses it.
pub async fn run(common: &Common, arguments: &RemoveArguments) -> anyhow::Result<ExitCode> {
    let operator = Operator::load(&common.farm)?;
    let name = &arguments.name;
    let mut found = folder::list(&operator.master.plugins)?;
    let fits = |kind: Kind, its: &str| its == name && arguments.kind.is_none_or(|wanted| wanted == kind);
    found.retain(|file| fits(file.kind, &file.name));
    let mut kinds: Vec<_> = found.iter().map(|file| file.kind).collect();
    let lock = Lock::load(&operator.folder)?;
    let locked = lock.plugins().filter(|known| fits(known.kind, &known.name));
    kinds.extend(locked.map(|known| known.kind));
    kinds.sort();
    kinds.dedup();
    let kind = match kinds.as_slice() {
        [] => bail!(
            "expected a file of the plugin `{name}` in {}, found none; `capstan plugin list` shows what there is",
            operator.master.plugins.display()
        ),
        [kind] => *kind,
        several => {
            let kinds: Vec<_> = several.iter().map(|kind| kind.as_str()).collect();
            bail!(
                "there are several plugins `{name}`; say --kind {}",
                kinds.join(" or --kind ")
            )
        }
    };
    found.retain(|file| file.kind == kind);
    if !arguments.force {
        ensure_unused(&operator, kind, name).await?;
    }
    remove(&operator, kind, name, &found)?;
    print(&plain(&format!(
        "removed the {kind} `{name}`; builds that run keep it"
    )));
    Ok(ExitCode::SUCCESS)
}

async fn ensure_unused(operator: &Operator, kind: Kind, name: &str) -> anyhow::Result<()> {
    let engine = capstan_master::engine(operator)?;
    let configured = capstan_master::configure(operator, &engine, capstan_builtin::components()).await;
    let plan = match configured {
        Ok(configured) => configured.plan,
        Err(error) => bail!(
            "nobody can say whether the configuration uses it: {error}; `capstan check` shows why, --force removes it all the same"
        ),
    };
    let used = plan
        .bundle
        .plugins
        .iter()
        .any(|pin| pin.kind == kind && pin.name == name);
    ensure!(
        !used,
        "the configuration uses the {kind} `{name}`; take it out of {} first, or say --force",
        operator.master.config
    );
    Ok(())
}

fn remove(operator: &Operator, kind: Kind, name: &str, files: &[Installed]) -> anyhow::Result<()> {
    for file in files {
        std::fs::remove_file(&file.path).with_context(|| format!("remove {}", file.path.display()))?;
    }
    // After the files: the master would accept one without an entry anew.
    Lock::update(&operator.folder, |lock| lock.forget(kind, name))?;
    Ok(())
}
