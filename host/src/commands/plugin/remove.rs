//! `capstan plugin remove`: takes a plugin's file out of the plugin folder, and its entry out of the lock.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use capstan_config::{Lock, Operator};
use capstan_model::plugin::Kind;

use super::file::PluginFile;
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
        [] if is_built_in(name) => bail!(
            "`{name}` is part of capstan, there is no file to remove; one that no configuration uses does nothing"
        ),
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
    let used = uses(&operator, kind, name).await;
    if !arguments.force {
        ensure!(
            !used?,
            "the configuration uses the {kind} `{name}`; take it out of {} first, or say --force",
            operator.master.config
        );
        remove(&operator, kind, name, &found)?;
        print(&plain(&format!(
            "removed the {kind} `{name}`; builds that run keep it"
        )));
        return Ok(ExitCode::SUCCESS);
    }
    remove(&operator, kind, name, &found)?;
    let what = if is_built_in(name) {
        "the one that is part of capstan takes its place, if the configuration fits that"
    } else if used.unwrap_or(true) {
        "where the configuration uses it, it stays in use, for new builds too, until the configuration no longer names it"
    } else {
        "builds that run keep it"
    };
    print(&plain(&format!("removed the {kind} `{name}`; {what}")));
    Ok(ExitCode::SUCCESS)
}

fn is_built_in(name: &str) -> bool {
    let mut included = capstan_builtin::components().iter();
    included
        .any(|(_, bytes)| PluginFile::of(bytes).is_ok_and(|file| file.outside.manifest.plugin.name == name))
}

async fn uses(operator: &Operator, kind: Kind, name: &str) -> anyhow::Result<bool> {
    let engine = capstan_master::engine(operator)?;
    let configured = capstan_master::configure(operator, &engine, capstan_builtin::components()).await;
    let plan = match configured {
        Ok(configured) => configured.plan,
        Err(error) => bail!(
            "nobody can say whether the configuration uses it: {error}; `capstan check` shows why, --force removes it all the same"
        ),
    };
    let mut pins = plan.bundle.plugins.iter();
    Ok(pins.any(|pin| pin.kind == kind && pin.name == name))
}

fn remove(operator: &Operator, kind: Kind, name: &str, files: &[Installed]) -> anyhow::Result<()> {
    for file in files {
        std::fs::remove_file(&file.path).with_context(|| format!("remove {}", file.path.display()))?;
    }
    // After the files: the master would accept one without an entry anew.
    Lock::update(&operator.folder, |lock| lock.forget(kind, name))?;
    Ok(())
}
