//! Why a step's guest is left where it is. What `session` and `host` answer instead of going on; `run` and `replay` say what
//! becomes of the step.

use super::journal::Mismatch;
use super::port::Abandoned;
use super::replay::Past;
use crate::call::Trap;

/// Why the guest cannot go on.
#[derive(Debug)]
pub(crate) enum Halt {
    Abandoned(Abandoned),
    Mismatch(Mismatch),
    Trap(Trap),
    /// There is no answer: the journal is all that there is.
    JournalEnds(Past),
}

impl From<Abandoned> for Halt {
    fn from(abandoned: Abandoned) -> Self {
        Self::Abandoned(abandoned)
    }
}

impl From<Mismatch> for Halt {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

impl From<Trap> for Halt {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}
