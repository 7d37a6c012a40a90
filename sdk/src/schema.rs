//! The JSON Schema of a plugin's parameters, for its manifest. Packing asks a native build of the plugin for it; a component
//! carries none of it.

use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// The lines around the schema in the output of the test `capstan_parameters`.
const BEGIN: &str = "capstan-parameters-begin";
const END: &str = "capstan-parameters-end";

/// Asks a type for its schema, whether or not it has one: the method of `&Kind<T>` is found only where that of `Kind<T>`
/// is not, which is where `T` is no `JsonSchema`.
#[derive(Debug)]
pub struct Kind<T>(pub PhantomData<T>);

/// A type that has a schema.
pub trait Derived {
    /// It.
    fn parameters(&self) -> Option<Schema>;
}

/// A type whose schema is written in `plugin.toml`.
pub trait Written {
    /// None.
    fn parameters(&self) -> Option<Schema>;
}

impl<T: JsonSchema> Derived for Kind<T> {
    fn parameters(&self) -> Option<Schema> {
        Some(of::<T>())
    }
}

impl<T> Written for &Kind<T> {
    fn parameters(&self) -> Option<Schema> {
        None
    }
}

/// The schema of a type as a manifest has it: in one piece, without the name of the type.
pub fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema
}

/// Prints a schema for whoever packs the plugin; nothing where it is written in `plugin.toml`.
pub fn print(schema: Option<Schema>) {
    if let Some(schema) = schema {
        println!("\n{BEGIN}\n{}\n{END}", schema.as_value());
    }
}

/// Emits the test that prints the schema of a type. It stands where the macro of the kind is called, which is at the top of
/// the crate.
#[doc(hidden)]
#[macro_export]
macro_rules! parameters_test {
    ($plugin:ty) => {
        #[cfg(all(test, not(target_arch = "wasm32")))]
        #[test]
        fn capstan_parameters() {
            #[expect(unused_imports, reason = "one of the two is used")]
            use $crate::schema::{Derived, Written};
            let kind = $crate::schema::Kind::<$plugin>(::core::marker::PhantomData);
            $crate::schema::print((&kind).parameters());
        }
    };
}
