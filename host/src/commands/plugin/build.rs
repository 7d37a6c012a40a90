//! `capstan plugin build`.

use std::process::ExitCode;

use anyhow::Context;
use capstan_model::sized;
use capstan_pack::{Project, Toolbox};
use serde_json::{Value, json};

use super::file::PluginFile;
use super::inspect::rights;
use crate::cli::{BuildArguments, Common};
use crate::output::{plain, print, print_error, print_json};

/// Builds a project and says what came of it. The compiler's words and the progress go to standard error.
pub fn run(common: &Common, arguments: &BuildArguments) -> anyhow::Result<ExitCode> {
    let project = Project::open(&arguments.dir)?;
    let tools = Toolbox::from_environment(print_error)?;
    let built = capstan_pack::build(&project, &tools)?;
    let path = arguments.out.clone().unwrap_or_else(|| project.output());
    // Before it is written: what would not load is no plugin.
    let file = PluginFile::of(&built.bytes)
        .with_context(|| format!("what was built of {} cannot be used", project.folder().display()))?;
    built.write(&path)?;
    if common.json {
        let mut facts = file.json();
        facts.insert("path".to_owned(), json!(path));
        print_json(&Value::Object(facts));
        return Ok(ExitCode::SUCCESS);
    }
    print(&plain(&format!("{}: {}", file.title(), path.display())));
    print(&format!("{:<12} {}", "size", sized(file.size as u64)));
    print(&format!("{:<12} {}", "sha256", file.digest));
    rights(&built.manifest.rights)
        .iter()
        .for_each(|line| print(&plain(line)));
    Ok(ExitCode::SUCCESS)
}
