//! Builds that a step asks schedulers for. The call and the wait are deeds like commands: their `Start` is durable before anything
//! leaves, and a call that is carried out again under the same row is the same call.

use capstan_model::plugin::Right;
use capstan_model::{BuildsetId, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::StopSignal;
use super::deed::{Answer, Deed};
use super::host::StepState;
use super::port::{Abandoned, StepPort};
use super::session::Session;
use crate::bindings::step::capstan::plugin::triggers;
use crate::bindings::types;
use crate::limits::MAX_PAYLOAD;

const CALL: &str = "triggers.call";
const WAIT: &str = "triggers.wait";

/// What of a call a step says itself; the rest the master adds.
const MEMBERS: [&str; 5] = ["reason", "builders", "properties", "priority", "sources"];
/// The longest name of a scheduler.
const MAX_NAME: usize = 1000;
/// The longest list of buildsets.
const MAX_BUILDSETS: usize = 1000;

/// What came of asking a scheduler for builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggered {
    /// These buildsets; there may be none.
    Made(Vec<BuildsetId>),
    /// Nothing, for these reasons, each with its path in the call.
    Refused(Vec<(String, String)>),
    /// Nothing yet, and the build is stopped.
    Cancelled(String),
}

/// What came of waiting for buildsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// All are complete.
    Completed(Vec<Children>),
    /// They never will be, for this reason.
    Deadlock(String),
}

/// A complete buildset that a step asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Children {
    /// The buildset.
    pub buildset: BuildsetId,
    /// The scheduler that made it.
    pub scheduler: String,
    /// The worst of its requests.
    pub outcome: Outcome,
    /// Its builds, oldest first.
    pub builds: Vec<Child>,
}

/// A build of such a buildset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl triggers::Host for StepState {
    async fn call(
        &mut self,
        scheduler: String,
        call: String,
    ) -> wasmtime::Result<Result<Vec<i64>, triggers::TriggerError>> {
        self.small("a call of a scheduler", scheduler.len() + call.len())?;
        let parsed = match checked(&scheduler, &call) {
            Ok(parsed) => parsed,
            Err((path, message)) => {
                let problem = types::Problem { path, message };
                return Ok(Err(triggers::TriggerError::Refused(vec![problem])));
            }
        };
        let asked = json!({ "scheduler": scheduler, "call": call });
        let refused = match self.session(CALL)?.is_silent() {
            true => None,
            false => self.guest.allow(Right::Triggers, &scheduler).err(),
        };
        let begin = |session: &Session| match (refused, session.stopped()) {
            (Some(refusal), _) => Err(Answer::Denied(refusal)),
            (None, Some(reason)) => Err(Answer::Cancelled(reason)),
            (None, None) => Ok(Deed::Call {
                scheduler,
                call: completed(session, parsed),
            }),
        };
        let (_, answer) = self.effect(CALL, asked, begin).await?;
        match answer {
            Answer::Called(made) => Ok(Ok(made.iter().map(|id| id.0).collect())),
            other => self.no_triggers(CALL, other).map(Err),
        }
    }

    async fn wait(
        &mut self,
        buildsets: Vec<i64>,
        give_back: bool,
    ) -> wasmtime::Result<Result<Vec<triggers::Completed>, triggers::TriggerError>> {
        let asked = json!({ "buildsets": buildsets, "give_back": give_back });
        let begin = |session: &Session| {
            if buildsets.len() > MAX_BUILDSETS {
                let found = buildsets.len();
                return Err(refused(
                    "buildsets",
                    format!("expected at most {MAX_BUILDSETS}, found {found}"),
                ));
            }
            let buildsets: Vec<_> = buildsets.iter().map(|&id| BuildsetId(id)).collect();
            match buildsets.iter().find(|id| !session.asked_for(**id)) {
                Some(other) => Err(refused(
                    "buildsets",
                    format!("expected buildsets that this step has asked for, found buildset {other}"),
                )),
                None => Ok(Deed::Await { buildsets, give_back }),
            }
        };
        let (_, answer) = self.effect(WAIT, asked, begin).await?;
        match answer {
            Answer::Children(children) => Ok(Ok(children.into_iter().map(Into::into).collect())),
            other => self.no_triggers(WAIT, other).map(Err),
        }
    }
}

impl StepState {
    fn no_triggers(&mut self, call: &str, answer: Answer) -> wasmtime::Result<triggers::TriggerError> {
        use triggers::TriggerError as Fault;
        Ok(match answer {
            Answer::Denied(reason) => Fault::Denied(reason),
            Answer::Refused(problems) => {
                let problem = |(path, message)| types::Problem { path, message };
                Fault::Refused(problems.into_iter().map(problem).collect())
            }
            Answer::Cancelled(reason) => Fault::Cancelled(reason),
            Answer::Deadlock(reason) => Fault::Deadlock(reason),
            _ => return Err(self.odd(call)),
        })
    }
}

fn refused(path: &str, message: String) -> Answer {
    Answer::Refused(vec![(path.to_owned(), message)])
}

/// The call, if it may be made at all; or a path in it, and what is wrong there.
fn checked(scheduler: &str, call: &str) -> Result<Map<String, Value>, (String, String)> {
    if scheduler.is_empty() || scheduler.len() > MAX_NAME {
        return Err((
            String::new(),
            format!(
                "expected the name of a scheduler, found {} bytes",
                scheduler.len()
            ),
        ));
    }
    let parsed = match serde_json::from_str(call) {
        Ok(Value::Object(parsed)) => parsed,
        Ok(_) => return Err((String::new(), "expected an object".to_owned())),
        Err(error) => return Err((String::new(), format!("expected JSON: {error}"))),
    };
    if let Some(name) = parsed.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let known = MEMBERS.join(", ");
        return Err((name.clone(), format!("expected one of {known}, found `{name}`")));
    }
    match parsed.get("sources") {
        Some(Value::String(word)) if word != "own" => Err((
            "sources".to_owned(),
            format!("expected \"own\" or a list, found {word:?}"),
        )),
        // Patches are the kernel's to vouch for.
        Some(Value::Array(sources)) if sources.iter().any(|stamp| !stamp["patch"].is_null()) => Err((
            "sources".to_owned(),
            "expected sources without a patch; \"own\" stands for the build's own, with theirs".to_owned(),
        )),
        _ => Ok(parsed),
    }
}

/// The call as it is made: with the build's own sources where those are meant, at the revisions that it got.
fn completed(session: &Session, mut call: Map<String, Value>) -> Value {
    call.insert("kind".to_owned(), "trigger".into());
    if call.get("sources").is_some_and(Value::is_string) {
        let got = session
            .properties()
            .get("got_revision")
            .map(|property| &property.value);
        let mut sources = session.created.sources.clone();
        for stamp in &mut sources {
            stamp.pin(got);
        }
        call.insert("sources".to_owned(), json!(sources));
    }
    Value::Object(call)
}

impl From<Children> for triggers::Completed {
    fn from(children: Children) -> Self {
        let build = |child: Child| triggers::TriggeredBuild {
            builder: child.builder,
            number: child.number,
            outcome: child.outcome.into(),
        };
        Self {
            buildset: children.buildset.0,
            scheduler: children.scheduler,
            outcome: children.outcome.into(),
            builds: children.builds.into_iter().map(build).collect(),
        }
    }
}

/// Carries a call out.
pub(super) async fn ask(
    port: &dyn StepPort,
    seq: u32,
    scheduler: String,
    call: Value,
    stop: StopSignal,
) -> Result<Answer, Abandoned> {
    Ok(match port.call_scheduler(seq, scheduler, call, stop).await? {
        Triggered::Made(made) => Answer::Called(made),
        Triggered::Refused(mut problems) => {
            problems.truncate(MAX_BUILDSETS);
            Answer::Refused(problems)
        }
        Triggered::Cancelled(reason) => Answer::Cancelled(reason),
    })
}

/// Carries a wait out.
pub(super) async fn wait(
    port: &dyn StepPort,
    buildsets: Vec<BuildsetId>,
    give_back: bool,
) -> Result<Answer, Abandoned> {
    Ok(match port.wait_buildsets(buildsets, give_back).await? {
        Awaited::Completed(mut children) => {
            shorten(&mut children);
            Answer::Children(children)
        }
        Awaited::Deadlock(reason) => Answer::Deadlock(reason),
    })
}

/// An answer fits into a row of the journal: of very many builds the last ones are left out, their results count all the same.
fn shorten(children: &mut [Children]) {
    let mut room = MAX_PAYLOAD / 2;
    for set in children {
        let fits = set.builds.iter().take_while(|child| {
            let size = child.builder.len() + 100;
            let left = room.checked_sub(size);
            room = left.unwrap_or(0);
            left.is_some()
        });
        let fits = fits.count();
        set.builds.truncate(fits);
    }
}
