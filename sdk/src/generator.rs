//! Generators: builders out of parameters, when a configuration is loaded. Called by the author of a generator.
//!
//! ```
//! use capstan_sdk::generator::{Builder, Output, Use, interpolate};
//! use capstan_sdk::prelude::*;
//!
//! #[parameters]
//! struct Packages {
//!     names: Vec<String>,
//! }
//!
//! impl Generator for Packages {
//!     fn generate(self) -> Result<Output, PluginError> {
//!         let builder = |name: &String| {
//!             let test = Use::new("shell").parameter("command", ["make", "check", name]);
//!             Builder::new(format!("test {name}"))
//!                 .option("labels", ["linux"])
//!                 .option("properties", json!({ "what": interpolate("{branch:-main}") }))
//!                 .step(test.option("halt_on_failure", true))
//!         };
//!         Ok(self.names.iter().map(builder).collect())
//!     }
//! }
//!
//! let output = capstan_sdk::test::Host::new().generate::<Packages>(json!({ "names": ["a", "b"] })).unwrap();
//! assert_eq!(output["builders"][1]["name"], "test b");
//! ```

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use crate::{PluginError, Problem};
use crate::{config, panic};

/// A generator; the type's fields are its parameters.
pub trait Generator: DeserializeOwned {
    /// Makes the builders. What comes out is checked like what a configuration says itself.
    fn generate(self) -> Result<Output, PluginError>;
}

/// What a generator makes; also collected from builders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// The builders, in the order of the configuration.
    pub builders: Vec<Builder>,
    /// Schedulers that belong to them.
    pub schedulers: Vec<Use>,
    /// What `capstan check` is to say where the generator is called.
    pub remarks: Vec<String>,
}

impl Output {
    /// The form in which the master takes it.
    pub fn into_json(self) -> Value {
        let builders: Vec<_> = self.builders.into_iter().map(Builder::into_json).collect();
        let schedulers: Vec<_> = self.schedulers.into_iter().map(Use::into_json).collect();
        json!({ "builders": builders, "schedulers": schedulers, "remarks": self.remarks })
    }
}

impl FromIterator<Builder> for Output {
    fn from_iter<T: IntoIterator<Item = Builder>>(builders: T) -> Self {
        Self {
            builders: builders.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// A builder.
#[derive(Clone, Debug, PartialEq)]
pub struct Builder {
    options: Map<String, Value>,
    steps: Vec<Use>,
}

impl Builder {
    /// A builder of that name, without steps.
    pub fn new(name: impl Into<String>) -> Self {
        let name = ("name".to_owned(), Value::String(name.into()));
        Self {
            options: Map::from_iter([name]),
            steps: Vec::new(),
        }
    }

    /// Sets an argument of `builder(…)` by its name in configurations: `workers`, `labels`, `tags`, `env` …
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Use) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds steps.
    #[must_use]
    pub fn steps(mut self, steps: impl IntoIterator<Item = Use>) -> Self {
        self.steps.extend(steps);
        self
    }

    fn into_json(self) -> Value {
        let mut object = self.options;
        let steps = self.steps.into_iter().map(Use::into_json).collect();
        object.insert("steps".to_owned(), Value::Array(steps));
        Value::Object(object)
    }
}

/// A step or a scheduler: a plugin with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    options: Map<String, Value>,
    parameters: Map<String, Value>,
}

impl Use {
    /// What the plugin of this name does: `shell`, `git`; of schedulers `nightly`, `triggerable`.
    pub fn new(plugin: &str) -> Self {
        Self {
            options: Map::from_iter([("use".to_owned(), plugin.into())]),
            parameters: Map::new(),
        }
    }

    /// Sets its name in the builder or the farm.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.option("name", name.into())
    }

    /// Sets what every step or scheduler has, by its name in configurations: `halt_on_failure`, `locks`, `builders` …
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a parameter of the plugin.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.parameters.insert(name.to_owned(), value.into());
        self
    }

    fn into_json(self) -> Value {
        let mut object = self.options;
        object.insert("parameters".to_owned(), Value::Object(self.parameters));
        Value::Object(object)
    }
}

/// A secret, where the configuration takes `secret("name")`.
pub fn secret(name: &str) -> Value {
    json!({ "$secret": name })
}

/// A property of the build, where the configuration takes `prop("name")`.
pub fn prop(name: &str) -> Value {
    json!({ "$prop": name })
}

/// The same with a value for builds without that property.
pub fn prop_or(name: &str, default: impl Into<Value>) -> Value {
    json!({ "$prop": name, "default": default.into() })
}

/// A text with properties of the build, where the configuration takes `interpolate("…{branch}…")`.
pub fn interpolate(template: &str) -> Value {
    json!({ "$interpolate": template })
}

/// One unit of a lock that the configuration has defined, for the list `locks`.
pub fn lock(name: &str) -> Value {
    json!({ "$lock": name })
}

/// Makes a component of a [`Generator`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! generator {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::generator::exports::capstan::plugin::generator::Guest;
            struct Component;
            impl Guest for Component {
                fn generate(parameters: String) -> Result<String, $crate::PluginError> {
                    $crate::generator::entry::generate::<$plugin>(&parameters)
                }
            }
            $crate::bindings::generator::export_generator!(Component with_types_in $crate::bindings::generator);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> Result<String, $crate::PluginError> =
            $crate::generator::entry::generate::<$plugin>;
        $crate::parameters_test!($plugin);
    };
}

#[doc(hidden)]
pub mod entry {
    use super::*;

    pub fn generate<G: Generator>(json: &str) -> Result<String, PluginError> {
        panic::report();
        Ok(config::parse::<G>(json)?.generate()?.into_json().to_string())
    }
}
