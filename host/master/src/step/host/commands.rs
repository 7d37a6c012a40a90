//! A step's commands: given to the worker once, given again by a master that takes the step up, awaited, ended. Their ends are
//! noted together with the row that answers the step.

use std::collections::BTreeMap;
use std::time::Duration;

use capstan_engine::{Abandoned, CommandFault};
use capstan_model::{CommandId, CommandSpec, Completion, EnvValue, Exit, LogId};
use capstan_store::Command;

use super::{Asked, Host, abandoned};
use crate::commands::{Ended, Flight};
use crate::step::without_output;
use crate::{Error, workers};

/// How long after its grace a command that was told to stop may take to be gone, its output included.
const SETTLE: Duration = Duration::from_secs(15);
/// How often a waiting step looks whether its worker has been away for too long.
const GRACE_CHECK: Duration = Duration::from_secs(1);
/// In seconds of absence: how often it then looks whether the worker was revoked, the first time at once.
const LOOK_FOR_REVOCATION: u64 = 5;
impl Host {
    /// Gives orders again that the journal has as given: an earlier master may have died before the worker heard of them, and
    /// the step, which is answered from there, does not give them anew. A stopped build has its commands ended instead.
    pub(in crate::step) async fn take_up(
        &self,
        kills: &[(CommandId, String)],
        stopped: bool,
    ) -> Result<(), Error> {
        if !self.taken_up {
            return Ok(());
        }
        for command in self.farm.store.unfinished_commands(Some(&self.worker)).await? {
            if command.step != self.step {
                continue;
            }
            let given = match kills.iter().find(|(id, _)| *id == command.id) {
                Some((id, reason)) => self.kill(*id, reason).await.map_err(CommandFault::from),
                None if stopped => Ok(()),
                None => self.start(command.id).await,
            };
            match given {
                // An end is for whoever waits for the command.
                Ok(()) | Err(CommandFault::Lost(_)) => {}
                Err(CommandFault::Abandoned(fault)) => {
                    return Err(Error::failed("give an order again", fault));
                }
            }
        }
        Ok(())
    }

    /// Sends a command to its worker, unless it has ended already, which a replayed step learns here.
    pub(super) async fn start(&self, id: CommandId) -> Result<(), CommandFault> {
        if self.farm.commands.get(id).is_some() {
            return Ok(());
        }
        if let Some((spec, log)) = self.take_unsent(id) {
            // Its row is of this very run: no worker has heard of it.
            return self.send(id, spec, log).await;
        }
        let missing = || Abandoned(format!("command {id} has no row"));
        let command = self.row(id).await?.ok_or_else(missing)?;
        self.know(id, command.log, command.spec.program.is_file(), None);
        if command.completion.is_some() {
            return Ok(());
        }
        if self.farm.commands.is_missing(&self.worker, id)
            && workers::had_begun(&self.farm, id).await.map_err(abandoned)?
        {
            return self.end_lost(id, command.log, workers::FORGOTTEN).await;
        }
        if !self.farm.commands.holds(&self.worker, id) {
            return self.send(id, command.spec, command.log).await;
        }
        // Its welcome resumed it. A `Start` could cross the end of the command and begin it anew.
        let flight = Flight::new(&self.worker, command.spec, BTreeMap::new(), command.log);
        self.farm.commands.adopt(id, flight);
        self.look_once_more(id).await
    }

    pub(super) fn know(&self, id: CommandId, log: LogId, transport: bool, unsent: Option<CommandSpec>) {
        let mut commands = self.commands();
        if !commands.iter().any(|asked| asked.id == id) {
            commands.push(Asked {
                id,
                log,
                transport,
                unsent: unsent.map(Box::new),
                ended: false,
                complete: false,
            });
        }
    }

    fn take_unsent(&self, id: CommandId) -> Option<(CommandSpec, LogId)> {
        let mut commands = self.commands();
        let asked = commands.iter_mut().find(|asked| asked.id == id)?;
        Some((*asked.unsent.take()?, asked.log))
    }

    async fn send(&self, id: CommandId, spec: CommandSpec, log: LogId) -> Result<(), CommandFault> {
        let secrets = match self.secrets(&spec).await {
            Ok(secrets) => secrets,
            Err(reason) => return self.end_here(id, Exit::NotStarted(reason)).await,
        };
        let link = self.farm.link().map_err(abandoned)?;
        let flight = Flight::new(&self.worker, spec, secrets, log);
        self.farm.commands.start(id, flight, link);
        Ok(())
    }

    async fn row(&self, id: CommandId) -> Result<Option<Command>, Abandoned> {
        self.farm.store.command(id).await.map_err(abandoned)
    }

    /// A command may have ended after its row was read and before it was among those in flight.
    async fn look_once_more(&self, id: CommandId) -> Result<(), CommandFault> {
        if let Some(completion) = self.row(id).await?.and_then(|row| row.completion) {
            self.farm.commands.finish(id, Ended::recorded(completion));
        }
        Ok(())
    }

    async fn secrets(&self, spec: &CommandSpec) -> Result<BTreeMap<String, String>, String> {
        let mut values = BTreeMap::new();
        for value in spec.env.values() {
            let EnvValue::Secret(name) = value else { continue };
            if self
                .secrets
                .as_ref()
                .is_some_and(|allowed| !allowed.contains(name))
            {
                return Err(format!(
                    "expected secrets that the builder allows its pipeline, found `{name}` in the environment; the operator lists it in \
                     pipeline(…, allow_secrets = […]), or gives it to other builders alone"
                ));
            }
            let secret = self.farm.secrets.get(name).await.map_err(|e| e.to_string())?;
            let text = secret
                .expose_text()
                .ok_or_else(|| format!("secret `{name}` is not UTF-8 text"))?;
            values.insert(name.clone(), text.to_owned());
        }
        Ok(values)
    }

    /// Ends a command that its worker does not run.
    async fn end_here(&self, id: CommandId, exit: Exit) -> Result<(), CommandFault> {
        workers::end_command(&self.farm, id, without_output(exit))
            .await
            .map_err(abandoned)?;
        Ok(())
    }

    async fn end_lost(&self, id: CommandId, log: LogId, reason: &str) -> Result<(), CommandFault> {
        workers::end_lost(&self.farm, id, log, reason)
            .await
            .map_err(abandoned)?;
        Ok(())
    }

    /// A step may wait for hours: what is not the wait itself is boxed.
    pub(super) async fn wait(&self, id: CommandId) -> Result<Completion, CommandFault> {
        loop {
            let Some(flight) = self.farm.commands.get(id) else {
                if let Some(completion) = Box::pin(self.row(id)).await?.and_then(|row| row.completion) {
                    return ended(completion);
                }
                // After a restart a step may wait for a command that it started before.
                Box::pin(self.start(id)).await?;
                continue;
            };
            self.know(id, flight.log, flight.spec.program.is_file(), None);
            let mut end = flight.end.subscribe();
            let gone = tokio::select! {
                _ = end.wait_for(Option::is_some) => None,
                reason = self.worker_gone() => Some(reason),
            };
            if let Some(reason) = gone {
                Box::pin(self.end_lost(id, flight.log, &reason)).await?;
            }
            let end = flight.end.borrow().clone();
            if let Some(end) = end {
                self.note_ends();
                return ended(end.completion);
            }
        }
    }

    /// Notes the ends that this step's commands have come to, to be committed with the row that answers one of them. Also
    /// those that it did not wait for this time: `workers` leaves them to who waits.
    fn note_ends(&self) {
        let now = self.farm.clock.now();
        for asked in self.commands().iter_mut().filter(|asked| !asked.ended) {
            let Some(flight) = self.farm.commands.get(asked.id) else {
                continue;
            };
            let end = flight.end.borrow().clone();
            let Some(end) = end else { continue };
            (asked.ended, asked.complete) = (true, end.log.is_some());
            let records = end.records(asked.id, asked.log);
            self.ledger
                .note_end(asked.id, &self.worker, records.map(|record| (now, record)));
        }
    }

    /// Answers, and says why, once the worker will not come back: it has been away for the whole grace period without a break,
    /// or nobody lets it in any more.
    async fn worker_gone(&self) -> String {
        let grace = self.farm.operator.link.grace;
        let mut away = Duration::ZERO;
        loop {
            tokio::time::sleep(GRACE_CHECK).await;
            if self.farm.link().is_ok_and(|link| link.is_connected(&self.worker)) {
                away = Duration::ZERO;
                continue;
            }
            if away.as_secs().is_multiple_of(LOOK_FOR_REVOCATION) && Box::pin(self.is_revoked()).await {
                return format!("worker `{}` was revoked", self.worker);
            }
            away += GRACE_CHECK;
            if away >= grace {
                return format!("worker `{}` has been away for longer than {grace:?}", self.worker);
            }
        }
    }

    async fn is_revoked(&self) -> bool {
        let row = self.farm.store.worker(&self.worker).await;
        row.is_ok_and(|row| row.is_some_and(|row| row.revoked.is_some()))
    }

    pub(super) async fn kill(&self, id: CommandId, reason: &str) -> Result<(), Abandoned> {
        let link = self.farm.link().map_err(abandoned)?;
        if self.farm.commands.get(id).is_none() {
            // After a restart. One that its worker never got is over; else the worker is to hear of the kill alone.
            if self.farm.commands.is_missing(&self.worker, id) {
                if let Some(row) = self.row(id).await? {
                    self.know(id, row.log, row.spec.program.is_file(), None);
                }
                let end = without_output(Exit::Killed(reason.to_owned()));
                workers::end_command(&self.farm, id, end)
                    .await
                    .map_err(abandoned)?;
                return Ok(());
            }
            self.register(id, reason).await?;
        }
        self.farm.commands.kill(id, reason, link);
        Ok(())
    }

    /// Puts a command that an earlier master started among those in flight, to be stopped.
    async fn register(&self, id: CommandId, reason: &str) -> Result<(), Abandoned> {
        let Some(command) = self.row(id).await?.filter(|row| row.completion.is_none()) else {
            return Ok(());
        };
        self.know(id, command.log, command.spec.program.is_file(), None);
        let flight = Flight::new(&command.worker, command.spec, BTreeMap::new(), command.log);
        let _first = flight.kill.set(reason.to_owned());
        self.farm.commands.adopt(id, flight);
        Ok(())
    }

    /// Waits for the commands that the step left behind, so that their logs are whole before they are sealed. They were
    /// told to stop; one that cannot be waited for is given up, and its worker removes it when it comes back.
    pub(in crate::step) async fn settle(&self) -> Result<(), Error> {
        if !self.taken_up && self.commands().iter().all(|asked| asked.ended) {
            return Ok(());
        }
        self.ledger.commit(&self.farm).await?;
        for command in self.farm.store.unfinished_commands(Some(&self.worker)).await? {
            if command.step != self.step {
                continue;
            }
            let kill = self.kill(command.id, "the step has ended").await;
            kill.map_err(|e| Error::failed("stop what a step left behind", e))?;
            let patience = Duration::from_millis(command.spec.term_grace_ms) + SETTLE;
            // Also for a worker that is away: right after a restart of the master they all are.
            match tokio::time::timeout(patience, self.wait(command.id)).await {
                Ok(Ok(_) | Err(CommandFault::Lost(_))) => {}
                Ok(Err(CommandFault::Abandoned(fault))) => {
                    return Err(Error::failed("wait for what a step left behind", fault));
                }
                Err(_) => {
                    let reason = "its step ended while it could not be reached";
                    workers::end_lost(&self.farm, command.id, command.log, reason).await?;
                    self.farm.link()?.forget(&self.worker, command.id);
                }
            }
            self.ledger.commit(&self.farm).await?;
            self.farm.commands.remove(command.id);
        }
        // Those that ended while nobody waited for them were noted by `workers`.
        for asked in self.commands().iter().filter(|asked| !asked.ended) {
            self.farm.commands.remove(asked.id);
        }
        Ok(())
    }
}

/// A command that nobody knows the end of is the worker's loss; everything else is an end.
fn ended(completion: Completion) -> Result<Completion, CommandFault> {
    match completion.exit {
        Exit::Lost(reason) => Err(CommandFault::Lost(reason)),
        _ => Ok(completion),
    }
}
