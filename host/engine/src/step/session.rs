//! What is known of a step at the point where its guest is. Everything but the journal is derived from the calls that the
//! guest has made so far, never from the rows ahead of it nor from the live build: a replay sees what the first run saw.

mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use capstan_model::journal::{Created, Effect};
use capstan_model::{BuildsetId, CommandId, Outcome, Properties, StepId, Timestamp};
use futures::FutureExt as _;
use serde_json::Value;
use uuid::Uuid;

use super::deed::{Answer, Deed, Wait, carry_out};
use super::halt::Halt;
use super::journal::{Journal, Mismatch, Next, shown};
use super::port::{Abandoned, StepPort};
use super::replay::{Asked, Message, Past};
use super::run::Runner;
use super::spec::Surroundings;
use super::{StepEnd, StepError, StepRun, StopSignal};
use crate::audit::Place;
use crate::call::Trap;
use texts::Text;

/// Rows that are kept back at most: a guest that only computes and notes things does not commit each.
const MAX_UNSAVED: usize = 128;

pub(crate) struct Session {
    pub created: Created,
    pub surroundings: Surroundings,
    journal: Journal,
    port: Arc<dyn StepPort>,
    stop: StopSignal,
    installation: Uuid,
    step: StepId,
    seen: Seen,
    texts: Vec<Text>,
    text_bytes: usize,
    /// How much of each log was handed to the port: a replay need not hand it over again.
    written: BTreeMap<String, u64>,
    /// What was said and asked so far, for a run that has nothing but the journal.
    offline: Option<Offline>,
}

/// What is kept of a run that has nothing but the journal.
#[derive(Default)]
pub(crate) struct Offline {
    pub messages: Vec<Message>,
    pub calls: Vec<Asked>,
}

/// A step that waits without an instance: what the port does not know.
pub(crate) struct Resting {
    /// The open `Start`, the last row.
    seq: u32,
    max_rows: u32,
    surroundings: Surroundings,
    port: Arc<dyn StepPort>,
    stop: StopSignal,
    installation: Uuid,
    step: StepId,
    written: BTreeMap<String, u64>,
}

impl Resting {
    /// Reads the journal again. Answers the open `Start` beside the session.
    pub(crate) async fn wake(self: Box<Self>) -> Result<(Box<Session>, u32, Deed), StepError> {
        let rows = self.port.journal().await?;
        let (journal, created) = Journal::stored(rows, self.max_rows)?;
        let Some(deed) = journal.open_deed(self.seq) else {
            // Somebody else has added to it.
            let reason = format!("row {} of its journal is no longer the last one", self.seq);
            return Err(Abandoned(reason).into());
        };
        let mut session = Box::new(Session {
            created,
            surroundings: self.surroundings,
            journal,
            port: self.port,
            stop: self.stop,
            installation: self.installation,
            step: self.step,
            seen: Seen::default(),
            texts: Vec::new(),
            text_bytes: 0,
            written: self.written,
            offline: None,
        });
        session.rewind();
        Ok((session, self.seq, deed))
    }
}

/// Derived from the calls so far.
#[derive(Default)]
struct Seen {
    properties: Properties,
    summary: Option<String>,
    ends_build: Option<(Outcome, String)>,
    logs: BTreeSet<String>,
    /// The lowest number of a log's name that may be free: those below are taken.
    numbers: BTreeMap<String, u32>,
    text_logs: BTreeMap<String, (String, u64)>,
    text_total: u64,
    running: BTreeSet<CommandId>,
    /// What schedulers made because the step asked.
    buildsets: BTreeSet<BuildsetId>,
}

impl Session {
    pub(crate) fn open(
        run: StepRun,
        port: Arc<dyn StepPort>,
        stop: StopSignal,
    ) -> Result<(Runner, Box<Self>), StepError> {
        let max_rows = run.plugin.facts().limits.journal_rows;
        let place = Place {
            owner: run.created.step_name.clone(),
            builder: Some(run.builder).filter(|name| !name.is_empty()),
            step: Some(run.step),
            delivery: None,
        };
        let (journal, created) = Journal::open(run.journal, run.created, port.now(), max_rows)?;
        let surroundings = Surroundings {
            builder_dir: run.builder_dir,
            env: created.env.clone().unwrap_or(run.env),
            orphan_timeout_ms: run.orphan_timeout_ms,
        };
        let mut session = Box::new(Self {
            created,
            surroundings,
            journal,
            port,
            stop,
            installation: run.installation,
            step: run.step,
            seen: Seen::default(),
            texts: Vec::new(),
            text_bytes: 0,
            written: BTreeMap::new(),
            offline: None,
        });
        session.rewind();
        let runner = Runner {
            plugin: run.plugin,
            grants: run.grants,
            place,
            mode: run.mode,
        };
        Ok((runner, session))
    }

    /// Lets go of everything that the port can tell again, while the answer to the `Start` at `seq` is awaited.
    pub(crate) async fn rest(mut self: Box<Self>, seq: u32) -> Result<Resting, Abandoned> {
        // What was replayed up to here may have left text that an earlier run did not come to write.
        self.save().await?;
        self.port.parked();
        Ok(Resting {
            seq,
            max_rows: self.journal.max_rows(),
            surroundings: self.surroundings,
            port: self.port,
            stop: self.stop,
            installation: self.installation,
            step: self.step,
            written: self.written,
        })
    }

    /// Back to the beginning, for another run of the guest.
    pub(crate) fn rewind(&mut self) {
        self.journal.rewind();
        self.seen = Seen {
            properties: self.created.properties.clone(),
            ..Seen::default()
        };
    }

    /// The end, for a step whose last row is there.
    pub(crate) fn finished(&self) -> Result<Option<StepEnd>, StepError> {
        let Some(response) = self.journal.finished() else {
            return Ok(None);
        };
        serde_json::from_value(response.clone())
            .map(Some)
            .map_err(|error| StepError::BadJournal(format!("in the last row: {error}")))
    }

    pub(crate) fn is_live(&self) -> bool {
        self.journal.is_live()
    }

    /// The row that the guest has not reached.
    pub(crate) fn position(&self) -> u32 {
        self.journal.position()
    }

    /// When the step began, and how long that was before the last row that the guest was answered from: the same on every
    /// replay.
    pub(crate) fn passed(&self) -> (Timestamp, Duration) {
        let (began, answered) = self.journal.times();
        (began, Duration::from_millis(answered.since(began)))
    }

    /// Whether the guest, which has returned, made every recorded call.
    pub(crate) fn at_end(&self) -> Result<(), Mismatch> {
        self.journal.at_end()
    }

    /// From now on what the journal does not answer is not answered, and messages are kept.
    pub(crate) fn go_offline(&mut self) {
        self.offline = Some(Offline::default());
    }

    /// Whether messages of the guest were passed on before, or are kept.
    pub(crate) fn is_silent(&self) -> bool {
        self.offline.is_some() || !self.is_live()
    }

    /// Keeps a message of an offline run.
    pub(crate) fn hear(&mut self, level: &'static str, text: String) {
        let seq = self.position();
        if let Some(offline) = &mut self.offline {
            offline.messages.push(Message { seq, level, text });
        }
    }

    /// What an offline run said and asked.
    pub(crate) fn heard(&mut self) -> Offline {
        self.offline.take().unwrap_or_default()
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.seen.properties
    }

    pub(crate) fn ends_build(&self) -> Option<&(Outcome, String)> {
        self.seen.ends_build.as_ref()
    }

    /// Whether a scheduler made this because the step asked for it.
    pub(crate) fn asked_for(&self, buildset: BuildsetId) -> bool {
        self.seen.buildsets.contains(&buildset)
    }

    pub(crate) fn summary(&self) -> Option<&String> {
        self.seen.summary.as_ref()
    }

    pub(crate) fn port(&self) -> Arc<dyn StepPort> {
        Arc::clone(&self.port)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.port.now()
    }

    /// Why the build was stopped, if it was.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.stop.borrow().clone()
    }

    /// The id of the command that the next row starts.
    pub(crate) fn next_command(&self) -> CommandId {
        CommandId::derive(self.installation, self.step, self.journal.next_seq())
    }

    /// Looks up the guest's next call, and takes over what it led to if it is recorded.
    pub(crate) fn next(&mut self, call: &str, asked: &Value) -> Result<Next, Halt> {
        let seq = self.position();
        let next = self.journal.next(call, asked)?;
        if let Some(offline) = &mut self.offline {
            let (call, asked) = (call.to_owned(), asked.clone());
            offline.calls.push(Asked { seq, call, asked });
        }
        if let (true, Next::Open(..) | Next::Live) = (self.offline.is_some(), &next) {
            let opened = match next {
                Next::Open(seq, _) => Some(seq),
                _ => None,
            };
            return Err(Halt::JournalEnds(Past {
                seq: opened.unwrap_or_else(|| self.journal.next_seq()),
                call: shown(call, asked),
                waiting: opened.is_some(),
            }));
        }
        match &next {
            Next::Recorded(Some(deed), answer) => {
                self.note_start(deed);
                self.note_end(deed, answer);
            }
            Next::Open(_, deed) => self.note_start(deed),
            Next::Recorded(None, _) | Next::Live => {}
        }
        Ok(next)
    }

    /// A call that is answered here: from the journal, or by `answer`, which is then recorded. The row is durable
    /// before the next effect.
    pub(crate) async fn local(
        &mut self,
        call: &str,
        asked: &Value,
        answer: impl FnOnce(&Self) -> Answer,
    ) -> Result<(Answer, bool), Halt> {
        match self.next(call, asked)? {
            Next::Recorded(None, answer) => Ok((answer, false)),
            Next::Recorded(Some(deed), _) | Next::Open(_, deed) => Err(Trap::Other(format!(
                "its journal has {} as a call that left the process",
                deed.call()
            ))
            .into()),
            Next::Live => {
                let answer = answer(self);
                self.record_local(call, asked, &answer).await?;
                Ok((answer, true))
            }
        }
    }

    /// Adds a local row.
    pub(crate) async fn record_local(
        &mut self,
        call: &str,
        asked: &Value,
        answer: &Answer,
    ) -> Result<(), Halt> {
        // Before, not after: what the row changes is added to it by the caller and must commit with it.
        if self.journal.unsaved_rows() >= MAX_UNSAVED {
            self.save().await?;
        }
        Ok(self.journal.local(call, asked, answer, self.port.now())?)
    }

    /// Adds a local row with what its answer changes, and makes it durable.
    pub(crate) async fn record_durably(
        &mut self,
        call: &str,
        asked: &Value,
        answer: &Answer,
    ) -> Result<(), Halt> {
        self.record_local(call, asked, answer).await?;
        self.add_artefact(answer);
        Ok(self.save().await?)
    }

    fn add_artefact(&mut self, answer: &Answer) {
        if let Answer::Stored(stored) = answer {
            self.journal.effect(Effect::AddArtefact(stored.clone()));
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.journal.effect(effect);
    }

    pub(crate) fn set_property(&mut self, property: capstan_model::Property) {
        self.seen.properties.insert(property);
    }

    pub(crate) fn end_build(&mut self, outcome: Outcome, reason: String) {
        self.seen.ends_build = Some((outcome, reason));
    }

    pub(crate) fn set_summary(&mut self, text: String) {
        self.seen.summary = Some(text);
    }

    /// Makes the `Start` of a deed durable, with everything before it.
    pub(crate) async fn start(&mut self, deed: &Deed, asked: &Value) -> Result<u32, Halt> {
        let seq = self.journal.start(deed, asked, self.port.now())?;
        let (rows, effects) = self.journal.unsaved();
        match deed.starts() {
            Some((id, spec)) => self.port.append_start(rows, effects, id, spec.clone()).await?,
            None => self.port.append(rows, effects).await?,
        }
        self.journal.saved();
        self.write_texts().await?;
        self.note_start(deed);
        Ok(seq)
    }

    /// Sets out to carry out a deed whose `Start` is durable.
    pub(crate) fn carry_out(&self, seq: u32, deed: &Deed) -> Wait {
        let running = self.seen.running.iter().copied().collect();
        let (port, stop) = (Arc::clone(&self.port), self.stop.clone());
        carry_out(deed.clone(), seq, running, port, stop).boxed()
    }

    /// Makes the answer to a deed durable.
    pub(crate) async fn answered(&mut self, seq: u32, deed: &Deed, answer: &Answer) -> Result<(), Halt> {
        self.journal.end(seq, deed, answer, self.port.now())?;
        self.add_artefact(answer);
        self.save().await?;
        self.note_end(deed, answer);
        Ok(())
    }

    /// Makes everything durable that is not, then writes the texts that belong to it.
    pub(crate) async fn save(&mut self) -> Result<(), Abandoned> {
        if self.journal.unsaved_rows() > 0 {
            let (rows, effects) = self.journal.unsaved();
            self.port.append(rows, effects).await?;
            self.journal.saved();
        }
        self.write_texts().await
    }

    /// Adds the last row. Commands that were started and not awaited are ended.
    pub(crate) async fn finish(&mut self, end: &StepEnd) -> Result<(), Halt> {
        self.journal.at_end()?;
        // A step whose last row is there is not run again: all that it wrote must be there before.
        if !self.texts.is_empty() {
            self.save().await?;
        }
        self.leave().await?;
        self.journal
            .finish(serde_json::to_value(end).unwrap_or_default(), self.port.now())?;
        Ok(self.save().await?)
    }

    /// Ends what the step leaves running, also what a guest that did not repeat itself has not come to.
    pub(crate) async fn leave(&mut self) -> Result<(), Abandoned> {
        let ahead = self.journal.commands_ahead();
        for command in std::mem::take(&mut self.seen.running).into_iter().chain(ahead) {
            self.port
                .kill_command(command, "the step has ended".to_owned())
                .await?;
        }
        Ok(())
    }

    fn note_start(&mut self, deed: &Deed) {
        if let Some((command, spec)) = deed.starts() {
            self.seen.running.insert(command);
            self.seen.take_log(spec.log.clone());
        }
    }

    fn note_end(&mut self, deed: &Deed, answer: &Answer) {
        if let Answer::Called(made) = answer {
            self.seen.buildsets.extend(made);
        }
        let over = matches!(answer, Answer::Completed(_) | Answer::WorkerLost(_));
        match deed {
            Deed::Start { command, .. } | Deed::Run { command, .. } | Deed::Wait { command } if over => {
                self.seen.running.remove(command);
            }
            // Its command is over, whatever came of it; one that was stopped is being killed.
            Deed::Publish { command, .. } if !matches!(answer, Answer::Cancelled(_)) => {
                self.seen.running.remove(command);
            }
            _ => {}
        }
    }
}
