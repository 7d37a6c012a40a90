//! Properties: named JSON values that know where they came from.

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

impl Properties {
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
