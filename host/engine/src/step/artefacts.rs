//! Artefacts of a step: a file of the worker, handed over as the output of a command that only prints it, or what the plugin made
//! itself. The row of the artefact commits with the row that answers the step.

use std::time::Instant;

use capstan_model::plugin::Right;
use capstan_model::{CommandSpec, Completion, Digest, Exit, FileFault, Program, Stored, check_artefact_name};
use serde_json::json;

use super::deed::{Answer, Deed};
use super::host::StepState;
use super::port::{Abandoned, StepPort, StoreFault};
use super::session::Session;
use super::spec::leads_out;
use crate::bindings::step::capstan::plugin::artefacts;
use crate::limits::MAX_PAYLOAD;

/// The longest path of a file.
const MAX_PATH: usize = 1000;
/// The name of the log that carries a file. No log of a step begins with a dot, and none of these is shown as one.
const TRANSPORT: &str = ".artefact";

impl artefacts::Host for StepState {
    async fn publish(
        &mut self,
        path: String,
        name: String,
    ) -> wasmtime::Result<Result<artefacts::Artefact, artefacts::ArtefactError>> {
        const CALL: &str = "artefacts.publish";
        let asked = json!({ "path": cut(&path), "name": cut(&name) });
        let refused = match self.session(CALL)?.is_silent() {
            true => None,
            false => self.refuse_file(&path, &name).await?,
        };
        let begin = |session: &Session| match refused {
            Some(answer) => Err(answer),
            None => Ok(Deed::Publish {
                command: session.next_command(),
                spec: Box::new(print(session, path)),
                name,
            }),
        };
        let (_, answer) = self.effect(CALL, asked, begin).await?;
        self.artefact(CALL, answer)
    }

    async fn write(
        &mut self,
        name: String,
        content: Vec<u8>,
    ) -> wasmtime::Result<Result<artefacts::Artefact, artefacts::ArtefactError>> {
        const CALL: &str = "artefacts.write";
        // The bytes are no part of the journal: their digest tells whether the step repeats itself.
        let asked = json!({ "name": cut(&name), "size": content.len(), "sha256": Digest::of(&content) });
        let since = Instant::now();
        let known = self.look_up(CALL, &asked)?;
        let answer = match known {
            Some(answer) => answer,
            None => {
                let answer = match self.refuse_content(&name, &content).await? {
                    Some(refused) => refused,
                    None => {
                        let storing = self.session(CALL)?.port().store_content(name, content).await;
                        self.unless_abandoned(stored(storing))?
                    }
                };
                self.note_answer(CALL, &asked, &answer).await?;
                answer
            }
        };
        self.guest.returned(since);
        self.artefact(CALL, answer)
    }
}

impl StepState {
    /// Why a file is not handed over, if that is plain before anything is asked of the worker.
    async fn refuse_file(&mut self, path: &str, name: &str) -> wasmtime::Result<Option<Answer>> {
        if let Some(reason) = self.session.as_ref().and_then(|session| session.stopped()) {
            return Ok(Some(Answer::Cancelled(reason)));
        }
        if path.is_empty() || path.len() > MAX_PATH || leads_out(path) {
            return Ok(Some(Answer::Invalid(format!(
                "expected the path of a file inside the builder's directory, found {:?}",
                cut(path)
            ))));
        }
        self.refuse_name(name).await
    }

    async fn refuse_content(&mut self, name: &str, content: &[u8]) -> wasmtime::Result<Option<Answer>> {
        if content.len() > MAX_PAYLOAD {
            return Ok(Some(Answer::TooLarge(format!(
                "expected at most {MAX_PAYLOAD} bytes, found {}; a file of the worker may be larger",
                content.len()
            ))));
        }
        self.refuse_name(name).await
    }

    async fn refuse_name(&mut self, name: &str) -> wasmtime::Result<Option<Answer>> {
        if let Err(bad) = check_artefact_name(name) {
            return Ok(Some(Answer::Invalid(bad.to_string())));
        }
        if let Err(refusal) = self.guest.allow(Right::Artefacts, name) {
            return Ok(Some(Answer::Denied(refusal)));
        }
        let port = self.session("artefacts")?.port();
        let since = Instant::now();
        let taken = port.no_room_for(name.to_owned()).await;
        self.guest.returned(since);
        Ok(self.unless_abandoned(taken)?.map(Answer::Invalid))
    }

    fn artefact(
        &mut self,
        call: &str,
        answer: Answer,
    ) -> wasmtime::Result<Result<artefacts::Artefact, artefacts::ArtefactError>> {
        use artefacts::ArtefactError as Fault;
        Ok(Err(match answer {
            Answer::Stored(Stored { name, size, sha256 }) => {
                let sha256 = sha256.to_string();
                return Ok(Ok(artefacts::Artefact { name, size, sha256 }));
            }
            Answer::Denied(reason) => Fault::Denied(reason),
            Answer::Invalid(reason) => Fault::Invalid(reason),
            Answer::Missing(reason) => Fault::Missing(reason),
            Answer::TooLarge(reason) => Fault::TooLarge(reason),
            Answer::Cancelled(reason) => Fault::Cancelled(reason),
            Answer::WorkerLost(reason) => Fault::WorkerLost(reason),
            Answer::Unavailable(reason) => Fault::Unavailable(reason),
            _ => return Err(self.odd(call)),
        }))
    }
}

/// The command that prints a file.
fn print(session: &Session, path: String) -> CommandSpec {
    let max_bytes = session.port().max_artefact();
    CommandSpec {
        program: Program::File { path, max_bytes },
        builder_dir: session.surroundings.builder_dir.clone(),
        workdir: String::new(),
        env: Default::default(),
        log: TRANSPORT.to_owned(),
        idle_timeout_ms: None,
        total_timeout_ms: None,
        term_grace_ms: 0,
        orphan_timeout_ms: session.surroundings.orphan_timeout_ms,
        capture_stdout: 0,
    }
}

/// Takes over what a command has printed, once all of it is here.
pub(super) async fn take_over(
    port: &dyn StepPort,
    command: capstan_model::CommandId,
    name: String,
    completion: Completion,
) -> Result<Answer, Abandoned> {
    Ok(match completion.exit {
        Exit::Code(0) => {
            return stored(port.store_output(command, name, completion.stdout_bytes).await);
        }
        Exit::NoFile { fault, reason } => match fault {
            FileFault::Missing => Answer::Missing(reason),
            FileFault::Invalid => Answer::Invalid(reason),
            FileFault::TooLarge => Answer::TooLarge(reason),
            FileFault::Unreadable => Answer::Unavailable(reason),
        },
        Exit::Lost(reason) => Answer::WorkerLost(reason),
        other => Answer::Unavailable(format!("the file could not be handed over: {other}")),
    })
}

fn stored(storing: Result<Stored, StoreFault>) -> Result<Answer, Abandoned> {
    match storing {
        Ok(stored) => Ok(Answer::Stored(stored)),
        Err(StoreFault::Unavailable(reason)) => Ok(Answer::Unavailable(reason)),
        Err(StoreFault::Abandoned(abandoned)) => Err(abandoned),
    }
}

/// As much of a text as the journal keeps: what is longer is refused for its length.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_PATH + 1)]
}
