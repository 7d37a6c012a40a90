//! Which requests of a builder one build can serve: those whose buildsets are alike. Worked out once, when a buildset is made, so
//! that the queue compares digests instead of sources and properties. Used by `buildsets` and `queue`.

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::{BuildsetId, Digest, Properties, SourceStamp};
use serde_json::Value;

/// The digest of what has to be equal: the codebases; repository, project and branch of each; whether changes led to it, or
/// else the revision that was asked for; and the properties, but for those that come from the changes.
///
/// So two pushes to a branch are alike, and two requests for one revision are, but not a push and a request for a revision.
pub(crate) fn of(sources: &[SourceStamp], changed: &BTreeSet<String>, properties: &Properties) -> Digest {
    let sources: BTreeMap<_, _> = sources
        .iter()
        .map(|source| {
            let revision = if changed.contains(&source.codebase) {
                Value::Bool(true)
            } else {
                source.revision.clone().into()
            };
            let place = (&source.repository, &source.project, &source.branch, revision);
            (&source.codebase, place)
        })
        .collect();
    let properties: BTreeMap<_, _> = properties
        .iter()
        .filter(|property| property.source != "change" && property.name != "scheduler")
        .map(|property| (&property.name, &property.value))
        .collect();
    // Maps of texts and values always become JSON.
    Digest::of(&serde_json::to_vec(&(sources, properties)).unwrap_or_default())
}

/// That of a buildset that is like no other.
pub(crate) fn of_one(likeness: &Digest, buildset: BuildsetId) -> Digest {
    Digest::of(format!("{likeness} {buildset}").as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stamp(codebase: &str, branch: &str, revision: Option<&str>) -> SourceStamp {
        SourceStamp {
            codebase: codebase.to_owned(),
            repository: "https://git.example.org/project".to_owned(),
            project: String::new(),
            branch: Some(branch.to_owned()),
            revision: revision.map(str::to_owned),
            patch: None,
        }
    }

    fn set(list: &[(&str, Value, &str)]) -> Properties {
        let mut properties = Properties::default();
        for (name, value, source) in list {
            properties.set(*name, value.clone(), *source);
        }
        properties
    }

    /// One case: what it is, whether they are alike, and the two buildsets.
    type Side = (Vec<SourceStamp>, &'static [&'static str], Properties);

    #[test]
    fn what_is_served_together() {
        let none = || set(&[]);
        let other = |change: fn(&mut SourceStamp)| {
            let mut stamp = stamp("", "main", None);
            change(&mut stamp);
            vec![stamp]
        };
        let main = |revision| vec![stamp("", "main", revision)];
        let cases: Vec<(&str, bool, Side, Side)> = vec![
            (
                "two pushes",
                true,
                (main(Some("aa")), &[""], none()),
                (main(Some("bb")), &[""], none()),
            ),
            (
                "nightly twice",
                true,
                (main(None), &[], none()),
                (main(None), &[], none()),
            ),
            (
                "one revision twice",
                true,
                (main(Some("aa")), &[], none()),
                (main(Some("aa")), &[], none()),
            ),
            (
                "two revisions",
                false,
                (main(Some("aa")), &[], none()),
                (main(Some("bb")), &[], none()),
            ),
            (
                "a revision and the newest",
                false,
                (main(Some("aa")), &[], none()),
                (main(None), &[], none()),
            ),
            (
                "a push and its revision",
                false,
                (main(Some("aa")), &[""], none()),
                (main(Some("aa")), &[], none()),
            ),
            (
                "another branch",
                false,
                (main(None), &[], none()),
                (vec![stamp("", "next", None)], &[], none()),
            ),
            (
                "another repository",
                false,
                (main(None), &[], none()),
                (other(|stamp| stamp.repository.push('2')), &[], none()),
            ),
            (
                "another project",
                false,
                (main(None), &[], none()),
                (other(|stamp| stamp.project.push('p')), &[], none()),
            ),
            (
                "no branch",
                false,
                (main(None), &[], none()),
                (other(|stamp| stamp.branch = None), &[], none()),
            ),
            (
                "another codebase",
                false,
                (main(None), &[], none()),
                (vec![stamp("lib", "main", None)], &[], none()),
            ),
            (
                "one codebase more",
                false,
                (main(None), &[], none()),
                (
                    vec![stamp("", "main", None), stamp("lib", "main", None)],
                    &[],
                    none(),
                ),
            ),
            (
                "codebases in another order",
                true,
                (
                    vec![stamp("a", "main", None), stamp("b", "next", None)],
                    &[],
                    none(),
                ),
                (
                    vec![stamp("b", "next", None), stamp("a", "main", None)],
                    &[],
                    none(),
                ),
            ),
            (
                "changes in one codebase, the other pinned differently",
                false,
                (
                    vec![stamp("a", "main", Some("1")), stamp("b", "main", Some("1"))],
                    &["a"],
                    none(),
                ),
                (
                    vec![stamp("a", "main", Some("2")), stamp("b", "main", Some("2"))],
                    &["a"],
                    none(),
                ),
            ),
            (
                "changes in different codebases",
                false,
                (
                    vec![stamp("a", "main", Some("1")), stamp("b", "main", Some("1"))],
                    &["a"],
                    none(),
                ),
                (
                    vec![stamp("a", "main", Some("1")), stamp("b", "main", Some("1"))],
                    &["b"],
                    none(),
                ),
            ),
            (
                "properties of the schedulers differ",
                false,
                (main(None), &[], set(&[("kind", json!("nightly"), "scheduler")])),
                (main(None), &[], set(&[("kind", json!("weekly"), "scheduler")])),
            ),
            (
                "what a person asked for differs",
                false,
                (main(None), &[], set(&[("clean", json!(true), "force")])),
                (main(None), &[], none()),
            ),
            (
                "properties of the changes differ",
                true,
                (
                    main(Some("aa")),
                    &[""],
                    set(&[("reviewer", json!("Ada"), "change")]),
                ),
                (
                    main(Some("bb")),
                    &[""],
                    set(&[("reviewer", json!("Bo"), "change")]),
                ),
            ),
            (
                "another scheduler",
                true,
                (main(None), &[], set(&[("scheduler", json!("one"), "scheduler")])),
                (
                    main(None),
                    &[],
                    set(&[("scheduler", json!("other"), "scheduler")]),
                ),
            ),
        ];
        for (what, alike, one, other) in cases {
            let digest = |(sources, changed, properties): &Side| {
                let changed = changed.iter().map(|&name| name.to_owned()).collect();
                of(sources, &changed, properties)
            };
            assert_eq!(digest(&one) == digest(&other), alike, "{what}");
        }
    }
}
