//! `capstan plugin install`: brings a plugin file into the farm's plugin folder, after everything that can be checked was, and
//! notes in the lock that it was accepted.

mod fetch;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use capstan_config::{Lock, Operator};
use capstan_engine::Plugin;
use capstan_model::Digest;
use capstan_model::plugin::Rights;
use serde_json::{Value, json};

use super::file::rights_json;
use super::folder::{self, Installed};
use crate::cli::{Common, InstallArguments};
use crate::client::Client;
use crate::output::{plain, print, print_json};

/// How long a running master may take to look at the file: two looks, and loading what was compiled here.
const PATIENCE: Duration = Duration::from_secs(20);
/// A reason why it is not used may be that of before until then.
const SETTLED: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// Installs it and says what becomes of it.
pub async fn run(common: &Common, arguments: &InstallArguments) -> anyhow::Result<ExitCode> {
    let operator = Operator::load(&common.farm)?;
    let bytes = fetch::read(&arguments.source).await?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = arguments.sha256 {
        ensure!(
            digest == expected,
            "expected {} to have the SHA-256 {expected}, found {digest}; nothing was changed",
            arguments.source
        );
    }
    let plugin = load(&operator, bytes.clone()).await?;
    let path = place(&operator, &plugin)?;
    let more = put(&operator, &plugin, &path, &bytes, &arguments.source)?;
    let standing = ask_master(common, digest).await;
    report(common, &operator, &plugin, &path, &more, standing)
}

/// Compiles it as the master will, which then finds it in the cache.
async fn load(operator: &Operator, bytes: Vec<u8>) -> anyhow::Result<Plugin> {
    let engine = capstan_master::engine(operator)?;
    let loaded = tokio::task::spawn_blocking(move || engine.load(&bytes)).await?;
    loaded.context("the file is no plugin of this farm; nothing was changed")
}

/// Where it is put: in the place of the file that has its kind and name, if there is one.
fn place(operator: &Operator, plugin: &Plugin) -> anyhow::Result<PathBuf> {
    let folder = &operator.master.plugins;
    let installed = folder::list(folder)?;
    let same = |file: &&Installed| file.kind == plugin.kind() && file.name == plugin.name();
    if let Some(file) = installed.iter().find(same) {
        return Ok(file.path.clone());
    }
    let path = folder.join(format!("{}.wasm", plugin.name()));
    if path.exists() {
        return Ok(folder.join(format!("{}-{}.wasm", plugin.name(), plugin.kind())));
    }
    Ok(path)
}

/// Writes lock and file; answers the rights that somebody has to accept before it is used.
fn put(
    operator: &Operator,
    plugin: &Plugin,
    path: &Path,
    bytes: &[u8],
    source: &str,
) -> anyhow::Result<Rights> {
    let folder = &operator.master.plugins;
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::File::create(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("write {}", new.display()));
    let done = written.and_then(|()| {
        let more = accept(operator, plugin, source)?;
        // The lock first, and the file at once after it: the master never sees a file that it has to refuse.
        std::fs::rename(&new, path).with_context(|| format!("write {}", path.display()))?;
        Ok(more)
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    done
}

fn accept(operator: &Operator, plugin: &Plugin, source: &str) -> anyhow::Result<Rights> {
    let (kind, name, manifest) = (plugin.kind(), plugin.name(), plugin.manifest());
    let more = Lock::update(&operator.folder, |lock| {
        let version = &manifest.plugin.version;
        let more = lock.install(kind, name, plugin.digest(), version, &manifest.rights);
        lock.set_source(kind, name, &noted(source));
        more
    })?;
    Ok(more)
}

/// Where it came from, without what may be a password or a token: the lock is kept with the configuration.
fn noted(source: &str) -> String {
    let Some(mut url) = source
        .contains("://")
        .then(|| source.parse::<reqwest::Url>().ok())
        .flatten()
    else {
        return source.to_owned();
    };
    // Neither fails for an address that was fetched from.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What the running master says of the file: its state and the reason. `None` if no master runs.
async fn ask_master(common: &Common, digest: Digest) -> Option<(String, String)> {
    let client = Client::new(common).ok()?;
    let began = Instant::now();
    let mut standing = ("unseen".to_owned(), String::new());
    while began.elapsed() < PATIENCE {
        let answer = client.get("/plugins").await.ok()?;
        let rows = answer["plugins"].as_array();
        let row = rows
            .into_iter()
            .flatten()
            .find(|row| row["digest"] == digest.to_string());
        if let Some(row) = row {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            standing = (text("state"), text("error"));
            if row["active"] == true || began.elapsed() > SETTLED {
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Some(standing)
}

fn report(
    common: &Common,
    operator: &Operator,
    plugin: &Plugin,
    path: &Path,
    more: &Rights,
    standing: Option<(String, String)>,
) -> anyhow::Result<ExitCode> {
    let (name, about) = (plugin.name(), &plugin.manifest().plugin);
    let granted = operator.grants.get(name).cloned().unwrap_or_default();
    let asks = plugin.manifest().rights.beyond(&granted);
    let state = standing.as_ref().map_or("no-master", |(state, _)| state.as_str());
    let bad = matches!(state, "refused" | "broken");
    if common.json {
        print_json(&json!({
            "kind": about.kind, "name": name, "version": about.version, "digest": plugin.digest(), "path": path,
            "to_grant": rights_json(&asks), "state": state,
            "reason": standing.as_ref().map_or(Value::Null, |(_, reason)| json!(reason)),
        }));
        return Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let digest = plugin.digest().short();
    print(&plain(&format!(
        "{} {name} {} ({digest}): {}",
        about.kind,
        about.version,
        path.display()
    )));
    for (right, pattern) in asks.each() {
        print(&plain(&format!(
            "asks for {} {pattern}, which is not granted yet",
            right.as_str()
        )));
    }
    if !asks.is_empty() {
        print(&format!("`capstan plugin grant {name}` grants that"));
    } else if !more.is_empty() && state != "in-force" {
        print(&format!(
            "all that it asks for is granted; `capstan plugin grant {name}` accepts the file"
        ));
    }
    print(&plain(&match standing {
        None => "no master runs on this farm: it is looked at when one starts".to_owned(),
        Some((state, _)) if state == "in-force" => "it is in force".to_owned(),
        Some((_, reason)) if reason.is_empty() => {
            "the master has not taken it yet; `capstan plugin list` says when it has".to_owned()
        }
        Some((_, reason)) => format!("not in force: {reason}"),
    }));
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_comes_into_the_lock() {
        let url = "https://me:hunter2@plugins.example.org:8443/a/chat.wasm?token=hunter2#x";
        assert_eq!(noted(url), "https://plugins.example.org:8443/a/chat.wasm");
        assert_eq!(noted("../a b/chat.wasm"), "../a b/chat.wasm");
    }
}
