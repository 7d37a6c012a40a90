//! A generator as a scientific workbench with some fifty plugins needs it: an entry of a list and the settings of its group become
//! a builder that installs one plugin and tests it, a scheduler that other builds ask for it, and a form for people.

use std::collections::{BTreeMap, BTreeSet};

use capstan_sdk::generator::{Builder, Output, Use, prop_or};
use capstan_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Group {
    group: String,
    workers: Vec<String>,
    tool: Vec<String>,
    branch: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    plugins: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    source: Option<String>,
    channel: Option<String>,
    #[serde(default = "yes")]
    tests: bool,
    #[serde(default)]
    binaries: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Generator for Group {
    fn generate(self) -> Result<Output, PluginError> {
        self.check().map_err(PluginError::InvalidConfig)?;
        let mut output: Output = self.plugins.iter().map(|entry| self.builder(entry)).collect();
        for entry in &self.plugins {
            let builders = vec![self.name(entry)];
            let ask = |plugin: &str, suffix: &str| {
                Use::new(plugin)
                    .name(format!("{}{suffix}", builders[0]))
                    .option("builders", builders.clone())
            };
            output.schedulers.push(ask("triggerable", ""));
            output.schedulers.push(ask("force", " by hand"));
        }
        let untested: Vec<_> = self.plugins.iter().filter(|entry| !entry.tests).collect();
        if !untested.is_empty() {
            let names: Vec<_> = untested.iter().map(|entry| entry.name.as_str()).collect();
            output
                .remarks
                .push(format!("{} has no tests of {}", self.group, names.join(", ")));
        }
        Ok(output)
    }
}

impl Group {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut names = BTreeSet::new();
        let mut problems = Vec::new();
        for (place, entry) in self.plugins.iter().enumerate() {
            if !names.insert(&entry.name) {
                let text = format!("expected each plugin once, found `{}` again", entry.name);
                problems.push(problem(format!("plugins[{place}].name"), text));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn name(&self, entry: &Entry) -> String {
        format!("{}_{}", entry.name, self.group)
    }

    fn builder(&self, entry: &Entry) -> Builder {
        Builder::new(self.name(entry))
            .option("tags", vec![self.group.clone(), "plugin".to_owned()])
            .option("project", self.group.clone())
            .option("workers", self.workers.clone())
            // What one plugin installs is there for the tests of the next.
            .option("directory", self.group.clone())
            .option("env", json!(self.env))
            .option(
                "properties",
                json!({ "plugin": entry.name, "channel": entry.channel }),
            )
            .steps(self.steps(entry))
    }

    fn steps(&self, entry: &Entry) -> Vec<Use> {
        let mut install = vec!["installp".to_owned(), "-p".to_owned()];
        match (&self.branch, &entry.source) {
            (Some(branch), Some(source)) => install.push(format!("{source}@{branch}")),
            _ => install.push(entry.name.clone()),
        }
        let mut steps = vec![
            self.run("install", &install).option("halt_on_failure", true),
            self.run("inspect", &["inspect", &entry.name])
                .option("halt_on_failure", false),
        ];
        for binary in &entry.binaries {
            steps.push(self.run(&format!("binary {binary}"), &["installb", binary]));
        }
        if entry.tests {
            // Who asks for a single plugin says where the workbench is.
            let env = json!({ "WORKBENCH_HOME": prop_or("home", "workbench") });
            steps.push(
                self.run("tests", &["tests", "--grep", &entry.name])
                    .parameter("env", env),
            );
        }
        steps
    }

    fn run(&self, name: &str, words: &[impl AsRef<str>]) -> Use {
        let words = words.iter().map(|word| word.as_ref().to_owned());
        let command: Vec<String> = self.tool.iter().cloned().chain(words).collect();
        Use::new("shell").name(name).parameter("command", command)
    }
}

capstan_sdk::generator!(Group);
