//! What to check out: the build's source stamp, and what the parameters say about it.

use capstan_sdk::step::{Outcome, SourceStamp, Stop};

use super::patch::Patch;
use super::{Git, names};

/// What to check out, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) codebase: String,
    pub(crate) repository: String,
    /// None is the repository's default branch.
    pub(crate) branch: Option<String>,
    /// None is the branch's newest.
    pub(crate) revision: Option<String>,
    /// What is applied then.
    pub(crate) patches: Vec<Patch>,
    /// Why patches of the build are left out, if some are.
    pub(crate) unpatched: Option<&'static str>,
}

impl Git {
    pub(crate) fn wanted(&self, sources: &[SourceStamp], mut patches: Vec<Patch>) -> Result<Wanted, Stop> {
        let stamp = self.stamp(sources)?;
        let repository = self.repository.as_ref().or(stamp.map(|stamp| &stamp.repository));
        let repository = repository.filter(|url| !url.is_empty()).ok_or_else(|| {
            let text = "expected a repository: neither the step nor the build's source names one";
            Stop::Outcome(Outcome::Exception, text.to_owned())
        })?;
        let theirs = stamp.and_then(|stamp| stamp.branch.as_ref());
        let branch = self.branch.as_ref().or(theirs);
        // The revision of one branch says nothing about another.
        let same_branch = self.branch.is_none() || theirs.is_none() || self.branch.as_ref() == theirs;
        let theirs = stamp.and_then(|stamp| stamp.revision.as_ref());
        let theirs = theirs.filter(|revision| same_branch && !self.always_use_latest && !revision.is_empty());
        patches.retain(|patch| stamp.is_some_and(|stamp| stamp.codebase == patch.codebase));
        let elsewhere = stamp.is_some_and(|stamp| ![repository, ""].contains(&stamp.repository.as_str()));
        let unpatched = match self.patch {
            _ if patches.is_empty() => None,
            Some(true) => None,
            Some(false) => Some("without the patch"),
            // A patch of one repository says nothing about another.
            None if elsewhere => Some("without the patch, which is for another repository"),
            None if !same_branch => Some("without the patch, which is for another branch"),
            None => None,
        };
        if unpatched.is_some() {
            patches.clear();
        }
        let wanted = Wanted {
            patches,
            unpatched,
            codebase: stamp.map(|stamp| stamp.codebase.clone()).unwrap_or_default(),
            repository: repository.clone(),
            branch: branch.filter(|branch| !branch.is_empty()).cloned(),
            revision: self.revision.as_ref().or(theirs).cloned(),
        };
        wanted.check().map_err(Stop::failure)?;
        Ok(wanted)
    }

    /// The one of that codebase; the only one, if no codebase is named.
    fn stamp<'a>(&self, sources: &'a [SourceStamp]) -> Result<Option<&'a SourceStamp>, Stop> {
        let found = match (&self.codebase, sources) {
            (Some(codebase), _) => sources.iter().find(|stamp| stamp.codebase == *codebase),
            (None, [only]) => Some(only),
            (None, _) => sources.iter().find(|stamp| stamp.codebase.is_empty()),
        };
        if found.is_some() || (self.repository.is_some() && self.codebase.is_none()) {
            return Ok(found);
        }
        let known: Vec<_> = sources.iter().map(|stamp| stamp.codebase.as_str()).collect();
        let text = match &self.codebase {
            Some(codebase) => format!(
                "expected a source of codebase `{codebase}`, found {}",
                known.join(", ")
            ),
            None if known.is_empty() => return Ok(None),
            None => format!(
                "expected `codebase`: the build has sources of {}",
                known.join(", ")
            ),
        };
        Err(Stop::Outcome(Outcome::Exception, text))
    }
}

impl Wanted {
    fn check(&self) -> Result<(), String> {
        names::check_repository(&self.repository)?;
        self.branch.as_deref().map_or(Ok(()), names::check_branch)?;
        self.revision.as_deref().map_or(Ok(()), names::check_revision)
    }

    /// The branch's full name, as a server knows it.
    pub(crate) fn reference(&self) -> String {
        match self.branch.as_deref() {
            None => "HEAD".to_owned(),
            Some(full) if full.starts_with("refs/") => full.to_owned(),
            Some(branch) => format!("refs/heads/{branch}"),
        }
    }

    /// A few words for people.
    pub(crate) fn summary(&self, revision: &str) -> String {
        let short = &revision[..revision.len().min(12)];
        let place = self
            .branch
            .as_ref()
            .map_or_else(|| short.to_owned(), |branch| format!("{branch} at {short}"));
        match self.unpatched {
            Some(reason) => format!("{place}, {reason}"),
            None if self.patches.is_empty() => place,
            None => format!("{place}, patched"),
        }
    }
}
