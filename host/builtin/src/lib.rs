//! The built-in plugins, embedded in the master's binary: the files that `cargo xtask plugins` makes of `plugins/`. They
//! are loaded like any other plugin file; the plugin folder adds to them and overrides them.

include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// Name and bytes of each built-in plugin, by name.
pub fn components() -> &'static [(&'static str, &'static [u8])] {
    COMPONENTS
}
