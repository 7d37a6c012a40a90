//! The types that several kinds of plugins share, from their form at the border to the model's and back.

use capstan_model::{Outcome, Properties, SourceStamp};

use crate::bindings::types;
use crate::step::canonical;

/// The longest list that a plugin may answer, where nothing else is said.
pub(crate) const MAX_ITEMS: usize = 1000;

/// Checks the length of something that a plugin answered.
pub(crate) fn bound(what: &str, found: usize, most: usize) -> Result<(), String> {
    if found > most {
        Err(format!("{what}: expected at most {most}, found {found}"))
    } else {
        Ok(())
    }
}

/// Properties as a guest gives them: JSON in text.
pub(crate) fn properties(properties: Vec<types::Property>) -> Result<Properties, String> {
    bound("properties", properties.len(), MAX_ITEMS)?;
    let read = |p: types::Property| {
        let value = serde_json::from_str(&p.value);
        let value = value.map_err(|error| format!("property {}: expected JSON: {error}", p.name))?;
        Ok(capstan_model::Property {
            name: p.name,
            value,
            source: p.source,
        })
    };
    properties.into_iter().map(read).collect()
}

impl From<&capstan_model::Property> for types::Property {
    fn from(property: &capstan_model::Property) -> Self {
        let value = canonical::text(&property.value);
        Self {
            name: property.name.clone(),
            value,
            source: property.source.clone(),
        }
    }
}

impl From<types::SourceStamp> for SourceStamp {
    fn from(stamp: types::SourceStamp) -> Self {
        let types::SourceStamp {
            codebase,
            repository,
            project,
            branch,
            revision,
        } = stamp;
        Self {
            codebase,
            repository,
            project,
            branch,
            revision,
        }
    }
}

impl From<SourceStamp> for types::SourceStamp {
    fn from(stamp: SourceStamp) -> Self {
        let SourceStamp {
            codebase,
            repository,
            project,
            branch,
            revision,
        } = stamp;
        Self {
            codebase,
            repository,
            project,
            branch,
            revision,
        }
    }
}

impl From<Outcome> for types::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Warnings => Self::Warnings,
            Outcome::Failure => Self::Failure,
            Outcome::Skipped => Self::Skipped,
            Outcome::Exception => Self::Exception,
            Outcome::Retry => Self::Retry,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

impl From<types::Outcome> for Outcome {
    fn from(outcome: types::Outcome) -> Self {
        match outcome {
            types::Outcome::Success => Self::Success,
            types::Outcome::Warnings => Self::Warnings,
            types::Outcome::Failure => Self::Failure,
            types::Outcome::Skipped => Self::Skipped,
            types::Outcome::Exception => Self::Exception,
            types::Outcome::Retry => Self::Retry,
            types::Outcome::Cancelled => Self::Cancelled,
        }
    }
}
