//! What the plan says of a step beside its plugin. Kept with the step's row, so that a build needs no plan to go on.

use std::collections::BTreeMap;

use capstan_model::plan::{Builder, Env, Location, LockList, Plan};
use capstan_model::{Condition, Deferred, EndBuildOn, EnvValue, Rules};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepOptions {
    #[serde(flatten)]
    pub rules: Rules,
    pub always_run: bool,
    #[serde(default = "Condition::always", skip_serializing_if = "Condition::is_always")]
    pub run_if: Condition,
    #[serde(default = "Condition::never", skip_serializing_if = "Condition::is_never")]
    pub hide_if: Condition,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub end_build_on: EndBuildOn,
    #[serde(default, skip_serializing_if = "LockList::is_empty")]
    pub locks: LockList,
    pub env: BTreeMap<String, EnvValue>,
    /// Instead of `env`, where some of it is known only when the step begins: the farm's, and over it the worker's, the builder's, the
    /// step's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Env>,
    /// Why no step of the build can begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Where the configuration defines the step, if something of it may still turn out to be wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    pub builder_dir: String,
    /// The secrets that its commands may be given, whoever names them; without a list all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
}

impl StepOptions {
    /// `fault` is what is wrong with the build as a whole.
    pub fn of(
        step: &capstan_model::plan::Step,
        builder: &Builder,
        (plan, worker): (&Plan, &str),
        fault: Option<String>,
    ) -> Self {
        let mut env = BTreeMap::new();
        let worker = plan.workers.iter().find(|known| known.name == worker);
        let above = [Some(&plan.env), worker.map(|worker| &worker.env)];
        let layers = above.into_iter().flatten().chain([&builder.env, &step.env]);
        let mut layers: Vec<_> = layers.filter(|layer| !layer.is_empty()).cloned().collect();
        if !layers.iter().any(Env::is_deferred) {
            env.extend(layers.drain(..).flat_map(|layer| layer.fixed));
        }
        let late = !layers.is_empty() || Deferred::within(&step.plugin.config);
        Self {
            rules: step.rules,
            always_run: step.always_run,
            run_if: step.run_if.clone(),
            hide_if: step.hide_if.clone(),
            end_build_on: step.end_build_on.clone(),
            locks: step.locks.clone(),
            env,
            layers,
            fault,
            location: late.then(|| step.plugin.location.clone()),
            builder_dir: builder.directory(),
            secrets: None,
        }
    }

    /// What a step of a pipeline is done with, where `self` is that of the step that stands for the pipeline.
    pub fn of_pipeline(&self, step: &capstan_model::plan::Step, secrets: &[String]) -> Self {
        let mut options = Self {
            rules: step.rules,
            always_run: step.always_run,
            run_if: step.run_if.clone(),
            hide_if: step.hide_if.clone(),
            end_build_on: step.end_build_on.clone(),
            locks: step.locks.clone(),
            location: Some(step.plugin.location.clone()),
            secrets: Some(secrets.to_vec()),
            ..self.clone()
        };
        if options.layers.is_empty() && step.env.is_deferred() {
            options.layers.push(Env {
                fixed: std::mem::take(&mut options.env),
                ..Env::default()
            });
        }
        match options.layers.is_empty() {
            true => options.env.extend(step.env.fixed.clone()),
            false => options.layers.push(step.env.clone()),
        }
        options
    }

    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub fn from_value(value: &Value) -> Result<Self, Error> {
        Self::deserialize(value).map_err(|e| Error::failed("read a step's options", e))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_of_older_masters_are_read() {
        let row = json!({ "halt_on_failure": true, "flunk_on_failure": false, "warn_on_failure": true, "always_run": true,
                          "env": {}, "builder_dir": "linux" });
        let options = StepOptions::from_value(&row).unwrap();
        assert!(
            options.rules.halt_on_failure && options.rules.warn_on_failure && !options.rules.flunk_on_failure
        );
        assert!(options.always_run && options.run_if.is_always() && options.hide_if.is_never());
        assert_eq!(options.to_value(), row);
    }
}
