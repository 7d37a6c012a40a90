//! The manifest as it is embedded into a component.

use capstan_model::plugin::{Manifest, SECTION};
use serde_json::Value;
use wasm_encoder::Encode;

/// Appends the manifest as a custom section. Its keys are sorted, so that the bytes depend on the manifest alone.
pub(crate) fn embed(component: &mut Vec<u8>, manifest: &Manifest) -> anyhow::Result<()> {
    manifest.check().map_err(anyhow::Error::msg)?;
    let json = serde_json::to_vec(&sorted(serde_json::to_value(manifest)?))?;
    let section = wasm_encoder::CustomSection {
        name: SECTION.into(),
        data: json.into(),
    };
    // A custom section's id.
    component.push(0);
    section.encode(component);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_manifest_is_the_last_section_as_sorted_json() {
        let manifest: Manifest = serde_json::from_value(json!({
            "schema": 1,
            "plugin": { "name": "a-b", "kind": "step", "version": "1" },
            "rights": { "commands": ["git"] },
        }))
        .unwrap();
        let mut bytes = b"component".to_vec();
        embed(&mut bytes, &manifest).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (before, json) = text.split_once(SECTION).unwrap();
        assert!(before.starts_with("component\0"), "{before:?}");
        assert!(json.starts_with("{\"limits\":{"), "{json}");
        assert_eq!(serde_json::from_str::<Manifest>(json).unwrap(), manifest);
    }
}
