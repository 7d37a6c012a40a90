//! The host's functions, as the rest of the SDK uses them: in a component those of its imports, natively those of the
//! script that `crate::test` runs a plugin with.

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub use component::*;
#[cfg(not(target_arch = "wasm32"))]
pub use native::*;
