//! Whether the operator's grants can mean anything: typing slips in `[grants]` would otherwise show up as refusals
//! in the middle of a build. Malformed patterns are faults already when the file is read.

use std::collections::BTreeSet;

use capstan_model::plan::PluginPin;
use capstan_model::plugin::Right;

use crate::nearest::did_you_mean;
use crate::{Operator, PluginInfo};

impl Operator {
    /// Remarks on grants for plugins that are not there, on rights that their plugin does not ask for, and on plugins in `used`
    /// that ask for rights while capstan.toml says nothing of them.
    pub fn check_grants(&self, plugins: &[PluginInfo], used: &[PluginPin]) -> Vec<String> {
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
            let asks = |right: Right| {
                let mut of_name = plugins.iter().filter(|plugin| plugin.name == *name);
                of_name.any(|plugin| !plugin.manifest.rights.of(right).is_empty())
            };
            let idle = Right::ALL.into_iter().filter(|&right| {
                !rights.of(right).is_empty() && names.contains(name.as_str()) && !asks(right)
            });
            remarks.extend(idle.map(|right| {
                format!(
                    "capstan.toml: [grants.{name}] has `{}`, which the plugin's manifest does not ask for: it has no effect",
                    right.as_str()
                )
            }));
        }
        let used: BTreeSet<_> = used.iter().map(|pin| (pin.kind, pin.name.as_str())).collect();
        let forgotten = plugins.iter().filter(|plugin| {
            let name = plugin.name.as_str();
            used.contains(&(plugin.kind, name)) && !self.grants.contains_key(name)
        });
        for plugin in forgotten.filter(|plugin| !plugin.manifest.rights.is_empty()) {
            let (kind, name, asks) = (plugin.kind, &plugin.name, &plugin.manifest.rights);
            let rights = Right::ALL.into_iter().filter(|&right| !asks.of(right).is_empty());
            let rights = rights.map(|right| format!("`{}`", right.as_str()));
            remarks.push(format!(
                "capstan.toml: the {kind} `{name}` is used and asks for {}, of which nothing is granted; `capstan plugin grant {name}` \
                 grants it",
                rights.collect::<Vec<_>>().join(", ")
            ));
        }
        remarks
    }
}
