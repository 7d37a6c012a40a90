//! Every function that a step may call, and how its answer comes again when the step is run again. The one table of it:
//! what a row's class is comes from here, and a test compares it with `wit/plugin.wit`.

use capstan_model::journal::Class;

/// How a function's answer comes again on a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Without a row: from row 0, from the calls before it, or from what the instance itself has built.
    Again,
    /// Without a row and without an answer: it speaks to the operator, and is silent during a replay.
    Silently,
    /// From its rows in the journal. One that is `Local` has one row; any other has two where it left the process, and one
    /// where it was refused before.
    FromRows(Class),
}

/// One function of the world `step-plugin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCall {
    /// `interface.function`, or `resource.function`; a resource's end is its `drop`.
    pub name: &'static str,
    /// How its answer comes again.
    pub answered: Answered,
}

const fn call(name: &'static str, answered: Answered) -> StepCall {
    StepCall { name, answered }
}

/// Every function, in the order of the interfaces.
pub const STEP_CALLS: &[StepCall] = &[
    call("log.write", Answered::Silently),
    call("clock.now", Answered::FromRows(Class::Local)),
    // Row 0 holds it.
    call("entropy.seed", Answered::Again),
    call("timers.sleep-ms", Answered::FromRows(Class::Timer)),
    // Row 0 holds these; a property may also be what the step itself set.
    call("build.step-name", Answered::Again),
    call("build.sources", Answered::Again),
    call("build.get-property", Answered::Again),
    // What these change commits together with their row.
    call("build.set-property", Answered::FromRows(Class::Local)),
    call("build.set-summary", Answered::FromRows(Class::Local)),
    call("build.add-link", Answered::FromRows(Class::Local)),
    // The text follows its row, at an offset that the calls before it fix: writing it twice is writing it once.
    call("build.write-log", Answered::FromRows(Class::Local)),
    // A specification is built in the host's memory and means nothing until it is started.
    call("spec.argv", Answered::Again),
    call("spec.shell", Answered::Again),
    call("spec.set-workdir", Answered::Again),
    call("spec.set-env", Answered::Again),
    call("spec.unset-env", Answered::Again),
    call("spec.set-secret-env", Answered::Again),
    call("spec.set-log", Answered::Again),
    call("spec.set-idle-timeout", Answered::Again),
    call("spec.set-total-timeout", Answered::Again),
    call("spec.set-term-grace", Answered::Again),
    call("spec.set-capture-stdout", Answered::Again),
    call("spec.drop", Answered::Again),
    // Derived from the installation, the step and the position of the command's `Start`.
    call("command.id", Answered::Again),
    call("command.wait", Answered::FromRows(Class::ReadRemote)),
    call("command.kill", Answered::FromRows(Class::RunOnce)),
    // Lets go of the handle; the command goes on until the step ends.
    call("command.drop", Answered::Again),
    call("commands.start", Answered::FromRows(Class::RunOnce)),
    call("commands.run", Answered::FromRows(Class::RunOnce)),
    call("commands.wait-any", Answered::FromRows(Class::ReadRemote)),
    // The file is printed by a command, under the command's id; the artefact commits with the answer.
    call("artefacts.publish", Answered::FromRows(Class::RunOnce)),
    // The bytes are stored under their digest before the row: twice is the same as once.
    call("artefacts.write", Answered::FromRows(Class::Local)),
    // What it changes commits together with its row.
    call("ending.end-build", Answered::FromRows(Class::Local)),
    // The call's key is derived from the step and the position of its `Start`: the same call is never made twice.
    call("triggers.call", Answered::FromRows(Class::RunOnce)),
    call("triggers.wait", Answered::FromRows(Class::ReadRemote)),
];

/// The class of the rows of a function.
pub(crate) fn class(name: &str) -> Class {
    let known = STEP_CALLS.iter().find(|call| call.name == name);
    match known.map(|call| call.answered) {
        Some(Answered::FromRows(class)) => class,
        Some(Answered::Again | Answered::Silently) | None => Class::Local,
    }
}
