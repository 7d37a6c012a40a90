//! `capstan artefact`: what the steps of a build stored, and fetching it.
//!
//! A file is there only when all of it is: it is written beside its place, its digest is checked, then it gets its name. A
//! master that goes away meanwhile is waited for, and what is there already is not fetched again.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use capstan_model::{Hasher, counted, sized};
use futures::StreamExt as _;
use serde_json::Value;

use crate::cli::Common;
use crate::client::{Client, segment};
use crate::output::{ago, plain, print, print_json};

/// How often the progress is shown anew.
const BEAT: Duration = Duration::from_millis(100);

/// Lists the artefacts of a build, by name.
pub async fn list(common: &Common, build: &str) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(build).await?;
    let answer = client.get(&format!("/builds/{id}/artefacts")).await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for artefact in answer["artefacts"].as_array().into_iter().flatten() {
        let digest: String = text(artefact, "sha256").chars().take(12).collect();
        print(&format!(
            "{:>10}  {digest:<12}  {:<14}  {}",
            sized(artefact["size"].as_u64().unwrap_or(0)),
            ago(&artefact["created"]),
            text(artefact, "name")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(artefact: &Value, name: &str) -> String {
    plain(artefact[name].as_str().unwrap_or("-"))
}

/// Fetches one into a file; `-` is standard output.
pub async fn get(common: &Common, build: &str, name: &str, to: Option<&Path>) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let id = client.build_id(build).await?;
    let wanted = Wanted::find(&client, id, name).await?;
    // Whoever fetches it knows the master by now, and knows it again.
    client.greet().await?;
    if to.is_some_and(|to| to == Path::new("-")) {
        let mut pipe = Received::new(std::io::stdout(), &wanted);
        pipe.fetch(&client, &wanted).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = place(name, to)?;
    let draft = Draft::beside(&place)?;
    let mut file = Received::new(draft.file()?, &wanted);
    file.fetch(&client, &wanted).await?;
    draft.become_whole(&place, &file.to)?;
    let size = sized(wanted.size);
    if common.json {
        print_json(&serde_json::json!({ "file": place, "size": wanted.size, "sha256": wanted.sha256 }));
    } else {
        print(&plain(&format!(
            "{}: {size}, sha256 {}",
            place.display(),
            wanted.sha256
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// An artefact as the master lists it.
struct Wanted {
    path: String,
    size: u64,
    sha256: String,
}

impl Wanted {
    async fn find(client: &Client, build: i64, name: &str) -> anyhow::Result<Self> {
        let list = client.get(&format!("/builds/{build}/artefacts")).await?;
        let all: Vec<_> = list["artefacts"].as_array().into_iter().flatten().collect();
        let Some(found) = all.iter().find(|artefact| artefact["name"] == name) else {
            let names: Vec<_> = all
                .iter()
                .take(20)
                .map(|artefact| text(artefact, "name"))
                .collect();
            match names.len() {
                0 => bail!("build {build} has no artefacts"),
                _ => bail!(
                    "build {build} has no artefact `{name}`; it has {}: {}",
                    counted(all.len() as u64, "artefact"),
                    names.join(", ")
                ),
            }
        };
        let (size, sha256) = (found["size"].as_u64(), found["sha256"].as_str());
        let words: Vec<_> = name.split('/').map(segment).collect();
        Ok(Self {
            path: format!("/builds/{build}/artefacts/{}", words.join("/")),
            size: size.context("expected an artefact with a size from the master")?,
            sha256: sha256
                .context("expected an artefact with a digest from the master")?
                .to_owned(),
        })
    }
}

/// Where it goes: into a folder, under the last word of its name.
fn place(name: &str, to: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = name.rsplit('/').next().unwrap_or(name);
    match to {
        Some(to) if !to.is_dir() => Ok(to.to_owned()),
        folder => {
            ensure!(
                !matches!(file, "" | "." | ".."),
                "expected a name that ends in a file's, found `{name}`"
            );
            Ok(folder.unwrap_or(Path::new("")).join(file))
        }
    }
}

/// A file without its name. It goes if it gets none.
struct Draft(Option<PathBuf>);

impl Draft {
    fn beside(place: &Path) -> anyhow::Result<Self> {
        let name = place
            .file_name()
            .context("expected the name of a file after -o")?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:08x}.part", rand::random::<u32>()));
        Ok(Self(Some(place.with_file_name(hidden))))
    }

    fn file(&self) -> anyhow::Result<File> {
        let path = self.0.as_deref().unwrap_or(Path::new(""));
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        made.with_context(|| format!("failed to make {}", path.display()))
    }

    fn become_whole(mut self, place: &Path, file: &File) -> anyhow::Result<()> {
        let failed = || format!("failed to write {}", place.display());
        file.sync_all().with_context(failed)?;
        if let Some(path) = &self.0 {
            std::fs::rename(path, place).with_context(failed)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It may never have been made.
            let _gone = std::fs::remove_file(path);
        }
    }
}

/// What has come so far.
struct Received<W> {
    to: W,
    hasher: Hasher,
    length: u64,
    /// How often in a row the master began to send and sent nothing.
    stalls: u32,
    progress: Progress,
}

/// A master that answers so often without a byte is not away: it cannot read the file.
const MOST_STALLS: u32 = 5;

impl<W: std::io::Write> Received<W> {
    fn new(to: W, wanted: &Wanted) -> Self {
        Self {
            to,
            hasher: Hasher::default(),
            length: 0,
            stalls: 0,
            progress: Progress::of(wanted.size),
        }
    }

    /// Fetches all of it, however often the master goes away.
    async fn fetch(&mut self, client: &Client, wanted: &Wanted) -> anyhow::Result<()> {
        let attempt = async || self.go_on(client, wanted).await;
        let fetched = client.survive(attempt, async || {}).await;
        self.progress.end();
        fetched?;
        self.to.flush().context("failed to write the artefact")?;
        let found = std::mem::take(&mut self.hasher).finish().to_string();
        ensure!(
            found == wanted.sha256,
            "expected an artefact with the SHA-256 {}, received {found}",
            wanted.sha256
        );
        Ok(())
    }

    async fn go_on(&mut self, client: &Client, wanted: &Wanted) -> anyhow::Result<()> {
        if self.length == wanted.size {
            return Ok(());
        }
        let mut stream = Box::pin(client.bytes_from(&wanted.path, self.length).await?);
        ensure!(
            self.stalls < MOST_STALLS,
            "the master broke off {MOST_STALLS} times at byte {} of {}; its log says what is wrong with the file",
            self.length,
            wanted.size
        );
        self.stalls += 1;
        while let Some(chunk) = stream.next().await {
            self.take(&chunk?, wanted)?;
            self.stalls = 0;
        }
        ensure!(
            self.length == wanted.size,
            "expected {} bytes, received {}",
            wanted.size,
            self.length
        );
        Ok(())
    }

    fn take(&mut self, chunk: &[u8], wanted: &Wanted) -> anyhow::Result<()> {
        let length = self.length + chunk.len() as u64;
        ensure!(
            length <= wanted.size,
            "expected {} bytes, received more",
            wanted.size
        );
        self.to.write_all(chunk).context("failed to write the artefact")?;
        self.hasher.update(chunk);
        self.length = length;
        self.progress.show(length);
        Ok(())
    }
}

/// A line that says how far it is, where somebody looks on.
struct Progress {
    size: u64,
    watched: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn of(size: u64) -> Self {
        Self {
            size,
            watched: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    fn show(&mut self, length: u64) {
        let due = self.shown.is_none_or(|at| at.elapsed() >= BEAT);
        if self.watched && due {
            self.shown = Some(Instant::now());
            self.write(&line(length, self.size));
        }
    }

    /// Takes the line away.
    fn end(&self) {
        if self.shown.is_some() {
            self.write("");
        }
    }

    fn write(&self, line: &str) {
        let mut terminal = std::io::stderr();
        let _closed = write!(terminal, "\r\x1b[K{line}").and_then(|()| terminal.flush());
    }
}

fn line(length: u64, size: u64) -> String {
    let percent = length.saturating_mul(100).checked_div(size).unwrap_or(100);
    format!("{percent:>3} %  {} of {}", sized(length), sized(size))
}

#[cfg(test)]
mod tests {
    use capstan_model::Digest;

    use super::*;

    fn wanted(content: &[u8]) -> Wanted {
        Wanted {
            path: String::new(),
            size: content.len() as u64,
            sha256: Digest::of(content).to_string(),
        }
    }

    #[test]
    fn it_goes_under_its_last_word_into_a_folder_or_where_one_says() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(place("dist/a.whl", None).unwrap(), Path::new("a.whl"));
        assert_eq!(
            place("dist/a.whl", Some(folder.path())).unwrap(),
            folder.path().join("a.whl")
        );
        let file = folder.path().join("b");
        assert_eq!(place("dist/a.whl", Some(&file)).unwrap(), file);
        assert!(place("dist/..", None).is_err());
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_nothing_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a");
        std::fs::write(&place, "old").unwrap();
        let draft = Draft::beside(&place).unwrap();
        let mut file = draft.file().unwrap();
        file.write_all(b"ha").unwrap();
        drop(draft);
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "old");
        let draft = Draft::beside(&place).unwrap();
        let mut file = draft.file().unwrap();
        file.write_all(b"new").unwrap();
        draft.become_whole(&place, &file).unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn more_than_was_announced_is_not_written() {
        let wanted = wanted(b"abc");
        let mut received = Received::new(Vec::new(), &wanted);
        received.take(b"ab", &wanted).unwrap();
        assert!(received.take(b"cd", &wanted).is_err());
        assert_eq!(received.to, b"ab");
    }

    #[test]
    fn the_progress_reads_well() {
        assert_eq!(line(0, 0), "100 %  0 B of 0 B");
        assert_eq!(line(500_000, 2_000_000), " 25 %  500.0 kB of 2.0 MB");
    }
}
