//! The process that evaluates a pipeline: this program again, without environment, files or secrets, within limits that it sets
//! itself before it reads anything, and with an end that the master sets.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use capstan_config::pipeline::{Answer, MAX_LINE, Request, Said};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::files::Files;

/// How long all of it may take; a usual pipeline takes some 50 ms.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of what it complains of.
const MAX_COMPLAINTS: u64 = 2000;
/// This program, also when its file was replaced meanwhile.
#[cfg(target_os = "linux")]
const PROGRAM: &str = "/proc/self/exe";

/// Evaluates what is asked for. `files` answers what the pipeline reads; the error says how the process failed.
pub(super) async fn evaluate(
    folder: &Path,
    request: &Request,
    files: &mut Files<'_>,
) -> Result<Answer, String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("failed to make {}: {e}", folder.display()))?;
    let mut child = start(folder)?;
    let talked = tokio::time::timeout(DEADLINE, talk(&mut child, request, files)).await;
    match talked {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(ended(child).await),
        // Dropping the child kills it.
        Err(_) => Err(format!(
            "expected an evaluation of at most {} seconds, found a longer one, which was ended",
            DEADLINE.as_secs()
        )),
    }
}

fn start(folder: &Path) -> Result<Child, String> {
    let program = program().map_err(|e| format!("failed to find this program: {e}"))?;
    Command::new(program)
        .args(["pipeline", "evaluate"])
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("failed to start a process for it: {e}"))
}

#[cfg(target_os = "linux")]
fn program() -> std::io::Result<&'static str> {
    Ok(PROGRAM)
}

#[cfg(not(target_os = "linux"))]
fn program() -> std::io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

/// `None` if the process says something else than it should, or nothing more.
async fn talk(child: &mut Child, request: &Request, files: &mut Files<'_>) -> Option<Answer> {
    let mut input: ChildStdin = child.stdin.take()?;
    let output: ChildStdout = child.stdout.take()?;
    let mut output = BufReader::new(output);
    say(&mut input, request).await?;
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut output).take(MAX_LINE);
        bounded.read_until(b'\n', &mut line).await.ok()?;
        match serde_json::from_slice(&line).ok()? {
            Said::Done(answer) => return Some(answer),
            Said::Read(path) => say(&mut input, &files.read(&path).await).await?,
        }
    }
}

async fn say(input: &mut ChildStdin, what: &impl Serialize) -> Option<()> {
    let mut line = serde_json::to_vec(what).ok()?;
    line.push(b'\n');
    input.write_all(&line).await.ok()?;
    input.flush().await.ok()
}

/// Why a process ended without an answer. It is killed if it has not.
async fn ended(mut child: Child) -> String {
    let complaints = complaints(child.stderr.take());
    // It may be on its way to its end; what hangs instead is past its use.
    let patience = Duration::from_secs(2);
    let waited = tokio::time::timeout(patience, async { tokio::join!(child.wait(), complaints) }).await;
    let Ok((Ok(status), complaints)) = waited else {
        return "expected an answer from its evaluation, found none".to_owned();
    };
    let hint = "did a value grow without end, or a loop run without end?";
    match complaints.trim() {
        "" => format!("its evaluation ended with {status}; {hint}"),
        said => format!("its evaluation ended with {status} ({said}); {hint}"),
    }
}

async fn complaints(stderr: Option<ChildStderr>) -> String {
    let mut text = Vec::new();
    if let Some(stderr) = stderr {
        // What cannot be read is not said.
        let _read = stderr.take(MAX_COMPLAINTS).read_to_end(&mut text).await;
    }
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
