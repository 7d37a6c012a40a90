//! Builders that exist by their builds alone: one configured builder builds for many projects, and the builds of each are shown,
//! numbered and judged as those of a builder of its own.

use serde::{Deserialize, Serialize};

use crate::name::{MAX_NAME, is_name};

/// What people see of a virtual builder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VirtualBuilder {
    /// Its name; no configured builder has it.
    pub name: String,
    /// The configured builder that its newest build was made from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub made_by: String,
    /// For people.
    pub description: String,
    /// What it belongs to, for people; empty is nothing.
    pub project: String,
    /// For filters.
    pub tags: Vec<String>,
}

impl VirtualBuilder {
    /// What a configuration may say of one.
    pub const KEYS: [&'static str; 4] = ["name", "description", "project", "tags"];

    /// The longest description, in bytes.
    pub const MAX_TEXT: usize = 4096;
    /// The most tags.
    pub const MAX_TAGS: usize = 100;

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let names = [&self.name]
            .into_iter()
            .chain(Some(&self.project).filter(|project| !project.is_empty()))
            .chain(&self.tags);
        for name in names {
            if !is_name(name) {
                let found: String = name.chars().take(MAX_NAME).collect();
                return Err(format!(
                    "expected names, projects and tags of 1 to {MAX_NAME} printable characters, without spaces at their ends, \
                     found {found:?}"
                ));
            }
        }
        if self.description.len() > Self::MAX_TEXT {
            let (most, found) = (Self::MAX_TEXT, self.description.len());
            return Err(format!(
                "expected a description of at most {most} bytes, found {found}"
            ));
        }
        if self.tags.len() > Self::MAX_TAGS {
            let (most, found) = (Self::MAX_TAGS, self.tags.len());
            return Err(format!("expected at most {most} tags, found {found}"));
        }
        Ok(())
    }
}
