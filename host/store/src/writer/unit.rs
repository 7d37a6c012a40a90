//! One unit of a transaction, run so that its failure undoes it alone.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use super::{Tx, Work};
use crate::Error;

/// Where a unit stands in its transaction. A statement to begin a savepoint and one to end it cost as much as the unit's own,
/// so the next unit's beginning ends the savepoint before, and the commit ends the last.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// There is no other: when it fails, the transaction is begun anew.
    Alone,
    First,
    /// The savepoint of the one before is open.
    Later,
}

impl Place {
    fn begin(self) -> Option<&'static str> {
        match self {
            Self::Alone => None,
            Self::First => Some("SAVEPOINT unit"),
            Self::Later => Some("RELEASE SAVEPOINT unit; SAVEPOINT unit"),
        }
    }
}

/// Runs one unit so that its failure undoes it alone. The outer error means that the whole transaction is lost.
pub(super) async fn run_unit(
    tx: &mut Tx,
    work: Work,
    place: Place,
) -> Result<Result<Box<dyn Any + Send>, Error>, Error> {
    let fatal = |error: sqlx::Error| Error::from_driver("SAVEPOINT unit", &error);
    if let Some(begin) = place.begin() {
        tx.conn.control(begin).await.map_err(fatal)?;
    }
    let (events, rings, work_before) = (tx.events.len(), tx.rings, tx.work);
    // A panic is a fault in this crate; it may cost its own unit but not the writer.
    let result = AssertUnwindSafe(work(tx)).catch_unwind().await;
    let result = result.unwrap_or_else(|_| {
        Err(Error::Database {
            statement: "unit".to_owned(),
            reason: "the unit panicked".to_owned(),
        })
    });
    match result {
        Err(Error::Unavailable { reason }) => Err(Error::Unavailable { reason }),
        Err(error) => {
            tx.events.truncate(events);
            (tx.rings, tx.work) = (rings, work_before);
            // The savepoint itself stays for the next unit to release.
            let undo = match place {
                Place::Alone => &["ROLLBACK", tx.conn.begin_statement()][..],
                Place::First | Place::Later => &["ROLLBACK TO SAVEPOINT unit"],
            };
            for statement in undo {
                tx.conn.control(statement).await.map_err(fatal)?;
            }
            Ok(Err(error))
        }
        Ok(value) => Ok(Ok(value)),
    }
}
