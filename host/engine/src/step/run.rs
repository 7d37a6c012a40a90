//! Drives one step: runs its guest, over and over where it waits without an instance, until it has an end.

use std::sync::Arc;

use capstan_model::Outcome;
use capstan_model::journal::{Created, HOST_ABI};
use capstan_model::plugin::Kind;

use super::canonical;
use super::host::{Parked, StepState};
use super::port::{Abandoned, StepPort};
use super::session::{Halt, Session};
use super::{StepEnd, StepError, StepFailure, StepRun, StopSignal};
use crate::bindings::types::PluginError;
use crate::call::CallError;
use crate::guest::{self, Guest};
use crate::plugin::{Code, Plugin};

/// How one run of the guest ended.
pub(super) enum Attempt {
    Returned(Result<Outcome, PluginError>),
    Parked(Parked),
    Halted(Halt),
}

pub(crate) async fn run(
    mut run: StepRun,
    port: Arc<dyn StepPort>,
    stop: StopSignal,
) -> Result<StepEnd, StepError> {
    let mut session = Session::open(&mut run, port, stop)?;
    fits(&run.plugin, &session.created)?;
    if let Some(end) = session.finished()? {
        return Ok(end);
    }
    session.save().await?;
    loop {
        let (attempt, back) = attempt(&run, session).await?;
        session = back;
        let ended = match attempt {
            Attempt::Parked(parked) => outlast(&mut session, parked).await.map(|()| None),
            Attempt::Returned(result) => {
                let end = conclude(&session, result);
                session.finish(&end).await.map(|()| Some(end))
            }
            Attempt::Halted(halt) => Err(halt),
        };
        match ended {
            Ok(None) => {}
            Ok(Some(end)) => return Ok(end),
            Err(halt) => return fail(&mut session, halt).await,
        }
    }
}

/// Waits without an instance; the next run of the guest finds the answer in the journal.
async fn outlast(session: &mut Session, Parked { seq, deed, wait }: Parked) -> Result<(), Halt> {
    let answer = wait.await?;
    session.answered(seq, &deed, &answer).await
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
pub(super) async fn attempt(run: &StepRun, mut session: Session) -> Result<(Attempt, Session), StepError> {
    let plugin = &run.plugin;
    let Code::Step(pre) = plugin.code() else {
        return Err(StepError::Call(plugin.wrong_kind(Kind::Step)));
    };
    session.rewind();
    let config = canonical::text(&session.created.config);
    let runtime = plugin.runtime();
    let _place = runtime.places.take().await;
    let call = plugin.facts().counters.call();
    let guest = Guest::new(Arc::clone(plugin.facts()), Arc::clone(&run.grants));
    let mut state = StepState::new(guest, Some(session), run.mode);
    state.places = Some(Arc::clone(&runtime.places));
    let mut store = guest::store(&runtime.engine, state);
    let returned = match pre.instantiate_async(&mut store).await {
        Ok(guest) => guest.capstan_plugin_step().call_run(&mut store, &config).await,
        Err(error) => Err(error),
    };
    let mut state = store.into_data();
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
        failure: Some(failure),
    })
}
