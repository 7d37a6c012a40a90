//! What is not committed: the patches of the build's sources, applied after the checkout.

use capstan_sdk::step::{Exit, Outcome, Stop};
use serde::Deserialize;
use serde_json::Value;

use super::checkout::Worker;

/// The property in which the master hands them over.
pub(crate) const PROPERTY: &str = "patches";

/// Where the text is put, out of the way of the checkout.
const FILE: &str = ".git/capstan.patch";
/// How much of the text one command carries: systems take arguments of 128 KiB, and masters messages of a MiB.
const PIECE: usize = 48 << 10;
/// How much of what git says about a patch is read.
const CAPTURE: u32 = 4096;
/// How much of that people are told.
const SAID: usize = 400;

/// Git runs what begins with `!` in the shell that it brings along: so there is one wherever there is a git.
const WRITE: &str = "alias.capstan-write=!f() { printf %s \"$1\" >\"$2\"; }; f";
const APPEND: &str = "alias.capstan-write=!f() { printf %s \"$1\" >>\"$2\"; }; f";
/// What git finds wrong goes to standard output, from where it comes back, in the words that are looked for.
const APPLY: &str = "alias.capstan-apply=!f() { LC_ALL=C git apply \"$@\" 2>&1; }; f";

/// A patch of one of the build's sources.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Patch {
    pub(crate) codebase: String,
    pub(crate) body: String,
    pub(crate) level: u32,
    pub(crate) subdirectory: String,
}

/// The build's patches, as the master tells them.
pub(crate) fn read(property: Option<Value>) -> Result<Vec<Patch>, Stop> {
    let Some(value) = property else {
        return Ok(Vec::new());
    };
    serde_json::from_value(value).map_err(|error| {
        let text = format!(
            "expected the build's patches in the property `{PROPERTY}`, found something else: {error}"
        );
        Stop::Outcome(Outcome::Exception, text)
    })
}

/// Applies a patch to a fresh checkout: all of it or nothing.
pub(crate) fn apply(worker: &mut impl Worker, patch: &Patch) -> Result<(), Stop> {
    let mut write = WRITE;
    for piece in pieces(&patch.body) {
        let done = worker.git(&["-c", write, "capstan-write", piece, FILE])?;
        if !done.is_success() {
            return Err(ended(done.exit, "failed to write the patch to the workdir"));
        }
        write = APPEND;
    }
    let level = format!("-p{}", patch.level);
    let folder = format!("--directory={}", patch.subdirectory);
    // In the index too: so a later checkout knows what the patch has brought, and removes it.
    let mut args = vec![
        "-c",
        APPLY,
        "capstan-apply",
        "--index",
        "--whitespace=nowarn",
        &level,
    ];
    if !patch.subdirectory.is_empty() {
        args.push(&folder);
    }
    args.push(FILE);
    let done = worker.run(&args, CAPTURE)?;
    if done.is_success() {
        return Ok(());
    }
    let said = complaints(&done.text());
    Err(ended(done.exit, &format!("the patch does not apply: {said}")))
}

/// A git that could not be started, or that the farm had to stop, says nothing about the patch.
fn ended(exit: Exit, text: &str) -> Stop {
    match exit {
        Exit::Killed(_) | Exit::NotStarted(_) => Stop::Outcome(Outcome::Exception, text.to_owned()),
        _ => Stop::failure(text),
    }
}

/// The files that git names, with what is wrong with each.
fn complaints(output: &str) -> String {
    let errors = output.lines().filter_map(|line| line.strip_prefix("error: "));
    let mut said = String::new();
    for error in errors {
        if said.len() + error.len() > SAID {
            said.push_str("; and more");
            break;
        }
        if !said.is_empty() {
            said.push_str("; ");
        }
        said.push_str(error);
    }
    if said.is_empty() {
        said = output.chars().take(SAID).collect();
    }
    said
}

/// The text in parts that fit into a command.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_letters_and_loses_none() {
        let text = "ä€x".repeat(20_000);
        let parts: Vec<_> = pieces(&text).collect();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= PIECE));
        assert_eq!(parts.concat(), text);
        assert_eq!(pieces("").count(), 0);
    }

    #[test]
    fn what_git_finds_wrong_is_told_in_its_words() {
        let output = "error: patch failed: src/a.c:3\nerror: src/a.c: patch does not apply\n";
        assert_eq!(
            complaints(output),
            "patch failed: src/a.c:3; src/a.c: patch does not apply"
        );
        assert_eq!(complaints("fatal: odd"), "fatal: odd");
    }
}
