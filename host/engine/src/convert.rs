//! The types that several kinds of plugins share, from their form at the border to the model's and back.

use capstan_model::{Outcome, Properties, SourceStamp};

use crate::bindings::types;
use crate::limits::{MAX_MESSAGE, MAX_PAYLOAD};
use crate::step::canonical;

/// The longest list that a plugin may answer, where nothing else is said.
pub(crate) const MAX_ITEMS: usize = 1000;

/// The longest name that a plugin may give to something, in bytes.
pub(crate) const MAX_NAME: usize = 1000;

/// Checks the length of something that a plugin answered.
pub(crate) fn bound(what: &str, found: usize, most: usize) -> Result<(), String> {
    if found > most {
        Err(format!("{what}: expected at most {most}, found {found}"))
    } else {
        Ok(())
    }
}

/// A text of a guest that people read, in a log or a terminal: cut, and without what would move a cursor.
pub(crate) fn readable(mut text: String) -> String {
    let end = text.floor_char_boundary(MAX_MESSAGE);
    if end < text.len() {
        text.truncate(end);
        text.push('…');
    }
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(odd) {
        text = text.replace(odd, "\u{fffd}");
    }
    text
}

/// Properties as a guest gives them: JSON in text.
pub(crate) fn properties(properties: Vec<types::Property>) -> Result<Properties, String> {
    bound("properties", properties.len(), MAX_ITEMS)?;
    let read = |p: types::Property| -> Result<capstan_model::Property, String> {
        bound("the name of a property", p.name.len(), MAX_NAME)?;
        bound(&format!("property {}", p.name), p.value.len(), MAX_PAYLOAD)?;
        let value = serde_json::from_str(&p.value);
        let value = value.map_err(|error| format!("property {}: expected JSON: {error}", p.name))?;
        Ok(capstan_model::Property {
            name: p.name,
            value,
            source: p.source,
        })
    };
    let properties = properties
        .into_iter()
        .map(read)
        .collect::<Result<Properties, _>>()?;
    properties.check().map_err(|error| error.to_string())?;
    Ok(properties)
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
        // Patches go their own way: with the event that brings them, and to steps as a property.
        Self {
            codebase,
            repository,
            project,
            branch,
            revision,
            patch: None,
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
            patch: _,
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
