//! What most plugins name, for `use capstan_sdk::prelude::*`. What else one kind's interface has is in its module:
//! `step::now`, `reporter::state::get`.

pub use serde_json::{Value, json};

pub use crate::change_source::{ChangeSource, NewChange, Poll};
pub use crate::generator::Generator;
pub use crate::params::{Patterns, Span, Texts};
pub use crate::reporter::{Phase, Report, Reporter};
pub use crate::scheduler::{
    Answer, Buildset, Call, Calls, Change, CompletedBuildset, Event, Finished, Follows, Migrate, Scheduler,
    Timer,
};
pub use crate::step::{
    Command, Done, EnvValue, Exit, Program, Step, Stop, add_link, property, set_property, set_summary,
    wait_any, write_log,
};
pub use crate::{
    Outcome, PluginError, Problem, Property, SourceStamp, TimestampMs, artefacts, change_source, generator,
    log, parameters, problem, remembered, reporter, scheduler, step,
};
