//! The store through its public door. What the master relies on is the same on both databases: `intake`, `building`,
//! `stepping`, `telling`,
//! `interruptions`, `keeping`, `versions`, `refusals`, `quarantines`, `artefacts`, `retention`, `virtual_builders`; so is what pages read: `lists`, `overview`. `differential` shows that both end with the same
//! rows; `faults` are crashes and lost connections, `again` who asks anew after one, `applying` a configuration that comes into force, `charge` two masters; `schema` is what only SQL shows, `upgrades` what becomes of older
//! databases.

#![expect(clippy::unwrap_used, reason = "a test that meets an error ends there")]

mod again;
mod applying;
mod artefacts;
mod asking;
mod building;
mod cancelling;
mod charge;
mod differential;
mod farm;
mod faults;
mod intake;
mod interruptions;
mod keeping;
mod lists;
mod locking;
mod overview;
mod patches;
mod pipelines;
mod postgres;
mod properties;
mod quarantines;
mod queueing;
mod recording;
mod refusals;
mod retention;
mod schema;
mod stepping;
mod telling;
mod upgrades;
mod versions;
mod virtual_builders;
