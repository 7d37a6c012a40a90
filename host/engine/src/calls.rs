//! Calls into schedulers that can be asked for builds: by a step, a person, a command line. The master calls and commits the
//! answer, as with events.

use capstan_model::plugin::Kind;
use capstan_model::{Digest, Timestamp};
use serde_json::Value;

use crate::bindings::decisions;
use crate::bindings::scheduler::exports::capstan::plugin::scheduler as wit;
use crate::call::{CallError, CallState, Caller, Problem, call_guest};
use crate::convert::bound;
use crate::limits::MAX_PAYLOAD;
use crate::plugin::Plugin;
use crate::scheduler::{Decision, read, sets};
use crate::step::canonical;
use crate::wasi::{Beginning, World};

/// The most fields of a form, in bytes of JSON.
const MAX_FORM: usize = 256 << 10;

impl Plugin {
    /// Whether it can be asked for builds.
    pub fn takes_calls(&self) -> bool {
        self.beside().calls.is_some()
    }

    /// What a scheduler asks a person for: `kind` and `fields`. `None` if it cannot be asked for builds.
    pub async fn describe(&self, caller: &Caller, config: &Value) -> Result<Option<Value>, CallError> {
        let Some(pre) = &self.beside().calls else {
            return Ok(None);
        };
        let config = canonical::text(config);
        let mut data = CallState::new(self.facts(), Some(caller));
        if self.manifest().plugin.wasi.is_some() {
            let at = self.facts().clock.now();
            let seed = Digest::of(config.as_bytes());
            data.guest.world = World::new(Beginning::Given { at, seed });
        }
        let form = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_calls()
            .call_describe(&mut store, &config))?;
        bound("the form", form.len(), MAX_FORM).map_err(CallError::Malformed)?;
        let form: Value = serde_json::from_str(&form)
            .map_err(|error| CallError::Malformed(format!("the form: expected JSON: {error}")))?;
        if !form["kind"].is_string() || !form["fields"].is_array() {
            let expected = "the form: expected an object with `kind` and a list `fields`";
            return Err(CallError::Malformed(expected.to_owned()));
        }
        Ok(Some(form))
    }

    /// Lets a scheduler handle a call. Nothing has happened until the decision is committed. `InvalidConfig` names what is
    /// wrong in the call.
    pub async fn call(
        &self,
        caller: &Caller,
        config: &Value,
        state: &[u8],
        now: Timestamp,
        call: &Value,
    ) -> Result<Decision, CallError> {
        let Some(pre) = &self.beside().calls else {
            return Err(self.without("be asked for builds", "calls"));
        };
        let (config, call) = (canonical::text(config), canonical::text(call));
        let data = self.deciding(caller, state, now, &[&config, &call]);
        let decision = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_calls()
            .call_call(&mut store, &config, state, now.0, &call))?;
        let mut decision = wit::Decision::from(decision);
        let submit = std::mem::take(&mut decision.submit);
        let decision = read(decision).map_err(CallError::Malformed)?;
        // What a request holds is mostly what the call said. Whoever asked is told; the plugin need not be at fault.
        let submit = sets(submit).map_err(|message| {
            let path = String::new();
            CallError::InvalidConfig(vec![Problem { path, message }])
        })?;
        Ok(Decision { submit, ..decision })
    }

    /// What a call has that decides something: one that was cut off is made again, and is to come to the same.
    pub(crate) fn deciding(
        &self,
        caller: &Caller,
        state: &[u8],
        now: Timestamp,
        texts: &[&str],
    ) -> CallState {
        let mut data = CallState::new(self.facts(), Some(caller));
        if self.manifest().plugin.wasi.is_some() {
            let said = format!(" {} {}", now.0, texts.join(" "));
            let seed = Digest::of(&[state, said.as_bytes()].concat());
            data.guest.world = World::new(Beginning::Given { at: now, seed });
        }
        data
    }

    pub(crate) fn without(&self, what: &str, interface: &str) -> CallError {
        if self.kind() != Kind::Scheduler {
            return self.wrong_kind(Kind::Scheduler);
        }
        let name = self.name();
        CallError::Permanent(format!(
            "`{name}` cannot {what}: it does not export `{interface}`"
        ))
    }
}

const _: () = assert!(MAX_FORM <= MAX_PAYLOAD, "a form is kept as other payloads are");

impl From<decisions::Decision> for wit::Decision {
    fn from(decision: decisions::Decision) -> Self {
        let buildset = |set: decisions::Buildset| wit::Buildset {
            builders: set.builders,
            sources: set.sources,
            priority: set.priority,
            reason: set.reason,
            properties: set.properties,
            changes: set.changes,
        };
        let timer = |timer: decisions::Timer| wit::Timer {
            name: timer.name,
            at: timer.at,
        };
        Self {
            state: decision.state,
            submit: decision.submit.into_iter().map(buildset).collect(),
            set_timers: decision.set_timers.into_iter().map(timer).collect(),
            clear_timers: decision.clear_timers,
        }
    }
}
