//! What most plugins name, for `use capstan_sdk::prelude::*`. The functions of one kind's interface are in its module:
//! `step::property`, `reporter::http::fetch`.

pub use serde_json::{Value, json};

pub use crate::change_source::{ChangeSource, NewChange, Poll};
pub use crate::params::{Patterns, Span, Texts};
pub use crate::reporter::{Phase, Report, Reporter};
pub use crate::scheduler::{Answer, Buildset, Change, Event, Finished, Migrate, Scheduler, Timer};
pub use crate::step::{Done, EnvValue, Exit, Program, Step, Stop, set_property, set_summary};
pub use crate::{
    Outcome, PluginError, Problem, Property, SourceStamp, TimestampMs, change_source, log, parameters,
    problem, remembered, reporter, scheduler, step,
};
