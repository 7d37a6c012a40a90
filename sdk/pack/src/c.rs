//! Makes a component of a plugin project in C: compiled with clang or zig for WASI without using it, then wrapped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::project::Export;
use crate::python::{absolute, package, part};
use crate::run::{COMPILE, is_ready, run};
use crate::{Project, Toolbox, component};

/// The package that holds zig.
const ZIGLANG: &str = "ziglang";

/// The version of zig that is fetched where no clang can do it.
const ZIG: &str = "0.17.1";

/// Debian's names, the newest first; what has no WASI library is passed over.
const CLANGS: [&str; 10] = [
    "clang", "clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15",
    "clang-14",
];

/// What a compiler must be able to do.
const TRIAL: &str =
    "#include <stdlib.h>\nvoid *trial(int size);\nvoid *trial(int size) { return malloc(size); }\n";

/// The component, without the manifest.
pub(crate) fn build(project: &Project, tools: &Toolbox) -> anyhow::Result<Vec<u8>> {
    let source = project.folder().join(project.source()?);
    let (wit, sdk) = (part(project, "wit")?, part(project, "capstan-sdk")?);
    let kind = project.manifest().plugin.kind;
    let bindings = sdk.join("generated").join(kind.as_str());
    ensure!(
        bindings.is_dir(),
        "expected a step, a scheduler, a reporter or a generator, found a {kind}: the SDK for C has no other kinds"
    );
    let scratch = tempfile::tempdir()?;
    let compiler = compiler(scratch.path(), tools)?;
    tools.say(&format!("compiling with {compiler}"));
    let output = scratch.path().join("module.wasm");
    let mut files = c_files(source.parent().unwrap_or(project.folder()))?;
    files.extend(["text.c", "json.c", "plugin.c"].map(|name| sdk.join(name)));
    files.extend([sdk.join(format!("{kind}.c")), bindings.join("wit.c")]);
    let mut command = compiler.command();
    for folder in [project.folder(), &sdk, &bindings] {
        command.arg("-I").arg(absolute(folder)?);
    }
    for export in project.exports() {
        command.arg(match export {
            Export::Calls => "-DCAP_CALLS",
            Export::Completions => "-DCAP_COMPLETIONS",
        });
    }
    for file in &files {
        command.arg(absolute(file)?);
    }
    run(command.arg("-o").arg(&output), COMPILE, tools)?;
    let mut module = fs::read(&output).with_context(|| format!("read {}", output.display()))?;
    describe(&mut module, &wit, project.world())?;
    component::wrap(&module).context(
        "C plugins have no WASI: what uses stdio.h, files, time or exit() imports it; use the SDK instead",
    )
}

/// Adds the world's types, from which the component is made.
fn describe(module: &mut Vec<u8>, wit: &Path, world: &str) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8, false)
}

fn c_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|e| e == "c") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// A C compiler with a WASI library.
struct Compiler {
    program: PathBuf,
    zig: bool,
}

impl std::fmt::Display for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program.display())
    }
}

impl Compiler {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.zig {
            command.arg("cc");
        }
        // Debian's library has the name of before the previews; newer clangs warn of it.
        command.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-Wno-deprecated"]);
        command.args([
            "-std=c17",
            "-Os",
            "-Wall",
            "-Wextra",
            "-Werror=implicit-function-declaration",
        ]);
        command.args(["-Wl,--strip-all", "-Wl,--gc-sections", "-ffunction-sections"]);
        command
    }

    fn works(&self, folder: &Path, tools: &Toolbox) -> bool {
        let file = folder.join("trial.c");
        let mut command = self.command();
        command.arg(&file).arg("-o").arg(folder.join("trial.wasm"));
        fs::write(&file, TRIAL).is_ok() && run(&mut command, COMPILE, tools).is_ok()
    }
}

fn clang(scratch: &Path, tools: &Toolbox) -> Option<Compiler> {
    let clangs = CLANGS.iter().map(|name| Compiler {
        program: name.into(),
        zig: false,
    });
    clangs.into_iter().find(|clang| clang.works(scratch, tools))
}

pub(crate) fn is_installed(tools: &Toolbox) -> bool {
    is_ready(tools, ZIGLANG, ZIG)
        || tempfile::tempdir().is_ok_and(|scratch| clang(scratch.path(), tools).is_some())
}

fn compiler(scratch: &Path, tools: &Toolbox) -> anyhow::Result<Compiler> {
    if let Some(clang) = clang(scratch, tools) {
        return Ok(clang);
    }
    let found = package(tools, ZIGLANG, ZIG).context(
        "expected clang with a WASI library, found none; on Debian: `apt-get install clang lld wasi-libc \
         libclang-rt-dev-wasm32`; zig from PyPI would do, too",
    )?;
    let zig = Compiler {
        program: zig(&found)?,
        zig: true,
    };
    ensure!(
        zig.works(scratch, tools),
        "expected a zig that compiles for WASI, found {zig}"
    );
    Ok(zig)
}

/// The program inside of the package.
fn zig(venv: &Path) -> anyhow::Result<PathBuf> {
    let libraries = venv.join("lib");
    for entry in fs::read_dir(&libraries).with_context(|| format!("read {}", libraries.display()))? {
        let program = entry?.path().join("site-packages/ziglang/zig");
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!("expected zig in {}, found none", libraries.display())
}
