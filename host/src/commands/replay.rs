//! `capstan replay`: runs a step's component against its recorded journal, here and with nothing behind it, and says whether
//! it does again what it did.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use capstan_engine::{Engine, Options, Plugin, Replay, StepEnd, Verdict};
use capstan_model::journal::{Entry, Kind};
use futures::StreamExt;
use serde_json::{Value, json};

use super::builds::find_step;
use crate::cli::{Common, ReplayArguments};
use crate::client::Client;
use crate::output::{plain, print, print_json};

/// What a saved record is called in its first field.
const FORMAT: &str = "capstan-replay/1";
/// The largest component that the runtime takes.
const MAX_COMPONENT: u64 = 64 << 20;
/// More than a journal can hold, also where its text is escaped.
const MAX_ROWS: u64 = 256 << 20;
/// A saved record: both of them, the component as base64.
const MAX_RECORD: u64 = MAX_ROWS + MAX_COMPONENT * 2;

/// All that a replay needs.
struct Record {
    /// The build's id.
    build: i64,
    /// The step as the master shows it.
    step: Value,
    rows: Vec<Entry>,
    component: Vec<u8>,
}

/// Replays a step, or saves what a replay needs.
pub async fn run(common: &Common, arguments: ReplayArguments) -> anyhow::Result<ExitCode> {
    let record = match (&arguments.from, &arguments.build, &arguments.step) {
        (Some(file), ..) => Record::open(file)?,
        (None, Some(build), Some(step)) => Record::fetch(&Client::new(common)?, build, step).await?,
        _ => anyhow::bail!("expected a build and a step, or a saved record with --from"),
    };
    if let Some(file) = &arguments.save {
        record.save(file)?;
        print(&format!("saved to {}", file.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = match &arguments.plugin {
        Some(file) => read(file, MAX_COMPONENT)?,
        None => record.component.clone(),
    };
    let options = Options {
        step_instances: 1,
        call_instances: 1,
        ..Options::default()
    };
    let engine = Engine::new(options)?;
    let plugin = tokio::task::block_in_place(|| engine.load(&bytes))?;
    let replay = engine.replay(&plugin, record.rows.clone()).await?;
    let (agrees, text) = record.judge(&replay.verdict);
    if common.json {
        print_json(&json!({
            "agrees": agrees, "rows": record.rows.len(), "plugin": plugin.digest(), "verdict": replay.verdict,
            "messages": replay.messages,
        }));
    } else {
        record.show(&plugin, &replay);
        print(&text);
    }
    Ok(if agrees {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Record {
    async fn fetch(client: &Client, build: &str, step: &str) -> anyhow::Result<Self> {
        let build = client.build_id(build).await?;
        let shown = client.get(&format!("/builds/{build}")).await?;
        let step = find_step(&shown, step)?.clone();
        let id = step["id"]
            .as_i64()
            .context("expected a step with an id from the master")?;
        let journal = fetch(client, &format!("/steps/{id}/rows"), MAX_ROWS).await?;
        let mut journal: Value =
            serde_json::from_slice(&journal).context("expected a journal from the master")?;
        let rows: Vec<Entry> = serde_json::from_value(journal["rows"].take())
            .context("expected a journal that this program knows; it may be older than the master")?;
        ensure!(!rows.is_empty(), "the step has not begun: its journal is empty");
        Ok(Self {
            build,
            step,
            rows,
            component: fetch(client, &format!("/steps/{id}/component"), MAX_COMPONENT).await?,
        })
    }

    fn open(file: &Path) -> anyhow::Result<Self> {
        let bytes = read(file, MAX_RECORD)?;
        let odd = || {
            format!(
                "expected a record that `capstan replay --save` wrote in {}",
                file.display()
            )
        };
        let mut saved: Value = serde_json::from_slice(&bytes).with_context(odd)?;
        ensure!(
            saved["format"] == FORMAT,
            "{}, found the format {}; expected {FORMAT}",
            odd(),
            saved["format"]
        );
        let component = saved["component"].as_str().with_context(odd)?;
        Ok(Self {
            build: saved["build"].as_i64().with_context(odd)?,
            component: BASE64_STANDARD.decode(component).with_context(odd)?,
            rows: serde_json::from_value(saved["rows"].take()).with_context(odd)?,
            step: saved["step"].take(),
        })
    }

    fn save(&self, file: &Path) -> anyhow::Result<()> {
        let saved = json!({
            "format": FORMAT, "build": self.build, "step": self.step, "rows": self.rows,
            "component": BASE64_STANDARD.encode(&self.component),
        });
        std::fs::write(file, saved.to_string()).with_context(|| format!("failed to write {}", file.display()))
    }

    /// What is replayed, and what the plugin said meanwhile.
    fn show(&self, plugin: &Plugin, replay: &Replay) {
        print(&format!(
            "build {} step {}: {} rows, with {} {} ({})",
            self.build,
            plain(self.step["name"].as_str().unwrap_or("?")),
            self.rows.len(),
            plugin.name(),
            plain(&plugin.manifest().plugin.version),
            plugin.digest().short()
        ));
        for message in &replay.messages {
            let text = plain(&message.text);
            print(&format!("  row {:<5} {:<5} {text}", message.seq, message.level));
        }
    }

    /// Whether the component did what is recorded, and how to say it.
    fn judge(&self, verdict: &Verdict) -> (bool, String) {
        let over = self.step["state"] == "complete";
        let recorded = plain(self.step["summary"].as_str().unwrap_or_default());
        match verdict {
            Verdict::Agrees(found) => (true, format!("agrees: {}", end(found))),
            Verdict::EndsOtherwise { recorded, found } => (
                false,
                format!(
                    "differs in its end: every call is as recorded\n  recorded: {}\n  found:    {}",
                    end(recorded),
                    end(found)
                ),
            ),
            Verdict::Mismatch(mismatch) => (
                false,
                format!(
                    "differs at row {}\n  recorded: {}\n  found:    {}",
                    mismatch.seq,
                    plain(&mismatch.recorded),
                    plain(&mismatch.requested)
                ),
            ),
            Verdict::Trapped { seq, last, reason } => {
                let same = *last && over && recorded.ends_with(&plain(reason));
                let word = if same { "agrees" } else { "differs" };
                (
                    same,
                    format!("{word}: the plugin was ended before row {seq}: {}", plain(reason)),
                )
            }
            Verdict::JournalEnds(past) => {
                let doing = if past.waiting { "waits for" } else { "goes on with" };
                let found = format!("row {}: it {doing} {}", past.seq, plain(&past.call));
                self.open_end(over, &recorded, &found)
            }
            Verdict::Returned(found) => self.open_end(over, &recorded, &end(found)),
        }
    }

    /// The journal has no last row: the step still runs, or the host ended it there.
    fn open_end(&self, over: bool, recorded: &str, found: &str) -> (bool, String) {
        let last = self.rows.last().filter(|row| row.kind == Kind::Start);
        if !over {
            return (
                true,
                format!("agrees as far as the journal goes; the step still runs\n  {found}"),
            );
        }
        let place = last.map_or_else(String::new, |row| format!(" in {}", row.call));
        (
            false,
            format!("differs: the step was ended there{place}\n  recorded: {recorded}\n  found:    {found}"),
        )
    }
}

fn end(end: &StepEnd) -> String {
    let failure = end.failure.as_ref().map(ToString::to_string);
    match failure.or_else(|| end.summary.clone()) {
        Some(text) => format!("it ends with {}: {}", end.outcome, plain(&text)),
        None => format!("it ends with {}", end.outcome),
    }
}

async fn fetch(client: &Client, path: &str, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut stream = Box::pin(client.bytes(path).await?);
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk.context("the connection to the master broke")?);
        ensure!(
            all.len() as u64 <= most,
            "expected at most {most} bytes from the master at {path}, found more"
        );
    }
    Ok(all)
}

fn read(file: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("failed to read {}", file.display());
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).with_context(failed)?;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    ensure!(
        bytes.len() as u64 <= most,
        "expected {} to be at most {most} bytes long, found a longer file",
        file.display()
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(content: &str) -> String {
        let name = format!("capstan-record-{}-{}", std::process::id(), content.len());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, content).unwrap();
        let error = Record::open(&file).err().expect("it is refused");
        std::fs::remove_file(&file).unwrap();
        format!("{error:#}").replace(&file.display().to_string(), "FILE")
    }

    #[test]
    fn what_is_no_saved_record_is_refused() {
        for content in [
            "",
            "{}",
            "[]",
            r#"{"format":"capstan-replay/2"}"#,
            r#"{"format":"capstan-replay/1","build":1,"component":"?","rows":[]}"#,
        ] {
            let error = refused(content);
            assert!(
                error.starts_with("expected a record that `capstan replay --save` wrote in FILE"),
                "{error}"
            );
        }
    }
}
