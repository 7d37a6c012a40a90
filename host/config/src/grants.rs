//! Whether the operator's grants can mean anything: typing slips in `[grants]` would otherwise show up as refusals
//! in the middle of a build.

use std::collections::BTreeSet;

use capstan_model::plugin::{Right, Rights};

use crate::nearest::did_you_mean;
use crate::{Operator, PluginInfo};

impl Operator {
    /// Remarks on grants for plugins that are not there, and on patterns that can never fit.
    pub fn check_grants(&self, plugins: &[PluginInfo]) -> Vec<String> {
        let names: BTreeSet<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        let mut remarks = Vec::new();
        for (name, rights) in &self.grants {
            if !names.contains(name.as_str()) {
                let hint = did_you_mean(name, names.iter().copied())
                    .map_or(String::new(), |hint| format!("; {hint}"));
                remarks.push(format!(
                    "capstan.toml: [grants.{name}] is for a plugin that is not there{hint}"
                ));
            }
            remarks.extend(useless(rights).map(|(right, pattern)| {
                format!(
                    "capstan.toml: [grants.{name}] {} has the pattern `{pattern}`, which fits only that very text; \
                     `*` stands alone or at the end after a `/`",
                    right.as_str()
                )
            }));
        }
        remarks
    }
}

/// The patterns with a star that does not act as one.
fn useless(rights: &Rights) -> impl Iterator<Item = (Right, &String)> {
    let acts = |pattern: &str| pattern == "*" || !pattern.strip_suffix("/*").unwrap_or(pattern).contains('*');
    Right::ALL
        .into_iter()
        .flat_map(|right| rights.of(right).iter().map(move |pattern| (right, pattern)))
        .filter(move |(_, pattern)| !acts(pattern))
}
