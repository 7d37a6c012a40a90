//! The pipeline of a repository: a Starlark file that the operator did not write, evaluated to the steps that it may have.
//!
//! The master never evaluates one itself: it starts a process without rights, which calls [`serve`], and answers what that
//! asks for ([`Said`]). `capstan pipeline check` calls [`check`] for whoever writes such a file.

mod talk;

use std::path::Path;
use std::thread;

use capstan_model::plan::{Location, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use talk::{MAX_LINE, Reply, Said, serve};

use crate::diagnostic::{Diagnostic, PRINTED, Severity};
use crate::farm::{self, Farm, Limits};
use crate::plugins::{Catalogue, PluginInfo};
use crate::resolve::resolve;
use crate::star::{Collector, Policy, Session, amiss, is_path};

/// Bytes of one file of a pipeline.
pub const MAX_FILE: u64 = 256 << 10;

/// The files that one pipeline reads: itself, and what it loads.
const LIMITS: Limits = Limits {
    program: MAX_FILE,
    data: MAX_FILE,
    total: 2 << 20,
    files: 50,
};

/// The stack of an evaluation; only touched pages take memory.
const STACK_BYTES: usize = 128 << 20;

/// What is to be evaluated, and what it may be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The file, from the top of the repository.
    pub file: String,
    /// The builder that it is for.
    pub builder: String,
    /// The steps that it may use.
    pub allowed: Vec<PluginInfo>,
    /// The secrets that it may name; without a list any.
    pub secrets: Option<Vec<String>>,
    /// Where its steps run that say nothing.
    pub workdir: Option<Value>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The steps; none if something is wrong.
    pub steps: Vec<Step>,
    /// The first fault in a line, if something is wrong: `file:line:column: …`.
    pub fault: Option<String>,
    /// Everything that is to be said, as a terminal shows it: faults with their lines, and what the file printed.
    pub told: String,
}

impl Answer {
    /// Nothing but a fault.
    pub fn fault(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            steps: Vec::new(),
            told: format!("error: {text}\n"),
            fault: Some(text),
        }
    }
}

/// Evaluates a file of a folder in this process, for whoever writes it. Symbolic links to places within the folder are followed here,
/// the master follows none.
pub fn check(folder: &Path, request: &Request) -> Answer {
    let (folder, top) = (folder.to_owned(), request.file.clone());
    let ask = move |path: &str| {
        readable(&top, path)?;
        farm::read(&folder, &[], path, MAX_FILE).map_err(|error| error.to_string())
    };
    evaluate(Farm::asked(request.file.clone(), Box::new(ask)), request)
}

/// Whether `path` is one of the files that the pipeline `file` may read: those below its own folder. The text says why not.
pub fn readable(file: &str, path: &str) -> Result<(), String> {
    let shown: String = path.chars().take(200).collect();
    if !is_path(path) {
        return Err(format!("expected a path in the repository, found {shown:?}"));
    }
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below = path
        .strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'));
    match folder.is_empty() || below {
        true => Ok(()),
        false => Err(format!(
            "expected a file below the pipeline's own folder `{folder}`, found `{shown}`"
        )),
    }
}

fn evaluate(farm: Farm, request: &Request) -> Answer {
    let catalogue = match Catalogue::new(&request.allowed, None) {
        Ok(catalogue) => catalogue,
        Err(_) => return Answer::fault("expected the plugins that the pipeline may use, found fewer"),
    };
    let policy = Policy {
        builder: request.builder.clone(),
        secrets: request.secrets.clone(),
        workdir: request.workdir.clone(),
    };
    let farm = farm.with_limits(LIMITS);
    let collector = Collector::for_pipeline(farm.clone(), catalogue, policy);
    let entry = request.file.clone();
    let run = move || {
        Session::new(&collector).run(&entry);
        collector
    };
    let thread = thread::Builder::new()
        .name("pipeline".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(run);
    let collector = match thread.map(thread::JoinHandle::join) {
        Ok(Ok(collector)) => collector,
        Ok(Err(_)) => return Answer::fault("the interpreter failed; this is a fault of Capstan"),
        Err(error) => return Answer::fault(format!("no thread to evaluate in: {error}")),
    };
    let start = Location {
        file: request.file.clone(),
        line: 1,
        column: 1,
    };
    match resolve(collector.finish(), &farm, &|_, _| Ok(())) {
        Err(faults) => wrong(&faults),
        Ok(evaluated) => {
            let steps: Vec<Step> = evaluated
                .plan
                .builders
                .into_iter()
                .flat_map(|b| b.steps)
                .collect();
            if let Some((expected, found)) = amiss(steps.len()) {
                let fault = Diagnostic::error(start, "").expected(expected).found(found);
                return wrong(&[fault.code("no-steps")]);
            }
            // Remarks about builders are not for a file that defines none.
            let printed: Vec<_> = evaluated
                .remarks
                .into_iter()
                .filter(|r| r.code == PRINTED)
                .collect();
            Answer {
                steps,
                fault: None,
                told: crate::render_all(&printed),
            }
        }
    }
}

fn wrong(faults: &[Diagnostic]) -> Answer {
    let mut errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
    let first = errors.next();
    let fault = first.map(|first| match errors.count() {
        0 => format!("{}: {}", first.location, first.text()),
        more => format!("{}: {} (and {more} more)", first.location, first.text()),
    });
    Answer {
        steps: Vec::new(),
        fault: fault.or_else(|| Some("it cannot be evaluated".to_owned())),
        told: crate::render_all(faults),
    }
}

#[cfg(test)]
mod tests;
