//! The patches of a build's sources, as a step sees them: a property that no row of the build has, for it may be larger than
//! properties are. Asked by `host`.

use std::time::Instant;

use capstan_model::Property;
use serde_json::{Value, json};

use super::host::StepState;

/// The name of the property: a list of objects with `codebase`, `body`, `level`, `subdirectory`, `author` and `comment`.
pub(super) const PATCHES: &str = "patches";

impl StepState {
    /// The patches of the build; none if it has none.
    pub(super) async fn patches(&mut self) -> wasmtime::Result<Option<Property>> {
        let call = "build.get-property";
        let session = self.session(call)?;
        let port = session.port();
        let sources = session.created.sources.iter();
        let patched: Vec<_> = sources
            .filter_map(|source| Some((source.codebase.clone(), source.patch.clone()?)))
            .collect();
        let since = Instant::now();
        let mut found: Vec<Value> = Vec::with_capacity(patched.len());
        for (codebase, patch) in patched {
            let body = port.patch(patch.digest).await;
            let body = self.unless_abandoned(body)?;
            found.push(json!({
                "codebase": codebase,
                "body": body,
                "level": patch.level,
                "subdirectory": patch.subdirectory,
                "author": patch.author,
                "comment": patch.comment,
            }));
        }
        self.guest.returned(since);
        Ok((!found.is_empty()).then(|| Property {
            name: PATCHES.to_owned(),
            value: found.into(),
            source: "source stamp".to_owned(),
        }))
    }
}
