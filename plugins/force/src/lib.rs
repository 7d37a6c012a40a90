//! The scheduler `force`: builds what a person asks for, with a form whose fields become properties.

mod field;
mod form;
mod values;

use capstan_sdk::problem;
use capstan_sdk::scheduler::{
    Answer, Call, CallKind, Calls, Event, PluginError, Problem, Scheduler, SourceStamp, TimestampMs,
};
use scheduling::{Request, Sources};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use field::Field;

/// The parameters.
#[derive(Debug, Deserialize)]
pub struct Force {
    #[serde(default)]
    label: String,
    #[serde(default)]
    fields: Vec<Field>,
    #[serde(default)]
    sources: Sources,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    reason_required: bool,
    #[serde(flatten)]
    request: Request,
}

impl Scheduler for Force {
    type State = ();

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = form::faults(&self.fields);
        problems.extend(self.sources.fault().map(|fault| problem("sources", fault)));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, (): &mut (), _: TimestampMs, _: Event) -> Result<Answer, PluginError> {
        Ok(Answer::default())
    }
}

impl Calls for Force {
    fn describe(&self) -> Value {
        let fields: Vec<_> = self.fields.iter().map(Field::describe).collect();
        json!({
            "kind": "force",
            "label": self.label,
            "fields": fields,
            "reason": { "default": self.reason, "required": self.reason_required },
        })
    }

    fn call(&self, (): &mut (), _: TimestampMs, call: Call) -> Result<Answer, PluginError> {
        let mut faults = Vec::new();
        if call.kind == CallKind::Try {
            faults.push(problem(
                "kind",
                "expected a form, found a patch to try: use a try-build",
            ));
        }
        faults.extend(values::beside(&self.fields, &call));
        let reason = call.reason.filter(|reason| !reason.trim().is_empty());
        if reason.is_none() && self.reason_required {
            faults.push(problem("reason", "expected a reason, found none"));
        }
        let mut filled = values::Filled::default();
        filled.take(&self.fields, &call.values, &mut faults);
        if !faults.is_empty() {
            return Err(PluginError::InvalidConfig(faults));
        }
        let given = call.sources.into_iter().map(SourceStamp::from);
        let sources = self.sources.over(filled.sources.into_iter().chain(given));
        let reason = reason.unwrap_or_else(|| match self.reason.as_str() {
            "" => "forced".to_owned(),
            text => text.to_owned(),
        });
        let set = self.request.of(sources, reason, Vec::new());
        let set = Request::with(set, &call.properties, "force");
        let mut set = Request::with(set, &filled.properties, "force");
        if let Some(owner) = call.owner {
            set = Request::with(
                set,
                &Map::from_iter([("owner".to_owned(), json!(owner))]),
                "force",
            );
        }
        set.builders = call.builders;
        set.priority = call.priority.unwrap_or(set.priority);
        let mut answer = Answer::default();
        answer.submit.push(set);
        Ok(answer)
    }
}

capstan_sdk::scheduler!(Force, calls);

#[cfg(test)]
mod tests;
