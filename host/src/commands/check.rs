//! `capstan check`: evaluates the configuration as the master would, and shows the plan or what is wrong.

use std::process::ExitCode;

use capstan_config::{Diagnostic, Operator};
use capstan_master::Error;

use crate::cli::Common;
use crate::output::{print, print_error, print_json};

/// Checks, and prints the plan.
pub async fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let operator = Operator::load(&common.farm)?;
    let engine = capstan_master::engine(&operator)?;
    match capstan_master::configure(&operator, &engine, capstan_builtin::components()).await {
        Ok(configured) => {
            if common.json {
                print_json(&serde_json::to_value(&configured.plan)?);
            } else {
                print(capstan_config::render_plan(&configured.plan).trim_end());
            }
            print_diagnostics(&configured.remarks);
            for remark in &configured.grants {
                print_error(&format!("warning: {remark}"));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Config(diagnostics)) => {
            print_diagnostics(&diagnostics);
            print_error(&format!(
                "capstan: the configuration has {} fault(s)",
                diagnostics.len()
            ));
            Ok(ExitCode::FAILURE)
        }
        Err(other) => Err(other.into()),
    }
}

/// Prints diagnostics with their source lines.
pub fn print_diagnostics(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        print_error(&capstan_config::render_all(diagnostics));
    }
}
