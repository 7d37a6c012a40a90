//! The store through its public door, on both databases. `contract` is what the master relies on; `differential` shows
//! that both databases end with the same rows; `faults` are crashes and lost connections; `schema` is what only SQL shows.

mod contract;
//mod differential;
mod farm;
//mod faults;
mod postgres;
//mod schema;
