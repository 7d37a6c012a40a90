//! Diagnostics for the plugin's author and the operator. They are not part of any build's log.

pub use crate::host::log::Level;
use crate::host::log::write;

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
