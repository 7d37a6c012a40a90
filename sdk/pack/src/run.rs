//! Runs the tools of a language: bounded, with a sign of life, and with what they said if they fail.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Toolbox;

/// How long a compiler may take; the slowest one needs half a minute on a small machine.
pub(crate) const COMPILE: Duration = Duration::from_secs(300);

/// How long fetching and unpacking a tool may take.
pub(crate) const INSTALL: Duration = Duration::from_secs(900);

/// Marks a tool that is installed as a whole.
const READY: &str = ".ready";

/// How often to say that it still runs.
const SIGN: Duration = Duration::from_secs(10);

/// How much of a tool's words is shown when it fails.
const SHOWN: u64 = 8 << 10;

/// Runs a command to its good end. Its output is shown only if it fails.
pub(crate) fn run(command: &mut Command, limit: Duration, tools: &Toolbox) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let name = Path::new(&name)
        .file_name()
        .map_or(name.clone(), |n| n.to_string_lossy().into_owned());
    let mut output = tempfile::tempfile().context("make a temporary file")?;
    let pipe = |file: &File| file.try_clone().map(Stdio::from);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(pipe(&output)?)
        .stderr(pipe(&output)?)
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    let status = wait(&mut child, &name, limit, tools)?;
    if !status.success() {
        bail!("{name} failed ({status}):\n{}", tail(&mut output)?);
    }
    Ok(())
}

fn wait(child: &mut Child, name: &str, limit: Duration, tools: &Toolbox) -> anyhow::Result<ExitStatus> {
    let start = Instant::now();
    let mut said = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let elapsed = start.elapsed();
        if elapsed > limit {
            child.kill()?;
            child.wait()?;
            bail!("{name} took more than {} s", limit.as_secs());
        }
        if elapsed - said >= SIGN {
            said = elapsed;
            tools.say(&format!("{name} is at work for {} s", elapsed.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tail(output: &mut File) -> anyhow::Result<String> {
    let size = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(size.saturating_sub(SHOWN)))?;
    let mut text = Vec::new();
    output.take(SHOWN).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// The first line that a program prints, if it can be started and ends well.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// Whether it is installed already.
pub(crate) fn is_ready(tools: &Toolbox, name: &str, version: &str) -> bool {
    tools
        .cache
        .join(format!("{name}-{version}"))
        .join(READY)
        .is_file()
}

/// A tool in a folder of the cache that is made once, by `make`; whole or not at all.
pub(crate) fn installed(
    tools: &Toolbox,
    name: &str,
    version: &str,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let folder = tools.folder(&format!("{name}-{version}"))?;
    let ready = folder.join(READY);
    if !ready.is_file() {
        let _only_one = crate::toolbox::lock(&folder, tools)?;
        if !ready.is_file() {
            tools.say(&format!(
                "installing {name} {version} into {} (once)",
                folder.display()
            ));
            make(&folder).with_context(|| format!("install {name} into {}", folder.display()))?;
            File::create(&ready).with_context(|| format!("create {}", ready.display()))?;
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Toolbox {
        Toolbox::new(std::env::temp_dir(), |_| {})
    }

    #[test]
    fn a_tool_that_fails_is_quoted() {
        let error = run(
            Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]),
            COMPILE,
            &tools(),
        );
        let text = format!("{:#}", error.unwrap_err());
        assert!(
            text.contains("sh failed (exit status: 3):\nno such thing"),
            "{text}"
        );
    }

    #[test]
    fn a_tool_that_hangs_is_ended() {
        let error = run(Command::new("sleep").arg("60"), Duration::ZERO, &tools()).unwrap_err();
        assert_eq!(error.to_string(), "sleep took more than 0 s");
    }

    #[test]
    fn a_tool_is_installed_once_and_only_if_that_worked() {
        let cache = tempfile::tempdir().unwrap();
        let tools = Toolbox::new(cache.path(), |_| {});
        assert!(installed(&tools, "a", "1", |_| bail!("no network")).is_err());
        let folder = installed(&tools, "a", "1", |folder| {
            Ok(std::fs::write(folder.join("tool"), "")?)
        })
        .unwrap();
        assert!(folder.join("tool").is_file());
        installed(&tools, "a", "1", |_| bail!("it is there")).unwrap();
    }
}
