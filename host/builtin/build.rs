//! Makes a table of the plugin files in `target/guests/builtin`, which `cargo xtask plugins` builds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let crate_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = crate_folder.join("../../target/guests/builtin");
    // The folder: a plugin came or went. Where it does not exist, cargo asks again each time.
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
    let table = match plugins(&folder) {
        Ok(files) if !files.is_empty() => table(&folder.canonicalize()?, &files),
        _ => "compile_error!(\"the built-in plugins are not built: run `cargo xtask plugins`\");\n\
              static COMPONENTS: &[(&str, &[u8])] = &[];\n"
            .to_owned(),
    };
    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(output.join("components.rs"), table)
}

/// The plugins' names, sorted.
fn plugins(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_plugin = path.extension().is_some_and(|e| e == "wasm");
        if let Some(name) = path.file_stem().and_then(|n| n.to_str()).filter(|_| is_plugin) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn table(folder: &Path, names: &[String]) -> String {
    let mut table = "static COMPONENTS: &[(&str, &[u8])] = &[\n".to_owned();
    for name in names {
        let path = folder.join(format!("{name}.wasm"));
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?})),");
    }
    table + "];\n"
}
