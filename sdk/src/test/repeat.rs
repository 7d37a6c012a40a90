//! Running a plugin again: a step as if the master had died before each of its calls in turn, other kinds once more with the
//! answers that they had.

use std::fmt;

use super::call::{Call, told_apart};
use super::session::{Apart, Left, Session};
use super::world::World;

/// A longer step is left at so many of its calls, evenly chosen.
const MOST_PREFIXES: usize = 200;

/// A plugin that did not do the same again.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// After how many answers it was run again from its beginning.
    pub prefix: usize,
    /// Which call differs, counted from 1; none where the end does.
    pub call: Option<usize>,
    /// What it did first.
    pub recorded: String,
    /// What it did then.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            prefix,
            recorded,
            found,
            ..
        } = self;
        match self.call {
            Some(call) => write!(f, "run again after {prefix} answers, call {call} differs")?,
            None => write!(f, "run again after {prefix} answers, it ends otherwise")?,
        }
        write!(f, "\n  recorded: {recorded}\n  found:    {found}")
    }
}

/// Runs a step to its end, then from every prefix of its calls: left before a call, and run again from its beginning.
pub(crate) fn from_every_prefix<R: PartialEq + fmt::Debug>(
    world: &World,
    step: impl Fn() -> R,
) -> Result<(Session, R), Difference> {
    let (session, first) = Session::new(world.clone()).run(None, &step);
    let first = first.map_err(|left| difference(0, left))?;
    let (calls, length) = (session.calls(), session.len());
    for prefix in prefixes(length) {
        let (again, left) = Session::new(world.clone()).run(Some(prefix), &step);
        match left {
            Err(Left::There) => {}
            Err(other) => return Err(difference(prefix, other)),
            Ok(end) => same(prefix, &calls, &again, &first, &end)?,
        }
        let (again, end) = again.run(None, &step);
        let end = end.map_err(|left| difference(prefix, left))?;
        same(prefix, &calls, &again, &first, &end)?;
    }
    Ok((session, first))
}

/// Runs a call of another kind a second time with the answers of the first.
pub(crate) fn once_more<R: PartialEq + fmt::Debug>(
    session: Session,
    call: impl Fn() -> R,
) -> Result<(Session, R), Difference> {
    let (session, first) = session.run(None, &call);
    let first = first.map_err(|left| difference(0, left))?;
    let (calls, length) = (session.calls(), session.len());
    let (session, second) = session.run(Some(length), &call);
    let second = match second {
        Err(Left::There) => {
            return Err(Difference {
                prefix: length,
                call: Some(length + 1),
                recorded: "none: it returned".to_owned(),
                found: "one more call".to_owned(),
            });
        }
        other => other.map_err(|left| difference(length, left))?,
    };
    same(length, &calls, &session, &first, &second)?;
    Ok((session, first))
}

fn prefixes(length: usize) -> impl Iterator<Item = usize> {
    let number = length.min(MOST_PREFIXES);
    (0..number).map(move |place| place * length / number)
}

fn difference(prefix: usize, left: Left) -> Difference {
    let none = || "none: it returned".to_owned();
    let (place, recorded, found) = match left {
        Left::There => (prefix, none(), "one more call".to_owned()),
        Left::Differs(apart) => {
            let shown = |call: Option<Call>| call.map_or_else(none, |call| call.to_string());
            let (recorded, found) = match (apart.recorded, apart.found) {
                (Some(recorded), Some(found)) => told_apart(&recorded, &found),
                (recorded, found) => (shown(recorded), shown(found)),
            };
            (apart.place, recorded, found)
        }
    };
    Difference {
        prefix,
        call: Some(place + 1),
        recorded,
        found,
    }
}

/// Compares what came after the prefix, and the ends.
fn same<R: PartialEq + fmt::Debug>(
    prefix: usize,
    calls: &[Call],
    again: &Session,
    first: &R,
    end: &R,
) -> Result<(), Difference> {
    let found = again.calls();
    let longer = calls.len().max(found.len());
    if let Some(place) = (0..longer).find(|&place| calls.get(place) != found.get(place)) {
        let left = Left::Differs(Box::new(Apart {
            place,
            recorded: calls.get(place).cloned(),
            found: found.get(place).cloned(),
        }));
        return Err(difference(prefix, left));
    }
    if first == end {
        return Ok(());
    }
    Err(Difference {
        prefix,
        call: None,
        recorded: format!("{first:?}"),
        found: format!("{end:?}"),
    })
}
