//! Makes one plugin file of a core module and its `plugin.toml`: a component with the manifest as a custom section.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use capstan_model::Digest;
use capstan_model::plugin::{Kind, Manifest, SCHEMA, SECTION};
use serde_json::Value;
use wasm_encoder::Encode;

/// A finished plugin file.
pub(super) struct Packed {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) size: usize,
    pub(super) digest: Digest,
    /// Whether its bytes differ from those that were there before.
    pub(super) changed: bool,
}

/// Packs the plugin of the crate in `folder` into the folder `output`, under its own name.
pub(super) fn pack(folder: &Path, module: &Path, output: &Path) -> anyhow::Result<Packed> {
    let manifest_path = folder.join("plugin.toml");
    let text =
        fs::read_to_string(&manifest_path).with_context(|| format!("read {}", manifest_path.display()))?;
    let (manifest, section) = manifest(&text).with_context(|| format!("read {}", manifest_path.display()))?;
    let module = fs::read(module).with_context(|| format!("read {}", module.display()))?;
    let component = component(&module, &section)?;
    let path = output.join(format!("{}.wasm", manifest.plugin.name));
    let changed = write_if_changed(&path, &component)?;
    let (name, kind) = (manifest.plugin.name, manifest.plugin.kind);
    Ok(Packed {
        name,
        kind,
        path,
        size: component.len(),
        digest: Digest::of(&component),
        changed,
    })
}

/// The manifest, and its JSON as it is embedded: keys sorted, so that the bytes depend on the manifest alone.
fn manifest(text: &str) -> anyhow::Result<(Manifest, Vec<u8>)> {
    let manifest: Manifest = toml::from_str(text)?;
    let (schema, name) = (manifest.schema, &manifest.plugin.name);
    ensure!(schema == SCHEMA, "schema: expected {SCHEMA}, found {schema}");
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let named =
        name.len() <= 64 && name.split('-').all(word) && !name.starts_with(|c: char| c.is_ascii_digit());
    ensure!(
        named,
        "plugin.name: expected lower-case words joined by hyphens, found {name:?}"
    );
    ensure!(
        !manifest.plugin.version.is_empty(),
        "plugin.version: expected a version, found nothing"
    );
    let object = manifest.parameters.get("type").and_then(Value::as_str) == Some("object");
    ensure!(
        object,
        "parameters: expected a JSON Schema with type = \"object\""
    );
    let section = serde_json::to_vec(&sorted(serde_json::to_value(&manifest)?))?;
    Ok((manifest, section))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

fn component(module: &[u8], manifest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = wit_component::ComponentEncoder::default();
    let mut component = encoder.validate(true).module(module)?.encode()?;
    let section = wasm_encoder::CustomSection {
        name: SECTION.into(),
        data: manifest.into(),
    };
    // A custom section's id.
    component.push(0);
    section.encode(&mut component);
    Ok(component)
}

/// A file that stays the same keeps its time, so that nothing that depends on it is built again.
fn write_if_changed(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let folder = path.parent().context("a plugin's file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    // A plugin is no secret: readable to whoever may read the repository.
    let mode = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "schema = 1\n[plugin]\nname = \"a-b\"\nkind = \"step\"\nversion = \"1\"\n\
                        [parameters]\ntype = \"object\"\n[rights]\ncommands = [\"git\"]\n";

    #[test]
    fn a_manifest_is_embedded_as_sorted_json() {
        let (manifest, json) = manifest(TOML).unwrap();
        assert_eq!(manifest.plugin.kind, Kind::Step);
        let text = String::from_utf8(json).unwrap();
        assert!(text.starts_with("{\"limits\":{"), "{text}");
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    }

    #[test]
    fn a_wrong_manifest_says_what_was_expected() {
        for (right, wrong, expected) in [
            ("schema = 1", "schema = 2", "schema: expected 1, found 2"),
            ("a-b", "A_b", "plugin.name: expected lower-case words"),
            (
                "type = \"object\"",
                "type = \"array\"",
                "parameters: expected a JSON Schema",
            ),
            ("kind = \"step\"", "kind = \"stepp\"", "unknown variant `stepp`"),
            ("commands", "comands", "unknown field `comands`"),
        ] {
            let error = manifest(&TOML.replace(right, wrong)).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }

    #[test]
    fn an_unchanged_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out/a.wasm");
        assert!(write_if_changed(&path, b"one").unwrap());
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
