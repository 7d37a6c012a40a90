//! The world that a scripted host answers from, and what the plugin changed in it.

use std::collections::BTreeMap;

use super::answers::{Ends, Rules};
use super::mail::Mail;
use super::repository::Repository;
use super::spec::Asked;
use crate::host::artefacts::{Artefact, ArtefactError};
use crate::host::commands::{CommandError, Completion, Exit};
use crate::host::git::GitError;
use crate::host::http::{HttpError, Response};
use crate::host::mail::MailError;
use crate::host::report_files::FileError;
use crate::host::triggers::{Completed, TriggerError, TriggeredBuild};
use crate::{Outcome, Problem, Property, SourceStamp, TimestampMs};

/// 2026-01-01T00:00:00Z
const BEGINNING: TimestampMs = 1_767_225_600_000;

/// What the host knows.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub now: TimestampMs,
    pub seed: u64,
    pub step: String,
    pub sources: Vec<SourceStamp>,
    pub properties: BTreeMap<String, Property>,
    /// When the build is stopped, and why.
    pub stop: Option<(TimestampMs, String)>,
    pub commands: Rules<Ends>,
    pub http: Rules<Result<Response, HttpError>>,
    pub file_faults: Rules<FileError>,
    pub mail_faults: Rules<MailError>,
    pub artefact_faults: Rules<ArtefactError>,
    /// Files of the worker; without any, each path is that of an empty one.
    pub worker_files: BTreeMap<String, Vec<u8>>,
    pub git: BTreeMap<String, Repository>,
    begun: Vec<Begun>,
    pub summary: Option<String>,
    pub links: Vec<(String, String)>,
    pub logs: BTreeMap<String, String>,
    pub files: BTreeMap<String, String>,
    pub state: BTreeMap<String, Vec<u8>>,
    pub mails: Vec<Mail>,
    pub artefacts: BTreeMap<String, Vec<u8>>,
    pub ends_build: Option<(Outcome, String)>,
    pub schedulers: Rules<Result<Outcome, TriggerError>>,
    /// The scheduler and the result of each buildset, by its number from 1.
    made: Vec<(String, Outcome)>,
}

/// A command that was started.
#[derive(Clone, Debug)]
struct Begun {
    started: TimestampMs,
    ends: TimestampMs,
    end: Result<Completion, CommandError>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: BEGINNING,
            seed: 1,
            step: "test".to_owned(),
            sources: Vec::new(),
            properties: BTreeMap::new(),
            stop: None,
            commands: Rules::default(),
            http: Rules::default(),
            file_faults: Rules::default(),
            mail_faults: Rules::default(),
            artefact_faults: Rules::default(),
            worker_files: BTreeMap::new(),
            git: BTreeMap::new(),
            begun: Vec::new(),
            summary: None,
            links: Vec::new(),
            logs: BTreeMap::new(),
            files: BTreeMap::new(),
            state: BTreeMap::new(),
            mails: Vec::new(),
            artefacts: BTreeMap::new(),
            ends_build: None,
            schedulers: Rules::default(),
            made: Vec::new(),
        }
    }
}

impl World {
    /// Moves the time to `at`, or to the stop of the build if that comes first: then the reason.
    fn until(&mut self, at: TimestampMs) -> Option<String> {
        match &self.stop {
            Some((stop, reason)) if *stop < at || *stop <= self.now => {
                self.now = self.now.max(*stop);
                Some(reason.clone())
            }
            _ => {
                self.now = self.now.max(at);
                None
            }
        }
    }

    pub(crate) fn sleep(&mut self, ms: u64) -> bool {
        let at = self.now.saturating_add_unsigned(ms);
        self.until(at).is_none()
    }

    pub(crate) fn begin(&mut self, asked: &Asked) -> Result<usize, CommandError> {
        if let Some(reason) = self.until(self.now) {
            return Err(CommandError::Cancelled(reason));
        }
        let words = asked.words();
        if words.trim().is_empty() {
            return Err(CommandError::Invalid(
                "expected a program, found nothing".to_owned(),
            ));
        }
        let ends = self.commands.take("command", &words).unwrap_or_else(Ends::well);
        if let Err(CommandError::Denied(reason)) = ends.end {
            return Err(CommandError::Denied(reason));
        }
        let captured = ends.stdout.len().min(asked.capture());
        let completion = |exit| Completion {
            exit,
            duration_ms: ends.after.ms(),
            stdout_bytes: ends.stdout.len() as u64,
            stderr_bytes: 0,
            stdout: ends.stdout[..captured].to_vec(),
        };
        self.begun.push(Begun {
            started: self.now,
            ends: self.now.saturating_add_unsigned(ends.after.ms()),
            end: ends.end.clone().map(completion),
        });
        Ok(self.begun.len() - 1)
    }

    pub(crate) fn wait(&mut self, place: usize) -> Result<Completion, CommandError> {
        let (at, end) = (self.begun[place].ends, self.begun[place].end.clone());
        match self.until(at) {
            Some(reason) => Err(CommandError::Cancelled(reason)),
            None => end,
        }
    }

    /// The place in the list of the command that ends first; of several the first in the list.
    pub(crate) fn first(&mut self, places: &[usize]) -> u32 {
        let ends = |index: &usize| self.begun[places[*index]].ends;
        let first = (0..places.len()).min_by_key(ends).unwrap_or_default();
        let at = ends(&first);
        match self.until(at) {
            Some(_) => 0,
            None => u32::try_from(first).unwrap_or_default(),
        }
    }

    pub(crate) fn kill(&mut self, place: usize, reason: &str) {
        let now = self.now;
        let begun = &mut self.begun[place];
        if begun.ends > now {
            begun.ends = now;
            if let Ok(completion) = &mut begun.end {
                completion.exit = Exit::Killed(reason.to_owned());
                completion.duration_ms = now.abs_diff(begun.started);
            }
        }
    }

    pub(crate) fn repository(&self, url: &str) -> Result<&Repository, GitError> {
        let unknown = || GitError::Unavailable(format!("the script has no repository {url}"));
        self.git.get(url).ok_or_else(unknown)
    }

    pub(crate) fn append(&mut self, path: &str, line: &str) -> Result<(), FileError> {
        if let Some(fault) = self.file_faults.take_if(path) {
            return Err(fault);
        }
        let file = self.files.entry(path.to_owned()).or_default();
        file.push_str(line);
        file.push('\n');
        Ok(())
    }

    pub(crate) fn publish(&mut self, path: &str, name: &str) -> Result<Artefact, ArtefactError> {
        if let Some(reason) = self.until(self.now) {
            return Err(ArtefactError::Cancelled(reason));
        }
        let missing = || ArtefactError::Missing(format!("there is no file `{path}` on the worker"));
        let content = match self.worker_files.is_empty() {
            true => Vec::new(),
            false => self.worker_files.get(path).cloned().ok_or_else(missing)?,
        };
        self.keep_artefact(name, content)
    }

    pub(crate) fn store(&mut self, name: &str, content: &[u8]) -> Result<Artefact, ArtefactError> {
        const MOST: usize = 1 << 20;
        if content.len() > MOST {
            let found = content.len();
            return Err(ArtefactError::TooLarge(format!(
                "expected at most {MOST} bytes, found {found}"
            )));
        }
        self.keep_artefact(name, content.to_vec())
    }

    fn keep_artefact(&mut self, name: &str, content: Vec<u8>) -> Result<Artefact, ArtefactError> {
        if let Some(fault) = self.artefact_faults.take_if(name) {
            return Err(fault);
        }
        let odd = |word: &str| matches!(word.trim(), "" | "." | "..");
        if name.split('/').any(odd) || name.len() > 200 || name.contains(char::is_control) {
            return Err(ArtefactError::Invalid(format!(
                "expected the name of an artefact, found {name:?}"
            )));
        }
        if self.artefacts.contains_key(name) {
            return Err(ArtefactError::Invalid(format!(
                "expected a new name, found that this build has stored an artefact `{name}`"
            )));
        }
        let artefact = Artefact {
            name: name.to_owned(),
            size: content.len() as u64,
            sha256: stand_in(&content),
        };
        self.artefacts.insert(name.to_owned(), content);
        Ok(artefact)
    }

    pub(crate) fn trigger(&mut self, scheduler: &str) -> Result<Vec<i64>, TriggerError> {
        if let Some(reason) = self.until(self.now) {
            return Err(TriggerError::Cancelled(reason));
        }
        let outcome = self
            .schedulers
            .take_if(scheduler)
            .unwrap_or(Ok(Outcome::Success))?;
        self.made.push((scheduler.to_owned(), outcome));
        Ok(vec![i64::try_from(self.made.len()).unwrap_or(i64::MAX)])
    }

    pub(crate) fn triggered(&mut self, buildsets: &[i64]) -> Result<Vec<Completed>, TriggerError> {
        if let Some(reason) = self.until(self.now) {
            return Err(TriggerError::Cancelled(reason));
        }
        let ended = |&buildset: &i64| {
            let place = usize::try_from(buildset).unwrap_or(0).wrapping_sub(1);
            let unknown = || Problem {
                path: "buildsets".to_owned(),
                message: format!("expected a buildset that the step has asked for, found {buildset}"),
            };
            let (scheduler, outcome) = self.made.get(place).ok_or_else(|| vec![unknown()])?;
            let build = TriggeredBuild {
                builder: scheduler.clone(),
                number: 1,
                outcome: *outcome,
            };
            Ok(Completed {
                buildset,
                scheduler: scheduler.clone(),
                outcome: *outcome,
                builds: vec![build],
            })
        };
        let ended: Result<_, Vec<Problem>> = buildsets.iter().map(ended).collect();
        ended.map_err(TriggerError::Refused)
    }

    pub(crate) fn send(&mut self, mail: Mail) -> Result<(), MailError> {
        if let Some(fault) = self.mail_faults.take_if(&mail.subject) {
            return Err(fault);
        }
        self.mails.push(mail);
        Ok(())
    }
}

/// As long as a SHA-256 digest and as good at telling contents apart, for tests that need no more.
fn stand_in(content: &[u8]) -> String {
    let lane = |lane: u64| {
        let start = 0xcbf2_9ce4_8422_2325_u64 ^ lane.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = content.iter().fold(start, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{mixed:016x}")
    };
    (0..4).map(lane).collect()
}
