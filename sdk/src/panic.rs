//! The bare target prints nothing when a plugin panics: this sends the text to the master before the trap.

/// Called by every entry point; an instance of a component is called only a few times.
pub(crate) fn report() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|info| crate::log::error(&info.to_string())));
}
