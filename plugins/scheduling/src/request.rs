//! What a scheduler asks for: the same for all of its builders.

use std::collections::BTreeMap;

use capstan_sdk::SourceStamp;
use capstan_sdk::scheduler::{Buildset, Property, Stamp};
use serde::Deserialize;
use serde_json::Value;

/// Parameters that every request takes over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    priority: i32,
    properties: BTreeMap<String, Value>,
}

impl Request {
    /// A request for all builders of the scheduler.
    pub fn of(&self, sources: Vec<SourceStamp>, reason: impl Into<String>, changes: Vec<i64>) -> Buildset {
        Buildset {
            builders: None,
            sources,
            priority: self.priority,
            reason: reason.into(),
            properties: self
                .properties
                .iter()
                .map(|(name, value)| property(name, value, "scheduler"))
                .collect(),
            changes,
        }
    }

    /// The same with further properties, which take the place of the scheduler's own.
    pub fn with<'a>(
        mut set: Buildset,
        properties: impl IntoIterator<Item = (&'a String, &'a Value)>,
        source: &str,
    ) -> Buildset {
        for (name, value) in properties {
            set.properties.retain(|known| known.name != *name);
            set.properties.push(property(name, value, source));
        }
        set
    }
}

fn property(name: &str, value: &Value, source: &str) -> Property {
    Property {
        name: name.to_owned(),
        value: value.to_string(),
        source: source.to_owned(),
    }
}

/// What to check out where nothing else says so, one for each codebase.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Sources(Vec<Stamp>);

impl Sources {
    /// What is wrong with them.
    pub fn fault(&self) -> Option<String> {
        let mut seen = Vec::new();
        self.0.iter().find_map(|stamp| {
            let again = seen.contains(&&stamp.codebase);
            seen.push(&stamp.codebase);
            let name = &stamp.codebase;
            again.then(|| format!("expected one entry for each codebase, found `{name}` twice"))
        })
    }

    /// These, each replaced by the one of its codebase in `given`, and what else is given.
    pub fn over(&self, given: impl IntoIterator<Item = SourceStamp>) -> Vec<SourceStamp> {
        let mut sources: Vec<_> = self.0.iter().cloned().map(SourceStamp::from).collect();
        for stamp in given {
            match sources.iter_mut().find(|known| known.codebase == stamp.codebase) {
                Some(place) => *place = completed(stamp, place),
                None => sources.push(stamp),
            }
        }
        sources
    }
}

/// What a stamp leaves open, its codebase's default says; but not the revision, which belongs to a branch.
fn completed(stamp: SourceStamp, known: &SourceStamp) -> SourceStamp {
    let or = |given: String, known: &String| if given.is_empty() { known.clone() } else { given };
    let same_branch = stamp.branch.is_none() || stamp.branch == known.branch;
    SourceStamp {
        codebase: stamp.codebase,
        repository: or(stamp.repository, &known.repository),
        project: or(stamp.project, &known.project),
        branch: stamp.branch.or_else(|| known.branch.clone()),
        revision: stamp
            .revision
            .or_else(|| known.revision.clone().filter(|_| same_branch)),
    }
}

/// `1 change`, `3 changes`.
pub fn count(changes: usize) -> String {
    match changes {
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_comes_from_the_codebase() {
        let sources: Sources = serde_json::from_str(
            r#"[{"codebase": "lib", "repository": "l", "branch": "main", "revision": "r1"},
                {"codebase": "app", "repository": "a"}]"#,
        )
        .unwrap();
        let stamp = |codebase: &str, branch: Option<&str>| SourceStamp {
            codebase: codebase.to_owned(),
            repository: String::new(),
            project: String::new(),
            branch: branch.map(str::to_owned),
            revision: None,
        };
        let show = |given: Vec<SourceStamp>| {
            let one = |s: SourceStamp| {
                let (branch, revision) = (s.branch.unwrap_or_default(), s.revision.unwrap_or_default());
                format!("{}:{}:{branch}:{revision}", s.codebase, s.repository)
            };
            sources
                .over(given)
                .into_iter()
                .map(one)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(show(vec![]), "lib:l:main:r1 app:a::");
        assert_eq!(show(vec![stamp("lib", None)]), "lib:l:main:r1 app:a::");
        assert_eq!(show(vec![stamp("lib", Some("devel"))]), "lib:l:devel: app:a::");
        assert_eq!(
            show(vec![stamp("new", Some("x"))]),
            "lib:l:main:r1 app:a:: new::x:"
        );
        let twice: Sources = serde_json::from_str(r#"[{"codebase": "a"}, {"codebase": "a"}]"#).unwrap();
        assert!(twice.fault().unwrap().contains("found `a` twice"));
    }
}
