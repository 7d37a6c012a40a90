//! Which changes a scheduler takes, and which of them start a build.

use std::collections::BTreeMap;

use capstan_sdk::problem;
use capstan_sdk::scheduler::{Change, Problem};
use serde::Deserialize;

use crate::Names;

/// What a change is to a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Unwanted,
    /// Part of the branch's next build, which it does not start.
    Unimportant,
    /// A reason to build.
    Important,
}

/// Parameters that say which changes count: a change has to fit all that are given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChangeFilter {
    branches: Option<Names>,
    exclude_branches: Option<Names>,
    projects: Option<Names>,
    repositories: Option<Names>,
    codebases: Option<Names>,
    categories: Option<Names>,
    authors: Option<Names>,
    change_properties: BTreeMap<String, Names>,
    files: Option<Names>,
    exclude_files: Option<Names>,
    only_important: bool,
    skip_marked: Marked,
}

/// Whether changes are left out whose comments ask for it, and by which words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected true, false or a list of markers")]
enum Marked {
    Whether(bool),
    By(Vec<String>),
}

impl Default for Marked {
    fn default() -> Self {
        Self::Whether(false)
    }
}

/// What people write into comments of changes that nobody has to build.
const MARKERS: [&str; 2] = ["[skip ci]", "[ci skip]"];

impl Marked {
    fn leaves_out(&self, comments: &str) -> bool {
        let has = |marker: &str| comments.to_lowercase().contains(&marker.to_lowercase());
        match self {
            Self::Whether(false) => false,
            Self::Whether(true) => MARKERS.into_iter().any(has),
            Self::By(markers) => markers.iter().any(|marker| has(marker)),
        }
    }
}

impl ChangeFilter {
    /// One that asks for what a change is, not where.
    pub(crate) fn of_facts(
        files: Option<Names>,
        exclude_files: Option<Names>,
        authors: Option<Names>,
        categories: Option<Names>,
        change_properties: BTreeMap<String, Names>,
    ) -> Self {
        Self {
            files,
            exclude_files,
            authors,
            categories,
            change_properties,
            ..Self::default()
        }
    }

    /// What is wrong with it, by parameter.
    pub fn faults(&self) -> Vec<Problem> {
        let parameters = [
            ("branches", &self.branches),
            ("exclude_branches", &self.exclude_branches),
            ("projects", &self.projects),
            ("repositories", &self.repositories),
            ("codebases", &self.codebases),
            ("categories", &self.categories),
            ("authors", &self.authors),
            ("files", &self.files),
            ("exclude_files", &self.exclude_files),
        ];
        let parameters = parameters
            .into_iter()
            .filter_map(|(name, names)| Some((name.to_owned(), names.as_ref()?)));
        let properties = self
            .change_properties
            .iter()
            .map(|(name, names)| (format!("change_properties.{name}"), names));
        let empty = match &self.skip_marked {
            Marked::By(markers) if markers.iter().any(|marker| marker.trim().is_empty()) => Some(problem(
                "skip_marked",
                "expected markers, found an empty one, which every comment has",
            )),
            _ => None,
        };
        parameters
            .chain(properties)
            .filter_map(|(path, names)| Some(problem(path, names.fault()?)))
            .chain(empty)
            .collect()
    }

    /// What the change is, its branch included.
    pub fn judge(&self, change: &Change) -> Verdict {
        // A change without a branch is one of the repository's default branch, whose name nobody knows here.
        let branch = change.branch.as_deref().unwrap_or("");
        let wanted = fits(&self.branches, branch)
            && !self
                .exclude_branches
                .as_ref()
                .is_some_and(|names| names.matches(branch));
        if wanted {
            self.judge_rest(change)
        } else {
            Verdict::Unwanted
        }
    }

    /// What the change is, whatever its branch.
    pub fn judge_rest(&self, change: &Change) -> Verdict {
        let wanted = fits(&self.projects, &change.project)
            && fits(&self.repositories, &change.repository)
            && fits(&self.codebases, &change.codebase)
            && fits(&self.categories, change.category.as_deref().unwrap_or(""))
            && fits(&self.authors, &change.author)
            && self.has_properties(change)
            && !self.skip_marked.leaves_out(&change.comments);
        match self.is_important(change) && !called_unimportant(change) {
            _ if !wanted => Verdict::Unwanted,
            true => Verdict::Important,
            false if self.only_important => Verdict::Unwanted,
            false => Verdict::Unimportant,
        }
    }

    /// A property that the change does not have is an empty text; one that is no text is its JSON.
    fn has_properties(&self, change: &Change) -> bool {
        self.change_properties.iter().all(|(name, names)| {
            let found = change.properties.iter().find(|property| property.name == *name);
            let value = found.map_or(String::new(), |property| {
                serde_json::from_str::<String>(&property.value).unwrap_or_else(|_| property.value.clone())
            });
            names.matches(&value)
        })
    }

    /// A change that names no file may touch any of them.
    fn is_important(&self, change: &Change) -> bool {
        let counts = |file: &String| {
            fits(&self.files, file)
                && !self
                    .exclude_files
                    .as_ref()
                    .is_some_and(|names| names.matches(file))
        };
        change.files.is_empty() || change.files.iter().any(counts)
    }
}

/// Whether the configuration's function `is_important` said no. The master tells it as a property that nobody else can set.
fn called_unimportant(change: &Change) -> bool {
    let mut judged = change
        .properties
        .iter()
        .filter(|property| property.source == "scheduler function");
    judged.any(|property| property.name == "important" && property.value == "false")
}

fn fits(names: &Option<Names>, value: &str) -> bool {
    names.as_ref().is_none_or(|names| names.matches(value))
}

#[cfg(test)]
mod tests {
    use capstan_sdk::Property;
    use capstan_sdk::test::change;

    use super::*;

    fn judge(json: &str, change: &Change) -> Verdict {
        let filter: ChangeFilter = serde_json::from_str(json).unwrap();
        assert!(filter.faults().is_empty(), "{json}: {:?}", filter.faults());
        filter.judge(change)
    }

    #[test]
    fn a_change_has_to_fit_all_that_is_given() {
        let property = |name: &str, value: &str| Property {
            name: name.to_owned(),
            value: value.to_owned(),
            source: "change".to_owned(),
        };
        let change = Change {
            branch: Some("release/1".to_owned()),
            project: "p".to_owned(),
            codebase: "lib".to_owned(),
            category: Some("tag".to_owned()),
            author: "Ann <ann@example.org>".to_owned(),
            files: vec!["docs/a.md".to_owned(), "src/a.c".to_owned()],
            properties: vec![property("draft", "false"), property("label", "\"slow\"")],
            ..change("r1")
        };
        use Verdict::{Important, Unimportant, Unwanted};
        for (json, verdict) in [
            ("{}", Important),
            (
                r#"{"branches": "release/*", "projects": "p", "codebases": "lib", "categories": "tag"}"#,
                Important,
            ),
            (
                r#"{"branches": "~release", "exclude_branches": "~.*/0"}"#,
                Important,
            ),
            (r#"{"branches": "main"}"#, Unwanted),
            (r#"{"exclude_branches": "release/**"}"#, Unwanted),
            (r#"{"repositories": "https://git.example.org/*"}"#, Important),
            (r#"{"repositories": "https://other.example.org/*"}"#, Unwanted),
            (r#"{"authors": "~.*@example\\.org>$"}"#, Important),
            (r#"{"authors": {"not": "~Ann"}}"#, Unwanted),
            (
                r#"{"categories": ["tag", "push"], "projects": {"not": "p"}}"#,
                Unwanted,
            ),
            (
                r#"{"change_properties": {"label": "slow", "draft": "false"}}"#,
                Important,
            ),
            (r#"{"change_properties": {"label": "fast"}}"#, Unwanted),
            (r#"{"change_properties": {"none": {"not": "x"}}}"#, Important),
            (r#"{"change_properties": {"none": "x"}}"#, Unwanted),
            (r#"{"files": "src/**"}"#, Important),
            (r#"{"files": "~tests/"}"#, Unimportant),
            (r#"{"files": "~tests/", "only_important": true}"#, Unwanted),
            (r#"{"exclude_files": "~(docs|src)/"}"#, Unimportant),
            (r#"{"exclude_files": "docs/**"}"#, Important),
        ] {
            assert_eq!(judge(json, &change), verdict, "{json}");
        }
        let unnamed = Change {
            files: Vec::new(),
            branch: None,
            ..change
        };
        assert_eq!(judge(r#"{"files": "src/**"}"#, &unnamed), Important);
        assert_eq!(judge(r#"{"branches": "*"}"#, &unnamed), Important);
        assert_eq!(judge(r#"{"branches": "main"}"#, &unnamed), Unwanted);
    }

    #[test]
    fn a_function_that_calls_a_change_unimportant_is_heard_and_the_change_itself_is_not() {
        let said_by = |source: &str| Change {
            properties: vec![Property {
                name: "important".to_owned(),
                value: "false".to_owned(),
                source: source.to_owned(),
            }],
            ..change("r1")
        };
        assert_eq!(judge("{}", &said_by("scheduler function")), Verdict::Unimportant);
        assert_eq!(judge("{}", &said_by("change")), Verdict::Important);
        assert_eq!(
            judge(r#"{"only_important": true}"#, &said_by("scheduler function")),
            Verdict::Unwanted
        );
    }

    #[test]
    fn a_change_that_asks_for_it_is_left_out_where_that_is_wanted() {
        let marked = |comments: &str| Change {
            comments: comments.to_owned(),
            ..change("r1")
        };
        use Verdict::{Important, Unwanted};
        for (json, comments, verdict) in [
            ("{}", "typo [skip ci]", Important),
            (r#"{"skip_marked": true}"#, "typo [skip ci]", Unwanted),
            (r#"{"skip_marked": true}"#, "typo\n\n[CI Skip]", Unwanted),
            (r#"{"skip_marked": true}"#, "skip ci", Important),
            (
                r#"{"skip_marked": ["***NO_CI***"]}"#,
                "typo ***no_ci***",
                Unwanted,
            ),
            (r#"{"skip_marked": ["***NO_CI***"]}"#, "typo [skip ci]", Important),
        ] {
            assert_eq!(judge(json, &marked(comments)), verdict, "{json} {comments}");
        }
        let filter: ChangeFilter = serde_json::from_str(r#"{"skip_marked": [" "]}"#).unwrap();
        assert_eq!(filter.faults()[0].path, "skip_marked");
    }

    #[test]
    fn a_fault_is_named_by_its_parameter() {
        let filter: ChangeFilter =
            serde_json::from_str(r#"{"authors": "~(", "change_properties": {"a": []}}"#).unwrap();
        let paths: Vec<_> = filter.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["authors", "change_properties.a"]);
    }
}
