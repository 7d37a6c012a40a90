//! What can happen in the world of the simulation, and how often.

use super::random::Random;

/// Each number picks one of the things that it can happen to; where there is none, nothing happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A step asks for the next command.
    Order,
    /// After a restart of the master, a step asks again for a command that it asked for before.
    TakeUp(u64),
    /// The store records the ends that are known.
    Commit(u64),
    /// A supervisor comes to life.
    Supervise(u64),
    /// A command writes a frame, or ends.
    Write(u64),
    /// The daemon copies this many bytes of a spool to its stream.
    Send(u64, u64),
    ToWorker,
    ToMaster(u64),
    /// The link reads this many bytes of a stream.
    Log(u64, u64),
    /// What a stream brought becomes durable.
    Store(u64),
    /// The worker dials, if it has no connection or has noticed that the one it has is dead.
    Connect,
    /// The newest connection that said hello gets the worker's seat, and who had it leaves.
    Seat,
    /// The one that has it is answered.
    Welcome,
    /// Bytes that an ended connection had received turn out to be stored.
    Stray(u64),

    /// The master sends a command once more.
    StartAgain(u64),
    /// Somebody stops a command.
    Kill(u64),
    /// An acknowledgement is overtaken by what follows it.
    AckLate(u64),
    NewerToWorker,
    NewerToMaster,
    Ping,
    /// The connection ends, and both ends notice.
    Cut,
    /// The worker gives its connection up and dials again; the master still has the old one.
    Redial,
    /// The master notices that a connection is dead; the worker has not.
    Notice(u64),
    /// The log of a command cannot be stored.
    GiveUp(u64),
    /// A step waits no longer for a command whose worker is away.
    GraceOver(u64),
    RestartMaster {
        appends_survive: bool,
    },
    RestartDaemon,
    RestartBoth,
    /// A master of an earlier epoch takes the place of the present one for a moment.
    OldMaster,
    /// The worker's machine loses power: what ran is over, and ends of spools are gone.
    PowerLoss(u64),
    /// The worker's folder is emptied.
    LoseMemory,
}

/// What happens next: one of the faults in this many of a thousand cases.
pub(super) fn next(random: &mut Random, faults: u64) -> Event {
    if random.below(1000) < faults {
        fault(random)
    } else {
        work(random)
    }
}

fn work(random: &mut Random) -> Event {
    let any = random.next() >> 32;
    match random.below(100) {
        0..8 => Event::Order,
        8..11 => Event::TakeUp(any),
        11..17 => Event::Commit(any),
        17..23 => Event::Supervise(any),
        23..36 => Event::Write(any),
        36..46 => Event::Send(any, 1 + random.below(200)),
        46..56 => Event::ToWorker,
        56..66 => Event::ToMaster(any),
        66..76 => Event::Log(any, 1 + random.below(160)),
        76..84 => Event::Store(any),
        84..89 => Event::Connect,
        89..94 => Event::Seat,
        94..98 => Event::Welcome,
        _ => Event::Stray(any),
    }
}

fn fault(random: &mut Random) -> Event {
    let any = random.next() >> 32;
    match random.below(100) {
        0..10 => Event::StartAgain(any),
        10..18 => Event::Kill(any),
        18..38 => Event::AckLate(any),
        38..42 => Event::NewerToWorker,
        42..46 => Event::NewerToMaster,
        46..50 => Event::Ping,
        50..56 => Event::Cut,
        56..65 => Event::Redial,
        65..69 => Event::Notice(any),
        69..77 => Event::GiveUp(any),
        77..80 => Event::GraceOver(any),
        80..85 => Event::RestartMaster {
            appends_survive: random.chance(50),
        },
        85..90 => Event::RestartDaemon,
        90..92 => Event::RestartBoth,
        92..95 => Event::OldMaster,
        95..98 => Event::PowerLoss(any),
        98 => Event::LoseMemory,
        _ => Event::Connect,
    }
}
