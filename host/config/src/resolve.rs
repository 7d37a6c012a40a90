//! The second half of an evaluation, when everything is defined: references, names of steps, plugins' own checks.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use capstan_model::plan::{Builder, Bundle, Plan, PluginPin, PluginUse, Step};
use capstan_model::plugin::Kind;
use capstan_model::{Deferred, Pipeline};

use crate::diagnostic::{Diagnostic, Severity};
use crate::evaluate::{Check, Evaluated, Problem};
use crate::farm::Farm;
use crate::nearest::{choices, did_you_mean};
use crate::star::{BuilderDefinition, Definitions, Harvest, Site, StepDefinition};
use crate::{following, locking, remarks, triggering};

/// Makes the plan, or the list of everything that is wrong.
pub(crate) fn resolve(
    harvest: Harvest,
    farm: &Farm,
    check: &Check<'_>,
) -> Result<Evaluated, Vec<Diagnostic>> {
    let Harvest {
        definitions,
        files,
        mut diagnostics,
        halted,
        functions,
    } = harvest;
    // What comes after the place where evaluation ended may define the missing names.
    if !halted {
        diagnostics.extend(unknown_names(&definitions));
    }
    diagnostics.extend(same_step_names(&definitions));
    if !halted {
        diagnostics.extend(following::faults(&definitions));
        diagnostics.extend(triggering::faults(&definitions));
        diagnostics.extend(locking::faults(&definitions));
    }
    diagnostics.extend(ask_plugins(&definitions, check));
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(diagnostics);
    }
    diagnostics.extend(remarks::of(&definitions));
    diagnostics.extend(locking::unused(&definitions));
    let made_by = definitions.generators.clone();
    let mut plan = assemble(definitions);
    plan.functions = functions.list();
    plan.bundle = Bundle {
        entry: farm.entry().to_owned(),
        files,
        plugins: pins(&plan, &made_by),
        functions: plan
            .functions
            .iter()
            .map(|function| function.name.clone())
            .collect(),
    };
    Ok(Evaluated {
        plan,
        functions,
        remarks: diagnostics,
    })
}

fn unknown_names(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let mut look = |what: &'static str, argument: &str, names: &[String], site: &Site| {
        for name in names.iter().filter(|name| !definitions.knows(what, name)) {
            let known = definitions.names(what);
            let known = || known.iter().map(String::as_str);
            let expected = if known().next().is_none() {
                format!("a {what} (none is defined)")
            } else {
                choices(known())
            };
            let fault = site
                .error_in(argument, name, format!("unknown {what}"))
                .code("unknown-name")
                .expected(expected);
            faults.push(
                fault
                    .found(format!("`{name}`"))
                    .maybe_hint(did_you_mean(name, known())),
            );
        }
    };
    for definition in &definitions.builders {
        look("worker", "workers", &definition.builder.workers, &definition.site);
    }
    for (scheduler, site) in &definitions.schedulers {
        look("builder", "builders", &scheduler.builders, site);
    }
    for (reporter, site) in &definitions.reporters {
        look("builder", "builders", &reporter.builders, site);
    }
    faults.extend(
        definitions
            .builders
            .iter()
            .filter_map(|definition| taken(definitions, definition)),
    );
    faults
}

/// A virtual builder, of a name that is known, that a configured one has.
fn taken(definitions: &Definitions, definition: &BuilderDefinition) -> Option<Diagnostic> {
    let builder = &definition.builder;
    let name = builder.virtual_builder.get("name")?.as_str()?;
    let other = name != builder.name && definitions.knows("builder", name);
    let fault = definition.site.error_in("virtual", name, "builder: `virtual`");
    other.then(|| {
        fault
            .expected("a name that no configured builder has")
            .found(format!("`{name}`"))
    })
}

/// Steps that were given the same name within one builder.
fn same_step_names(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for definition in &definitions.builders {
        let mut seen: HashMap<&str, &Site> = HashMap::new();
        for step in definition
            .steps
            .iter()
            .map(|&place| &definitions.steps[place])
            .filter(|step| step.named)
        {
            if let Some(first) = seen.insert(&step.step.name, &step.site) {
                let fault = step.site.error_at(
                    "name",
                    format!(
                        "duplicate name of a step in the builder `{}`",
                        definition.builder.name
                    ),
                );
                let fault = fault
                    .code("duplicate-name")
                    .expected("another name")
                    .found(format!("`{}` again", step.step.name));
                faults.push(fault.related(first.location(), "first used here"));
            }
        }
    }
    faults
}

fn ask_plugins(definitions: &Definitions, check: &Check<'_>) -> Vec<Diagnostic> {
    let steps = definitions
        .steps
        .iter()
        .map(|s| (Kind::Step, Cow::Borrowed(&s.step.plugin), &s.site));
    let placed = definitions.builders.iter().flat_map(|definition| {
        let steps = definition.steps.iter().map(|&place| &definitions.steps[place]);
        steps.filter_map(|step| {
            let moved = moved(step, definition.workdir.as_ref())?;
            Some((Kind::Step, Cow::Owned(moved), &definition.site))
        })
    });
    let sources = definitions
        .sources
        .iter()
        .map(|(s, site)| (Kind::ChangeSource, Cow::Borrowed(&s.plugin), site));
    let schedulers = definitions
        .schedulers
        .iter()
        .map(|(s, site)| (Kind::Scheduler, Cow::Borrowed(&s.plugin), site));
    let reporters = definitions
        .reporters
        .iter()
        .map(|(r, site)| (Kind::Reporter, Cow::Borrowed(&r.plugin), site));
    let mut asked = HashSet::new();
    let mut faults = Vec::new();
    let uses = steps
        .chain(placed)
        .chain(sources)
        .chain(schedulers)
        .chain(reporters);
    for (kind, plugin, site) in uses {
        // What is deferred is checked when a step begins with it; a scheduler gets its functions as they are.
        if kind != Kind::Scheduler && Deferred::within(&plugin.config) || Pipeline::is(plugin.digest) {
            continue;
        }
        if asked.insert((kind, plugin.plugin.clone(), plugin.config.to_string()))
            && let Err(problems) = check(kind, &plugin)
        {
            faults.extend(
                problems
                    .into_iter()
                    .map(|problem| refused(kind, &plugin, site, &problem)),
            );
        }
    }
    faults
}

/// What a step uses in a builder with a workdir, if it leaves that to its builder.
fn moved(step: &StepDefinition, workdir: Option<&serde_json::Value>) -> Option<PluginUse> {
    let workdir = workdir.filter(|_| step.takes_workdir)?;
    let mut plugin = step.step.plugin.clone();
    let parameters = plugin.config.as_object_mut()?;
    parameters.insert("workdir".to_owned(), workdir.clone());
    Some(plugin)
}

fn refused(kind: Kind, plugin: &PluginUse, site: &Site, problem: &Problem) -> Diagnostic {
    let function = format!(
        "{}.{}",
        kind.namespace(),
        crate::plugins::identifier(&plugin.plugin)
    );
    if problem.path.is_empty() {
        return site
            .error(format!("{function}: {}", problem.message))
            .code("refused-by-plugin");
    }
    let argument = problem.path.split(['.', '[']).next().unwrap_or_default();
    site.error_at(
        argument,
        format!("{function}: `{}`: {}", problem.path, problem.message),
    )
    .code("refused-by-plugin")
}

fn assemble(definitions: Definitions) -> Plan {
    let steps = &definitions.steps;
    let builders = definitions.builders.into_iter().map(|definition| {
        let taken: BTreeSet<&str> = definition
            .steps
            .iter()
            .map(|&p| &steps[p])
            .filter(|s| s.named)
            .map(|s| s.step.name.as_str())
            .collect();
        let mut taken: BTreeSet<String> = taken.into_iter().map(str::to_owned).collect();
        let placed = definition.steps.iter().map(|&place| {
            let step = &steps[place];
            let name = if step.named {
                step.step.name.clone()
            } else {
                free_name(&step.step.name, &taken)
            };
            taken.insert(name.clone());
            let placed = step.step.clone();
            Step {
                name,
                plugin: moved(step, definition.workdir.as_ref()).unwrap_or(placed.plugin),
                ..placed
            }
        });
        Builder {
            steps: placed.collect(),
            ..definition.builder
        }
    });
    Plan {
        bundle: Bundle::default(),
        functions: Vec::new(),
        properties: definitions.properties,
        env: definitions.env,
        order: definitions.order,
        builders: builders.collect(),
        locks: definitions.locks.into_iter().map(|(lock, _)| lock).collect(),
        workers: definitions
            .workers
            .into_iter()
            .map(|(worker, _)| worker)
            .collect(),
        sources: definitions
            .sources
            .into_iter()
            .map(|(source, _)| source)
            .collect(),
        schedulers: definitions
            .schedulers
            .into_iter()
            .map(|(scheduler, _)| scheduler)
            .collect(),
        reporters: definitions
            .reporters
            .into_iter()
            .map(|(reporter, _)| reporter)
            .collect(),
    }
}

/// `shell`, `shell-2`, `shell-3`: the first that nobody has.
fn free_name(plain: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|n: u64| format!("{plain}-{n}"));
    std::iter::once(plain.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}

fn pins(plan: &Plan, generators: &[PluginUse]) -> Vec<PluginPin> {
    let generators = generators.iter().map(|used| (Kind::Generator, used));
    let steps = plan
        .builders
        .iter()
        .flat_map(|b| &b.steps)
        .map(|s| (Kind::Step, &s.plugin));
    let sources = plan.sources.iter().map(|s| (Kind::ChangeSource, &s.plugin));
    let schedulers = plan.schedulers.iter().map(|s| (Kind::Scheduler, &s.plugin));
    let reporters = plan.reporters.iter().map(|r| (Kind::Reporter, &r.plugin));
    let used = steps
        .chain(sources)
        .chain(schedulers)
        .chain(reporters)
        .chain(generators);
    let pins: BTreeSet<PluginPin> = used.flat_map(|(kind, used)| pinned(kind, used)).collect();
    pins.into_iter().collect()
}

/// The plugin that is used; for a pipeline those that it may use.
fn pinned(kind: Kind, used: &PluginUse) -> Vec<PluginPin> {
    let pin = |name: &str, digest| PluginPin {
        kind,
        name: name.to_owned(),
        digest,
    };
    match Pipeline::of(used) {
        Some(pipeline) => {
            let allowed = pipeline.allow.iter();
            allowed.map(|step| pin(&step.plugin, step.digest)).collect()
        }
        None => vec![pin(&used.plugin, used.digest)],
    }
}
