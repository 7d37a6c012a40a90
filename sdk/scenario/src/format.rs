//! The scenario file as TOML has it; the README describes it for people. One file per kind of plugin.

pub(crate) mod generator;
pub(crate) mod reporter;
pub(crate) mod scheduler;
pub(crate) mod source;
pub(crate) mod step;

use capstan_model::plugin::{Kind, Rights};
use serde::Deserialize;
use toml::Spanned;

use crate::call::Expected;
use crate::fault::{Fault, Source};
use crate::words::{Json, Members};

/// The largest file.
pub(crate) const MAX_FILE: usize = 1 << 20;

/// A value and where it stands.
pub(crate) type At<T> = Spanned<T>;

/// A list of calls that are expected.
pub(crate) type Calls = At<Vec<At<Expected>>>;

/// Parameters that are looked at when a configuration is loaded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub parameters: Json,
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// A problem that is expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Problem {
    #[serde(default)]
    pub path: String,
    #[serde(default = "anything")]
    pub message: String,
}

fn anything() -> String {
    "*".to_owned()
}

/// The parts that files of every kind have.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub description: Option<String>,
    pub parameters: Option<At<Members>>,
    pub grants: Option<Rights>,
    pub checks: Vec<At<Check>>,
}

/// A scenario of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Step(Box<step::File>),
    Scheduler(Box<scheduler::File>),
    Source(Box<source::File>),
    Reporter(Box<reporter::File>),
    Generator(Box<generator::File>),
}

/// Reads a file.
pub(crate) fn parse(source: &Source, text: &str, kind: Kind) -> Result<(Frame, Body), Fault> {
    if text.len() > MAX_FILE {
        let message = format!("expected at most {MAX_FILE} bytes, found {}", text.len());
        return Err(source.fault(None, message));
    }
    macro_rules! read {
        ($kind:ident, $variant:ident) => {{
            let file: $kind::File = toml::from_str(text).map_err(|error| source.malformed(&error))?;
            let frame = Frame {
                description: file.description.clone(),
                parameters: file.parameters.clone(),
                grants: file.grants.clone(),
                checks: file.check.clone(),
            };
            (frame, Body::$variant(Box::new(file)))
        }};
    }
    Ok(match kind {
        Kind::Step => read!(step, Step),
        Kind::Scheduler => read!(scheduler, Scheduler),
        Kind::ChangeSource => read!(source, Source),
        Kind::Reporter => read!(reporter, Reporter),
        Kind::Generator => read!(generator, Generator),
    })
}
