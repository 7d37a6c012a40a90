//! Patches that a call or a complete buildset brings along: they are put on the stamps of what a scheduler makes of it, by codebase.
//! Schedulers know of stamps only what a change says, so this is not left to them.

use capstan_model::{Patch, SourceStamp};
use serde_json::{Value, json};

use super::{Payload, calls};
use crate::sql::Conn;
use crate::writer::Tx;
use crate::{Error, blobs, buildsets};

/// What an event brings along.
#[derive(Default)]
pub(super) struct Patches {
    /// Of a call: somebody wants it built, so it has to fit.
    wanted: Option<(String, Patch)>,
    /// Of the stamps that the event is about.
    carried: Vec<(String, Patch)>,
}

/// Keeps the text of a call's patch, and puts what describes it in its place.
pub(super) async fn keep(tx: &mut Tx, call: &mut Value) -> Result<(), Error> {
    let Some(given) = call.get_mut("patch").filter(|patch| patch["body"].is_string()) else {
        return Ok(());
    };
    let codebase = given["codebase"].take();
    let read = Patch::read(given);
    let (patch, text) = read.map_err(|(field, fault)| Error::invalid(format!("patch.{field}: {fault}")))?;
    blobs::put(tx, text.as_bytes().to_vec()).await?;
    *given = json!(patch);
    given["codebase"] = codebase.as_str().unwrap_or_default().into();
    Ok(())
}

/// The patches of an event.
pub(super) async fn of(conn: &mut Conn, event: Option<&Payload>) -> Result<Patches, Error> {
    match event {
        Some(Payload::Call(id)) => Ok(calls::body(conn, *id)
            .await?
            .map_or_else(Patches::default, of_call)),
        Some(Payload::Completed(id)) => {
            let sources = buildsets::sources_of(conn, &[*id]).await?.remove(&id.0);
            Ok(Patches {
                wanted: None,
                carried: sources
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(carried)
                    .collect(),
            })
        }
        _ => Ok(Patches::default()),
    }
}

fn carried(stamp: SourceStamp) -> Option<(String, Patch)> {
    Some((stamp.codebase, stamp.patch?))
}

fn of_call(call: Value) -> Patches {
    let named = |value: &Value| value["codebase"].as_str().unwrap_or_default().to_owned();
    let patch = |value: &Value| Some((named(value), serde_json::from_value(value.clone()).ok()?));
    let stamps = call["sources"].as_array().into_iter().flatten();
    let of_stamp = |stamp: &Value| Some((named(stamp), serde_json::from_value(stamp["patch"].clone()).ok()?));
    Patches {
        wanted: patch(&call["patch"]),
        carried: stamps.filter_map(of_stamp).collect(),
    }
}

impl Patches {
    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        self.wanted.is_some() || !self.carried.is_empty()
    }

    /// Puts them on the stamps that they belong to.
    pub(super) fn put_on(&self, sources: &mut [SourceStamp]) -> Result<(), Error> {
        for (codebase, patch) in &self.carried {
            if let Some(stamp) = sources.iter_mut().find(|stamp| stamp.codebase == *codebase) {
                stamp.patch = Some(patch.clone());
            }
        }
        let Some((codebase, patch)) = &self.wanted else {
            return Ok(());
        };
        let place = sources.iter().position(|stamp| stamp.codebase == *codebase);
        // Where there is only one, nobody has to name it.
        let only = (codebase.is_empty() && sources.len() == 1).then_some(0);
        let Some(place) = place.or(only) else {
            let known: Vec<_> = sources
                .iter()
                .map(|stamp| format!("`{}`", stamp.codebase))
                .collect();
            let known = if known.is_empty() {
                "no source at all".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Error::invalid(format!(
                "patch.codebase: expected a codebase of the scheduler's sources, found `{codebase}`; there is {known}"
            )));
        };
        sources[place].patch = Some(patch.clone());
        Ok(())
    }
}
