//! The attributes of `capstan-sdk`, for a plugin's types. They only stand for lists of derives that name the crates which the
//! SDK brings along, so that a plugin depends on the SDK alone.

use proc_macro::TokenStream;

/// Makes parameters of a type: a struct, or what its fields are made of.
///
/// It can be read from a configuration, and its JSON Schema, with the comments of the fields and their defaults, becomes
/// the plugin's manifest. A parameter that is unknown is an error. Stands for
///
/// ```text
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(crate = "capstan_sdk::serde", deny_unknown_fields)]
/// #[schemars(crate = "capstan_sdk::schemars")]
/// ```
///
/// so attributes of serde and schemars on the fields work: `#[serde(default = "two")]`, `#[schemars(range(min = 1))]`.
#[proc_macro_attribute]
pub fn parameters(_: TokenStream, item: TokenStream) -> TokenStream {
    before(
        r#"
        #[derive(::capstan_sdk::serde::Serialize, ::capstan_sdk::serde::Deserialize, ::capstan_sdk::schemars::JsonSchema)]
        #[serde(crate = "capstan_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "capstan_sdk::schemars")]
        "#,
        item,
    )
}

/// Makes a type something that a plugin remembers: the state of a scheduler, the cursor of a change source.
///
/// Stands for `#[derive(Serialize, Deserialize)] #[serde(crate = "capstan_sdk::serde")]`.
#[proc_macro_attribute]
pub fn remembered(_: TokenStream, item: TokenStream) -> TokenStream {
    before(
        r#"
        #[derive(::capstan_sdk::serde::Serialize, ::capstan_sdk::serde::Deserialize)]
        #[serde(crate = "capstan_sdk::serde")]
        "#,
        item,
    )
}

fn before(attributes: &str, item: TokenStream) -> TokenStream {
    let Ok(mut all) = attributes.parse::<TokenStream>() else {
        return item;
    };
    all.extend(item);
    all
}
