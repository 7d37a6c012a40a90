//! In a component: the imports of its world.

pub use crate::bindings::change_source::capstan::plugin::git;
pub use crate::bindings::reporter::capstan::plugin::{mail, report_files, reports, state};
pub use crate::bindings::shared::capstan::plugin::{http, log};
pub use crate::bindings::step::capstan::plugin::{
    artefacts, build, clock, commands, ending, entropy, timers, triggers,
};
