//! The plugins at hand: those built in, overridden and added to by the files of the plugin folder, which come and go while the
//! farm runs.
//!
//! In the order of a file's way: `watch` sees that it changed, `folder` reads it, `policy` says whether the operator accepted
//! it, `proposal` puts all files together, `settle` finds out which of them the configuration fits, and `configuration` puts
//! the [`Registry`] that results in force. A bad file leaves the version of before in place. `memory` hands what a scheduler or
//! change source remembers to its new version; a new version that keeps trapping is given up by `watch`. `status` and `telling`
//! are for people.

mod folder;
mod memory;
mod policy;
mod proposal;
mod registry;
mod settle;
mod status;
mod telling;
pub(crate) mod watch;

pub use registry::Registry;
pub use status::{PluginState, PluginStatus, RefusedUse};

pub(crate) use folder::read as read_file;
pub(crate) use memory::{TakenOver, author, take_over};
pub(crate) use proposal::{Accept, Look, Proposal, load_version};
pub(crate) use registry::{BuiltIn, Choice, InForce, Key, Origin, Settings};
pub(crate) use settle::{Settled, settle};
