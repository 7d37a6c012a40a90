//! The functions of configurations: those of the plan in force, and those of the plans that running builds are pinned to. A
//! pinned plan's functions are evaluated again from its bundle, which gives the same ones under the same numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use capstan_config::{CallLimits, Farm as Files, FunctionError, Functions, PluginInfo};
use capstan_model::Digest;
use capstan_model::plan::PluginUse;
use capstan_model::plugin::Kind;
use serde_json::Value;

use crate::farm::Farm;
use crate::{Error, configuration};

/// How many plans' functions are held. Builds of older plans than these wait for an evaluation now and then.
const MOST_PLANS: usize = 8;

/// Functions by plan, the latest used last.
#[derive(Default)]
pub(crate) struct KnownFunctions {
    known: Mutex<Vec<(Digest, Functions)>>,
    /// One evaluation at a time: many builds of one plan ask for the same.
    evaluating: tokio::sync::Mutex<()>,
}

impl KnownFunctions {
    /// Holds the functions of a plan.
    pub fn hold(&self, plan: Digest, functions: Functions) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(digest, _)| *digest != plan);
        known.push((plan, functions));
        let surplus = known.len().saturating_sub(MOST_PLANS);
        known.drain(..surplus);
    }

    fn get(&self, plan: Digest) -> Option<Functions> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(digest, _)| *digest == plan)?;
        let found = known.remove(at);
        known.push(found.clone());
        Some(found.1)
    }
}

impl Farm {
    /// The functions of the plan of that digest: of the one in force, or of one that builds are pinned to.
    pub async fn functions(&self, plan: Digest) -> Result<Functions, Error> {
        if let Some(functions) = self.functions.get(plan) {
            return Ok(functions);
        }
        let _one_at_a_time = self.functions.evaluating.lock().await;
        if let Some(functions) = self.functions.get(plan) {
            return Ok(functions);
        }
        let functions = self.evaluate_again(plan).await?;
        self.functions.hold(plan, functions.clone());
        Ok(functions)
    }

    /// The functions are called by their numbers: they have to be those that the plan had.
    async fn evaluate_again(&self, plan: Digest) -> Result<Functions, Error> {
        let missing = || Error::failed("find a plan", format!("{} is not stored", plan.short()));
        let bundle = self.store.plan(plan).await?.ok_or_else(missing)?;
        let noted = bundle.functions.clone();
        let (mut plugins, mut generators) = (Vec::new(), BTreeMap::new());
        for pin in &bundle.plugins {
            let plugin = self.pinned(pin.digest).await?;
            plugins.push(PluginInfo::new(plugin.manifest().clone(), plugin.digest()));
            if pin.kind == Kind::Generator {
                generators.insert(pin.digest, plugin);
            }
        }
        let runtime = tokio::runtime::Handle::current();
        let evaluate = move || {
            // The version that made the builders makes them again.
            let generate = |wanted: &PluginUse| match generators.get(&wanted.digest) {
                Some(plugin) => runtime.block_on(configuration::generate(plugin, &wanted.config)),
                None => Err(Vec::new()),
            };
            // The parameters were accepted when the plan was made.
            capstan_config::evaluate_with(&Files::bundle(bundle), &plugins, &|_, _| Ok(()), &generate)
        };
        let evaluated = tokio::task::spawn_blocking(evaluate).await;
        let evaluated = evaluated.map_err(|e| Error::failed("evaluate a plan again", e))?;
        let functions = evaluated.map_err(Error::Config)?.functions;
        if let Some(fault) = changed(&noted, &functions) {
            return Err(Error::failed("evaluate a plan again", fault));
        }
        Ok(functions)
    }

    /// Calls a function of a plan; the inner error is the function's own. What asks has a fallback, and says so in the log once.
    pub async fn call(
        &self,
        plan: Digest,
        number: u32,
        args: Vec<Value>,
        limits: CallLimits,
    ) -> Result<Result<Value, FunctionError>, Error> {
        let functions = self.functions(plan).await?;
        let called = tokio::task::spawn_blocking(move || functions.call(number, args, limits)).await;
        called.map_err(|e| Error::failed("call a function of the configuration", e))
    }
}

/// How a plan's functions differ from those that were noted when it was made. Nothing was noted of older plans.
fn changed(noted: &[String], found: &Functions) -> Option<String> {
    let found: Vec<_> = found.list().into_iter().map(|function| function.name).collect();
    if noted.is_empty() || noted == found {
        return None;
    }
    let place = noted
        .iter()
        .zip(&found)
        .take_while(|(noted, found)| noted == found)
        .count();
    let name = |names: &[String]| {
        names
            .get(place)
            .map_or("none".to_owned(), |name| format!("`{name}`"))
    };
    let (noted, found) = (name(noted), name(&found));
    Some(format!(
        "expected its function {place} to be {noted} as when it was made, found {found}: this version of Capstan reads it \
         otherwise; rebuild with the configuration in force"
    ))
}
