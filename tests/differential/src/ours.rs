//! Capstan's side: the components themselves, driven as the master drives them, by a clock that jumps from one thing that is
//! due to the next. What the master's store does with a decision (state, timers, requests) is a few maps here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use capstan_engine::{
    Caller, Completed, CompletedBuild, Decision, Engine, Options, Plugin, Ports, SchedulerEvent,
};
use capstan_model::{BuildsetId, ChangeId, NewChange, Outcome, Properties, SourceStamp, Timestamp};

use crate::cases::{Case, Plan};
use crate::stream::Change;
use crate::{Asked, Stamp};

/// A scheduler with what the store would hold of it.
struct Scheduler<'a> {
    case: &'a Case,
    plugin: Plugin,
    state: Vec<u8>,
    /// Due times in milliseconds, by name.
    timers: BTreeMap<String, i64>,
}

/// What happens, besides timers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// By its place in the stream.
    Change(usize),
    /// A buildset has ended, by its place in what was asked for.
    Complete(usize),
}

/// What the schedulers ask for.
pub async fn requests(plan: &Plan, changes: &[Change]) -> Result<Vec<Asked>> {
    let mut farm = Farm::new(plan, changes);
    let mut schedulers = load(plan).await?;
    for scheduler in &mut schedulers {
        farm.tell(scheduler, plan.begin * 1000, SchedulerEvent::Started)
            .await?;
    }
    while let Some((at, next)) = next(&farm, &schedulers).filter(|(at, _)| *at <= plan.end * 1000) {
        match next {
            Next::Timer(which, name) => {
                schedulers[which].timers.remove(&name);
                farm.tell(&mut schedulers[which], at, SchedulerEvent::Timer(name))
                    .await?;
            }
            Next::Agenda => match farm.agenda.pop() {
                Some(Reverse((_, Entry::Change(number)))) => {
                    for scheduler in &mut schedulers {
                        let change = Box::new(model(number, &changes[number]));
                        farm.tell(scheduler, at, SchedulerEvent::Change(change)).await?;
                    }
                }
                Some(Reverse((_, Entry::Complete(number)))) => {
                    for scheduler in schedulers.iter_mut().filter(|s| s.plugin.follows()) {
                        farm.complete(scheduler, at, number).await?;
                    }
                }
                None => {}
            },
        }
    }
    Ok(farm.asked)
}

/// Each scheduler, its parameters checked.
async fn load(plan: &Plan) -> Result<Vec<Scheduler<'_>>> {
    let engine = Engine::new(Options::default())?;
    let mut loaded: HashMap<&str, Plugin> = HashMap::new();
    let mut schedulers = Vec::new();
    for case in &plan.cases {
        let name = case.capstan.plugin.as_str();
        let plugin = match loaded.get(name) {
            Some(plugin) => plugin.clone(),
            None => loaded.entry(name).or_insert(built_in(&engine, name)?).clone(),
        };
        let checked = plugin.check(&case.capstan.config).await;
        checked.with_context(|| format!("expected the parameters of {} to be good", case.name))?;
        schedulers.push(Scheduler {
            case,
            plugin,
            state: Vec::new(),
            timers: BTreeMap::new(),
        });
    }
    Ok(schedulers)
}

/// What is due first.
enum Next {
    /// The timer of that name, of the scheduler at that place.
    Timer(usize, String),
    /// The first entry of the agenda.
    Agenda,
}

fn next(farm: &Farm, schedulers: &[Scheduler<'_>]) -> Option<(i64, Next)> {
    let entry = farm.agenda.peek().map(|Reverse((at, _))| *at);
    match (entry, due(schedulers)) {
        (Some(at), timer) if timer.as_ref().is_none_or(|(due, ..)| at < *due) => Some((at, Next::Agenda)),
        (_, timer) => timer.map(|(at, which, name)| (at, Next::Timer(which, name))),
    }
}

/// The next timer: when, of which scheduler, its name.
fn due(schedulers: &[Scheduler<'_>]) -> Option<(i64, usize, String)> {
    let all = schedulers.iter().enumerate().flat_map(|(which, scheduler)| {
        scheduler
            .timers
            .iter()
            .map(move |(name, at)| (*at, which, name.clone()))
    });
    all.min()
}

struct Farm {
    asked: Vec<Asked>,
    caller: Caller,
    agenda: BinaryHeap<Reverse<(i64, Entry)>>,
    /// How long a build takes, in milliseconds.
    duration: i64,
}

impl Farm {
    fn new(plan: &Plan, changes: &[Change]) -> Self {
        let entry = |(number, change): (usize, &Change)| Reverse((change.at * 1000, Entry::Change(number)));
        Self {
            asked: Vec::new(),
            caller: Caller {
                owner: "differential".to_owned(),
                grants: Arc::default(),
                ports: Ports::nowhere(),
            },
            agenda: changes.iter().enumerate().map(entry).collect(),
            duration: plan.duration * 1000,
        }
    }

    async fn tell(&mut self, scheduler: &mut Scheduler<'_>, at: i64, event: SchedulerEvent) -> Result<()> {
        let config = &scheduler.case.capstan.config;
        let decision = scheduler
            .plugin
            .handle(&self.caller, config, &scheduler.state, Timestamp(at), event)
            .await
            .with_context(|| format!("expected {} to decide", scheduler.case.name))?;
        self.commit(scheduler, at, decision);
        Ok(())
    }

    /// Tells a scheduler of a buildset of another that it follows; which those are, its parameters say.
    async fn complete(&mut self, scheduler: &mut Scheduler<'_>, at: i64, number: usize) -> Result<()> {
        let asked = &self.asked[number];
        let config = &scheduler.case.capstan.config;
        if config["upstream"].as_str() != Some(&asked.scheduler) {
            return Ok(());
        }
        let buildset = completed(number, asked);
        let decision = scheduler
            .plugin
            .completed(&self.caller, config, &scheduler.state, Timestamp(at), buildset)
            .await
            .with_context(|| format!("expected {} to decide", scheduler.case.name))?;
        self.commit(scheduler, at, decision);
        Ok(())
    }

    fn commit(&mut self, scheduler: &mut Scheduler<'_>, at: i64, decision: Decision) {
        scheduler.state = decision.state;
        for name in decision.clear_timers {
            scheduler.timers.remove(&name);
        }
        for timer in decision.set_timers {
            scheduler.timers.insert(timer.name, timer.at.0);
        }
        for set in decision.submit {
            let mut builders = set.builders.unwrap_or_else(|| scheduler.case.builders.clone());
            builders.sort();
            let mut stamps: Vec<Stamp> = set.sources.into_iter().map(stamp).collect();
            stamps.sort();
            self.agenda
                .push(Reverse((at + self.duration, Entry::Complete(self.asked.len()))));
            self.asked.push(Asked {
                at: at.div_euclid(1000),
                stamps,
                builders,
                scheduler: scheduler.case.name.clone(),
            });
        }
    }
}

/// A buildset that has ended as the rule says that both sides follow: failed where the bytes of its revisions add up to a
/// multiple of four.
fn completed(number: usize, asked: &Asked) -> Completed {
    let revisions = asked.stamps.iter().filter_map(|stamp| stamp.revision.as_deref());
    let sum: u32 = revisions.flat_map(str::bytes).map(u32::from).sum();
    let outcome = if sum.is_multiple_of(4) {
        Outcome::Failure
    } else {
        Outcome::Success
    };
    let sources: Vec<SourceStamp> = asked.stamps.iter().cloned().map(source).collect();
    let build = |builder: &String| CompletedBuild {
        builder: builder.clone(),
        number: 1,
        outcome,
        sources: sources.clone(),
    };
    Completed {
        id: BuildsetId(i64::try_from(number).unwrap_or_default() + 1),
        scheduler: asked.scheduler.clone(),
        outcome,
        reason: String::new(),
        builds: asked.builders.iter().map(build).collect(),
        sources,
        properties: Properties::default(),
        changes: Vec::new(),
    }
}

fn source(stamp: Stamp) -> SourceStamp {
    SourceStamp {
        codebase: stamp.codebase,
        repository: stamp.repository,
        project: stamp.project,
        branch: stamp.branch,
        revision: stamp.revision,
        patch: None,
    }
}

fn stamp(source: SourceStamp) -> Stamp {
    Stamp {
        codebase: source.codebase,
        repository: source.repository,
        project: source.project,
        branch: source.branch,
        revision: source.revision,
    }
}

fn model(number: usize, change: &Change) -> capstan_model::Change {
    let when = Timestamp(change.at * 1000);
    capstan_model::Change {
        id: ChangeId(i64::try_from(number).unwrap_or_default() + 1),
        source: "stream".to_owned(),
        received: when,
        facts: NewChange {
            dedup_key: change.revision.clone(),
            codebase: change.codebase.clone(),
            repository: change.repository.clone(),
            project: change.project.clone(),
            branch: change.branch.clone(),
            revision: change.revision.clone(),
            author: change.author.clone(),
            comments: change.comments.clone(),
            files: change.files.clone(),
            category: change.category.clone(),
            when,
            properties: Properties::default(),
        },
    }
}

fn built_in(engine: &Engine, name: &str) -> Result<Plugin> {
    let found = capstan_builtin::components()
        .iter()
        .find(|(known, _)| *known == name);
    let (_, bytes) = found.with_context(|| format!("expected a built-in plugin {name}"))?;
    Ok(engine.load(bytes)?)
}
