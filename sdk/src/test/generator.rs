//! Running generators.

use serde::Serialize;
use serde_json::Value;

use super::{Host, config, text_of};
use crate::PluginError;
use crate::generator::{Generator, entry};

impl Host {
    /// What a generator makes of these parameters, as the master gets it. It is called twice, and must answer the same: one that
    /// goes through a hash map in that map's order does not.
    pub fn generate<G: Generator>(&self, parameters: impl Serialize) -> Result<Value, PluginError> {
        let config = config(parameters);
        let (first, again) = (entry::generate::<G>(&config), entry::generate::<G>(&config));
        assert_eq!(first, again, "the generator does not repeat itself");
        serde_json::from_str(&first?)
            .map_err(|error| PluginError::Permanent(format!("expected JSON of the generator: {error}")))
    }

    /// What a generator says of parameters that it cannot use, each fault with its path.
    pub fn refused_by_generator<G: Generator>(&self, parameters: impl Serialize) -> String {
        match self.generate::<G>(parameters) {
            Ok(_) => String::new(),
            Err(error) => text_of(&error),
        }
    }
}
