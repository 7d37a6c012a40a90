//! Whether the operator's grants can mean anything: typing slips in `[grants]` would otherwise show up as refusals
//! in the middle of a build. Malformed patterns are faults already when the file is read.

use std::collections::BTreeSet;

use capstan_model::plan::{Location, PluginPin};
use capstan_model::plugin::{Pattern, Right};

use crate::diagnostic::Diagnostic;
use crate::nearest::did_you_mean;
use crate::operator::FILE;
use crate::{Operator, PluginInfo};

impl Operator {
    /// Remarks on grants for plugins that are not there, on rights that their plugin does not ask for, and on plugins in `used`
    /// that ask for rights while capstan.toml says nothing of them, and on secrets for builders that are not there.
    pub fn check_grants(
        &self,
        plugins: &[PluginInfo],
        used: &[PluginPin],
        builders: &[&str],
    ) -> Vec<Diagnostic> {
        let names: BTreeSet<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        let mut remarks = Vec::new();
        for (name, rights) in &self.grants {
            if !names.contains(name.as_str()) {
                let text = format!("[grants.{name}] is for a plugin that is not there");
                let remark = self.remark(name, text).code("unknown-plugin");
                remarks.push(remark.maybe_hint(did_you_mean(name, names.iter().copied())));
            }
            let asks = |right: Right| {
                let mut of_name = plugins.iter().filter(|plugin| plugin.name == *name);
                of_name.any(|plugin| !plugin.manifest.rights.of(right).is_empty())
            };
            let idle = Right::ALL.into_iter().filter(|&right| {
                !rights.of(right).is_empty() && names.contains(name.as_str()) && !asks(right)
            });
            remarks.extend(idle.map(|right| {
                let text = format!(
                    "[grants.{name}] has `{}`, which the plugin's manifest does not ask for: it has no effect",
                    right.as_str()
                );
                self.remark(name, text).code("idle-grant")
            }));
            let nobody = rights.secrets.iter().filter(|text| names_nobody(text, builders));
            remarks.extend(nobody.map(|text| {
                let text = format!(
                    "[grants.{name}] has the secret {text:?}: no builder has such a name, so it has no effect"
                );
                self.remark(name, text).code("unknown-builder")
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
            let text = format!(
                "the {kind} `{name}` is used and asks for {}, of which nothing is granted",
                rights.collect::<Vec<_>>().join(", ")
            );
            let remark = self.remark(name, text).code("nothing-granted");
            remarks.push(remark.hint(format!("`capstan plugin grant {name}` grants it")));
        }
        remarks
    }

    fn remark(&self, plugin: &str, text: String) -> Diagnostic {
        let start = Location {
            file: FILE.to_owned(),
            line: 1,
            column: 1,
        };
        Diagnostic::warning(self.granted_at.get(plugin).cloned().unwrap_or(start), text)
    }
}

/// Whether a granted secret is for builders of which none is there.
fn names_nobody(text: &str, builders: &[&str]) -> bool {
    let Ok(pattern @ Pattern::Secret { .. }) = Pattern::parse(Right::Secrets, text) else {
        return false;
    };
    let name = text.split('@').next().unwrap_or_default();
    text.contains('@')
        && !builders
            .iter()
            .any(|builder| pattern.covers(&format!("{name}@{builder}")))
}
