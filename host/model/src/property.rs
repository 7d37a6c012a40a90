//! Properties: named JSON values that know where they came from, and how large they may be.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A named value of a build, a request or a change, with its source ("change", "scheduler", a step's name …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Property {
    /// The name, unique within its owner.
    pub name: String,
    /// Any JSON value.
    pub value: Value,
    /// Who set it, for people.
    pub source: String,
}

/// The properties of one owner. A later value of the same name replaces the earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(Vec<Property>);

/// Properties that are too many or too large. Whoever takes some from outside asks [`Properties::check`]; the store does so once
/// more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProperties {
    /// A name is empty, too long, or cannot be shown.
    #[error("expected names of properties of 1 to {MAX_NAME} bytes without control characters, found {0:?}")]
    Name(String),
    /// One value is too large.
    #[error("expected the property `{name}` to be at most {MAX_VALUE} bytes long as JSON, found {found}")]
    Value {
        /// The property's name.
        name: String,
        /// Its length.
        found: usize,
    },
    /// All together are too large.
    #[error("expected properties of at most {MAX_ALL} bytes together as JSON, found {0}")]
    All(usize),
    /// There are too many.
    #[error("expected at most {MAX_COUNT} properties, found {0}")]
    Count(usize),
}

/// The longest name, in bytes.
pub const MAX_NAME: usize = 1000;

/// The largest value as JSON, in bytes. Properties are shown on pages, sent to reporters and written to a journal for each step.
pub const MAX_VALUE: usize = 256 << 10;

/// The largest sum of the values of one owner.
pub const MAX_ALL: usize = 1 << 20;

/// The most properties of one owner.
pub const MAX_COUNT: usize = 1000;

impl Property {
    /// Whether it is small enough; answers the length of its value as JSON.
    pub fn check(&self) -> Result<usize, BadProperties> {
        if self.name.is_empty() || self.name.len() > MAX_NAME || self.name.contains(char::is_control) {
            let shown = self.name.chars().take(60).collect();
            return Err(BadProperties::Name(shown));
        }
        let found = self.value.to_string().len();
        if found > MAX_VALUE {
            let name = self.name.chars().take(60).collect();
            return Err(BadProperties::Value { name, found });
        }
        Ok(found)
    }
}

impl Properties {
    /// Whether they are few and small enough.
    pub fn check(&self) -> Result<(), BadProperties> {
        if self.0.len() > MAX_COUNT {
            return Err(BadProperties::Count(self.0.len()));
        }
        let mut all = 0;
        for property in &self.0 {
            all += property.check()?;
        }
        if all > MAX_ALL {
            return Err(BadProperties::All(all));
        }
        Ok(())
    }

    /// Sets one property, unless there is one of that name.
    pub fn set_default(&mut self, name: &str, value: impl Into<Value>, source: &str) {
        if self.get(name).is_none() {
            self.set(name, value, source);
        }
    }

    /// Sets one property.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>, source: impl Into<String>) {
        self.insert(Property {
            name: name.into(),
            value: value.into(),
            source: source.into(),
        });
    }

    /// Sets one property.
    pub fn insert(&mut self, property: Property) {
        match self.0.iter_mut().find(|p| p.name == property.name) {
            Some(place) => *place = property,
            None => self.0.push(property),
        }
    }

    /// The property of that name.
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.0.iter().find(|p| p.name == name)
    }

    /// All of them, in the order in which their names first appeared.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Property> for Properties {
    fn from_iter<I: IntoIterator<Item = Property>>(iter: I) -> Self {
        let mut all = Self::default();
        all.extend(iter);
        all
    }
}

impl Extend<Property> for Properties {
    fn extend<I: IntoIterator<Item = Property>>(&mut self, iter: I) {
        iter.into_iter().for_each(|p| self.insert(p));
    }
}

impl IntoIterator for Properties {
    type Item = Property;
    type IntoIter = std::vec::IntoIter<Property>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabyte_is_refused_and_the_limit_named() {
        let one = |name: &str, length: usize| Property {
            name: name.to_owned(),
            value: "x".repeat(length).into(),
            source: "test".to_owned(),
        };
        let refused = |properties: Properties| properties.check().unwrap_err().to_string();
        assert_eq!(
            refused([one("notes", 1 << 20)].into_iter().collect()),
            "expected the property `notes` to be at most 262144 bytes long as JSON, found 1048578"
        );
        assert_eq!(one("notes", MAX_VALUE - 2).check(), Ok(MAX_VALUE));
        let many = |count: usize, length: usize| (0..count).map(|n| one(&n.to_string(), length)).collect();
        assert_eq!(
            refused(many(5, 250 << 10)),
            "expected properties of at most 1048576 bytes together as JSON, found 1280010"
        );
        assert_eq!(
            refused(many(1001, 1)),
            "expected at most 1000 properties, found 1001"
        );
        for name in ["", "a\nb", &"x".repeat(1001)] {
            assert!(
                refused([one(name, 1)].into_iter().collect()).starts_with("expected names of properties")
            );
        }
    }
}
