//! `[plugins]`: how plugin files are accepted, and when a new version is given up.

use serde::Deserialize;

/// `[plugins]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// Whether a plugin file that changed has to be accepted before it is used.
    pub pinning: bool,
    /// After how many traps a new version is given up for the one before; 0 is never.
    pub return_after: u32,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            pinning: true,
            // One trap may be a limit's fault, three of a version that was good are not chance.
            return_after: 3,
        }
    }
}
