//! Drives one step: runs its guest, over and over where it waits without an instance, until it has an end.

use std::sync::Arc;

use capstan_model::Outcome;
use capstan_model::journal::{Created, HOST_ABI};
use capstan_model::plugin::{Kind, Rights};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::canonical;
use super::deed::{Answer, Wait};
use super::halt::Halt;
use super::host::{Parked, StepState};
use super::port::{Abandoned, StepPort};
use super::session::{Resting, Session};
use super::{StepEnd, StepError, StepFailure, StepRun, StopSignal, WaitMode};
use crate::aside;
use crate::audit::Place;
use crate::bindings::types::PluginError;
use crate::call::CallError;
use crate::guest::{self, Guest};
use crate::plugin::{Code, Plugin};
use crate::wasi;

/// How one run of the guest ended.
pub(super) enum Attempt {
    Returned(Result<Outcome, PluginError>),
    Parked(Parked),
    Halted(Halt),
}

/// What each run of the guest needs, beside what is known of the step.
pub(crate) struct Runner {
    pub plugin: Plugin,
    pub grants: Arc<Rights>,
    pub place: Place,
    pub mode: WaitMode,
}

/// How a step stands between two things that take long.
enum Stand {
    Runs(Box<Session>),
    Waits(Box<Resting>, Wait),
    Ended(StepEnd),
}

/// Boxed, as is all that a step does between its waits: one that waits for hours is to hold little but what it waits for.
pub(crate) fn run(
    run: StepRun,
    port: Arc<dyn StepPort>,
    stop: StopSignal,
) -> BoxFuture<'static, Result<StepEnd, StepError>> {
    let opened = Session::open(run, port, stop);
    async move {
        let (runner, session) = opened?;
        let mut stand = Box::pin(begin(&runner, session)).await?;
        loop {
            stand = match stand {
                Stand::Runs(session) => Box::pin(advance(&runner, session)).await?,
                Stand::Waits(resting, wait) => {
                    let answer = wait.await?;
                    Box::pin(wake(resting, answer)).await?
                }
                Stand::Ended(end) => return Ok(end),
            }
        }
    }
    .boxed()
}

async fn begin(runner: &Runner, mut session: Box<Session>) -> Result<Stand, StepError> {
    fits(&runner.plugin, &session.created)?;
    if let Some(end) = session.finished()? {
        return Ok(Stand::Ended(end));
    }
    session.save().await?;
    Ok(Stand::Runs(session))
}

/// Runs the guest until it returns, or waits without its instance.
async fn advance(runner: &Runner, session: Box<Session>) -> Result<Stand, StepError> {
    let (attempt, mut session) = attempt(runner, session).await?;
    let halt = match attempt {
        Attempt::Parked(Parked { seq, wait }) => {
            return Ok(Stand::Waits(Box::new(session.rest(seq).await?), wait));
        }
        Attempt::Returned(result) => {
            let end = conclude(&session, result);
            match session.finish(&end).await {
                Ok(()) => return Ok(Stand::Ended(end)),
                Err(halt) => halt,
            }
        }
        Attempt::Halted(halt) => halt,
    };
    fail(&mut session, halt).await.map(Stand::Ended)
}

/// Notes what a step has waited for; the next run of the guest finds it in the journal.
async fn wake(resting: Box<Resting>, answer: Answer) -> Result<Stand, StepError> {
    let (mut session, seq, deed) = resting.wake().await?;
    match session.answered(seq, &deed, &answer).await {
        Ok(()) => Ok(Stand::Runs(session)),
        Err(halt) => fail(&mut session, halt).await.map(Stand::Ended),
    }
}

/// Whether this plugin, under this master, is what the journal was made with.
fn fits(plugin: &Plugin, created: &Created) -> Result<(), StepError> {
    if created.plugin != plugin.digest() {
        let expected = format!("{} ({})", created.plugin_name, created.plugin.short());
        let found = format!("{} ({})", plugin.name(), plugin.digest().short());
        return Err(StepError::WrongPlugin { expected, found });
    }
    known(plugin, created)
}

/// Whether the plugin is a step, and the journal one that this master understands.
pub(super) fn known(plugin: &Plugin, created: &Created) -> Result<(), StepError> {
    if plugin.kind() != Kind::Step {
        return Err(StepError::Call(plugin.wrong_kind(Kind::Step)));
    }
    if created.host_abi > HOST_ABI {
        return Err(StepError::NewerHost {
            found: created.host_abi,
        });
    }
    Ok(())
}

/// Runs the guest once, in an instance of its own.
pub(super) async fn attempt(
    runner: &Runner,
    mut session: Box<Session>,
) -> Result<(Attempt, Box<Session>), StepError> {
    let plugin = &runner.plugin;
    let Code::Step(pre) = plugin.code() else {
        return Err(StepError::Call(plugin.wrong_kind(Kind::Step)));
    };
    session.rewind();
    let config = canonical::text(&session.created.config);
    let runtime = plugin.runtime();
    // Its share first: who waits for that takes no place from others.
    let _share = plugin.facts().share.take().await;
    let _place = runtime.places.take().await;
    let call = plugin.facts().counters.call();
    let mut guest = Guest::new(Arc::clone(plugin.facts()), Arc::clone(&runner.grants));
    guest.place = runner.place.clone();
    let mut state = StepState::new(guest, Some(session), runner.mode);
    state.places = Some(Arc::clone(&runtime.places));
    let mut store = guest::store(&runtime.engine, state);
    let large = store.data().guest.large();
    let returned = aside::drive(large, async {
        let guest = pre.instantiate_async(&mut store).await?;
        guest.capstan_plugin_step().call_run(&mut store, &config).await
    })
    .await;
    let mut state = guest::ended(store).await;
    // One that waits without its instance says the rest of the line when it is run again.
    if state.parked.is_none() {
        wasi::rest(&mut state);
    }
    let attempt = match (returned, state.parked.take(), state.halt.take()) {
        (Ok(result), _, _) => Attempt::Returned(result.map(Outcome::from)),
        (Err(_), Some(parked), _) => Attempt::Parked(parked),
        (Err(error), None, Some(Halt::Trap(_))) => Attempt::Halted(Halt::Trap(state.guest.explain(&error))),
        (Err(_), None, Some(halt)) => Attempt::Halted(halt),
        (Err(error), None, None) => Attempt::Halted(Halt::Trap(state.guest.explain(&error))),
    };
    let failed = matches!(attempt, Attempt::Returned(Err(_)) | Attempt::Halted(_));
    call.ended(state.guest.away, failed);
    let session = state
        .session
        .ok_or_else(|| StepError::BadJournal("a store without one".to_owned()))?;
    Ok((attempt, session))
}

/// The end that the guest's answer means.
pub(super) fn conclude(session: &Session, result: Result<Outcome, PluginError>) -> StepEnd {
    let (outcome, failure) = match result.map_err(CallError::from) {
        Ok(outcome) => (outcome, None),
        Err(CallError::Transient(text)) => (Outcome::Retry, Some(StepFailure::Transient(text))),
        Err(CallError::Permanent(text)) => (Outcome::Exception, Some(StepFailure::Permanent(text))),
        Err(invalid) => (
            Outcome::Exception,
            Some(StepFailure::InvalidConfig(invalid.to_string())),
        ),
    };
    StepEnd {
        outcome,
        summary: session.summary().cloned(),
        ends_build: session.ends_build().cloned(),
        failure,
    }
}

/// Ends a step whose guest cannot go on. There is no last row: the guest did not return.
async fn fail(session: &mut Session, halt: Halt) -> Result<StepEnd, StepError> {
    let failure = match halt {
        Halt::Abandoned(abandoned) => return Err(abandoned.into()),
        Halt::Mismatch(mismatch) => StepFailure::Mismatch(mismatch),
        Halt::Trap(trap) => StepFailure::from(trap),
        Halt::JournalEnds(past) => {
            let reason = format!("it asked for {} with nothing behind its journal", past.call);
            return Err(Abandoned(reason).into());
        }
    };
    // What the step noted before is the best trace of what went wrong.
    session.save().await?;
    session.leave().await?;
    Ok(StepEnd {
        outcome: Outcome::Exception,
        summary: session.summary().cloned(),
        ends_build: session.ends_build().cloned(),
        failure: Some(failure),
    })
}
