//! The properties that a build begins with, from all who may set some. Called by `dispatch`.
//!
//! The order is Buildbot's: who comes later replaces what was there. Global, changes, the request (its scheduler's, or those of
//! who forced it), builder, worker, and what the build itself is. Defaults of builder and worker only fill gaps. Steps set
//! theirs later.

use std::collections::BTreeMap;

use capstan_config::{BuildContext, Functions, Renderer};
use capstan_model::plan::{Builder, Plan, Worker};
use capstan_model::{Deferred, Properties, Property, SourceStamp, VirtualBuilder};
use serde_json::Value;

/// Who sets properties of a build.
pub(crate) struct Givers<'a> {
    pub plan: &'a Plan,
    pub builder: &'a Builder,
    /// None for a worker that the plan does not name any more.
    pub worker: Option<&'a Worker>,
    pub worker_name: &'a str,
    pub changes: Properties,
    pub request: Properties,
    /// Who asked; none where it was no scheduler.
    pub scheduler: Option<&'a str>,
    pub sources: &'a [SourceStamp],
}

/// What comes out, and what is wrong with it: then the build ends with that, instead of doing half of what was meant.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub properties: Properties,
    /// The builder under which the build is shown, if it is not its own.
    pub shown: Option<VirtualBuilder>,
    pub fault: Option<String>,
}

impl Givers<'_> {
    /// Whether functions may be asked for the properties of a builder.
    pub fn defer(builder: &Builder) -> bool {
        let given = builder.properties.values().chain(builder.defaults.values());
        given
            .chain(builder.virtual_builder.values())
            .any(Deferred::within)
    }

    /// All properties. Functions of the plan are asked: call it where blocking is allowed.
    pub fn give(&self, functions: &Functions) -> Given {
        let (mut properties, mut faults) = self.merged(functions);
        let shown = self.shown(&properties, functions).unwrap_or_else(|fault| {
            faults.push(format!("{}: `virtual`: {fault}", self.builder.location));
            None
        });
        // Nobody else says so where the configuration does.
        if !self.builder.virtual_builder.is_empty() {
            let name = shown.as_ref().map_or(&self.builder.name, |shown| &shown.name);
            properties.set("virtual_builder_name", name.as_str(), "builder");
        }
        if let Err(error) = properties.check() {
            faults.push(error.to_string());
            // So that the build can say so: what remains was checked when it came.
            properties = self.request.clone();
            self.own(&mut properties);
            // A request may be as large as can be, without what the build adds.
            if properties.check().is_err() {
                properties = Properties::default();
                self.own(&mut properties);
            }
        }
        Given {
            properties,
            shown,
            fault: Some(faults.join("; ")).filter(|text| !text.is_empty()),
        }
    }

    fn merged(&self, functions: &Functions) -> (Properties, Vec<String>) {
        let mut all = labelled(&self.plan.properties, "global");
        all.extend(self.changes.clone());
        all.extend(self.request.clone());
        // Templates of the builder see what the build is, and what its worker says.
        let mut seen = all.clone();
        if let Some(worker) = self.worker {
            seen.extend(labelled(&worker.properties, "worker"));
        }
        self.own(&mut seen);
        let context = self.context(seen);
        let renderer = Renderer::new(&context, functions);
        let mut faults = Vec::new();
        let mut render = |name: &String, value: &Value| match Deferred::within(value) {
            false => Some(value.clone()),
            true => renderer
                .value(value)
                .map_err(|error| {
                    faults.push(format!(
                        "{}: the builder's property `{name}`: {error}",
                        self.builder.location
                    ))
                })
                .ok(),
        };
        for (name, value) in &self.builder.properties {
            if let Some(value) = render(name, value) {
                all.set(name, value, "builder");
            }
        }
        for (name, value) in &self.builder.defaults {
            if all.get(name).is_none()
                && let Some(value) = render(name, value)
            {
                all.set(name, value, "builder default");
            }
        }
        if let Some(worker) = self.worker {
            all.extend(labelled(&worker.properties, "worker"));
            for (name, value) in &worker.defaults {
                all.set_default(name, value.clone(), "worker default");
            }
        }
        self.own(&mut all);
        (all, faults)
    }

    /// The builder under which the build is shown: none where the configuration says nothing of one, or names none for this build.
    fn shown(
        &self,
        properties: &Properties,
        functions: &Functions,
    ) -> Result<Option<VirtualBuilder>, String> {
        if self.builder.virtual_builder.is_empty() {
            return Ok(None);
        }
        let context = self.context(properties.clone());
        let renderer = Renderer::new(&context, functions);
        let mut rendered = serde_json::Map::new();
        for (key, value) in &self.builder.virtual_builder {
            let value = renderer
                .value(value)
                .map_err(|error| format!("`{key}`: {error}"))?;
            if !value.is_null() {
                rendered.insert(key.clone(), value);
            }
        }
        if rendered.get("name").is_none_or(|name| name == "") {
            return Ok(None);
        }
        let mut shown: VirtualBuilder =
            serde_json::from_value(rendered.into()).map_err(|error| error.to_string())?;
        shown.check()?;
        if shown.name == self.builder.name {
            return Ok(None);
        }
        if self.plan.builder(&shown.name).is_some() {
            let name = &shown.name;
            return Err(format!(
                "expected a name that no configured builder has, found `{name}`"
            ));
        }
        shown.made_by.clone_from(&self.builder.name);
        Ok(Some(shown))
    }

    fn context(&self, properties: Properties) -> BuildContext {
        BuildContext {
            properties,
            sources: self.sources.to_vec(),
            builder: self.builder.name.clone(),
            worker: self.worker_name.to_owned(),
            number: None,
        }
    }

    /// What the build is; nobody else sets these. Of its sources what Buildbot tells, where there is one.
    fn own(&self, properties: &mut Properties) {
        properties.set("buildername", self.builder.name.as_str(), "builder");
        properties.set("workername", self.worker_name, "worker");
        if let Some(scheduler) = self.scheduler {
            properties.set("scheduler", scheduler, "scheduler");
        }
        let [source] = self.sources else { return };
        let mut set = |name: &str, value: Option<&str>| {
            properties.set(name, value.map_or(Value::Null, Value::from), "source stamp");
        };
        set("branch", source.branch.as_deref());
        set("revision", source.revision.as_deref());
        set("repository", Some(&source.repository));
        set("codebase", Some(&source.codebase));
        set("project", Some(&source.project));
    }
}

fn labelled(properties: &BTreeMap<String, Value>, source: &str) -> Properties {
    let label = |(name, value): (&String, &Value)| Property {
        name: name.clone(),
        value: value.clone(),
        source: source.to_owned(),
    };
    properties.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use capstan_model::deferred::PropertyOr;
    use capstan_model::plan::{Bundle, Location};
    use serde_json::json;

    use super::*;

    fn map(names: &[&str], by: &str) -> BTreeMap<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), json!(by))).collect()
    }

    fn plan() -> Plan {
        let text = json!({
            "bundle": Bundle::default(), "workers": [], "builders": [], "sources": [], "schedulers": [], "reporters": [],
            "properties": map(&["a", "b", "c", "d", "e", "f", "g", "branch"], "global"),
        });
        serde_json::from_value(text).unwrap()
    }

    fn builder(properties: Value, defaults: Value) -> Builder {
        let text = json!({
            "name": "linux", "description": "", "tags": [], "workers": [], "labels": [], "env": {}, "collapse": true,
            "steps": [], "location": Location { file: "ci.star".to_owned(), line: 3, column: 1 },
            "properties": properties, "defaults": defaults,
        });
        serde_json::from_value(text).unwrap()
    }

    fn worker() -> Worker {
        Worker {
            name: "w1".to_owned(),
            slots: None,
            labels: vec![],
            properties: map(&["e", "buildername", "only"], "worker"),
            defaults: map(&["a", "g", "w"], "worker default"),
            env: capstan_model::plan::Env::default(),
            location: Location::default(),
        }
    }

    fn given(plan: &Plan, builder: &Builder, worker: &Worker, request: Properties) -> Given {
        let source = SourceStamp {
            branch: Some("main".to_owned()),
            ..SourceStamp::default()
        };
        let givers = Givers {
            plan,
            builder,
            worker: Some(worker),
            worker_name: "w1",
            changes: labelled(&map(&["b", "c", "d", "e"], "change"), "change"),
            request,
            scheduler: Some("nightly"),
            sources: &[source],
        };
        givers.give(&Functions::default())
    }

    /// The table of Buildbot's `setupPropertiesKnownBeforeBuildStarts`, with a name for each pair of neighbours.
    #[test]
    fn who_comes_later_replaces_what_was_there() {
        let builder = builder(
            json!(map(&["d", "e"], "builder")),
            json!(map(&["a", "w", "x"], "builder default")),
        );
        let request = labelled(&map(&["c", "d", "e", "workername"], "force"), "force");
        let Given {
            properties, fault, ..
        } = given(&plan(), &builder, &worker(), request);
        assert_eq!(fault, None);
        for (name, value, source) in [
            ("a", "global", "global"),
            ("b", "change", "change"),
            ("c", "force", "force"),
            ("d", "builder", "builder"),
            ("e", "worker", "worker"),
            ("f", "global", "global"),
            ("g", "global", "global"),
            ("w", "builder default", "builder default"),
            ("x", "builder default", "builder default"),
            ("only", "worker", "worker"),
            ("buildername", "linux", "builder"),
            ("workername", "w1", "worker"),
            ("scheduler", "nightly", "scheduler"),
            ("branch", "main", "source stamp"),
        ] {
            let found = properties.get(name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(
                (found.value.as_str(), found.source.as_str()),
                (Some(value), source),
                "{name}"
            );
        }
        assert!(properties.get("revision").unwrap().value.is_null());
    }

    #[test]
    fn a_builder_reads_what_the_build_is_and_what_others_set() {
        let of = |name: &str| {
            let property = PropertyOr {
                name: name.to_owned(),
                default: None,
            };
            Deferred::Property(property).to_value()
        };
        let builder = builder(
            json!({ "from_worker": of("only"), "from_request": of("c"), "where": [of("branch"), of("workername")] }),
            json!({ "from_request": of("gone"), "late": of("f") }),
        );
        let request = labelled(&map(&["c"], "force"), "force");
        let Given {
            properties, fault, ..
        } = given(&plan(), &builder, &worker(), request);
        assert_eq!(fault, None, "a default that is not needed is not rendered");
        assert_eq!(properties.get("from_worker").unwrap().value, "worker");
        assert_eq!(properties.get("from_request").unwrap().value, "force");
        assert_eq!(properties.get("where").unwrap().value, json!(["main", "w1"]));
        assert_eq!(properties.get("late").unwrap().value, "global");
    }

    #[test]
    fn what_cannot_be_rendered_or_is_too_large_is_told_and_the_build_can_still_begin() {
        let missing = Deferred::Property(PropertyOr {
            name: "bracnh".to_owned(),
            default: None,
        });
        let faulty = builder(json!({ "x": missing.to_value() }), json!({}));
        let found = given(&plan(), &faulty, &worker(), Properties::default());
        assert_eq!(
            found.fault.unwrap(),
            "ci.star:3:1: the builder's property `x`: expected a property `bracnh`, found none of that name; did you mean `branch`?"
        );
        let text = "x".repeat(200 << 10);
        let large: BTreeMap<_, _> = (0..6).map(|n| (n.to_string(), json!(text))).collect();
        let found = given(
            &plan(),
            &builder(json!(large), json!({})),
            &worker(),
            Properties::default(),
        );
        assert!(found.fault.unwrap().contains("at most 1048576 bytes together"));
        assert_eq!(found.properties.check(), Ok(()));
        assert_eq!(found.properties.get("workername").unwrap().value, "w1");
    }

    #[test]
    fn a_request_that_is_as_large_as_can_be_makes_a_build_that_says_so() {
        let request: Properties = (0..1000)
            .map(|n| Property {
                name: n.to_string(),
                value: json!(n),
                source: "force".to_owned(),
            })
            .collect();
        assert_eq!(request.check(), Ok(()));
        let found = given(&plan(), &builder(json!({}), json!({})), &worker(), request);
        assert!(found.fault.unwrap().contains("at most 1000 properties"));
        assert_eq!(found.properties.check(), Ok(()));
        assert_eq!(found.properties.get("buildername").unwrap().value, "linux");
    }
}
