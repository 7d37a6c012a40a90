//! One run of a plugin on this thread: its calls are noted with their answers, and when it is run again it is answered from
//! there up to where it was.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::call::Call;
use super::world::World;
use crate::Property;
use crate::host::log::Level;

/// A call and what it was answered.
struct Row {
    call: Call,
    answer: Box<dyn Any>,
}

/// A run, and those before it of the same step.
#[derive(Default)]
pub(crate) struct Session {
    pub world: World,
    journal: Vec<Row>,
    /// How many calls this run has made.
    at: usize,
    /// The run is left when it makes the call with this place.
    leave_at: Option<usize>,
    /// Properties that this run has set.
    seen: BTreeMap<String, Property>,
    /// What was said, by the place of the next call.
    said: Vec<(Level, String)>,
}

/// Why a run did not come to its end; carried through the plugin's frames.
pub(crate) enum Left {
    /// As it was told.
    There,
    /// It asked for something else than before.
    Differs(Box<Apart>),
}

/// Two calls at the same place; none is an end instead.
pub(crate) struct Apart {
    pub place: usize,
    pub recorded: Option<Call>,
    pub found: Option<Call>,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

impl Session {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world,
            ..Self::default()
        }
    }

    /// Runs a plugin from its beginning until it ends or, with `leave_at`, until it makes that call. Its panics go on.
    pub(crate) fn run<R>(
        mut self,
        leave_at: Option<usize>,
        plugin: impl FnOnce() -> R,
    ) -> (Self, Result<R, Left>) {
        self.at = 0;
        self.leave_at = leave_at;
        self.seen.clear();
        SESSION.with_borrow_mut(|session| {
            assert!(session.is_none(), "a plugin cannot be run by a plugin");
            *session = Some(self);
        });
        let ended = catch_unwind(AssertUnwindSafe(plugin));
        let mut session = SESSION.take().unwrap_or_default();
        session.leave_at = None;
        match ended {
            Ok(result) => {
                let recorded = session.journal.get(session.at).map(|row| row.call.clone());
                let left = recorded.map(|call| apart(session.at, Some(call), None));
                (session, left.map_or(Ok(result), Err))
            }
            Err(payload) => match payload.downcast::<Left>() {
                Ok(left) => (session, Err(*left)),
                Err(panic) => resume_unwind(panic),
            },
        }
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.journal.iter().map(|row| row.call.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.journal.len()
    }

    pub(crate) fn said(&self) -> Vec<(Level, String)> {
        self.said.clone()
    }
}

/// Answers a call: from the journal or, where it ends, by `answer`, which is then noted.
pub(crate) fn ask<A: Clone + 'static>(call: Call, answer: impl FnOnce(&mut World) -> A) -> A {
    let answered = SESSION.with_borrow_mut(|session| {
        let session = session
            .as_mut()
            .unwrap_or_else(|| panic!("{call}: no host here: run the plugin through capstan_sdk::test"));
        let place = session.at;
        let recorded = session.journal.get(place);
        if let Some(row) = recorded
            && row.call != call
        {
            return Err(apart(place, Some(row.call.clone()), Some(call)));
        }
        let old = recorded.and_then(|row| row.answer.downcast_ref::<A>()).cloned();
        if old.is_none() && session.leave_at == Some(place) {
            return Err(Left::There);
        }
        assert!(
            place < MOST_CALLS,
            "expected at most {MOST_CALLS} calls of the host, found more"
        );
        session.at += 1;
        Ok(old.unwrap_or_else(|| {
            let answer = answer(&mut session.world);
            let kept: Box<dyn Any> = Box::new(answer.clone());
            session.journal.push(Row { call, answer: kept });
            answer
        }))
    });
    answered.unwrap_or_else(|left| resume_unwind(Box::new(left)))
}

fn apart(place: usize, recorded: Option<Call>, found: Option<Call>) -> Left {
    Left::Differs(Box::new(Apart {
        place,
        recorded,
        found,
    }))
}

/// More than a step's journal may have at a master.
const MOST_CALLS: usize = 100_000;

/// Looks at something that is the same in every run.
pub(crate) fn look<R>(call: &str, read: impl FnOnce(&World, &BTreeMap<String, Property>) -> R) -> R {
    SESSION.with_borrow(|session| match session {
        Some(session) => read(&session.world, &session.seen),
        None => panic!("{call}: no host here: run the plugin through capstan_sdk::test"),
    })
}

/// Notes a property that this run has set.
pub(crate) fn see(property: Property) {
    SESSION.with_borrow_mut(|session| {
        if let Some(session) = session {
            session.seen.insert(property.name.clone(), property);
        }
    });
}

/// Keeps a message, once; without a run it goes to standard error.
pub(crate) fn say(level: Level, message: &str) {
    SESSION.with_borrow_mut(|session| match session {
        Some(session) if session.at == session.journal.len() => {
            session.said.push((level, message.to_owned()));
        }
        Some(_) => {}
        None => eprintln!("{level:?}: {message}"),
    });
}
