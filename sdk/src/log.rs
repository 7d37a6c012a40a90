//! Diagnostics for the plugin's author and the operator. They are not part of any build's log.

pub use crate::bindings::shared::capstan::plugin::log::Level;
#[cfg(target_arch = "wasm32")]
use crate::bindings::shared::capstan::plugin::log::write;

/// Natively there is no master: what a test's plugin says goes to the test's output.
#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// For the plugin's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// For whoever wants to know.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Somebody should look.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something was not done.
pub fn error(message: &str) {
    write(Level::Error, message);
}
