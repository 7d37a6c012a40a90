//! From a specification to a started process: environment, working directory, program, and the header that
//! says so.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};

use capstan_model::{CommandSpec, EnvValue, Program};

use super::Job;
use crate::os;

/// Why a command cannot be started; the text becomes `Exit::NotStarted`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An empty list of arguments.
    #[error("expected a program to run, found an empty list of arguments")]
    NoProgram,
    /// Nothing of that name in the search path.
    #[error("no program `{program}` was found in PATH={path}")]
    NotInPath {
        /// As the specification has it.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// Found or named by a path, but the system refused.
    #[error("the program `{program}` could not be started: {source}")]
    Refused {
        /// As the specification has it.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The builder's directory is not one name.
    #[error("expected the builder's directory to be one name, found `{0}`")]
    BuilderDir(String),
    /// The working directory names a place outside.
    #[error("expected a working directory inside the builder's directory, found `{0}`")]
    Outside(String),
    /// The working directory is a path from the root, which this worker does not grant.
    #[error(
        "expected a working directory inside the builder's directory{}, found `{found}`; `folders` in the worker's worker.toml grants others",
        granted(.folders)
    )]
    NotGranted {
        /// As the specification has it.
        found: String,
        /// What is granted.
        folders: Vec<PathBuf>,
    },
    /// The working directory leads outside through a symbolic link.
    #[error(
        "the working directory `{workdir}` leaves the builder's directory through a symbolic link, to `{target}`"
    )]
    Leaves {
        /// As the specification has it.
        workdir: String,
        /// Where it leads.
        target: String,
    },
    /// The working directory cannot be made or entered.
    #[error("the working directory `{workdir}` could not be prepared: {source}")]
    Workdir {
        /// As the specification has it.
        workdir: String,
        /// What the system said.
        source: io::Error,
    },
    /// A variable that no process can have.
    #[error("expected the name of an environment variable, found `{0}`")]
    VariableName(String),
    /// An entry of a list holds what separates entries.
    #[error("the list for the variable {variable} cannot be joined: {source}")]
    Separator {
        /// The environment variable.
        variable: String,
        /// What the system said.
        source: std::env::JoinPathsError,
    },
    /// The secret was named, but its value did not come along.
    #[error("the variable {variable} wants the secret `{secret}`, which the master did not send")]
    NoSecret {
        /// The environment variable.
        variable: String,
        /// The secret's name.
        secret: String,
    },
}

fn granted(folders: &[PathBuf]) -> String {
    let each = folders
        .iter()
        .map(|folder| format!(" or inside `{}`", folder.display()));
    each.collect()
}

/// What the log says before the output: the same on every worker and in every run.
pub fn header(spec: &CommandSpec) -> String {
    let line = match &spec.program {
        Program::Argv(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        Program::Shell(line) => line.clone(),
        Program::File { path, .. } => {
            return format!("the file {}", Path::new(&spec.builder_dir).join(path).display());
        }
    };
    let mut text = format!(
        "$ {line}\nin {}",
        Path::new(&spec.builder_dir).join(&spec.workdir).display()
    );
    let named = |wanted: fn(&EnvValue) -> bool| {
        spec.env
            .iter()
            .filter(|(_, value)| wanted(value))
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
    };
    for (names, what) in [
        (
            named(|value| matches!(value, EnvValue::Set(_) | EnvValue::Path(_))),
            "set",
        ),
        (
            named(|value| matches!(value, EnvValue::Secret(_))),
            "from secrets",
        ),
        (named(|value| matches!(value, EnvValue::Unset)), "unset"),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("\nenvironment {what}: {}", names.join(", ")));
        }
    }
    text
}

/// Starts the command in a process group of its own, both pipes captured.
pub fn start(job: &Job) -> Result<Child, Error> {
    let workdir = match Path::new(&job.spec.workdir).is_absolute() {
        true => granted_workdir(&job.folders, &job.spec.workdir)?,
        false => workdir(&job.base, &job.spec.builder_dir, &job.spec.workdir)?,
    };
    let own: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let mut env = environment(&own, &job.spec, &job.secrets)?;
    if !job.spec.env.contains_key("PWD") {
        env.insert("PWD".into(), workdir.clone().into());
    }
    env.insert(os::MARK.into(), job.id.to_string().into());

    let argv = match &job.spec.program {
        Program::Argv(argv) => argv.clone(),
        Program::Shell(line) => os::shell(line),
        // Nothing is started for one.
        Program::File { .. } => Vec::new(),
    };
    let (program, arguments) = argv.split_first().ok_or(Error::NoProgram)?;
    let found = find(
        program,
        env.get(OsStr::new("PATH")).map(OsString::as_os_str),
        &workdir,
    )?;
    let refused = |source| Error::Refused {
        program: program.clone(),
        source,
    };
    Command::new(found)
        .arg0(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(&workdir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(refused)
}

/// The builder's directory and the working directory in it, made if missing, with every link followed.
pub(super) fn workdir(base: &Path, builder: &str, workdir: &str) -> Result<PathBuf, Error> {
    let mut parts = Path::new(builder).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == OsStr::new(builder))
    {
        return Err(Error::BuilderDir(builder.to_owned()));
    }
    let shown = || Path::new(builder).join(workdir).display().to_string();
    let failed = |source| Error::Workdir {
        workdir: shown(),
        source,
    };
    fs::create_dir_all(base).map_err(failed)?;
    let base = base.canonicalize().map_err(failed)?;
    let root = enter(&base, OsStr::new(builder)).map_err(failed)?;
    if root != base.join(builder) {
        return Err(Error::Leaves {
            workdir: shown(),
            target: root.display().to_string(),
        });
    }
    let mut at = root.clone();
    for part in Path::new(workdir).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => at = enter(&at, name).map_err(failed)?,
            _ => return Err(Error::Outside(workdir.to_owned())),
        }
        // Checked at every level, before anything is made below it.
        if !at.starts_with(&root) {
            return Err(Error::Leaves {
                workdir: shown(),
                target: at.display().to_string(),
            });
        }
    }
    Ok(at)
}

/// A working directory outside the builder's, made if missing, with every link followed: it must stay in one of the folders that the
/// worker's own configuration names.
fn granted_workdir(folders: &[PathBuf], workdir: &str) -> Result<PathBuf, Error> {
    let failed = |source| Error::Workdir {
        workdir: workdir.to_owned(),
        source,
    };
    let not_granted = || Error::NotGranted {
        found: workdir.to_owned(),
        folders: folders.to_vec(),
    };
    let folder = folders
        .iter()
        .find(|folder| Path::new(workdir).starts_with(folder));
    let folder = folder.ok_or_else(not_granted)?;
    let root = folder.canonicalize().map_err(failed)?;
    let rest = Path::new(workdir)
        .strip_prefix(folder)
        .map_err(|_| not_granted())?;
    let mut at = root.clone();
    for part in rest.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => at = enter(&at, name).map_err(failed)?,
            _ => return Err(not_granted()),
        }
        // Checked at every level, before anything is made below it.
        if !at.starts_with(&root) {
            return Err(not_granted());
        }
    }
    Ok(at)
}

fn enter(at: &Path, name: &OsStr) -> io::Result<PathBuf> {
    let next = at.join(name);
    match fs::create_dir(&next) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => next.canonicalize(),
    }
}

/// The worker's own environment with the specification's changes.
fn environment(
    own: &BTreeMap<OsString, OsString>,
    spec: &CommandSpec,
    secrets: &BTreeMap<String, String>,
) -> Result<BTreeMap<OsString, OsString>, Error> {
    let mut env = own.clone();
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::VariableName(name.clone()));
        }
        let value = match value {
            EnvValue::Unset => {
                env.remove(OsStr::new(name));
                continue;
            }
            EnvValue::Set(text) => expand(text, own),
            EnvValue::Path(entries) => joined(name, entries, own)?,
            EnvValue::Secret(secret) => match secrets.get(secret) {
                Some(value) => value.into(),
                None => {
                    return Err(Error::NoSecret {
                        variable: name.clone(),
                        secret: secret.clone(),
                    });
                }
            },
        };
        env.insert(name.into(), value);
    }
    Ok(env)
}

/// A list as the worker's system writes paths. What is empty is left out: it would mean the working directory.
fn joined(name: &str, entries: &[String], own: &BTreeMap<OsString, OsString>) -> Result<OsString, Error> {
    let parts: Vec<_> = entries.iter().map(|entry| expand(entry, own)).collect();
    // `${PATH}` in it stands for several.
    let parts = parts.iter().flat_map(std::env::split_paths);
    std::env::join_paths(parts.filter(|part| !part.as_os_str().is_empty())).map_err(|source| {
        Error::Separator {
            variable: name.to_owned(),
            source,
        }
    })
}

/// Replaces `${NAME}` by the worker's own variable, by nothing if it has none. What is no name stays as it
/// is.
fn expand(text: &str, own: &BTreeMap<OsString, OsString>) -> OsString {
    let mut out = OsString::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push(before);
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, behind)) => {
                out.push(
                    own.get(OsStr::new(name))
                        .map_or(OsStr::new(""), OsString::as_os_str),
                );
                rest = behind;
            }
            None => {
                out.push("${");
                rest = after;
            }
        }
    }
    out.push(rest);
    out
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The file that `program` means: a path as seen from the working directory, or a name in the command's own
/// PATH.
fn find(program: &str, path: Option<&OsStr>, workdir: &Path) -> Result<PathBuf, Error> {
    if program.contains('/') {
        return Ok(workdir.join(program));
    }
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(path)
        .map(|folder| workdir.join(folder).join(program))
        .find(|file| is_executable(file))
        .ok_or_else(|| Error::NotInPath {
            program: program.to_owned(),
            path: path.to_string_lossy().into_owned(),
        })
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A word as one would type it into a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_workers_own_variables_are_expanded() {
        let own = BTreeMap::from([("HOME".into(), "/home/ci".into())]);
        let shown = |text| expand(text, &own).into_string().unwrap();
        assert_eq!(shown("${HOME}/bin:${NOTHING}x"), "/home/ci/bin:x");
        assert_eq!(
            shown("$HOME ${ ${} ${1} ${A B} $${HOME}"),
            "$HOME ${ ${} ${1} ${A B} $/home/ci"
        );
    }

    #[test]
    fn a_workdir_never_leads_out() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let wanted = base.canonicalize().unwrap().join("b/a/c");
        assert_eq!(workdir(base, "b", "a/./c").unwrap(), wanted);
        std::os::unix::fs::symlink("/tmp", base.join("b/out")).unwrap();
        std::os::unix::fs::symlink("a/c", base.join("b/in")).unwrap();
        std::os::unix::fs::symlink("/", base.join("linked")).unwrap();
        assert_eq!(workdir(base, "b", "in").unwrap(), wanted);
        for (builder, inside) in [
            ("b", ".."),
            ("b", "a/../.."),
            ("b", "/tmp"),
            ("b", "out/x"),
            ("b", "out"),
        ] {
            let error = workdir(base, builder, inside).unwrap_err();
            assert!(
                matches!(error, Error::Outside(_) | Error::Leaves { .. }),
                "{error}"
            );
        }
        assert!(matches!(
            workdir(base, "linked", "").unwrap_err(),
            Error::Leaves { .. }
        ));
        for builder in ["", ".", "..", "a/b", "/", "a/"] {
            assert!(
                matches!(workdir(base, builder, "").unwrap_err(), Error::BuilderDir(_)),
                "{builder}"
            );
        }
    }

    #[test]
    fn lists_are_joined_as_paths_and_what_is_empty_is_left_out() {
        let own: BTreeMap<OsString, OsString> = [("PATH", "/usr/bin:/bin"), ("EMPTY", "")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        let join = |entries: &[&str]| {
            let entries: Vec<_> = entries.iter().map(|&entry| entry.to_owned()).collect();
            joined("X", &entries, &own).unwrap().into_string().unwrap()
        };
        assert_eq!(join(&["/opt/bin", "${PATH}"]), "/opt/bin:/usr/bin:/bin");
        assert_eq!(join(&["/a", "${EMPTY}", "${NOTHING}", "", "/b"]), "/a:/b");
        assert_eq!(join(&[]), "");
    }

    #[test]
    fn a_path_from_the_root_is_for_the_worker_to_grant() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        for folder in ["srv", "other"] {
            fs::create_dir(base.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(base.join("other"), base.join("srv/out")).unwrap();
        let folders = [base.join("srv")];
        let at = |path: &str| granted_workdir(&folders, &base.join(path).display().to_string());
        assert_eq!(at("srv/a/b").unwrap(), base.join("srv/a/b"));
        assert_eq!(at("srv").unwrap(), base.join("srv"));
        for outside in ["other", "srv/../other", "srv/out", "srv/out/x", "srvx"] {
            let error = at(outside).unwrap_err();
            assert!(matches!(error, Error::NotGranted { .. }), "{outside}: {error}");
        }
        assert!(!base.join("other/x").exists() && !base.join("srvx").exists());
        let none = granted_workdir(&[], "/srv").unwrap_err().to_string();
        assert!(
            none.contains("found `/srv`; `folders` in the worker's worker.toml"),
            "{none}"
        );
    }

    #[test]
    fn the_header_is_what_one_would_type() {
        let spec = CommandSpec {
            program: Program::Argv(vec!["make".into(), "A=it's".into(), "two words".into()]),
            builder_dir: "hello".into(),
            workdir: "build".into(),
            env: BTreeMap::from([
                ("TOKEN".into(), EnvValue::Secret("upload".into())),
                ("LANG".into(), EnvValue::Set("C".into())),
                ("TZ".into(), EnvValue::Unset),
            ]),
            log: "stdio".into(),
            idle_timeout_ms: None,
            total_timeout_ms: None,
            term_grace_ms: 0,
            orphan_timeout_ms: 0,
            capture_stdout: 0,
        };
        insta::assert_snapshot!(header(&spec), @r"
        $ make 'A=it'\''s' 'two words'
        in hello/build
        environment set: LANG
        environment from secrets: TOKEN
        environment unset: TZ
        ");
    }
}
