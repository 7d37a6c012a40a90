//! Calls into generators: parameters to builders, as JSON that `config` reads. The master calls while it loads a configuration,
//! the command line while it checks one.

use capstan_model::plugin::Kind;
use capstan_model::{Digest, Timestamp};
use serde_json::Value;

use crate::call::{CallError, CallState, call_guest};
use crate::convert::bound;
use crate::plugin::{Code, Plugin};
use crate::step::canonical;
use crate::wasi::{Beginning, World};

/// The longest answer, in bytes: far above what a thousand builders take.
const MAX_GENERATED: usize = 8 << 20;

impl Plugin {
    /// Lets a generator make builders of parameters. It can reach nothing but its diagnostics, and what its language wants of WASI
    /// is made of the parameters alone: the same plugin answers the same parameters with the same text.
    pub async fn generate(&self, parameters: &Value) -> Result<Value, CallError> {
        let Code::Generator(pre) = self.code() else {
            return Err(self.wrong_kind(Kind::Generator));
        };
        let parameters = canonical::text(parameters);
        let mut data = CallState::new(self.facts(), None);
        if self.manifest().plugin.wasi.is_some() {
            let seed = Digest::of(parameters.as_bytes());
            let at = Timestamp(0);
            data.guest.world = World::new(Beginning::Given { at, seed });
        }
        let answer = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_generator()
            .call_generate(&mut store, &parameters))?;
        bound("the generated text", answer.len(), MAX_GENERATED).map_err(CallError::Malformed)?;
        serde_json::from_str(&answer)
            .map_err(|error| CallError::Malformed(format!("expected a JSON text, found another: {error}")))
    }
}
