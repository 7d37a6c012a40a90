//! Rules that a world breaks on purpose, to see that the simulation notices.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The master acknowledges log bytes before they are durable.
    AcknowledgesBeforeItStores,
    /// The master lets a worker forget a command before the command's end is durable.
    ForgetsBeforeItRecords,
    /// The master takes the report of an end for the end, whatever is missing of the log.
    RecordsAnEndWithoutItsLog,
    /// The master sends a command that has begun to a worker that does not know it.
    SendsWhatHasBegun,
    /// The master leaves what was ordered while the worker was away.
    ForgetsToSend,
    /// The master stops nothing that a worker brings back.
    ForgetsToKill,
    /// The worker removes a command as soon as it has told its end.
    RemovesWhatItHasTold,
    /// The worker's next daemon looks only for commands that have ended.
    OverlooksWhatRuns,
    /// A supervisor does not look whether another one was first.
    StartsWithoutLooking,
    /// The worker keeps the master's epoch in memory only.
    KeepsNoEpoch,
    /// The worker sends from its own end of the log, wherever the master asks it to go on.
    ResumesWhereItLikes,
}

impl Flaw {
    pub const ALL: [Self; 11] = [
        Self::AcknowledgesBeforeItStores,
        Self::ForgetsBeforeItRecords,
        Self::RecordsAnEndWithoutItsLog,
        Self::SendsWhatHasBegun,
        Self::ForgetsToSend,
        Self::ForgetsToKill,
        Self::RemovesWhatItHasTold,
        Self::OverlooksWhatRuns,
        Self::StartsWithoutLooking,
        Self::KeepsNoEpoch,
        Self::ResumesWhereItLikes,
    ];
}
