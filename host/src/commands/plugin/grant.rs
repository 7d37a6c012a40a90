//! `capstan plugin grant`: shows what a plugin asks for and what it was granted, and writes what the operator accepts to
//! capstan.toml and capstan.lock.

mod choice;
mod entry;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use capstan_config::{Lock, Operator};
use capstan_model::plugin::{Kind, Pattern, Right, Rights};
use serde_json::json;

use self::choice::Choice;
use super::file::{PluginFile, rights_json};
use super::folder;
use crate::cli::{Common, GrantArguments};
use crate::client::Client;
use crate::output::{plain, print, print_aside, print_json};

/// A plugin, and where it is.
struct Found {
    file: PluginFile,
    /// None is built in.
    path: Option<PathBuf>,
}

/// Shows, asks, writes, reloads.
pub async fn run(common: &Common, arguments: &GrantArguments) -> anyhow::Result<ExitCode> {
    let operator = Operator::load(&common.farm)?;
    let found = find(&operator.master.plugins, &arguments.name, arguments.kind)?;
    let name = arguments.name.as_str();
    let asks = &found.file.outside.manifest.rights;
    let granted = operator.grants.get(name).cloned().unwrap_or_default();
    let missing = asks.beyond(&granted);
    let accepted = found.is_accepted(&operator.folder)?;
    if !common.json {
        show(&found, &granted, accepted);
    }
    let choice = if asks.is_empty() {
        Choice::Accept(Box::default())
    } else {
        choice::ask(arguments, asks, &missing, accepted)?
    };
    let add = match choice {
        Choice::Accept(add) => add.to_write(&granted),
        Choice::Nothing => {
            if common.json {
                print_json(
                    &json!({ "asks": rights_json(asks), "missing": rights_json(&missing), "accepted": accepted }),
                );
            }
            let settled = accepted && missing.is_empty();
            return Ok(if settled {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
    };
    if !add.is_empty() {
        entry::add(&operator.folder, name, &add)?;
    }
    if found.path.is_some() {
        let (about, asks) = (&found.file.outside.manifest.plugin, asks.clone());
        // All that it asks for was decided about; what it may use is what capstan.toml says.
        Lock::update(&operator.folder, |lock| {
            lock.accept(about.kind, name, found.file.digest, &about.version, asks);
        })?;
    }
    if common.json {
        print_json(&json!({ "asks": rights_json(asks), "added": rights_json(&add), "accepted": true }));
    } else {
        told(name, &add);
    }
    reload(common).await;
    Ok(ExitCode::SUCCESS)
}

/// The plugin of that name: a file of the plugin folder, or else a built-in one.
fn find(folder: &Path, name: &str, kind: Option<Kind>) -> anyhow::Result<Found> {
    let its = |is: Kind, its_name: &str| its_name == name && kind.is_none_or(|kind| kind == is);
    let mut found = Vec::new();
    for installed in folder::list(folder)? {
        if its(installed.kind, &installed.name) {
            found.push(Found {
                file: PluginFile::read(&installed.path)?,
                path: Some(installed.path),
            });
        }
    }
    for (_, bytes) in capstan_builtin::components() {
        let file = PluginFile::of(bytes)?;
        let about = &file.outside.manifest.plugin;
        let overridden = |known: &Found| known.file.outside.manifest.plugin.kind == about.kind;
        if its(about.kind, &about.name) && !found.iter().any(overridden) {
            found.push(Found { file, path: None });
        }
    }
    let Some(first) = found.pop() else {
        bail!(
            "expected a plugin `{name}` in {} or built in, found none; `capstan plugin list` shows all",
            folder.display()
        );
    };
    if let Some(second) = found.pop() {
        let (one, other) = (first.title(), second.title());
        bail!(
            "expected one plugin `{name}`, found {one} and {other}; choose with --kind, or remove one file"
        );
    }
    Ok(first)
}

impl Found {
    fn title(&self) -> String {
        let place = match &self.path {
            Some(path) => path.display().to_string(),
            None => "built in".to_owned(),
        };
        format!("{} ({place})", self.file.title())
    }

    /// Whether this very file is the one that the lock knows. What is built in came with the program.
    fn is_accepted(&self, farm: &Path) -> anyhow::Result<bool> {
        let about = &self.file.outside.manifest.plugin;
        let known = Lock::load(farm)?;
        let known = known.get(about.kind, &about.name);
        Ok(self.path.is_none() || known.is_some_and(|known| known.digest == self.file.digest))
    }
}

fn show(found: &Found, granted: &Rights, accepted: bool) {
    let asks = &found.file.outside.manifest.rights;
    print(&plain(&found.title()));
    if !found.file.outside.manifest.plugin.description.is_empty() {
        print(&plain(&found.file.outside.manifest.plugin.description));
    }
    if asks.is_empty() {
        print("It asks for no rights: it can compute, and nothing else.");
    }
    for (right, pattern) in asks.each() {
        let within = |granted: &&String| asks.holds(right, granted);
        let part: Vec<_> = granted
            .of(right)
            .iter()
            .filter(within)
            .map(|text| format!("`{text}`"))
            .collect();
        let state = if granted.holds(right, pattern) {
            "granted".to_owned()
        } else if part.is_empty() {
            "missing".to_owned()
        } else {
            format!("in part: {}", part.join(", "))
        };
        line(right, pattern, &state);
        if granted.holds(right, pattern) {
            // A host that is named beside `*`: only so it may be a private one.
            let inside = one(right, pattern);
            let named = granted.of(right).iter().filter(|text| inside.holds(right, text));
            for text in named.filter(|text| !asks.of(right).contains(text)) {
                line(right, text, "granted");
            }
        }
    }
    if !accepted {
        print("This file was not accepted yet.");
    }
}

/// This pattern alone.
fn one(right: Right, pattern: &str) -> Rights {
    let mut rights = Rights::default();
    rights.of_mut(right).push(pattern.to_owned());
    rights
}

fn line(right: Right, pattern: &str, state: &str) {
    print(&plain(&format!("  {:<9} {pattern:<36} {state}", right.as_str())));
    print(&plain(&format!("  {:<9} to {}", "", right.explain(pattern))));
}

fn told(name: &str, add: &Rights) {
    for (right, pattern) in add.each() {
        print(&plain(&format!(
            "granted: {} `{pattern}` in [grants.{name}]",
            right.as_str()
        )));
    }
    if add.http.iter().any(|pattern| !names_host(pattern)) {
        print(
            "Such an http pattern does not reach this machine or private addresses: a grant has to name their host.",
        );
    }
    if add.is_empty() {
        print("Nothing had to be added to capstan.toml.");
    }
}

fn names_host(pattern: &str) -> bool {
    Pattern::parse(Right::Http, pattern).is_ok_and(|pattern| pattern.names_host())
}

/// What was written holds from the next look at capstan.toml on: that is now, if a master runs.
async fn reload(common: &Common) {
    let answer = match Client::new(common) {
        Ok(client) => client.post("/reload", &json!({})).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => print_aside("The running master was reloaded."),
        Err(error) => print_aside(&format!("Written; the master was not reloaded: {error:#}")),
    }
}
