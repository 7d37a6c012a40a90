//! Real workers: supervisors that are started by hand, and daemons at a master that is only a link.

mod daemon;
mod master;
mod supervisor;
mod support;
