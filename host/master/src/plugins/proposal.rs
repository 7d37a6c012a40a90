//! What the plugin folder proposes: which version of each plugin should be in force, as far as the lock allows it. Whether the
//! configuration fits is found out by `settle`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use capstan_config::{Accepted, Lock};
use capstan_engine::Engine;
use capstan_model::plugin::Rights;
use capstan_model::{Digest, Timestamp};

use super::folder::{self, Stamp};
use super::policy::{Candidate, Verdict, in_words, judge};
use super::registry::{BuiltIn, Choice, File, InForce, Key, Origin, Refused, Registry, Settings, Version};
use crate::Error;

/// What is looked at.
pub(crate) struct Look<'a> {
    pub engine: &'a Engine,
    /// What was in force and loaded before.
    pub before: &'a Registry,
    pub settings: Settings,
    /// What the operator accepted, or why nobody knows.
    pub lock: Result<Lock, String>,
    /// Whether what was not accepted is left out, or only remarked on.
    pub enforce: bool,
    /// Files that may still be being written: they stay what they were.
    pub unsettled: BTreeSet<String>,
    /// Whether to read files again that look as before.
    pub anew: bool,
    pub now: Timestamp,
}

/// What should be in force.
pub(crate) struct Proposal {
    /// Without what is in force: that is for `settle` to say.
    pub registry: Registry,
    pub wanted: Choice,
    /// What the lock has to be told if these are put in force.
    pub record: Vec<Accept>,
    /// Files that are used although they were not accepted.
    pub remarks: Vec<String>,
}

/// A version that was accepted without anybody's help.
pub(crate) struct Accept {
    pub key: Key,
    pub digest: Digest,
    pub version: String,
    pub rights: Rights,
    /// What the lock said before.
    pub instead_of: Option<Digest>,
}

impl Look<'_> {
    /// Reads, loads and judges. Only a folder that cannot be listed is an error.
    pub fn propose(self, built_in: Vec<BuiltIn>) -> Result<Proposal, Error> {
        let files = self.files()?;
        let mut proposal = Proposal {
            registry: Registry {
                built_in,
                files,
                in_force: Choice::new(),
                settings: self.settings.clone(),
                retired: Vec::new(),
            },
            wanted: Choice::new(),
            record: Vec::new(),
            remarks: Vec::new(),
        };
        self.choose(&mut proposal);
        Ok(proposal)
    }

    fn files(&self) -> Result<Vec<File>, Error> {
        let mut files = Vec::new();
        for (name, stamp) in folder::look(&self.settings.folder)? {
            let known = self.before.file(&name);
            let as_before = known.filter(|known| !self.anew && known.stamp.as_ref() == Some(&stamp));
            match as_before {
                Some(known) => files.push(known.clone()),
                None if self.unsettled.contains(&name) => files.extend(known.cloned()),
                None => files.push(self.read(name, stamp)),
            }
        }
        // What is being replaced may be away for a moment.
        let here: BTreeSet<_> = files.iter().map(|file| file.name.clone()).collect();
        let away = self.unsettled.iter().filter(|name| !here.contains(*name));
        files.extend(away.filter_map(|name| self.before.file(name)).cloned());
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn read(&self, name: String, stamp: Stamp) -> File {
        let bytes = match folder::read(&self.settings.folder.join(&name)) {
            Ok(bytes) => bytes,
            Err(reason) => {
                return File {
                    name,
                    stamp: None,
                    loaded: Err(reason),
                    refused: None,
                };
            }
        };
        let known = self.before.version(Digest::of(&bytes)).cloned();
        let loaded = known.map_or_else(|| load_version(self.engine, bytes).map_err(|e| e.to_string()), Ok);
        File {
            name,
            stamp: Some(stamp),
            loaded,
            refused: None,
        }
    }

    fn choose(&self, proposal: &mut Proposal) {
        let candidates = self.candidates(&mut proposal.registry.files);
        for (origin, version) in proposal.registry.built_in() {
            let key = version.key();
            if !candidates.contains_key(&key) && self.keeps(&key, &proposal.registry.files).is_none() {
                let chosen = self.chosen(&key, version.clone(), origin);
                proposal.wanted.insert(key, chosen);
            }
        }
        for (key, index) in &candidates {
            self.choose_file(key, *index, proposal);
        }
        // A file that cannot be read any more leaves its plugin as it was.
        for (key, before) in &self.before.in_force {
            if proposal.wanted.contains_key(key) || candidates.contains_key(key) {
                continue;
            }
            if let Some(reason) = self.keeps(key, &proposal.registry.files) {
                let mut before = before.clone();
                before.note = Some(reason);
                proposal.wanted.insert(key.clone(), before);
            }
        }
    }

    fn choose_file(&self, key: &Key, index: usize, proposal: &mut Proposal) {
        let file = &proposal.registry.files[index];
        let Ok(version) = file.loaded.clone() else { return };
        let path = self.settings.folder.join(&file.name).display().to_string();
        let verdict = self.judge(&path, &version, &proposal.registry);
        let withdrawn = matches!(verdict, Verdict::Withdraw(_));
        let refused = match verdict {
            Verdict::Take { record } => {
                proposal
                    .record
                    .extend(record.map(|rights| self.accept(key, &version, rights)));
                None
            }
            Verdict::Wait(rights) => {
                let (asks, name) = (in_words(&rights), &key.1);
                let reason = format!("waiting: asks for {asks}; `capstan plugin grant {name}` accepts it");
                Some(Refused::Waiting(Box::new(rights), reason))
            }
            Verdict::Refuse(reason) | Verdict::Withdraw(reason) => Some(Refused::Kept(reason)),
        };
        match refused {
            Some(refused) if self.enforce => {
                self.stay(key, withdrawn, &refused, proposal);
                proposal.registry.files[index].refused = Some(refused);
            }
            refused => {
                let remark = refused.map(|refused| format!("{path}: {}", refused.reason()));
                proposal.remarks.extend(remark);
                let origin = Origin::File(proposal.registry.files[index].name.clone());
                let chosen = self.chosen(key, version, origin);
                proposal.wanted.insert(key.clone(), chosen);
            }
        }
    }

    fn accept(&self, key: &Key, version: &Version, rights: Rights) -> Accept {
        let known = self.lock.as_ref().ok().and_then(|lock| lock.get(key.0, &key.1));
        Accept {
            key: key.clone(),
            digest: version.digest(),
            version: version.version().to_owned(),
            rights,
            instead_of: known.map(|known| known.digest),
        }
    }

    /// The file of each plugin, by its place; what cannot be one is marked.
    fn candidates(&self, files: &mut [File]) -> BTreeMap<Key, usize> {
        let mut candidates: BTreeMap<Key, usize> = BTreeMap::new();
        for index in 0..files.len() {
            let version = match &files[index].loaded {
                Ok(version) => version.clone(),
                Err(reason) => {
                    files[index].refused = Some(Refused::Broken(reason.clone()));
                    continue;
                }
            };
            let key = version.key();
            let Some(&other) = candidates.get(&key) else {
                candidates.insert(key, index);
                continue;
            };
            // Of two files with one name the one that is in force stays it.
            let in_force = self.before.in_force.get(&key).map(InForce::digest);
            let (first, second) = if in_force == Some(version.digest()) {
                (index, other)
            } else {
                (other, index)
            };
            files[second].refused = Some(Refused::Broken(format!(
                "expected one {} `{}`, found another in {}; remove one",
                key.0, key.1, files[first].name
            )));
            candidates.insert(key, first);
        }
        for &index in candidates.values() {
            files[index].refused = None;
        }
        candidates
    }

    fn judge(&self, path: &str, version: &Version, registry: &Registry) -> Verdict {
        let (kind, name) = version.key();
        let lock = match &self.lock {
            Ok(lock) => lock,
            Err(reason) => return Verdict::Refuse(reason.clone()),
        };
        let known = lock.get(kind, &name);
        let included = registry.built_in().any(|(_, known)| known.plugin.name() == name);
        let other_kind = |known: &Accepted| known.name == name && known.kind != kind;
        let candidate = Candidate {
            digest: version.digest(),
            asks: &version.plugin.manifest().rights,
            path,
            namesake: included || lock.plugins().any(other_kind),
        };
        judge(
            &candidate,
            known,
            &self.settings.granted(&name),
            self.settings.pinning,
        )
    }

    /// What is in force instead of a file that may not be: what was before or, if that is what is withdrawn, its predecessor.
    fn stay(&self, key: &Key, withdrawn: bool, refused: &Refused, proposal: &mut Proposal) {
        let before = self.before.in_force.get(key).cloned();
        let chosen = before.map(|before| match before.predecessor.clone() {
            Some((version, origin)) if withdrawn && self.is_file(key, &before, proposal) => {
                InForce::new(version, origin, self.now)
            }
            _ => before,
        });
        if let Some(mut chosen) = chosen {
            chosen.note = match chosen.origin {
                Origin::File(_) => Some(refused.reason().to_owned()),
                Origin::BuiltIn(_) => None,
            };
            proposal.wanted.insert(key.clone(), chosen);
            return;
        }
        let mut built_in = proposal.registry.built_in();
        if let Some((origin, version)) = built_in.find(|(_, version)| version.key() == *key) {
            let chosen = self.chosen(key, version.clone(), origin);
            proposal.wanted.insert(key.clone(), chosen);
        }
    }

    /// Whether what was in force is what its file still holds.
    fn is_file(&self, key: &Key, before: &InForce, proposal: &Proposal) -> bool {
        let files = proposal.registry.files.iter();
        let mut versions = files.filter_map(|file| file.loaded.as_ref().ok());
        versions.any(|version| version.key() == *key && version.digest() == before.digest())
    }

    /// Why what is in force under this name stays although no file of it can be loaded: its file is broken.
    fn keeps(&self, key: &Key, files: &[File]) -> Option<String> {
        let Origin::File(name) = &self.before.in_force.get(key)?.origin else {
            return None;
        };
        let file = files.iter().find(|file| file.name == *name)?;
        file.loaded.as_ref().err().cloned()
    }

    /// A version in force: the one of before if it is the same, else a new one that took its place.
    fn chosen(&self, key: &Key, version: Version, origin: Origin) -> InForce {
        match self.before.in_force.get(key) {
            Some(before) if before.digest() == version.digest() => before.clone().from(origin),
            Some(before) => InForce::new(version, origin, self.now).after(before),
            None => InForce::new(version, origin, self.now),
        }
    }
}

/// Checks and compiles a file.
pub(crate) fn load_version(engine: &Engine, bytes: Vec<u8>) -> Result<Version, capstan_engine::LoadError> {
    let plugin = engine.load(&bytes)?;
    Ok(Version {
        plugin,
        bytes: Arc::from(bytes),
    })
}
