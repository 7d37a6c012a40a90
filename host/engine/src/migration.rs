//! Calls that translate the state of a scheduler or the cursor of a change source to a new version of the plugin. The master
//! calls when it takes the new version into use.

use capstan_model::Digest;
use capstan_model::plugin::Kind;
use serde_json::Value;

use crate::call::{CallError, CallState, Caller, call_guest};
use crate::convert::bound;
use crate::limits::MAX_PAYLOAD;
use crate::plugin::Plugin;
use crate::step::canonical;
use crate::wasi::{Beginning, World};

impl Plugin {
    /// Lets a scheduler or a change source translate what its version `from_version` left. `None` if it has no such
    /// function: it reads the old form as it is. Nothing has happened until the answer is committed.
    pub async fn migrate(
        &self,
        caller: &Caller,
        config: &Value,
        from_version: &str,
        old: &[u8],
    ) -> Result<Option<Vec<u8>>, CallError> {
        if !matches!(self.kind(), Kind::Scheduler | Kind::ChangeSource) {
            return Err(self.wrong_kind(Kind::Scheduler));
        }
        let Some(pre) = &self.beside().migration else {
            return Ok(None);
        };
        let config = canonical::text(config);
        let mut data = CallState::new(self.facts(), Some(caller));
        if self.manifest().plugin.wasi.is_some() {
            // A call whose answer was not committed is made again, and is to come to the same.
            let seed = Digest::of(&[old, format!(" {from_version} {config}").as_bytes()].concat());
            let at = self.facts().clock.now();
            data.guest.world = World::new(Beginning::Given { at, seed });
        }
        let new = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_migration()
            .call_migrate(&mut store, &config, from_version, old))?;
        bound("the translated state", new.len(), MAX_PAYLOAD).map_err(CallError::Malformed)?;
        Ok(Some(new))
    }
}
