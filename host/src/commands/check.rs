//! `capstan check`: evaluates the configuration as the master would, and says how much it defines, or what is wrong.

use std::process::ExitCode;

use capstan_config::{Diagnostic, Operator};
use capstan_master::{Configured, Error};
use capstan_model::counted;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::output::{print, print_error, print_json};

/// Checks, and prints counts or the builders.
pub async fn run(common: &Common, builders: bool) -> anyhow::Result<ExitCode> {
    let checked = evaluate(common).await?;
    if common.json {
        print_json(&described(&checked)?);
        return Ok(match checked {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        });
    }
    let Some(configured) = good(checked) else {
        return Ok(ExitCode::FAILURE);
    };
    if builders {
        print(capstan_config::render_builders(&configured.plan).trim_end());
    } else {
        print(&summary(&configured));
    }
    print_remarks(&configured);
    Ok(ExitCode::SUCCESS)
}

/// The farm's configuration, or its faults.
pub async fn evaluate(common: &Common) -> anyhow::Result<Result<Configured, Vec<Diagnostic>>> {
    let operator = Operator::load(&common.farm)?;
    let engine = capstan_master::engine(&operator)?;
    match capstan_master::configure(&operator, &engine, capstan_builtin::components()).await {
        Ok(configured) => Ok(Ok(configured)),
        Err(Error::Config(diagnostics)) => Ok(Err(diagnostics)),
        Err(other) => Err(other.into()),
    }
}

/// The configuration, if it is good; otherwise its faults are printed.
pub fn good(checked: Result<Configured, Vec<Diagnostic>>) -> Option<Configured> {
    match checked {
        Ok(configured) => Some(configured),
        Err(diagnostics) => {
            print_diagnostics(&diagnostics);
            let faults = diagnostics
                .iter()
                .filter(|d| d.severity == capstan_config::Severity::Error);
            let faults = counted(faults.count() as u64, "fault");
            print_error(&format!("capstan: the configuration has {faults}"));
            None
        }
    }
}

/// What looks wrong.
pub fn print_remarks(configured: &Configured) {
    print_diagnostics(&configured.remarks);
    for remark in &configured.grants {
        print_error(&format!("warning: {remark}"));
    }
}

/// `1176 builders with 7278 steps, 57 workers, …`
fn summary(configured: &Configured) -> String {
    let counts = capstan_config::counts(&configured.plan);
    let lines = counts
        .into_iter()
        .filter(|(kind, count)| *count > 0 || matches!(*kind, "builders" | "workers"));
    let lines: Vec<_> = lines
        .map(|(kind, count)| format!("{count:>7} {}", word(kind, count)))
        .collect();
    format!("The configuration is good. It defines\n{}", lines.join("\n"))
}

fn word(plural: &str, count: usize) -> &str {
    match count {
        1 => plural.strip_suffix('s').unwrap_or(plural),
        _ => plural,
    }
}

/// Plan, counts and diagnostics, for programs; the plan is null if there are faults.
fn described(checked: &Result<Configured, Vec<Diagnostic>>) -> anyhow::Result<Value> {
    let (plan, counts, diagnostics, plugins) = match checked {
        Err(diagnostics) => (Value::Null, Value::Null, diagnostics, Vec::new()),
        Ok(configured) => {
            let counts = capstan_config::counts(&configured.plan).into_iter();
            let counts = counts.map(|(kind, count)| (kind.replace(' ', "_"), Value::from(count)));
            (
                serde_json::to_value(&configured.plan)?,
                Value::Object(counts.collect()),
                &configured.remarks,
                configured.grants.clone(),
            )
        }
    };
    let mut diagnostics = match serde_json::to_value(diagnostics)? {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    // Those of the plugin folder are about no place of a file.
    diagnostics.extend(plugins.into_iter().map(|text| {
        json!({ "severity": "warning", "code": "plugin-file", "file": null, "line": null, "column": null, "message": text })
    }));
    Ok(json!({ "plan": plan, "counts": counts, "diagnostics": diagnostics }))
}

/// Prints diagnostics with their source lines.
pub fn print_diagnostics(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        print_error(capstan_config::render_all(diagnostics).trim_end());
    }
}
