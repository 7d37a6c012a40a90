//! Small values that a reporter keeps: keys and values are checked for their form, then for the right, then handed to the
//! master's port under the caller's name.

use std::time::Instant;

use capstan_model::plugin::Right;

use crate::bindings::reporter::capstan::plugin::state;
use crate::call::CallState;
use crate::ports::{Ports, StateFault};

const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 64 << 10;

impl state::Host for CallState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, state::StateError>> {
        let ports = self.reach("state.get")?;
        if let Err(refused) = self.may_use(&key) {
            return Ok(Err(refused));
        }
        let since = Instant::now();
        let answer = ports.state.get(self.owner.clone(), key).await;
        self.guest.returned(since);
        Ok(answer.map_err(state::StateError::from))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), state::StateError>> {
        let ports = self.reach("state.set")?;
        if value.len() > MAX_VALUE {
            return Ok(Err(state::StateError::Invalid(format!(
                "expected a value of at most {MAX_VALUE} bytes, found {}",
                value.len()
            ))));
        }
        self.change(ports, key, Some(value)).await
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), state::StateError>> {
        let ports = self.reach("state.delete")?;
        self.change(ports, key, None).await
    }
}

impl CallState {
    async fn change(
        &mut self,
        ports: Ports,
        key: String,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), state::StateError>> {
        if let Err(refused) = self.may_use(&key) {
            return Ok(Err(refused));
        }
        let since = Instant::now();
        let answer = ports.state.set(self.owner.clone(), key, value).await;
        self.guest.returned(since);
        Ok(answer.map_err(state::StateError::from))
    }

    fn may_use(&self, key: &str) -> Result<(), state::StateError> {
        well_formed(key).map_err(state::StateError::Invalid)?;
        self.guest
            .allow(Right::State, key)
            .map_err(state::StateError::Denied)
    }
}

/// One spelling per key, so that a right for `a/*` covers what it says.
fn well_formed(key: &str) -> Result<(), String> {
    let odd = |word: &str| matches!(word, "" | "." | "..");
    let strange = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if key.len() <= MAX_KEY && !key.split('/').any(odd) && !key.contains(strange) {
        return Ok(());
    }
    let shown: String = key.chars().take(100).collect();
    Err(format!(
        "expected a key of words joined by `/`, at most {MAX_KEY} bytes, found {shown:?}"
    ))
}

impl From<StateFault> for state::StateError {
    fn from(fault: StateFault) -> Self {
        match fault {
            StateFault::Invalid(text) => Self::Invalid(text),
            StateFault::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        for key in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/./b",
            "../a",
            "a b",
            "a\nb",
            "a\\b",
            &"x".repeat(129),
        ] {
            assert!(well_formed(key).is_err(), "{key:?}");
        }
        for key in ["a", "last/roman", "größe", &"x".repeat(128)] {
            well_formed(key).unwrap();
        }
    }
}
