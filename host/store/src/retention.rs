//! What retention needs of the store: which builds could go, what they weigh, and removing them in slices. The rules are the
//! master's; that what runs, waits for its reports or is kept stays is seen to here, too, in the transaction that removes.
//!
//! Rows go first and files after them: a file without a row wastes room until the next look, a row without its file would be a
//! log that lies. Which files are to go is noted with the end of their rows ([`FileRemoval`]), so a crash forgets none.

mod aged;
mod builds;
mod files;
mod removing;
mod totals;

pub use aged::{Aged, AgedPage};
pub use builds::{OldBuild, Weight};
pub use files::{File, FileRemoval};
pub use removing::Slice;
pub use totals::{Gone, Total, Totals};
