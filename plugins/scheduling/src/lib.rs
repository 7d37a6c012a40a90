//! What the built-in schedulers share. Each of them is a component of its own; an author of a scheduler may use this crate like
//! they do.
//!
//! [`ChangeFilter`] says which changes count, [`Pending`] collects them until a branch is quiet, [`Calendar`] and [`Timed`] say when
//! it is time, [`Request`] says what to ask for then, [`trigger_faults`] says what is wrong with a call.

mod calendar;
mod calls;
mod filter;
mod names;
mod pending;
mod request;
mod timed;

pub use calendar::{Calendar, Schedule};
pub use calls::{form_faults, trigger_faults};
pub use filter::{ChangeFilter, Verdict};
pub use names::{Names, expression, whole_expression};
pub use pending::{Pending, Stable};
pub use request::{Request, Sources, count};
pub use timed::{Due, Timed, Times};
