//! One file per command; each is handed what the command line said and prints for people, or JSON.

pub mod artefact;
pub mod builds;
pub mod buildset;
pub mod changes;
pub mod check;
pub mod force;
pub mod init;
pub mod interruptions;
pub mod journal;
pub mod log;
pub mod pipeline;
pub mod plan;
pub mod plugin;
pub mod reload;
pub mod replay;
pub mod report;
pub mod retention;
pub mod scheduler;
pub mod tree;
pub mod tries;
pub mod why;
pub mod worker;
