//! The stage `languages` of `cargo xtask ci`: whether the generated bindings are those of the WIT; the same plugins in Rust,
//! Python, JavaScript and C, built with tools that are installed if they are missing; the test that they behave the same.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::workspace::{self, cargo};

/// What a machine has to have; each with the command that says whether it does. The compilers themselves come from
/// PyPI and npm, in fixed versions; so does zig, for C, where there is no clang with a WASI library.
const NEEDED: [(&str, &[&str], &str); 3] = [
    (
        "python3-venv",
        &["python3", "-c", "import venv, ensurepip"],
        "python3 with venv",
    ),
    ("nodejs", &["node", "--version"], "node"),
    ("npm", &["npm", "--version"], "npm"),
];

/// Set, `sdk/c/generated` is made anew instead of compared.
const UPDATE: &str = "CAPSTAN_UPDATE_BINDINGS";

/// Compares the bindings, installs what is missing and runs the test for all languages.
pub fn run(repository: &Path) -> Result<()> {
    bindings(repository)?;
    for (package, question, what) in NEEDED {
        if !answers(question) {
            workspace::install(package, what)?;
        }
    }
    // By the test's name: with the features of one package alone the whole engine would be compiled anew.
    let mut test = cargo(repository);
    test.args(["test", "--locked", "--workspace", "--test", "conformance"]);
    workspace::run("languages", test.env("CAPSTAN_CONFORMANCE", "all"))
}

/// Those of C are kept, since an author's machine has no generator; those of the other languages are made with each build.
fn bindings(repository: &Path) -> Result<()> {
    let mut generator = cargo(repository);
    generator.args([
        "run",
        "--quiet",
        "--locked",
        "--manifest-path",
        "xtask/bindings/Cargo.toml",
    ]);
    generator
        .args(["--target-dir", "target/tools/bindings", "--"])
        .arg(repository);
    if std::env::var_os(UPDATE).is_some() {
        generator.arg("--write");
    }
    workspace::run("bindings", &mut generator)
}

fn answers(question: &[&str]) -> bool {
    let [program, arguments @ ..] = question else {
        return false;
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
