//! Commands of a step: their specifications, which live in the host while the guest builds them, and the calls that
//! start, await and end them.

use capstan_model::{CommandId, EnvValue, Exit, Program, TimeOut};
use serde_json::json;
use wasmtime::component::Resource;

use super::deed::{Answer, Completed, Deed};
use super::host::{MAX_SUMMARY, StepState, shorten};
use super::session::Session;
use super::spec::Spec;
use crate::bindings::step::capstan::plugin::commands;
use crate::call::Trap;
use crate::limits::MAX_RESOURCES;

/// All specifications that one instance holds, together.
const MAX_SPECS: usize = 8 << 20;

/// A command that the guest has started.
pub struct Started {
    id: CommandId,
}

impl commands::Host for StepState {
    async fn start(
        &mut self,
        spec: Resource<Spec>,
    ) -> wasmtime::Result<Result<Resource<Started>, commands::CommandError>> {
        let begun = self
            .command("commands.start", &spec, |command, spec| Deed::Start {
                command,
                spec,
            })
            .await?;
        match begun {
            (Some(Deed::Start { command, .. }), Answer::Done) => {
                Ok(Ok(self.table.push(Started { id: command })?))
            }
            (_, answer) => self.refusal("commands.start", answer).map(Err),
        }
    }

    async fn run(
        &mut self,
        spec: Resource<Spec>,
    ) -> wasmtime::Result<Result<commands::Completion, commands::CommandError>> {
        let (_, answer) = self
            .command("commands.run", &spec, |command, spec| Deed::Run { command, spec })
            .await?;
        self.completion("commands.run", answer)
    }

    async fn wait_any(&mut self, started: Vec<Resource<Started>>) -> wasmtime::Result<u32> {
        if started.is_empty() || started.len() > MAX_RESOURCES {
            let count = started.len();
            return Err(self.guest.end(Trap::Other(format!(
                "it waits for {count} commands, expected 1 to {MAX_RESOURCES}"
            ))));
        }
        let ids = started.iter().map(|command| Ok(self.table.get(command)?.id));
        let commands: Vec<_> = ids.collect::<wasmtime::Result<_>>()?;
        let asked = json!({ "commands": commands });
        let (_, answer) = self
            .effect("commands.wait-any", asked, |_| Ok(Deed::WaitAny { commands }))
            .await?;
        match answer {
            Answer::Place(place) => Ok(place),
            _ => Err(self.odd("commands.wait-any")),
        }
    }
}

impl commands::HostCommand for StepState {
    async fn id(&mut self, command: Resource<Started>) -> wasmtime::Result<String> {
        Ok(self.table.get(&command)?.id.to_string())
    }

    async fn wait(
        &mut self,
        command: Resource<Started>,
    ) -> wasmtime::Result<Result<commands::Completion, commands::CommandError>> {
        let command = self.table.get(&command)?.id;
        let asked = json!({ "command": command });
        let (_, answer) = self
            .effect("command.wait", asked, |_| Ok(Deed::Wait { command }))
            .await?;
        self.completion("command.wait", answer)
    }

    async fn kill(&mut self, command: Resource<Started>, reason: String) -> wasmtime::Result<()> {
        let (command, reason) = (self.table.get(&command)?.id, shorten(reason, MAX_SUMMARY));
        let asked = json!({ "command": command, "reason": reason });
        self.effect("command.kill", asked, |_| Ok(Deed::Kill { command, reason }))
            .await?;
        Ok(())
    }

    async fn drop(&mut self, command: Resource<Started>) -> wasmtime::Result<()> {
        self.table.delete(command)?;
        Ok(())
    }
}

impl commands::HostSpec for StepState {
    async fn argv(&mut self, argv: Vec<String>) -> wasmtime::Result<Resource<Spec>> {
        self.new_spec(Program::Argv(argv))
    }

    async fn shell(&mut self, line: String) -> wasmtime::Result<Resource<Spec>> {
        self.new_spec(Program::Shell(line))
    }

    async fn set_workdir(&mut self, spec: Resource<Spec>, path: String) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_workdir(path))
    }

    async fn set_env(&mut self, spec: Resource<Spec>, name: String, value: String) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_env(name, EnvValue::Set(value)))
    }

    async fn unset_env(&mut self, spec: Resource<Spec>, name: String) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_env(name, EnvValue::Unset))
    }

    async fn set_secret_env(
        &mut self,
        spec: Resource<Spec>,
        name: String,
        secret: String,
    ) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_env(name, EnvValue::Secret(secret)))
    }

    async fn set_log(&mut self, spec: Resource<Spec>, name: String) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_log(name))
    }

    async fn set_idle_timeout(&mut self, spec: Resource<Spec>, ms: u64) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_idle_timeout(ms))
    }

    async fn set_total_timeout(&mut self, spec: Resource<Spec>, ms: u64) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_total_timeout(ms))
    }

    async fn set_term_grace(&mut self, spec: Resource<Spec>, ms: u64) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_term_grace(ms))
    }

    async fn set_capture_stdout(&mut self, spec: Resource<Spec>, bytes: u32) -> wasmtime::Result<()> {
        self.edit(&spec, |spec| spec.set_capture_stdout(bytes))
    }

    async fn drop(&mut self, spec: Resource<Spec>) -> wasmtime::Result<()> {
        let spec = self.table.delete(spec)?;
        self.spec_bytes = self.spec_bytes.saturating_sub(spec.size());
        Ok(())
    }
}

impl StepState {
    fn completion(
        &mut self,
        call: &str,
        answer: Answer,
    ) -> wasmtime::Result<Result<commands::Completion, commands::CommandError>> {
        match answer {
            Answer::Completed(completed) => Ok(Ok(completed.into())),
            answer => self.refusal(call, answer).map(Err),
        }
    }

    fn refusal(&mut self, call: &str, answer: Answer) -> wasmtime::Result<commands::CommandError> {
        match answer {
            Answer::Cancelled(reason) => Ok(commands::CommandError::Cancelled(reason)),
            Answer::WorkerLost(reason) => Ok(commands::CommandError::WorkerLost(reason)),
            Answer::Invalid(reason) => Ok(commands::CommandError::Invalid(reason)),
            Answer::Denied(reason) => Ok(commands::CommandError::Denied(reason)),
            _ => Err(self.odd(call)),
        }
    }
}

impl From<Completed> for commands::Completion {
    fn from(completed: Completed) -> Self {
        let exit = match completed.exit {
            Exit::Code(code) => commands::Exit::Code(code),
            Exit::Signal(signal) => commands::Exit::Signal(signal),
            Exit::TimedOut(TimeOut::Idle) => commands::Exit::IdleTimeout,
            Exit::TimedOut(TimeOut::Total) => commands::Exit::TotalTimeout,
            Exit::TimedOut(TimeOut::Orphan) => {
                commands::Exit::Killed("its worker heard nothing from the master for too long".to_owned())
            }
            Exit::Killed(reason) | Exit::Lost(reason) => commands::Exit::Killed(reason),
            Exit::NotStarted(reason) | Exit::NoFile { reason, .. } => commands::Exit::NotStarted(reason),
        };
        Self {
            exit,
            duration_ms: completed.duration_ms,
            stdout_bytes: completed.stdout_bytes,
            stderr_bytes: completed.stderr_bytes,
            stdout: completed.stdout.into_bytes(),
        }
    }
}

impl StepState {
    /// Starts a command: checks form and rights, then makes the deed.
    async fn command(
        &mut self,
        call: &str,
        spec: &Resource<Spec>,
        deed: impl FnOnce(CommandId, Box<capstan_model::CommandSpec>) -> Deed,
    ) -> wasmtime::Result<(Option<Deed>, Answer)> {
        let spec = self.table.get(spec)?.clone();
        let asked = spec.asked();
        let live = self.session(call)?.is_live();
        // Rights may have changed since; what was recorded was allowed then.
        let refused = if live { self.refuse(&spec) } else { None };
        let begin = move |session: &Session| match refused {
            Some(answer) => Err(answer),
            None => {
                let log = session.free_log(spec.log());
                Ok(deed(
                    session.next_command(),
                    Box::new(spec.with(&session.surroundings, log)),
                ))
            }
        };
        self.effect(call, asked, begin).await
    }

    fn refuse(&mut self, spec: &Spec) -> Option<Answer> {
        if let Some(reason) = self.session.as_ref().and_then(|session| session.stopped()) {
            return Some(Answer::Cancelled(reason));
        }
        let formed = spec.check().map_err(Answer::Invalid);
        formed
            .and_then(|()| spec.allowed(&self.guest).map_err(Answer::Denied))
            .err()
    }

    fn edit(&mut self, spec: &Resource<Spec>, edit: impl FnOnce(&mut Spec)) -> wasmtime::Result<()> {
        let spec = self.table.get_mut(spec)?;
        let before = spec.size();
        edit(spec);
        self.spec_bytes = (self.spec_bytes + spec.size()).saturating_sub(before);
        self.weigh()
    }

    fn new_spec(&mut self, program: Program) -> wasmtime::Result<Resource<Spec>> {
        let spec = Spec::new(program);
        self.spec_bytes += spec.size();
        self.weigh()?;
        Ok(self.table.push(spec)?)
    }

    /// Specifications live in the host: all of one step together are bounded.
    fn weigh(&mut self) -> wasmtime::Result<()> {
        if self.spec_bytes > MAX_SPECS {
            return Err(self.guest.end(Trap::TooMuch(format!(
                "more than {} MiB of commands",
                MAX_SPECS >> 20
            ))));
        }
        Ok(())
    }
}
