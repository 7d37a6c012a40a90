//! Manifests that are none, lie, or are meant to break whoever reads or shows them.

use capstan_model::plugin::Kind;
use serde_json::{Value, json};

use super::Made;
use super::shapes::good;
use crate::wrap;

pub(super) fn all() -> anyhow::Result<Vec<Made>> {
    let bare = bare()?;
    let with = |manifest: &[u8]| wrap::with_manifest(bare.clone(), manifest);
    let changed = |name: &str, path: &str, value: Value| {
        let mut manifest = wrap::plain(name, Kind::Step);
        if let Some(place) = manifest.pointer_mut(path) {
            *place = value;
        }
        with(manifest.to_string().as_bytes())
    };
    let added = |name: &str, key: &str, value: Value| {
        let mut manifest = wrap::plain(name, Kind::Step);
        manifest[key] = value;
        with(manifest.to_string().as_bytes())
    };
    Ok(vec![
        (
            "manifest-none",
            ";; A good component without a manifest.\n;; expect: refused found none",
            bare.clone(),
        ),
        (
            "manifest-two",
            ";; Two manifests, so that two readers may see two plugins.\n;; expect: refused expected one, found two",
            wrap::with_manifest(
                good("manifest-two")?,
                wrap::plain("manifest-other", Kind::Reporter)
                    .to_string()
                    .as_bytes(),
            ),
        ),
        (
            "manifest-not-json",
            ";; A manifest that is no JSON.\n;; expect: refused read the manifest",
            with(b"name = \"x\""),
        ),
        (
            "manifest-empty",
            ";; A manifest without a byte.\n;; expect: refused read the manifest",
            with(b""),
        ),
        (
            "manifest-not-utf8",
            ";; A manifest with a name that is no UTF-8.\n;; expect: refused read the manifest",
            with(b"{\"schema\":1,\"plugin\":{\"name\":\"\xff\xfe\"}}"),
        ),
        (
            "manifest-deep",
            ";; A manifest whose schema is nested a hundred thousand deep.\n;; expect: refused recursion limit",
            with(
                format!(
                    "{{\"schema\":1,\"parameters\":{}{}}}",
                    "[".repeat(100_000),
                    "]".repeat(100_000)
                )
                .as_bytes(),
            ),
        ),
        (
            "manifest-oversized",
            ";; A manifest of thirty megabytes of description.\n;; expect: refused expected at most 1048576 bytes",
            changed(
                "manifest-oversized",
                "/plugin",
                json!({
                    "name": "manifest-oversized", "kind": "step", "version": "1", "description": "x".repeat(30 << 20),
                }),
            ),
        ),
        (
            "manifest-repeated-key",
            ";; A name that is said twice.\n;; expect: refused read the manifest",
            with(br#"{"schema":1,"plugin":{"name":"a","name":"shell","kind":"step","version":"1"}}"#),
        ),
        (
            "manifest-newer",
            ";; A manifest of a shape that does not exist yet.\n;; expect: refused found schema 4294967295",
            changed("manifest-newer", "/schema", json!(u32::MAX)),
        ),
        (
            "manifest-schema-overflow",
            ";; A schema number that no integer holds.\n;; expect: refused read the manifest",
            changed("manifest-schema-overflow", "/schema", json!(1e300)),
        ),
        (
            "manifest-unknown-right",
            ";; Asks for a right that does not exist.\n;; expect: refused read the manifest",
            added("manifest-unknown-right", "rights", json!({ "root": ["*"] })),
        ),
        (
            "manifest-other-kind",
            ";; A step that calls itself a scheduler.\n;; expect: refused which is not in the world",
            changed("manifest-other-kind", "/plugin/kind", json!("scheduler")),
        ),
        (
            "manifest-unknown-kind",
            ";; A kind that no master has.\n;; expect: refused read the manifest",
            changed("manifest-unknown-kind", "/plugin/kind", json!("administrator")),
        ),
        (
            "manifest-name-terminal",
            ";; A name that clears the terminal of whoever lists the plugins.\n;; expect: refused plugin.name",
            changed("x", "/plugin/name", json!("\u{1b}[2J\u{1b}]0;pwned\u{7}")),
        ),
        (
            "manifest-name-html",
            ";; A name that is a script on the page of the plugins.\n;; expect: refused plugin.name",
            changed("x", "/plugin/name", json!("<script>alert(1)</script>")),
        ),
        (
            "manifest-name-path",
            ";; A name that is a path out of every folder.\n;; expect: refused plugin.name",
            changed("x", "/plugin/name", json!("../../etc/passwd")),
        ),
        (
            "manifest-name-long",
            ";; A name of half a megabyte.\n;; expect: refused plugin.name",
            changed("x", "/plugin/name", json!("a".repeat(1 << 19))),
        ),
        (
            "manifest-name-homograph",
            ";; A name that looks like another: its `e` is Cyrillic.\n;; expect: refused plugin.name",
            changed("x", "/plugin/name", json!("shеll")),
        ),
        (
            "manifest-version-terminal",
            ";; A version with terminal escapes.\n;; expect: refused plugin.version",
            changed(
                "manifest-version-terminal",
                "/plugin/version",
                json!("1\u{1b}[31m.0"),
            ),
        ),
        (
            "manifest-description-terminal",
            ";; A description that moves the cursor and overwrites the line of another plugin.\n;; expect: refused plugin.description",
            changed(
                "manifest-description-terminal",
                "/plugin",
                json!({
                    "name": "manifest-description-terminal", "kind": "step", "version": "1", "description": "good\r\u{1b}[1Abad",
                }),
            ),
        ),
        (
            "manifest-greedy-memory",
            ";; Asks for four thousand gigabytes of memory.\n;; expect: refused asks for memory_mib",
            added(
                "manifest-greedy-memory",
                "limits",
                json!({ "memory_mib": u32::MAX }),
            ),
        ),
        (
            "manifest-greedy-time",
            ";; Asks for seven weeks a call.\n;; expect: refused asks for call_ms",
            added("manifest-greedy-time", "limits", json!({ "call_ms": u32::MAX })),
        ),
        (
            "manifest-greedy-journal",
            ";; Asks for four thousand million rows in its journal.\n;; expect: refused asks for journal_rows",
            added(
                "manifest-greedy-journal",
                "limits",
                json!({ "journal_rows": u32::MAX }),
            ),
        ),
        (
            "manifest-negative-limit",
            ";; A limit below nothing.\n;; expect: refused read the manifest",
            added("manifest-negative-limit", "limits", json!({ "memory_mib": -1 })),
        ),
        (
            "manifest-parameters-list",
            ";; Parameters that are no schema of an object.\n;; expect: refused parameters",
            changed("manifest-parameters-list", "/parameters", json!([1, 2, 3])),
        ),
    ])
}

/// A good component without its manifest.
fn bare() -> anyhow::Result<Vec<u8>> {
    let good = good("x")?;
    let header = crate::Header::read(";; Good.\n;; expect: answers")?;
    let section = wrap::with_manifest(Vec::new(), &wrap::manifest("x", &header)?);
    Ok(good[..good.len() - section.len()].to_vec())
}
