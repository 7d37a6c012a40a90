//! Guests that are no text: too large, too deep or too broken for it. Each is a header like those of the files, and bytes.

mod manifests;
mod shapes;

use crate::{Guest, Header};

/// All of them.
pub(crate) fn all() -> anyhow::Result<Vec<Guest>> {
    let made = [manifests::all()?, shapes::all()?].concat();
    made.into_iter()
        .map(|(name, header, bytes)| {
            let (name, header) = (name.to_owned(), Header::read(header)?);
            Ok(Guest { name, header, bytes })
        })
        .collect()
}

/// A name, the text of a header, and the file.
type Made = (&'static str, &'static str, Vec<u8>);
