//! How a test begins: a farm is made, the story is told, and if it ends badly every process's output is shown.

use anyhow::Result;

use crate::{Farm, Programs};

/// What a story ends with.
pub type Told = Result<()>;

/// Tells a story about a new farm. Panics with the story's error, after the farm's own words.
pub fn story(tell: impl FnOnce(&mut Farm) -> Told) {
    let farm = Programs::of_this_build().and_then(Farm::create);
    let mut farm = farm.unwrap_or_else(|error| panic!("failed to make a farm: {error:#}"));
    if let Err(error) = tell(&mut farm) {
        panic!("{error:#}");
    }
}
