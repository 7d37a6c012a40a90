//! From Starlark files to a plan: evaluation, then names and plugins checked against each other. The master calls it
//! on start and reload, `capstan check` before that, and a restarted master for each pinned bundle.

use std::sync::mpsc;
use std::thread;

use capstan_model::plan::{Location, Plan, PluginUse};
use capstan_model::plugin::Kind;

use crate::diagnostic::{Diagnostic, Severity};
use crate::farm::Farm;
use crate::plugins::{Catalogue, PluginInfo};
use crate::resolve::resolve;
use crate::star::{Asker, Collector, Functions, Session};

/// A configuration that can be applied.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// What it means. Its bundle evaluates to the same plan again.
    pub plan: Plan,
    /// The functions that it keeps.
    pub functions: Functions,
    /// What is probably not intended, and what the configuration printed.
    pub remarks: Vec<Diagnostic>,
}

impl Evaluated {
    /// The warnings among the remarks.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.remarks
            .iter()
            .filter(|remark| remark.severity == Severity::Warning)
    }
}

/// A fault that a plugin found in its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the parameters: `command`, `env.PATH`; empty for all of them.
    pub path: String,
    /// What is wrong, as a fragment.
    pub message: String,
}

/// The plugins' own checks: given a use whose parameters fit the schema, what the plugin says of it. Called once for
/// equal uses, from the calling thread.
pub type Check<'a> = dyn Fn(Kind, &PluginUse) -> Result<(), Vec<Problem>> + 'a;

/// What runs the generators' own code: given a use whose parameters fit the schema, the JSON that the component answers. Called from
/// the calling thread, while evaluation waits.
pub type Generate<'a> = dyn Fn(&PluginUse) -> Result<serde_json::Value, Vec<Problem>> + 'a;

/// Evaluates a configuration that uses no generator; one that does is refused. See [`evaluate_with`].
pub fn evaluate(
    farm: &Farm,
    plugins: &[PluginInfo],
    check: &Check<'_>,
) -> Result<Evaluated, Vec<Diagnostic>> {
    evaluate_with(farm, plugins, check, &|_| {
        Err(vec![Problem {
            path: String::new(),
            message: "no component can be run here".to_owned(),
        }])
    })
}

/// Evaluates a configuration. On failure there is at least one error in the list; remarks are there, too.
///
/// Bounded in work, memory and depth, and the same for the same files and plugins. It takes milliseconds for usual
/// configurations and blocks its thread meanwhile.
pub fn evaluate_with(
    farm: &Farm,
    plugins: &[PluginInfo],
    check: &Check<'_>,
    generate: &Generate<'_>,
) -> Result<Evaluated, Vec<Diagnostic>> {
    let start = || Location {
        file: farm.entry().to_owned(),
        line: 1,
        column: 1,
    };
    let catalogue = Catalogue::new(plugins, farm.pinned()).map_err(|missing| {
        let gone = missing.into_iter().map(|pin| {
            let what = format!(
                "the {} plugin `{}` in version {}",
                pin.kind,
                pin.name,
                pin.digest.short()
            );
            Diagnostic::error(start(), "pinned plugin")
                .expected(what)
                .found("no such file")
        });
        gone.collect::<Vec<_>>()
    })?;
    let collector = Collector::new(farm.clone(), catalogue);
    let entry = farm.entry().to_owned();
    let (asked, wanted) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    collector.asker.replace(Some(Asker { asked, answers }));
    let run = move || {
        Session::new(&collector).run(&entry);
        // Whoever answers waits for more as long as it is there.
        collector.asker.replace(None);
        collector
    };
    let thread = thread::Builder::new()
        .name("evaluate".to_owned())
        .stack_size(crate::star::STACK_BYTES)
        .spawn(run);
    let thread = thread.map_err(|error| {
        vec![Diagnostic::error(
            start(),
            format!("no thread to evaluate in: {error}"),
        )]
    })?;
    for wanted in wanted {
        if answer.send(generate(&wanted)).is_err() {
            break;
        }
    }
    match thread.join() {
        Ok(collector) => resolve(collector.finish(), farm, check),
        Err(_) => Err(vec![Diagnostic::error(
            start(),
            "the interpreter failed; this is a fault of Capstan",
        )]),
    }
}

#[cfg(test)]
mod tests;
