//! What a configuration's functions say of the queue: [`Hooks`] that call them. A function that fails has the answer that
//! [`Hooks`] states for it; that is logged once for each fault.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use capstan_config::{CallLimits, Functions};
use capstan_model::plan::{Builder, FunctionRef, Plan};
use capstan_model::{RequestId, Timestamp};
use capstan_store::{QueueEntry, Store};
use serde_json::{Value, json};

use super::verdict;
use crate::pairing::{Choice, Hold, Hooks, RETRY_MS, Verdict};

/// What one call may take: many are made in a row.
pub(crate) const LIMITS: CallLimits = CallLimits {
    ticks: 100_000,
    time: Duration::from_secs(1),
    heap: 16 << 20,
    answer: 64 << 10,
};
/// How long functions may be asked before what they said is carried out.
const PATIENCE: Duration = Duration::from_secs(2);

/// Faults that were logged already. Shared by all decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Complaints(Arc<Mutex<HashSet<String>>>);

impl Complaints {
    /// Logs a fault of a function that has a say in something, once.
    pub fn log(&self, what: &str, fault: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Messages can differ with every request: only so many are kept apart.
        if known.len() < 1000 && known.insert(fault.to_owned()) {
            tracing::warn!("a function about {what} failed, its fallback is taken: {fault}");
        }
    }
}

/// The functions of a plan, for one decision. Blocks: its methods are called where that is allowed.
pub(crate) struct Functional {
    plan: Arc<Plan>,
    functions: Functions,
    store: Store,
    runtime: tokio::runtime::Handle,
    now: Timestamp,
    began: Instant,
    complaints: Complaints,
    /// What is known of requests, as functions are told.
    told: Mutex<HashMap<RequestId, Value>>,
}

/// Whether a plan has functions that have a say in the queue.
pub(crate) fn are_in(plan: &Plan) -> bool {
    let any = |builder: &Builder| {
        let rules = &builder.queueing;
        rules.collapse.is_some() || rules.next_worker.is_some() || rules.may_start.is_some()
    };
    plan.order.is_some() || plan.builders.iter().any(any)
}

impl Functional {
    pub fn new(
        plan: Arc<Plan>,
        functions: Functions,
        store: Store,
        now: Timestamp,
        complaints: Complaints,
    ) -> Self {
        Self {
            plan,
            functions,
            store,
            runtime: tokio::runtime::Handle::current(),
            now,
            began: Instant::now(),
            complaints,
            told: Mutex::default(),
        }
    }

    fn call<T>(
        &self,
        function: &FunctionRef,
        args: Vec<Value>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let answer = self.functions.call(function.number, args, LIMITS);
        let answer = answer.map_err(|error| error.to_string());
        let wrong = |fault| {
            format!(
                "the function `{}` ({}): {fault}",
                function.name, function.location
            )
        };
        match answer.and_then(|answer| read(&answer).map_err(wrong)) {
            Ok(answer) => Some(answer),
            Err(fault) => {
                self.complaints.log("the queue", &fault);
                None
            }
        }
    }

    /// A request as functions are told of it; one that waits no more is told in short.
    fn request(&self, entry: &QueueEntry) -> Value {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = told.get(&entry.id) {
            return known.clone();
        }
        let found = self
            .runtime
            .block_on(self.store.pending_request(entry.id))
            .ok()
            .flatten();
        let mut value = json!({
            "id": entry.id, "builder": &*entry.builder, "priority": entry.priority,
            "submitted": entry.submitted, "age": self.now.since(entry.submitted) / 1000,
            "reason": "", "sources": [], "properties": {}, "scheduler": null,
        });
        if let Some(found) = found {
            let properties = found
                .properties
                .into_iter()
                .map(|property| (property.name, property.value));
            value["properties"] = Value::Object(properties.collect());
            value["reason"] = found.reason.into();
            value["sources"] = json!(found.sources);
            value["scheduler"] = json!(found.scheduler);
        }
        told.insert(entry.id, value.clone());
        value
    }

    fn hold(&self, reason: String) -> Hold {
        Hold {
            reason,
            until: self.now.plus_ms(RETRY_MS),
        }
    }
}

impl Hooks for Functional {
    fn spent(&self) -> bool {
        self.began.elapsed() > PATIENCE
    }

    fn order(&self, waiting: &[&str]) -> Option<Vec<String>> {
        let function = self.plan.order.as_ref()?;
        self.call(function, vec![json!(waiting)], |answer| {
            let names = serde_json::from_value(answer.clone());
            names.map_err(|_| {
                format!(
                    "expected a list of names of builders, found {}",
                    verdict::shown(answer)
                )
            })
        })
    }

    fn together(&self, builder: &Builder, request: &QueueEntry, other: &QueueEntry) -> bool {
        let Some(function) = &builder.queueing.collapse else {
            return true;
        };
        let args = vec![self.request(request), self.request(other)];
        let answer = self.call(function, args, |answer| {
            let truth = answer.as_bool();
            truth.ok_or_else(|| format!("expected True or False, found {}", verdict::shown(answer)))
        });
        answer.unwrap_or(false)
    }

    fn next_worker(&self, builder: &Builder, request: &QueueEntry, free: &[&str]) -> Choice {
        let Some(function) = &builder.queueing.next_worker else {
            return Choice::LeastBusy;
        };
        let args = vec![self.request(request), json!(free)];
        let answer = self.call(function, args, |answer| match answer {
            Value::Null => Ok(Choice::None(
                self.hold(format!("{} chose none of the free workers", function.name)),
            )),
            Value::String(name) if free.contains(&name.as_str()) => Ok(Choice::This(name.clone())),
            other => Err(format!(
                "expected one of the free workers ({}) or None, found {}",
                free.join(", "),
                verdict::shown(other)
            )),
        });
        answer.unwrap_or(Choice::LeastBusy)
    }

    fn may_start(&self, builder: &Builder, request: &QueueEntry, worker: &str) -> Verdict {
        let Some(function) = &builder.queueing.may_start else {
            return Verdict::Yes;
        };
        let clock = match verdict::clock(self.now, &builder.queueing.time_zone) {
            Ok(clock) => clock,
            Err(fault) => return Verdict::No(self.hold(fault)),
        };
        let args = vec![self.request(request), json!(worker), clock];
        let answer = self.call(function, args, |answer| {
            verdict::read(answer, &function.name, self.now)
        });
        answer.unwrap_or_else(|| {
            Verdict::No(self.hold(format!(
                "the function {} failed; see the master's log",
                function.name
            )))
        })
    }
}

#[cfg(test)]
mod tests;
