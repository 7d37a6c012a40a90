//! What one instance may use, from the operator's options and the plugin's manifest; the bounds that nobody sets.

use capstan_model::plugin::Limits;

use crate::engine::Options;

/// The largest component file.
pub const MAX_COMPONENT: usize = 64 << 20;
/// The largest single request, answer or state that crosses the border.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;
/// What the host copies out of a guest in one call, all values together.
pub(crate) const MAX_LIFTED: usize = 16 << 20;
/// The longest diagnostic message; the rest is cut.
pub(crate) const MAX_MESSAGE: usize = 4 << 10;
/// Diagnostic messages of one call; the rest is dropped and counted.
pub(crate) const MAX_MESSAGES: u32 = 1000;
/// Requests that leave the process in one call of a plugin that has no journal.
pub(crate) const MAX_REQUESTS: u32 = 1000;
/// Table elements of one instance: function pointers, so far more than a compiler emits.
pub(crate) const MAX_TABLE: usize = 100_000;
/// Host resources (command specifications, commands) that one instance holds at once.
pub(crate) const MAX_RESOURCES: usize = 1000;
/// Everything that one step's journal holds, in bytes of requests and answers.
pub(crate) const MAX_JOURNAL: usize = 64 << 20;
/// Everything that one step writes into logs by itself.
pub(crate) const MAX_TEXT: u64 = 64 << 20;

/// The limits of one plugin, resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved {
    pub memory: usize,
    pub slice_ms: u32,
    pub journal_rows: u32,
}

/// A limit that the manifest asks for and the operator does not allow.
#[derive(Debug)]
pub(crate) struct Greedy {
    pub limit: &'static str,
    pub asked: u32,
    pub allowed: u32,
}

/// Resolves a manifest's limits; `slice_ms` is the default of the plugin's kind.
pub(crate) fn resolve(asked: &Limits, options: &Options, slice_ms: u32) -> Result<Resolved, Greedy> {
    let take = |limit, asked: Option<u32>, default, allowed| match asked {
        Some(asked) if asked > allowed => Err(Greedy {
            limit,
            asked,
            allowed,
        }),
        asked => Ok(asked.unwrap_or(default)),
    };
    let memory_mib = take(
        "memory_mib",
        asked.memory_mib,
        options.memory_mib,
        options.max_memory_mib,
    )?;
    Ok(Resolved {
        memory: (memory_mib as usize) << 20,
        slice_ms: take("call_ms", asked.call_ms, slice_ms, options.max_call_ms)?,
        journal_rows: take(
            "journal_rows",
            asked.journal_rows,
            options.journal_rows,
            options.max_journal_rows,
        )?,
    })
}
