//! What the farm builds in each seed: four builders that are asked for, one that builds what is pushed. Their commands print
//! on both channels, burst, fail, have children, and write down when they begin and end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Builders that are asked for, and how often.
pub const ASKED: [(&str, usize); 4] = [("talk", 2), ("burst", 1), ("family", 1), ("short", 1)];
/// The builder of what is pushed.
pub const PUSHED: &str = "pushed";
/// The branch that is pushed to, and nothing else.
pub const BRANCH: &str = "work";
/// Builds of one seed.
pub const BUILDS: usize = 6;
/// Where commands note that they begin and end, in the farm's temporary folder.
pub const EXECUTIONS: &str = "executions";
/// The path that reports are sent to.
pub const HOOK: &str = "/hooks/chaos";

/// `ci.star`. `root` is the farm's temporary folder, `repository` what is built, `receiver` where reports go.
pub fn configuration(root: &Path, repository: &str, receiver: &str) -> String {
    let script = root.join("work.sh");
    CONFIGURATION
        .replace("WORK_SH", &format!("{:?}", script.display().to_string()))
        .replace("REPOSITORY", &format!("{repository:?}"))
        .replace("RECEIVER", &format!("{receiver:?}"))
        .replace("BRANCH", &format!("{BRANCH:?}"))
}

/// Writes the commands' script into the farm's temporary folder, and a `git` before the real one that is counted too.
/// Answers the search path that has it.
pub fn write_programs(root: &Path) -> Result<String> {
    std::fs::write(root.join("work.sh"), SCRIPT)?;
    let folder = root.join("bin");
    std::fs::create_dir_all(&folder)?;
    let (git, path) = (folder.join("git"), std::env::var("PATH").unwrap_or_default());
    let real = find("git", &path)?;
    let counted = GIT
        .replace("REAL", &real.display().to_string())
        .replace("EXECUTIONS", &root.join(EXECUTIONS).display().to_string());
    std::fs::write(&git, counted)?;
    std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755))?;
    Ok(format!("{}:{path}", folder.display()))
}

fn find(name: &str, path: &str) -> Result<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("expected the program {name} in the search path, found none"))
}

const CONFIGURATION: &str = r#"
WORKERS = [worker("w1", slots = 3), worker("w2", slots = 3)]

def work(kind, builder, name, **more):
    return step.shell(name = name, command = ["sh", WORK_SH, kind, builder, name], **more)

# Shallow: what git counts does not grow with each push.
def checkout():
    return step.git(repository = REPOSITORY, mode = "full", method = "clobber", shallow = True, retry_delay = "100ms")

def define(name, steps):
    return builder(name, workers = WORKERS, collapse = False, steps = steps)

define("talk", [checkout(), work("numbers", "talk", "numbers"), work("short", "talk", "after")])
define("burst", [work("burst", "burst", "burst"), work("numbers", "burst", "after")])
define("family", [
    work("family", "family", "family"),
    work("fails", "family", "fails", halt_on_failure = False),
    work("short", "family", "after", always_run = True),
])
define("short", [work("short", "short", "s%d" % number) for number in range(4)])
pushed = define("pushed", [checkout(), work("short", "pushed", "look")])

source.git_poller(name = "project", repository = REPOSITORY, interval = 1, branches = BRANCH, announce_existing = True)
schedule.any_branch(name = "each-push", builders = [pushed], branches = BRANCH)
notify.http_push(url = RECEIVER, timeout = "5s", on = ["started", "finished"])
"#;

const SCRIPT: &str = r#"#!/bin/sh
# sh work.sh KIND BUILDER STEP: one command of a build.
executions=$(dirname "$0")/executions
note() { echo "$1 $builder $step $CAPSTAN_COMMAND" >> "$executions"; }
count() {
    number=0
    while [ "$number" -lt "$1" ]; do
        number=$((number + 1))
        echo "$2 $number on standard output"
        echo "$2 $number on standard error" >&2
        sleep "$3"
    done
}
kind=$1 builder=$2 step=$3 code=0
note begin
case $kind in
    numbers) count 60 line 0.03 ;;
    burst)
        seq -f 'number %.0f of a burst that is larger than any pipe' 1 8000
        seq 1 20000 >&2
        sleep 0.3
        seq -f 'number %.0f of the second burst' 1 4000 ;;
    family)
        (count 20 child 0.05) &
        setsid sleep 0.7 &
        wait ;;
    fails) count 3 failing 0.02; code=3 ;;
    short) count 2 short 0.05 ;;
esac
note end
exit $code
"#;

const GIT: &str = r#"#!/bin/sh
# The real git; what a step runs is counted, what git itself or the master runs is not.
if [ -z "$CAPSTAN_COMMAND" ] || [ -n "$CAPSTAN_CHAOS_COUNTED" ]; then
    exec REAL "$@"
fi
export CAPSTAN_CHAOS_COUNTED=1
folder=${PWD%/*}
echo "begin ${folder##*/} git $CAPSTAN_COMMAND" >> EXECUTIONS
REAL "$@"
code=$?
echo "end ${folder##*/} git $CAPSTAN_COMMAND" >> EXECUTIONS
exit $code
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_builds_is_that_of_the_builders() {
        assert_eq!(ASKED.iter().map(|(_, count)| count).sum::<usize>() + 1, BUILDS);
        for (name, _) in ASKED {
            assert!(CONFIGURATION.contains(&format!("define({name:?}")));
        }
    }
}
