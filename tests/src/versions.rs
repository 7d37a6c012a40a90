//! Other versions of the guests that the exchange tests use, made from the built files without a compiler: another manifest, another
//! mark (`tests/guests/mark.rs`).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const SECTION: &[u8] = b"capstan:manifest";
const MARK: &[u8] = b"behaves=v1......................";

/// A built fixture guest.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/guests/fixtures")
        .join(name)
        .with_extension("wasm");
    std::fs::read(&path).with_context(|| format!("read {}; `cargo xtask plugins` builds it", path.display()))
}

/// The guest `name` in that version, behaving as `mark` says.
pub fn version(name: &str, version: &str, mark: &str) -> Result<Vec<u8>> {
    let mut bytes = guest(name)?;
    let mut text = format!("behaves={mark}").into_bytes();
    ensure!(text.len() <= MARK.len(), "expected a shorter mark than {mark}");
    text.resize(MARK.len(), b'.');
    let places: Vec<_> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(MARK))
        .collect();
    ensure!(
        places.len() == 1,
        "expected one mark in {name}, found {}",
        places.len()
    );
    bytes[places[0]..][..text.len()].copy_from_slice(&text);
    with_manifest(&bytes, |manifest| manifest["plugin"]["version"] = version.into())
}

/// The same component with another manifest.
pub fn with_manifest(component: &[u8], edit: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
    let (magic, mut rest) = component.split_at_checked(8).context("expected a component")?;
    let mut other = magic.to_vec();
    let mut edit = Some(edit);
    while let Some((&id, after)) = rest.split_first() {
        let (length, body) = leb(after)?;
        let (section, next) = body
            .split_at_checked(length)
            .context("expected a whole section")?;
        let (name_length, named) = if id == 0 { leb(section)? } else { (0, section) };
        if id == 0 && named.starts_with(SECTION) && name_length == SECTION.len() {
            let mut manifest: Value = serde_json::from_slice(&named[name_length..])?;
            if let Some(edit) = edit.take() {
                edit(&mut manifest);
            }
            let text = serde_json::to_vec(&manifest)?;
            let mut content = encode(SECTION.len());
            content.extend_from_slice(SECTION);
            content.extend_from_slice(&text);
            other.push(0);
            other.extend(encode(content.len()));
            other.extend(content);
        } else {
            other.extend_from_slice(&rest[..rest.len() - next.len()]);
        }
        rest = next;
    }
    ensure!(edit.is_none(), "expected a manifest");
    Ok(other)
}

/// A number as WebAssembly writes it, and what follows.
fn leb(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok((value, &bytes[place + 1..]));
        }
    }
    anyhow::bail!("expected a number")
}

fn encode(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
