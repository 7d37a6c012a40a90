//! Calls into change sources: (cursor) to (cursor, changes). The master polls and commits the answer.

use capstan_model::plugin::Kind;
use capstan_model::{NewChange, Timestamp};
use serde_json::Value;

use crate::bindings::source::exports::capstan::plugin::change_source as wit;
use crate::call::{CallError, CallState, Caller, call_guest};
use crate::convert::{bound, properties};
use crate::limits::MAX_PAYLOAD;
use crate::plugin::{Code, Plugin};
use crate::step::canonical;

/// What a poll found.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// The new cursor; at most a MiB.
    pub cursor: Vec<u8>,
    /// The changes, oldest first.
    pub changes: Vec<NewChange>,
    /// When to poll again.
    pub poll_again_ms: u64,
}

const MAX_CHANGES: usize = 10_000;

impl Plugin {
    /// Lets a change source look for changes. Nothing has happened until the answer is committed.
    pub async fn poll(&self, caller: &Caller, config: &Value, cursor: &[u8]) -> Result<Poll, CallError> {
        let Code::Source(pre) = self.code() else {
            return Err(self.wrong_kind(Kind::ChangeSource));
        };
        let config = canonical::text(config);
        let data = CallState::new(self.facts(), Some(caller));
        let found = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_change_source()
            .call_poll(&mut store, &config, cursor))?;
        read(found).map_err(CallError::Malformed)
    }
}

fn read(found: wit::PollResult) -> Result<Poll, String> {
    bound("cursor", found.cursor.len(), MAX_PAYLOAD)?;
    bound("changes", found.changes.len(), MAX_CHANGES)?;
    let changes = found.changes.into_iter().map(change).collect::<Result<_, _>>()?;
    Ok(Poll {
        cursor: found.cursor,
        changes,
        poll_again_ms: found.poll_again_ms,
    })
}

fn change(change: wit::NewChange) -> Result<NewChange, String> {
    if change.dedup_key.is_empty() {
        return Err("dedup-key: expected a key, found nothing".to_owned());
    }
    Ok(NewChange {
        dedup_key: change.dedup_key,
        codebase: change.codebase,
        repository: change.repository,
        project: change.project,
        branch: change.branch,
        revision: change.revision,
        author: change.author,
        comments: change.comments,
        files: change.files,
        category: change.category,
        when: Timestamp(change.when),
        properties: properties(change.properties)?,
    })
}
