//! Reading lists of patterns, so that an error of a file carries the place of the very pattern that is malformed.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::pattern::Pattern;
use super::rights::Right;

/// Functions for serde.
macro_rules! readers {
    ($($name:ident => $right:ident),+) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
            deserializer.deserialize_seq(List(Right::$right))
        }
    )+};
}
readers!(commands => Commands, http => Http, git => Git, secrets => Secrets, files => Files, mail => Mail, state => State,
    artefacts => Artefacts, triggers => Triggers);

struct List(Right);

impl<'de> Visitor<'de> for List {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of patterns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element_seed(One(self.0))? {
            texts.push(text);
        }
        Ok(texts)
    }
}

struct One(Right);

impl<'de> DeserializeSeed<'de> for One {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        // Checked by a visitor, not after it: only there a reader knows where it is.
        deserializer.deserialize_string(self)
    }
}

impl Visitor<'_> for One {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a text: {}", self.0.forms())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Pattern::parse(self.0, text).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}
