//! What a reload changes: the lines that `capstan reload` and the master's log show.

use std::collections::BTreeMap;

use capstan_model::plan::{Builder, Location, Plan, PluginUse, Reporter, Scheduler, Source, Step, Worker};

/// One line per definition that was added, removed or changed; empty if both plans do the same. Where something is
/// written does not count.
pub fn diff(old: &Plan, new: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    compare(
        "worker",
        &old.workers,
        &new.workers,
        &mut lines,
        |w| (&w.name, bare_worker(w)),
        |_, _| String::new(),
    );
    compare(
        "change source",
        &old.sources,
        &new.sources,
        &mut lines,
        |s| (&s.name, bare_source(s)),
        |_, _| String::new(),
    );
    compare(
        "scheduler",
        &old.schedulers,
        &new.schedulers,
        &mut lines,
        |s| (&s.name, bare_scheduler(s)),
        |_, _| String::new(),
    );
    compare(
        "builder",
        &old.builders,
        &new.builders,
        &mut lines,
        |b| (&b.name, bare_builder(b)),
        changed_steps,
    );
    compare(
        "reporter",
        &old.reporters,
        &new.reporters,
        &mut lines,
        |r| (&r.name, bare_reporter(r)),
        |_, _| String::new(),
    );
    lines
}

fn compare<T, B: PartialEq>(
    what: &str,
    old: &[T],
    new: &[T],
    lines: &mut Vec<String>,
    bare: impl Fn(&T) -> (&String, B),
    detail: impl Fn(&B, &B) -> String,
) {
    let before: BTreeMap<_, _> = old.iter().map(&bare).collect();
    let after: BTreeMap<_, _> = new.iter().map(&bare).collect();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("- {what} {name}"));
    }
    for (name, definition) in &after {
        match before.get(name) {
            None => lines.push(format!("+ {what} {name}")),
            Some(former) if former != definition => {
                lines.push(format!("~ {what} {name}{}", detail(former, definition)));
            }
            Some(_) => {}
        }
    }
}

fn changed_steps(old: &Builder, new: &Builder) -> String {
    let names = |builder: &Builder| builder.steps.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let (before, after) = (names(old), names(new));
    let mut changes = Vec::new();
    changes.extend(
        before
            .iter()
            .filter(|name| !after.contains(name))
            .map(|name| format!("-{name}")),
    );
    changes.extend(
        after
            .iter()
            .filter(|name| !before.contains(name))
            .map(|name| format!("+{name}")),
    );
    for step in &new.steps {
        if old
            .steps
            .iter()
            .any(|former| former.name == step.name && former != step)
        {
            changes.push(format!("~{}", step.name));
        }
    }
    match changes.is_empty() {
        true => String::new(),
        false => format!(" (steps {})", changes.join(" ")),
    }
}

fn bare_use(plugin: &PluginUse) -> PluginUse {
    PluginUse {
        location: Location::default(),
        ..plugin.clone()
    }
}

fn bare_worker(worker: &Worker) -> Worker {
    Worker {
        location: Location::default(),
        ..worker.clone()
    }
}

fn bare_source(source: &Source) -> Source {
    Source {
        plugin: bare_use(&source.plugin),
        ..source.clone()
    }
}

fn bare_scheduler(scheduler: &Scheduler) -> Scheduler {
    Scheduler {
        plugin: bare_use(&scheduler.plugin),
        ..scheduler.clone()
    }
}

fn bare_reporter(reporter: &Reporter) -> Reporter {
    Reporter {
        plugin: bare_use(&reporter.plugin),
        ..reporter.clone()
    }
}

fn bare_builder(builder: &Builder) -> Builder {
    let steps = builder.steps.iter().map(|step| Step {
        plugin: bare_use(&step.plugin),
        ..step.clone()
    });
    Builder {
        location: Location::default(),
        steps: steps.collect(),
        ..builder.clone()
    }
}
