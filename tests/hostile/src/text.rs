//! What the text of a guest may say beyond WebAssembly's own, so that it shows what it tries and little else:
//!
//! - A file of module fields, without `(module …)` around them, is completed with the prelude of its kind
//!   (`src/prelude/KIND.wat`): every import of its world, a memory, an allocator, functions that pass an error of the host
//!   on, and each export that the file itself does not have.
//! - `"step#run"` in an export is the full name of that function.
//! - `(text "…")` is the address and the length of that text, which gets a place in memory.
//! - A file that begins with `(module` or `(component` is taken as it stands.

use anyhow::{Context as _, bail};

/// Where texts are put: above what the prelude uses, below its heap.
const TEXTS: usize = 1024;

/// The interfaces whose functions a guest exports.
const EXPORTED: [&str; 6] = [
    "step",
    "scheduler",
    "change-source",
    "reporter",
    "generator",
    "migration",
];

/// The top-level expressions of `source`, in order.
pub(crate) fn forms(source: &str) -> anyhow::Result<Vec<&str>> {
    let mut forms = Vec::new();
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    let bytes = source.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b';' if source[at..].starts_with(";;") => {
                at += source[at..].find('\n').unwrap_or(source.len() - at);
                continue;
            }
            b'"' => at = end_of_string(source, at)?,
            b'(' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b')' => {
                depth = depth.checked_sub(1).context("a `)` without its `(`")?;
                if depth == 0 {
                    forms.push(&source[start..=at]);
                }
            }
            _ => {}
        }
        at += 1;
    }
    match depth {
        0 => Ok(forms),
        _ => bail!("a `(` without its `)`"),
    }
}

/// Where the string that begins at `start` has its closing quote.
fn end_of_string(source: &str, start: usize) -> anyhow::Result<usize> {
    let bytes = source.as_bytes();
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return Ok(at),
            _ => at += 1,
        }
    }
    bail!("a string without its end: {:?}", &source[start..])
}

/// Gives every `(text "…")` its place, and answers the source and the data segments.
pub(crate) fn place_texts(source: &str) -> anyhow::Result<String> {
    const OPEN: &str = "(text \"";
    let (mut out, mut data, mut rest, mut place) = (String::new(), String::new(), source, TEXTS);
    while let Some(found) = rest.find(OPEN) {
        let quote = found + OPEN.len() - 1;
        let end = end_of_string(rest, quote)?;
        let literal = &rest[quote..=end];
        let length = length(&literal[1..literal.len() - 1])?;
        out.push_str(&rest[..found]);
        out.push_str(&format!("(i32.const {place}) (i32.const {length})"));
        data.push_str(&format!("(data (i32.const {place}) {literal})\n"));
        place += length;
        rest = rest[end + 1..]
            .strip_prefix(')')
            .context("expected `)` after the text")?;
    }
    out.push_str(rest);
    out.push_str(&data);
    Ok(out)
}

/// How many bytes a string literal stands for: `\n` and the like are one, `\00` too.
fn length(literal: &str) -> anyhow::Result<usize> {
    let (mut bytes, mut chars) = (0, literal.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                match chars.next().context("a backslash at the end")? {
                    't' | 'n' | 'r' | '"' | '\'' | '\\' => {}
                    _ => {
                        chars.next();
                    }
                }
                bytes += 1;
            }
            c => bytes += c.len_utf8(),
        }
    }
    Ok(bytes)
}

/// Writes the names of imports and exports out.
pub(crate) fn full_names(source: &str, version: &str) -> String {
    let mut out = source.to_owned();
    for name in EXPORTED {
        for prefix in ["", "cabi_post_"] {
            let full = format!("\"{prefix}capstan:plugin/{name}@{version}#");
            out = out.replace(&format!("\"{prefix}{name}#"), &full);
        }
    }
    out.replace("@wit", &format!("@{version}"))
}
