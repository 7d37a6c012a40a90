//! The commands of a checkout, in order. They run on a [`Worker`]: the build's, or a test's folder.

use capstan_sdk::params::Span;
use capstan_sdk::step::{Done, Exit, Outcome, Stop};

use super::patch;
use super::wanted::Wanted;
use super::{Git, Method, Mode, names};

/// For every git of a checkout. It must never ask anybody for a password, and never take a repository around the
/// workdir for its own: it would delete files there.
pub(crate) const ENVIRONMENT: [(&str, &str); 2] = [("GIT_TERMINAL_PROMPT", "0"), ("GIT_DIR", ".git")];

/// As much of each git's standard output as a hash needs.
pub(crate) const CAPTURE: u32 = 200;

/// Git's own word for "all of it".
const WHOLE_HISTORY: u32 = 2_147_483_647;

/// Packing must be over when its git is: what it leaves in the background would be killed with the step.
const IN_FOREGROUND: [&str; 4] = ["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"];

/// Where commands run.
pub(crate) trait Worker {
    /// Runs git in the workdir, and brings back so much of its standard output.
    fn run(&mut self, args: &[&str], capture: u32) -> Result<Done, Stop>;
    /// The same, with as much as a hash needs.
    fn git(&mut self, args: &[&str]) -> Result<Done, Stop> {
        self.run(args, CAPTURE)
    }
    /// Deletes the workdir.
    fn remove(&mut self) -> Result<Done, Stop>;
    /// Waits.
    fn pause(&mut self, span: Span) -> Result<(), Stop>;
}

/// Why a checkout did not succeed.
enum Fault {
    /// The folder on the worker may be damaged.
    Local(String),
    /// The repository, or the way to it.
    Remote(String),
    /// Nothing to be done about it here.
    Stop(Stop),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Git {
    /// Checks out what is wanted, and answers the revision that is there now.
    pub(crate) fn check_out(&self, worker: &mut impl Worker, wanted: &Wanted) -> Result<String, Stop> {
        if self.clobbers() {
            clobber(worker)?;
        }
        let mut answer = self.attempt(worker, wanted);
        if matches!(answer, Err(Fault::Local(_))) && self.clobber_on_failure && self.has_own_folder() {
            clobber(worker)?;
            answer = self.attempt(worker, wanted);
        }
        let revision = answer.map_err(|fault| match fault {
            Fault::Local(text) | Fault::Remote(text) => Stop::failure(text),
            Fault::Stop(stop) => stop,
        })?;
        // The checkout is as it should be: nothing is fetched anew for a patch that does not fit.
        for patch in &wanted.patches {
            patch::apply(worker, patch)?;
        }
        Ok(revision)
    }

    /// The builder's own folder holds more than the checkout.
    fn has_own_folder(&self) -> bool {
        !self
            .workdir
            .split(['/', '\\'])
            .all(|segment| segment.is_empty() || segment == ".")
    }

    fn attempt(&self, worker: &mut impl Worker, wanted: &Wanted) -> Result<String, Fault> {
        local(worker, &["init", "--quiet"])?;
        // Submodules with relative URLs, and people's own scripts, look there.
        local(worker, &["config", "remote.origin.url", &wanted.repository])?;
        let revision = self.fetch_until_found(worker, wanted)?;
        local(worker, &["checkout", "--force", "--detach", &revision, "--"])?;
        self.clean(worker)?;
        if self.submodules {
            self.check_out_submodules(worker)?;
        }
        verify(worker, wanted, &revision)
    }

    fn fetch_until_found(&self, worker: &mut impl Worker, wanted: &Wanted) -> Result<String, Fault> {
        let mut tries = 0;
        loop {
            match self.fetch(worker, wanted) {
                Err(Fault::Remote(_)) if tries < self.retry => {
                    tries += 1;
                    worker.pause(self.retry_delay)?;
                }
                answer => return answer,
            }
        }
    }

    /// Fetches as little as the server allows: the revision itself, which older servers refuse, then its branch, then
    /// everything, for the branch may have gone on without it.
    fn fetch(&self, worker: &mut impl Worker, wanted: &Wanted) -> Result<String, Fault> {
        let (reference, depth) = (wanted.reference(), self.depth());
        let Some(revision) = wanted.revision.as_deref() else {
            self.fetch_refs(worker, wanted, &[&reference], depth)?;
            return resolve(worker, "FETCH_HEAD").map(|found| found.unwrap_or_default());
        };
        if names::is_hash(revision) {
            for reference in [revision, &reference] {
                let fetched = self.fetch_refs(worker, wanted, &[reference], depth);
                match fetched {
                    Ok(()) => {}
                    Err(Fault::Remote(_)) => continue,
                    Err(other) => return Err(other),
                }
                if let Some(found) = resolve(worker, revision)? {
                    return Ok(found);
                }
            }
        }
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        self.fetch_refs(worker, wanted, &all, depth.map(|_| WHOLE_HISTORY))?;
        let tag = format!("refs/tags/{revision}");
        for name in [&tag, revision] {
            if let Some(found) = resolve(worker, name)? {
                return Ok(found);
            }
        }
        let url = names::without_credentials(&wanted.repository);
        Err(Fault::Remote(format!(
            "expected revision {revision} in {url}, found no such commit"
        )))
    }

    fn fetch_refs(
        &self,
        worker: &mut impl Worker,
        wanted: &Wanted,
        refs: &[&str],
        depth: Option<u32>,
    ) -> Result<(), Fault> {
        let depth = depth.map(|depth| format!("--depth={depth}"));
        let tags = if self.tags { "--tags" } else { "--no-tags" };
        let mut args = IN_FOREGROUND.to_vec();
        args.extend(["fetch", "--force", "--prune", "--progress", tags]);
        args.extend(depth.as_deref());
        args.extend(["--", &wanted.repository]);
        args.extend(refs);
        let done = worker.git(&args)?;
        if done.is_success() {
            return Ok(());
        }
        let url = names::without_credentials(&wanted.repository);
        Err(end(done, &format!("fetch {url}"), Fault::Remote))
    }

    fn clean(&self, worker: &mut impl Worker) -> Result<(), Fault> {
        match self.clean_args() {
            Some(args) => local(worker, &args).map(drop),
            None => Ok(()),
        }
    }

    /// Twice `-f`, or it would leave other repositories alone, such as submodules that are gone.
    fn clean_args(&self) -> Option<Vec<&'static str>> {
        match (self.mode, self.method) {
            (Mode::Incremental, _) => None,
            (Mode::Full, Some(Method::Clean)) => Some(vec!["clean", "-f", "-f", "-d"]),
            (Mode::Full, _) => Some(vec!["clean", "-f", "-f", "-d", "-x"]),
        }
    }

    fn check_out_submodules(&self, worker: &mut impl Worker) -> Result<(), Fault> {
        local(worker, &["submodule", "sync", "--recursive"])?;
        let depth = self.depth().map(|depth| format!("--depth={depth}"));
        let mut update = IN_FOREGROUND.to_vec();
        update.extend(["submodule", "update", "--init", "--recursive", "--force"]);
        update.extend(depth.as_deref());
        let done = worker.git(&update)?;
        if !done.is_success() {
            return Err(end(done, "check out submodules", Fault::Local));
        }
        if let Some(args) = self.clean_args() {
            let line = format!("git {}", args.join(" "));
            local(worker, &["submodule", "foreach", "--recursive", &line])?;
        }
        Ok(())
    }
}

/// The commit that a name stands for, if it is there.
fn resolve(worker: &mut impl Worker, name: &str) -> Result<Option<String>, Fault> {
    let commit = format!("{name}^{{commit}}");
    let done = worker.git(&["rev-parse", "--verify", "--quiet", &commit])?;
    match done.exit {
        Exit::Code(0) => Ok(Some(done.text())),
        Exit::Code(1) => Ok(None),
        _ => Err(end(done, &format!("look for {name}"), Fault::Local)),
    }
}

/// The build is about this revision and no other: what is there must be it.
fn verify(worker: &mut impl Worker, wanted: &Wanted, fetched: &str) -> Result<String, Fault> {
    let found = resolve(worker, "HEAD")?.unwrap_or_default();
    let expected = wanted
        .revision
        .as_deref()
        .filter(|revision| names::is_hash(revision))
        .unwrap_or(fetched);
    if found == expected && !found.is_empty() {
        return Ok(found);
    }
    Err(Fault::Local(format!(
        "expected revision {expected} in the workdir, found {found:?}"
    )))
}

fn local(worker: &mut impl Worker, args: &[&str]) -> Result<Done, Fault> {
    let done = worker.git(args)?;
    if done.is_success() {
        return Ok(done);
    }
    let verb = args.first().copied().unwrap_or_default();
    Err(end(done, &format!("{verb} in the workdir"), Fault::Local))
}

fn clobber(worker: &mut impl Worker) -> Result<(), Stop> {
    let done = worker.remove()?;
    if done.is_success() {
        return Ok(());
    }
    match end(done, "delete the workdir", Fault::Local) {
        Fault::Local(text) | Fault::Remote(text) => Err(Stop::failure(text)),
        Fault::Stop(stop) => Err(stop),
    }
}

/// A git that could not be started, or that the farm had to stop, is nobody's fault but the farm's.
fn end(done: Done, task: &str, fault: impl FnOnce(String) -> Fault) -> Fault {
    let text = format!("failed to {task}: {}", done.summary());
    match done.exit {
        Exit::Killed(_) => Fault::Stop(Stop::Outcome(Outcome::Exception, done.summary())),
        Exit::NotStarted(_) => Fault::Stop(Stop::Outcome(Outcome::Exception, text)),
        _ => fault(text),
    }
}
