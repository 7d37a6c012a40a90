//! Capstan's worker: dials its master, runs commands for it, and keeps what they said until the master has
//! it.
//!
//! Two kinds of process are made of this one program. The daemon ([`daemon`]) talks to the master and may die
//! at any time; a supervisor ([`supervise`]) per command owns that command and survives the daemon. They meet
//! in the command's folder ([`folder`]).

pub mod daemon;
pub mod folder;
pub mod join;
pub mod member;
pub mod os;
mod room;
mod state;
pub mod supervise;
