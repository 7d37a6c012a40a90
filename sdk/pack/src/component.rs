//! From a core module, as compilers make it, to a component.

use anyhow::Context;
use wit_component::ComponentEncoder;

/// Wraps a core module that carries its world's types in custom sections, as wit-bindgen's guests do.
pub(crate) fn wrap(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.validate(true).module(module);
    encoder
        .and_then(|encoder| encoder.encode())
        .context("expected a module that implements one world of capstan:plugin")
}
