//! Files whose outermost form is wrong: no WebAssembly, cut off, nested without end, with counts that no file has.

use capstan_model::plugin::Kind;
use wasm_encoder::Encode as _;

use super::Made;
use crate::wrap;

/// What a component begins with, and what a core module does.
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
const MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

pub(super) fn all() -> anyhow::Result<Vec<Made>> {
    let good = good("shapes")?;
    let claim = |id: u8, count: &[u8]| section(id, count);
    Ok(vec![
        (
            "shapes-empty",
            ";; No bytes at all.\n;; expect: refused expected a WebAssembly component",
            Vec::new(),
        ),
        (
            "shapes-text",
            ";; A page of HTML that somebody saved under the wrong name.\n;; expect: refused expected a WebAssembly component",
            b"<!doctype html><script>alert(1)</script>".to_vec(),
        ),
        (
            "shapes-header-alone",
            ";; The eight bytes that a component begins with, and nothing else.\n;; expect: refused expected a manifest",
            COMPONENT.to_vec(),
        ),
        (
            "shapes-truncated",
            ";; A good plugin without its last third, as a copy that was broken off.\n;; expect: refused expected a WebAssembly component",
            good[..good.len() / 3 * 2].to_vec(),
        ),
        (
            "shapes-trailing",
            ";; A good plugin with a kilobyte of something behind it.\n;; expect: refused expected a WebAssembly component",
            [good.clone(), vec![0xff; 1024]].concat(),
        ),
        (
            "shapes-nested",
            ";; Components inside components, ten thousand deep.\n;; expect: refused more than 50 deep",
            inside("shapes-nested", nested(10_000))?,
        ),
        (
            "shapes-nested-a-little",
            ";; Components inside components, as deep as is looked at.\n;; expect: refused cannot be used",
            inside("shapes-nested-a-little", nested(50))?,
        ),
        (
            "shapes-siblings",
            ";; Twenty thousand components side by side.\n;; expect: refused cannot be used",
            inside("shapes-siblings", section(4, &COMPONENT).repeat(20_000))?,
        ),
        (
            "shapes-imports-claimed",
            ";; A section that claims four thousand million imports in five bytes.\n;; expect: refused expected a WebAssembly component",
            manifested(
                "shapes-imports-claimed",
                claim(10, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            ),
        ),
        (
            "shapes-section-claimed",
            ";; A section that claims to be four gigabytes long.\n;; expect: refused expected a WebAssembly component",
            [COMPONENT.as_slice(), &[10, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat(),
        ),
        (
            "shapes-name-claimed",
            ";; An import whose name claims to be two gigabytes long.\n;; expect: refused expected a WebAssembly component",
            manifested(
                "shapes-name-claimed",
                claim(10, &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
            ),
        ),
        (
            "shapes-types",
            ";; Two million type sections without a type.\n;; expect: refused cannot be used",
            inside("shapes-types", [7, 1, 0].repeat(2_000_000))?,
        ),
        (
            "shapes-modules",
            ";; A hundred thousand core modules side by side.\n;; expect: refused cannot be used",
            inside("shapes-modules", section(1, &MODULE).repeat(100_000))?,
        ),
        (
            "shapes-large",
            ";; One byte more than the largest file that is looked at.\n;; expect: refused at most 64 MiB",
            vec![0; (64 << 20) + 1],
        ),
        (
            "shapes-core-with-manifest",
            ";; A core module that carries a good manifest.\n;; expect: refused found a core module",
            wrap::with_manifest(MODULE.to_vec(), &plain("shapes-core-with-manifest")),
        ),
        (
            "shapes-second-component",
            ";; Two components one behind the other in one file.\n;; expect: refused expected a WebAssembly component",
            [good, COMPONENT.to_vec()].concat(),
        ),
    ])
}

/// A plugin that is as it should be.
pub(super) fn good(name: &str) -> anyhow::Result<Vec<u8>> {
    let header = crate::Header::read(";; Good.\n;; expect: answers")?;
    wrap::component(name, &header, "")
}

fn plain(name: &str) -> Vec<u8> {
    wrap::plain(name, Kind::Step).to_string().into_bytes()
}

/// A component of these sections, with a good manifest.
fn manifested(name: &str, sections: Vec<u8>) -> Vec<u8> {
    wrap::with_manifest([COMPONENT.to_vec(), sections].concat(), &plain(name))
}

/// A component that exports what steps do, so that it is looked at from within, and then these sections.
fn inside(name: &str, sections: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let text = "(component (instance $none) (export \"capstan:plugin/step@wit\" (instance $none)))";
    let shell = wat::parse_str(crate::text::full_names(text, wrap::OFFERED))?;
    Ok(wrap::with_manifest([shell, sections].concat(), &plain(name)))
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![id];
    content.encode(&mut out);
    out
}

/// The section of a component that holds one that holds one …
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..depth {
        inner = section(4, &[COMPONENT.as_slice(), &inner].concat());
    }
    inner
}
