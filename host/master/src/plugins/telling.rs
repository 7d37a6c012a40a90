//! What changed from one set of plugins to the next: events of the feed, and lines of the log.

use std::time::Duration;

use capstan_store::{InForce as Row, Version as StoredVersion};
use serde_json::{Value, json};

use super::registry::{File, InForce, Key, Origin, Refused, Registry};
use super::settle::changed;

/// Something that happened to a plugin.
pub(crate) struct Told {
    pub kind: &'static str,
    pub payload: Value,
    words: String,
    bad: bool,
}

impl Told {
    /// Tells the log; `took` is the time since everything was compiled.
    pub fn log(&self, took: Duration) {
        let took = took.as_micros() as f64 / 1000.0;
        if self.bad {
            tracing::warn!("{}", self.words);
        } else {
            tracing::info!(took_ms = took, "{}", self.words);
        }
    }
}

impl Registry {
    /// What is new since `before`. What a master starts with is no news, but for what it cannot use.
    pub(crate) fn told(&self, before: &Self) -> Vec<Told> {
        let mut told = Vec::new();
        if !before.built_in.is_empty() {
            for key in changed(&before.in_force, &self.in_force) {
                told.extend(self.exchanged(&key, before));
            }
        }
        for file in &self.files {
            let was = before.file(&file.name).and_then(|file| file.refused.as_ref());
            let Some(refused) = file.refused.as_ref().filter(|&refused| Some(refused) != was) else {
                continue;
            };
            told.push(not_used(file, refused));
        }
        for (key, chosen) in &self.in_force {
            let was = before.in_force.get(key).and_then(|chosen| chosen.note.as_ref());
            if let (Some(note), None) = (&chosen.note, was) {
                let (kind, name) = key;
                told.push(Told {
                    kind: "plugin.kept",
                    words: format!(
                        "the {kind} `{name}` stays at version {}: {note}",
                        chosen.version.version()
                    ),
                    payload: json!({ "kind": kind, "name": name, "version": chosen.version.version(),
                        "digest": chosen.digest(), "reason": note }),
                    bad: true,
                });
            }
        }
        told
    }

    fn exchanged(&self, key: &Key, before: &Self) -> Option<Told> {
        let (kind, name) = key;
        let version = |chosen: &InForce| chosen.version.version().to_owned();
        let mut payload = json!({ "kind": kind, "name": name });
        let was = before.in_force.get(key);
        if let Some(was) = was {
            payload["before"] = json!({ "version": version(was), "digest": was.digest() });
        }
        let Some(now) = self.in_force.get(key) else {
            return Some(Told {
                kind: "plugin.removed",
                words: format!("the {kind} `{name}` is gone"),
                payload,
                bad: false,
            });
        };
        payload["version"] = version(now).into();
        payload["digest"] = json!(now.digest());
        let given_up = was.filter(|was| {
            let mut files = self.files.iter();
            files.any(|file| {
                file.refused.is_some()
                    && file
                        .loaded
                        .as_ref()
                        .is_ok_and(|file| file.digest() == was.digest())
            })
        });
        Some(match (was, given_up) {
            (_, Some(was)) => Told {
                kind: "plugin.returned",
                words: format!(
                    "the {kind} `{name}` goes back from version {} to {}: it was ended {} times",
                    version(was),
                    version(now),
                    was.traps()
                ),
                payload,
                bad: true,
            },
            (Some(was), None) => Told {
                kind: "plugin.loaded",
                words: format!(
                    "the {kind} `{name}` is now version {}, it was {}",
                    version(now),
                    version(was)
                ),
                payload,
                bad: false,
            },
            (None, None) => Told {
                kind: "plugin.loaded",
                words: format!("the {kind} `{name}` is there, in version {}", version(now)),
                payload,
                bad: false,
            },
        })
    }

    /// Lines for who asked to load everything anew.
    pub(crate) fn lines(&self, before: &Self) -> Vec<String> {
        let keys = changed(&before.in_force, &self.in_force).into_iter();
        keys.filter_map(|key| self.exchanged(&key, before))
            .map(|told| told.words)
            .collect()
    }

    /// What cannot be used, and why.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        self.files.iter().filter_map(|file| {
            let refused = file.refused.as_ref()?;
            Some(format!("{}: {}", file.name, refused.reason()))
        })
    }

    /// What has to be known of these plugins after a restart: which files were in force.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |(key, chosen): (&Key, &InForce)| {
            let Origin::File(origin) = &chosen.origin else {
                return None;
            };
            Some(Row {
                kind: key.0,
                name: key.1.clone(),
                version: StoredVersion {
                    digest: chosen.digest(),
                    version: chosen.version.version().to_owned(),
                },
                origin: origin.clone(),
                predecessor: chosen.predecessor.as_ref().map(|(version, _)| version.digest()),
                since: chosen.since,
            })
        };
        self.in_force.iter().filter_map(row).collect()
    }
}

fn not_used(file: &File, refused: &Refused) -> Told {
    let about = file.loaded.as_ref().ok();
    let mut payload = json!({ "file": file.name, "reason": refused.reason() });
    if let Some(version) = about {
        let (kind, name) = version.key();
        payload["kind"] = json!(kind);
        payload["name"] = name.into();
        payload["version"] = version.version().into();
        payload["digest"] = json!(version.digest());
    }
    Told {
        kind: if matches!(refused, Refused::Waiting(..)) {
            "plugin.waiting"
        } else {
            "plugin.refused"
        },
        words: format!("the plugin file {} is not used: {}", file.name, refused.reason()),
        payload,
        bad: true,
    }
}
