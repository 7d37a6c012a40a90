//! The host's side of a step's imports, but for commands. Each call looks into the journal first; what is not there is answered here and
//! recorded, or leaves the process between two durable rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use capstan_model::journal::Effect;
use capstan_model::plugin::Wasi;
use capstan_model::{Digest, Outcome, Property};
use serde_json::{Value, json};
use wasmtime::component::ResourceTable;

use super::WaitMode;
use super::deed::{Answer, Deed, Wait};
use super::halt::Halt;
use super::journal::Next;
use super::patches::PATCHES;
use super::port::Abandoned;
use super::session::Session;
use crate::bindings::step::capstan::plugin::{build, clock, ending, entropy, timers};
use crate::bindings::{log, types};
use crate::call::Trap;
use crate::guest::{Guest, HasGuest};
use crate::limits::{MAX_PAYLOAD, MAX_RESOURCES};
use crate::places::Places;
use crate::plugin::Facts;
use crate::wasi::{Beginning, World, WorldHost};

pub(super) const MAX_SUMMARY: usize = 500;
const MAX_LINK: usize = 2000;

/// The data of a step's store.
pub(crate) struct StepState {
    pub guest: Guest,
    pub table: ResourceTable,
    /// Absent while parameters are checked: then nothing but diagnostics may be called.
    pub session: Option<Box<Session>>,
    pub mode: WaitMode,
    /// Why the guest was ended by the journal.
    pub halt: Option<Halt>,
    /// Where instances have their places; absent like the session.
    pub places: Option<Arc<Places>>,
    /// What the step waits for, where it has given up its instance.
    pub parked: Option<Parked>,
    pub spec_bytes: usize,
}

/// A wait that goes on without the instance.
pub(crate) struct Parked {
    pub seq: u32,
    pub wait: Wait,
}

impl StepState {
    pub(crate) fn for_check(facts: &Arc<Facts>) -> Self {
        Self::new(
            Guest::new(Arc::clone(facts), Arc::default()),
            None,
            WaitMode::Warm,
        )
    }

    pub(crate) fn new(mut guest: Guest, session: Option<Box<Session>>, mode: WaitMode) -> Self {
        if let (Some(Wasi::Stub), Some(session)) = (guest.facts.manifest.plugin.wasi, &session) {
            let seed = format!("wasi {}", session.created.seed);
            guest.world = World::new(Beginning::Given {
                at: session.passed().0,
                seed: Digest::of(seed.as_bytes()),
            });
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            guest,
            table,
            session,
            mode,
            halt: None,
            places: None,
            parked: None,
            spec_bytes: 0,
        }
    }

    /// The step's session, for a call that goes through the journal.
    pub(super) fn session(&mut self, call: &str) -> wasmtime::Result<&mut Session> {
        self.guest.left();
        match &mut self.session {
            Some(session) => Ok(session),
            None => Err(self.guest.end(Trap::Forbidden(call.to_owned()))),
        }
    }

    /// Ends the guest, and remembers why.
    fn halt(&mut self, halt: Halt) -> wasmtime::Error {
        let error = match &halt {
            Halt::Trap(trap) => self.guest.end(trap.clone()),
            Halt::Abandoned(abandoned) => wasmtime::Error::msg(abandoned.to_string()),
            Halt::Mismatch(mismatch) => wasmtime::Error::msg(mismatch.to_string()),
            Halt::JournalEnds(past) => wasmtime::Error::msg(past.call.clone()),
        };
        self.halt = Some(halt);
        error
    }

    pub(super) fn small(&mut self, what: &str, bytes: usize) -> wasmtime::Result<()> {
        if bytes > MAX_PAYLOAD {
            return Err(self.guest.end(Trap::TooMuch(format!(
                "{what} of {bytes} bytes, at most {MAX_PAYLOAD} fit"
            ))));
        }
        Ok(())
    }

    /// A local call, and whether it was made for the first time.
    async fn local(
        &mut self,
        call: &str,
        asked: Value,
        answer: impl FnOnce(&Session) -> Answer,
    ) -> wasmtime::Result<(Answer, bool)> {
        let session = self.session(call)?;
        session
            .local(call, &asked, answer)
            .await
            .map_err(|halt| self.halt(halt))
    }

    /// The recorded answer of a call whose answer is found between a look into the journal and a row; none if it is made for the
    /// first time.
    pub(super) fn look_up(&mut self, call: &str, asked: &Value) -> wasmtime::Result<Option<Answer>> {
        let next = self.session(call)?.next(call, asked);
        match next.map_err(|halt| self.halt(halt))? {
            Next::Recorded(None, answer) => Ok(Some(answer)),
            Next::Live => Ok(None),
            Next::Recorded(Some(_), _) | Next::Open(..) => Err(self.odd(call)),
        }
    }

    /// Notes the answer of a call that `look_up` did not know. It is durable when this returns, with what it changes.
    pub(super) async fn note_answer(
        &mut self,
        call: &str,
        asked: &Value,
        answer: &Answer,
    ) -> wasmtime::Result<()> {
        let noted = self.session(call)?.record_durably(call, asked, answer).await;
        noted.map_err(|halt| self.halt(halt))
    }

    /// What a port answers, unless the master cannot go on.
    pub(super) fn unless_abandoned<T>(&mut self, answer: Result<T, Abandoned>) -> wasmtime::Result<T> {
        answer.map_err(|abandoned| self.halt(abandoned.into()))
    }

    /// A call that leaves the process. `deed` makes it; an `Err` is an answer that needs no leaving.
    pub(super) async fn effect(
        &mut self,
        call: &str,
        asked: Value,
        deed: impl FnOnce(&Session) -> Result<Deed, Answer>,
    ) -> wasmtime::Result<(Option<Deed>, Answer)> {
        let since = Instant::now();
        let session = self.session(call)?;
        let next = session.next(call, &asked).map_err(|halt| self.halt(halt))?;
        let (seq, deed) = match next {
            Next::Recorded(deed, answer) => return Ok((deed, answer)),
            Next::Open(seq, deed) => (seq, deed),
            Next::Live => {
                let session = self.session(call)?;
                let begun = match deed(session) {
                    Ok(deed) => session.start(&deed, &asked).await.map(|seq| Ok((seq, deed))),
                    Err(answer) => session
                        .record_local(call, &asked, &answer)
                        .await
                        .map(|()| Err(answer)),
                };
                match begun.map_err(|halt| self.halt(halt))? {
                    Ok(begun) => begun,
                    Err(answer) => {
                        self.guest.returned(since);
                        return Ok((None, answer));
                    }
                }
            }
        };
        let mut wait = self.session(call)?.carry_out(seq, &deed);
        let answer = if deed.waits() {
            tokio::select! {
                biased;
                answer = &mut wait, if self.mode != WaitMode::Replay => Some(answer),
                () = patience(self.mode, self.places.as_deref(), &self.guest.facts.share) => None,
            }
        } else {
            Some(wait.as_mut().await)
        };
        let Some(answer) = answer else {
            self.parked = Some(Parked { seq, wait });
            self.guest.returned(since);
            return Err(wasmtime::Error::msg("the step waits without an instance"));
        };
        let noted = match answer {
            Ok(answer) => {
                let noted = self.session(call)?.answered(seq, &deed, &answer).await;
                noted.map(|()| answer)
            }
            Err(abandoned) => Err(abandoned.into()),
        };
        let answer = noted.map_err(|halt| self.halt(halt))?;
        self.guest.returned(since);
        Ok((Some(deed), answer))
    }

    pub(super) fn odd(&mut self, call: &str) -> wasmtime::Error {
        self.guest.end(Trap::Other(format!(
            "its journal has an answer to {call} that does not fit"
        )))
    }
}

/// Waits until a waiting step is to give up its instance.
async fn patience(mode: WaitMode, places: Option<&Places>, share: &Places) {
    match (mode, places) {
        (WaitMode::Replay, _) => {}
        // What is answered at once was answered before this is asked.
        (WaitMode::WarmFor(span), _) if span.is_zero() => {}
        (WaitMode::Warm, _) => std::future::pending().await,
        (WaitMode::WarmFor(span), None) => tokio::time::sleep(span).await,
        (WaitMode::WarmFor(span), Some(places)) => tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = places.wanted() => {}
            () = share.wanted() => {}
        },
    }
}

impl HasGuest for StepState {
    fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }
}

impl types::Host for StepState {}

impl log::Host for StepState {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.say(level, message);
        Ok(())
    }
}

impl WorldHost for StepState {
    fn passed(&mut self) -> Duration {
        match &self.session {
            Some(session) => session.passed().1,
            None => self.guest.world.machine(),
        }
    }

    fn say(&mut self, level: log::Level, message: String) {
        let silent = self.session.as_ref().is_some_and(|session| session.is_silent());
        let word = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        let taken = self.guest.log(level, message, silent);
        if let (Some(session), Some(text)) = (&mut self.session, taken) {
            session.hear(word, text);
        }
    }
}

impl clock::Host for StepState {
    async fn now(&mut self) -> wasmtime::Result<i64> {
        match self
            .local("clock.now", Value::Null, |session| Answer::Now(session.now()))
            .await?
        {
            (Answer::Now(at), _) => Ok(at.0),
            _ => Err(self.odd("clock.now")),
        }
    }
}

impl entropy::Host for StepState {
    async fn seed(&mut self) -> wasmtime::Result<u64> {
        Ok(self.fixed("entropy.seed")?.created.seed)
    }
}

impl timers::Host for StepState {
    async fn sleep_ms(&mut self, duration: u64) -> wasmtime::Result<bool> {
        let sleep = |session: &Session| {
            if session.stopped().is_some() {
                return Err(Answer::Slept(false));
            }
            let deadline = session.now().plus_ms(i64::try_from(duration).unwrap_or(i64::MAX));
            Ok(Deed::Sleep {
                duration_ms: duration,
                deadline,
            })
        };
        match self
            .effect("timers.sleep-ms", json!({ "duration_ms": duration }), sleep)
            .await?
        {
            (_, Answer::Slept(whole)) => Ok(whole),
            _ => Err(self.odd("timers.sleep-ms")),
        }
    }
}

impl StepState {
    /// The session, for an answer that row 0 and the calls so far fix: it needs no row, and costs the guest's own time.
    fn fixed(&mut self, call: &str) -> wasmtime::Result<&mut Session> {
        match &mut self.session {
            Some(session) => Ok(session),
            None => Err(self.guest.end(Trap::Forbidden(call.to_owned()))),
        }
    }
}

impl build::Host for StepState {
    async fn step_name(&mut self) -> wasmtime::Result<String> {
        Ok(self.fixed("build.step-name")?.created.step_name.clone())
    }

    async fn sources(&mut self) -> wasmtime::Result<Vec<types::SourceStamp>> {
        let sources = &self.fixed("build.sources")?.created.sources;
        Ok(sources.iter().cloned().map(types::SourceStamp::from).collect())
    }

    async fn get_property(&mut self, name: String) -> wasmtime::Result<Option<types::Property>> {
        if name == PATCHES
            && let Some(patches) = self.patches().await?
        {
            return Ok(Some(types::Property::from(&patches)));
        }
        let properties = self.fixed("build.get-property")?.properties();
        Ok(properties.get(&name).map(types::Property::from))
    }

    async fn set_property(&mut self, name: String, value: String) -> wasmtime::Result<Result<(), String>> {
        self.small("a property", name.len() + value.len())?;
        let parsed = match serde_json::from_str::<Value>(&value) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(format!("expected JSON: {error}"))),
        };
        if name.is_empty() {
            return Ok(Err("expected the name of a property, found nothing".to_owned()));
        }
        let mut all = self.fixed("build.set-property")?.properties().clone();
        all.set(name.clone(), parsed.clone(), "");
        if let Err(error) = all.check() {
            return Ok(Err(error.to_string()));
        }
        // As the guest spelled it: a number's spelling may not outlive another version of the master.
        let asked = json!({ "name": name, "value": value });
        let (_, first) = self.local("build.set-property", asked, |_| Answer::Done).await?;
        let session = self.fixed("build.set-property")?;
        let property = Property {
            name,
            value: parsed,
            source: session.created.step_name.clone(),
        };
        if first {
            session.effect(Effect::SetProperty(property.clone()));
        }
        session.set_property(property);
        Ok(Ok(()))
    }

    async fn set_summary(&mut self, text: String) -> wasmtime::Result<()> {
        let text = shorten(text, MAX_SUMMARY);
        let (_, first) = self
            .local("build.set-summary", json!({ "text": text }), |_| Answer::Done)
            .await?;
        let session = self.fixed("build.set-summary")?;
        if first {
            session.effect(Effect::SetSummary(text.clone()));
        }
        session.set_summary(text);
        Ok(())
    }

    async fn add_link(&mut self, label: String, url: String) -> wasmtime::Result<()> {
        if !url.starts_with("https://") && !url.starts_with("http://") || url.len() > MAX_LINK {
            let message = format!(
                "a link was left out: expected an http or https URL, found {:?}",
                shorten(url, 100)
            );
            return log::Host::write(self, log::Level::Warn, message).await;
        }
        let label = shorten(label, MAX_SUMMARY);
        let asked = json!({ "label": label, "url": url });
        let (_, first) = self.local("build.add-link", asked, |_| Answer::Done).await?;
        if first {
            self.fixed("build.add-link")?
                .effect(Effect::AddLink { label, url });
        }
        Ok(())
    }

    async fn write_log(&mut self, name: String, text: String) -> wasmtime::Result<()> {
        self.small("a piece of a log", name.len() + text.len())?;
        let asked = json!({ "name": name, "text": text });
        self.local("build.write-log", asked, |_| Answer::Done).await?;
        let written = self.fixed("build.write-log")?.text(&name, text).await;
        written.map_err(|halt| self.halt(halt))
    }
}

impl ending::Host for StepState {
    async fn end_build(&mut self, outcome: types::Outcome, reason: String) -> wasmtime::Result<()> {
        const CALL: &str = "ending.end-build";
        let (outcome, reason) = (Outcome::from(outcome), shorten(reason, MAX_SUMMARY));
        let asked = json!({ "outcome": outcome, "reason": reason });
        let (_, first) = self.local(CALL, asked, |_| Answer::Done).await?;
        let session = self.fixed(CALL)?;
        if first {
            let reason = reason.clone();
            session.effect(Effect::EndBuild { outcome, reason });
        }
        session.end_build(outcome, reason);
        Ok(())
    }
}

pub(super) fn shorten(mut text: String, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    if end < text.len() {
        text.truncate(end);
        text.push('…');
    }
    text
}
