//! `capstan plugin new`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use capstan_pack::template::{New, create};

use crate::cli::NewArguments;
use crate::output::print;

/// Writes a new project and says what to do next.
pub fn run(arguments: &NewArguments) -> anyhow::Result<ExitCode> {
    let folder = arguments
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(&arguments.name));
    let files = create(&New {
        kind: arguments.kind,
        name: &arguments.name,
        language: arguments.lang,
        folder: &folder,
    })?;
    print(&format!(
        "made the {} {} in {}",
        arguments.kind,
        arguments.name,
        folder.display()
    ));
    for file in &files {
        print(&format!("  {}", folder.join(file).display()));
    }
    print("next");
    let here = folder.display();
    for (command, what) in [
        (format!("capstan plugin build {here}"), "compile it into one file"),
        (
            format!("capstan plugin test {here}"),
            "run the scenarios in its folder tests",
        ),
        (
            format!(
                "capstan plugin install {}",
                output(&folder, &arguments.name).display()
            ),
            "put it into your farm",
        ),
    ] {
        print(&format!("  {command:<40} {what}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn output(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.wasm"))
}
