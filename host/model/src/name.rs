//! What builders, schedulers and the like may be called.

/// The longest name, in characters; names become file names, page titles, columns.
pub const MAX_NAME: usize = 200;

/// Whether something can be called that: printable characters, without spaces at the ends.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.chars().count()) && !text.contains(char::is_control) && text.trim() == text
}
