//! Which changes a scheduler takes, and which of them start a build.

use capstan_sdk::params::Texts;
use capstan_sdk::scheduler::Change;

use super::AnyBranch;

/// What a change is to a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Unwanted,
    /// Part of the branch's next build, which it does not start.
    Unimportant,
    /// A reason to build.
    Important,
}

impl AnyBranch {
    pub(crate) fn judge(&self, change: &Change) -> Verdict {
        // A change without a branch is one of the repository's default branch, whose name nobody knows here.
        let branch = change.branch.as_deref().unwrap_or("");
        let branch = self.branches.as_ref().is_none_or(|p| p.matches(branch))
            && !self.exclude_branches.matches(branch);
        let wanted = branch
            && self
                .projects
                .as_ref()
                .is_none_or(|patterns| patterns.matches(&change.project))
            && listed(&self.repositories, &change.repository)
            && listed(&self.codebases, &change.codebase)
            && listed(&self.categories, change.category.as_deref().unwrap_or(""));
        match self.is_important(change) {
            _ if !wanted => Verdict::Unwanted,
            true => Verdict::Important,
            false if self.only_important => Verdict::Unwanted,
            false => Verdict::Unimportant,
        }
    }

    /// A change that names no file may touch any of them.
    fn is_important(&self, change: &Change) -> bool {
        let counts = |file: &String| {
            self.files.as_ref().is_none_or(|patterns| patterns.matches(file))
                && !self.exclude_files.matches(file)
        };
        change.files.is_empty() || change.files.iter().any(counts)
    }
}

fn listed(texts: &Option<Texts>, value: &str) -> bool {
    texts
        .as_ref()
        .is_none_or(|texts| texts.iter().any(|text| text == value))
}
