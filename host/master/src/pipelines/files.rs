//! The files that a pipeline reads: out of the mirror, at one revision, below the pipeline's own folder, and not too many.

use capstan_config::pipeline::{MAX_FILE, Reply, readable};
use capstan_model::Pipeline;

use crate::git::Mirrors;

/// Files that one pipeline may ask for, those that are not there included.
const MAX_ASKED: usize = 100;

/// See the module.
pub(super) struct Files<'a> {
    mirrors: &'a Mirrors,
    pipeline: &'a Pipeline,
    revision: &'a str,
    asked: usize,
}

impl<'a> Files<'a> {
    pub(super) fn new(mirrors: &'a Mirrors, pipeline: &'a Pipeline, revision: &'a str) -> Self {
        Self {
            mirrors,
            pipeline,
            revision,
            asked: 0,
        }
    }

    /// The content of a file, or why the pipeline does not get it.
    pub(super) async fn read(&mut self, path: &str) -> Reply {
        readable(&self.pipeline.file, path)?;
        self.asked += 1;
        if self.asked > MAX_ASKED {
            return Err(format!(
                "expected a pipeline that reads at most {MAX_ASKED} files, found more"
            ));
        }
        let repository = &self.pipeline.repository;
        let read = self.mirrors.file(repository, self.revision, path, MAX_FILE).await;
        read.map_err(|fault| fault.to_string())?
    }
}
