//! A place in a builder that takes its steps from a file of the repository that is built. The configuration says which file, and
//! what its steps may be; `master` reads the file at the revision of the build and has it evaluated apart from itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;
use crate::plan::PluginUse;

/// The word in configurations, and the name of the step where no other is given.
pub const PIPELINE: &str = "pipeline";

/// What a pipeline's file is, and what it may do. Kept with the step that stands for it, so that a build keeps what it began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The file, from the top of the repository.
    pub file: String,
    /// The repository; the build has to be about this one.
    pub repository: String,
    /// The steps that the file may use.
    pub allow: Vec<AllowedStep>,
    /// The secrets that it may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Where its steps run that have the parameter `workdir` and say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<Value>,
}

/// One kind of step that a pipeline may use, at the version that the configuration was checked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedStep {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub digest: Digest,
}

impl Pipeline {
    /// The version in the step that stands for a pipeline: no plugin does that one, and none has this digest.
    pub fn version() -> Digest {
        Digest::of(b"the master itself: pipeline")
    }

    /// Whether a step of that version stands for a pipeline.
    pub fn is(version: Digest) -> bool {
        version == Self::version()
    }

    /// The pipeline that a use stands for, if it is one.
    pub fn of(used: &PluginUse) -> Option<Self> {
        let config = Some(&used.config).filter(|_| Self::is(used.digest))?;
        Self::deserialize(config).ok()
    }
}
