//! Asking a scheduler for builds, and switching it on and off: what the handle does for people, pages and command lines.

use std::time::Duration;

use capstan_engine::Plugin;
use capstan_model::plan::Scheduler;
use capstan_model::plugin::Kind;
use capstan_model::{CallId, Patch, Properties, Property};
use capstan_store::{Call, CallAnswer, CallProblem, Submitted};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Error;
use crate::farm::{Farm, not_found};

/// A call is answered within milliseconds, unless the scheduler has much to do or its plugin has to be called again.
const PATIENCE: Duration = Duration::from_secs(20);
/// The answer may come with a bell that rang before it was waited for.
const LOOK: Duration = Duration::from_millis(500);
/// The largest call, in bytes of JSON.
const MAX_CALL: usize = 900 << 10;
/// The longest key.
const MAX_KEY: usize = 200;

/// A scheduler as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerStatus {
    /// What the configuration says of it.
    pub scheduler: Scheduler,
    /// Whether it is told of events and its timers run.
    pub enabled: bool,
    /// Whether it can be asked for builds.
    pub takes_calls: bool,
    /// How many events wait for it.
    pub waiting: u64,
    /// When its earliest timer is due.
    pub next: Option<capstan_model::Timestamp>,
    /// When it last gave an event up, and why; `None` if it has decided since.
    pub failed: Option<(capstan_model::Timestamp, String)>,
}

/// What a scheduler was asked for, and what came of it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The call.
    pub id: CallId,
    /// What it led to; `None` while the scheduler has not decided.
    pub made: Option<Vec<Submitted>>,
}

impl Farm {
    /// Every scheduler of the plan, in its order.
    pub async fn schedulers(&self) -> Result<Vec<SchedulerStatus>, Error> {
        let known = self.store.schedulers().await?;
        let status = |scheduler: &Scheduler| {
            let found = known.iter().find(|status| status.name == scheduler.name);
            let plugin = self.plugin(Kind::Scheduler, &scheduler.name, &scheduler.plugin);
            SchedulerStatus {
                scheduler: scheduler.clone(),
                enabled: found.is_none_or(|status| status.enabled),
                takes_calls: plugin.is_ok_and(|(plugin, _)| plugin.takes_calls()),
                waiting: found.map_or(0, |status| status.waiting),
                next: found.and_then(|status| status.next),
                failed: found.and_then(|status| status.failed.zip(status.error.clone())),
            }
        };
        Ok(self.plan().schedulers.iter().map(status).collect())
    }

    /// What a scheduler asks a person for who has filled in `values` so far.
    pub async fn describe_scheduler(&self, name: &str, values: &Value) -> Result<Value, Error> {
        let scheduler = self.scheduler(name)?;
        let (plugin, caller) = self.plugin(Kind::Scheduler, name, &scheduler.plugin)?;
        let config = super::choices::live(self, &self.plan(), &scheduler, values, &Value::Null).await?;
        let form = plugin.describe(&caller, &config).await;
        let mut form = form
            .map_err(|error| Error::failed(format!("ask the scheduler `{name}` for its form"), error))?
            .ok_or_else(|| takes_none(name, &plugin))?;
        form["builders"] = scheduler.builders.into();
        Ok(form)
    }

    /// Asks a scheduler for builds and waits for what it decides. The same key again is the same call.
    pub async fn call_scheduler(&self, name: &str, key: Option<&str>, body: Value) -> Result<Called, Error> {
        let scheduler = self.scheduler(name)?;
        let (plugin, _) = self.plugin(Kind::Scheduler, name, &scheduler.plugin)?;
        if !plugin.takes_calls() {
            return Err(takes_none(name, &plugin));
        }
        if let Err((field, message)) = body
            .get("patch")
            .map_or(Ok(()), |patch| Patch::read(patch).map(drop))
        {
            let path = format!("patch.{field}");
            return Err(Error::Refused(vec![CallProblem { path, message }]));
        }
        if let Err(message) = properties_fit(&body["properties"]) {
            let path = "properties".to_owned();
            return Err(Error::Refused(vec![CallProblem { path, message }]));
        }
        // The text of a patch is kept beside the call, and its scheduler does not see it.
        let patch = body["patch"]["body"]
            .as_str()
            .map_or(0, |text| json!(text).to_string().len());
        let found = body.to_string().len().saturating_sub(patch);
        if found > MAX_CALL {
            let reason = format!("expected a call of at most {MAX_CALL} bytes, found {found}");
            return Err(Error::Invalid(reason));
        }
        let key = match key {
            Some(key) if key.is_empty() || key.len() > MAX_KEY => {
                let reason = format!("expected 1 to {MAX_KEY} bytes, found {}", key.len());
                return Err(Error::Field { field: "key", reason });
            }
            // The length keeps keys of different schedulers apart, whatever their names hold.
            Some(key) => format!("key/{}/{name}/{key}", name.len()),
            None => Uuid::new_v4().to_string(),
        };
        let now = self.clock.now();
        let id = self.store.call_scheduler(name, &key, body, now).await;
        let id = id.map_err(|error| match error {
            capstan_store::Error::Conflict { .. } => Error::Conflict(format!(
                "the scheduler `{name}` is disabled; `capstan scheduler enable {}` switches it on",
                capstan_model::shell_word(name)
            )),
            other => other.into(),
        })?;
        self.answered(id).await
    }

    /// What came of a call, as far as something has.
    pub async fn scheduler_call(&self, name: &str, id: CallId) -> Result<Called, Error> {
        let call = self.store.call(id).await?;
        let call = call.filter(|call| call.scheduler == name);
        decided(call.ok_or_else(|| not_found("call", &id.to_string(), []))?)
    }

    async fn answered(&self, id: CallId) -> Result<Called, Error> {
        let mut bell = self.store.work_bell();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            bell.borrow_and_update();
            let call = self.store.call(id).await?;
            let call = call.ok_or_else(|| not_found("call", &id.to_string(), []))?;
            if call.answer.is_some() || tokio::time::Instant::now() >= until {
                return decided(call);
            }
            tokio::select! {
                _ = bell.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Switches a scheduler on or off; answers whether it was not so already.
    pub async fn enable_scheduler(&self, name: &str, enabled: bool) -> Result<bool, Error> {
        self.scheduler(name)?;
        Ok(self
            .store
            .enable_scheduler(name, enabled, self.clock.now())
            .await?)
    }

    fn scheduler(&self, name: &str) -> Result<Scheduler, Error> {
        let plan = self.plan();
        let found = plan.schedulers.iter().find(|scheduler| scheduler.name == name);
        let names = plan.schedulers.iter().map(|scheduler| scheduler.name.as_str());
        found.cloned().ok_or_else(|| not_found("scheduler", name, names))
    }
}

/// Who is told of whose complete buildsets, by the plan.
pub(crate) fn followers(plan: &capstan_model::plan::Plan) -> Vec<(String, String)> {
    let pairs = |scheduler: &Scheduler| {
        let follower = scheduler.name.clone();
        let pair = move |upstream: &String| (upstream.clone(), follower.clone());
        scheduler.follows.iter().map(pair).collect::<Vec<_>>()
    };
    plan.schedulers.iter().flat_map(pairs).collect()
}

/// Whether what a call says of properties can be given to a build. Its scheduler may add some of its own.
fn properties_fit(given: &Value) -> Result<(), String> {
    let entries = given.as_object().into_iter().flatten();
    let properties: Properties = entries
        .map(|(name, value)| Property {
            name: name.clone(),
            value: value.clone(),
            source: String::new(),
        })
        .collect();
    properties.check().map_err(|error| error.to_string())
}

fn decided(call: Call) -> Result<Called, Error> {
    let made = match call.answer {
        Some(CallAnswer::Refused(problems)) => return Err(Error::Refused(problems)),
        Some(CallAnswer::Made(made)) => Some(made),
        None => None,
    };
    Ok(Called { id: call.id, made })
}

fn takes_none(name: &str, plugin: &Plugin) -> Error {
    let plugin = plugin.name();
    Error::Conflict(format!(
        "the scheduler `{name}` (of {plugin}) cannot be asked for builds; those of force, triggerable, nightly-triggerable and \
         try-build can"
    ))
}

/// What a call of the engine says is wrong, as the store keeps it.
pub(super) fn problems(found: Vec<capstan_engine::Problem>) -> Vec<CallProblem> {
    let problem = |found: capstan_engine::Problem| CallProblem {
        path: found.path,
        message: found.message,
    };
    found.into_iter().map(problem).collect()
}
