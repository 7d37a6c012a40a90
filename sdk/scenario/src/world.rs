//! The world of change sources and reporters: it answers from a scenario's rules, notes each call with its answer, and when a
//! call of the plugin is repeated, answers it from there.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capstan_engine::{
    Commit, FileFault, FilesPort, GitFault, GitPort, HttpFault, HttpPort, HttpRequest, HttpResponse, Mail,
    MailFault, MailPort, Mailbox, Ports, Reference, StateFault, StatePort,
};
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::format::At;
use crate::format::reporter::{Fails, Http};
use crate::repository::Repository;
use crate::rules::{Found, Rule, Rules};

/// How many calls one scenario may bring.
pub(crate) const MOST_CALLS: usize = 20_000;
/// As at the master.
const MOST_KEYS: usize = 256;

/// What there is to be reached.
pub(crate) struct World(Mutex<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    /// Those of this poll alone go first.
    pub http_once: Rules<Http>,
    pub http: Rules<Http>,
    pub file_faults: Rules<String>,
    pub mail_faults: Rules<String>,
    pub git: BTreeMap<String, Repository>,
    pub files: BTreeMap<String, String>,
    pub state: BTreeMap<String, Vec<u8>>,
    pub mails: Vec<Value>,
    /// What the scenario does not say, but should.
    pub missing: Option<String>,
    pub rows: Vec<Row>,
    /// The next row to be answered from, while a call is repeated.
    pub repeating: Option<usize>,
    pub difference: Option<(usize, String, String)>,
}

pub(crate) struct Row {
    call: Call,
    answer: Box<dyn Any + Send>,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self::new([])
    }
}

pub(crate) fn http_rules(rules: &[At<Http>]) -> Rules<Http> {
    Rules::new(rules.iter().map(|rule| Rule {
        pattern: rule.get_ref().pattern.clone(),
        times: rule.get_ref().times,
        answer: rule.get_ref().clone(),
    }))
}

pub(crate) fn fault_rules(rules: &[At<Fails>]) -> Rules<String> {
    Rules::new(rules.iter().map(|rule| Rule {
        pattern: rule.get_ref().pattern.clone(),
        times: rule.get_ref().times,
        answer: rule.get_ref().error.clone(),
    }))
}

impl World {
    pub(crate) fn new(inner: Inner) -> Arc<Self> {
        Arc::new(Self(Mutex::new(inner)))
    }

    pub(crate) fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            git: self.clone(),
            http: self.clone(),
            files: self.clone(),
            state: self.clone(),
            mail: self.clone(),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<A, E>(&self, call: Call, answer: impl FnOnce(&mut Inner) -> Result<A, E>) -> Result<A, E>
    where
        A: Clone + Send + 'static,
        E: Clone + Send + 'static + From<TooMuch>,
    {
        let mut inner = self.inner();
        if let Some(place) = inner.repeating {
            inner.repeating = Some(place + 1);
            let row = inner.rows.get(place).filter(|row| row.call == call);
            let known = row
                .and_then(|row| row.answer.downcast_ref::<Result<A, E>>())
                .cloned();
            return known.unwrap_or_else(|| {
                inner.differs(place, Some(&call));
                Err(E::from(TooMuch("it was not asked before")))
            });
        }
        if inner.rows.len() >= MOST_CALLS {
            inner.missing = Some(format!(
                "expected at most {MOST_CALLS} calls of the host, found more"
            ));
            return Err(E::from(TooMuch("too many calls in one scenario")));
        }
        let answer = answer(&mut inner);
        let kept: Box<dyn Any + Send> = Box::new(answer.clone());
        inner.rows.push(Row { call, answer: kept });
        answer
    }
}

impl Inner {
    fn differs(&mut self, place: usize, found: Option<&Call>) {
        let recorded = self.rows.get(place).map(|row| &row.call);
        let whole = |call: Option<&Call>| match call {
            Some(call) => format!("{call} {}", crate::fit::shown(&call.with)),
            None => "none: it returned".to_owned(),
        };
        let texts = (whole(recorded), whole(found));
        self.difference.get_or_insert((place + 1, texts.0, texts.1));
    }

    /// Begins a call of the plugin; answers where its own calls begin.
    pub(crate) fn begin(&mut self) -> usize {
        self.repeating = None;
        self.rows.len()
    }

    /// The next call of the plugin repeats what was recorded from `start` on.
    pub(crate) fn repeat(&mut self, start: usize) {
        self.repeating = Some(start);
    }

    /// Ends a repeated call; calls that it did not make again are a difference.
    pub(crate) fn repeated(&mut self) {
        if let Some(place) = self.repeating.take().filter(|place| *place < self.rows.len()) {
            self.differs(place, None);
        }
    }

    pub(crate) fn calls(&self, start: usize) -> Vec<Call> {
        self.rows[start..].iter().map(|row| row.call.clone()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }
}

/// Why nothing more is answered.
struct TooMuch(&'static str);

macro_rules! too_much {
    ($($fault:ident => $make:expr;)*) => {
        $(
            impl From<TooMuch> for $fault {
                fn from(TooMuch(text): TooMuch) -> Self {
                    $make(text.to_owned())
                }
            }
        )*
    };
}

too_much! {
    GitFault => Self::Unavailable;
    HttpFault => Self::Transport;
    FileFault => FileFault;
    StateFault => Self::Unavailable;
    MailFault => Self::Unavailable;
}

impl GitPort for World {
    fn fetch(&self, repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        let call = Call::new("git.fetch", &repository, json!({ "repository": repository }));
        let answer = self.ask(call, |inner| inner.repository(&repository)?.references());
        ready(answer).boxed()
    }

    fn commits(
        &self,
        repository: String,
        since: Vec<String>,
        until: String,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        let with = json!({ "repository": repository, "since": since, "until": until, "limit": limit });
        let call = Call::new("git.commits", format!("{repository} {until}"), with);
        let answer = self.ask(call, |inner| {
            inner.repository(&repository)?.commits(&since, &until, limit)
        });
        ready(answer).boxed()
    }
}

impl Inner {
    fn repository(&self, url: &str) -> Result<&Repository, GitFault> {
        let unknown = || GitFault::Unavailable(format!("the scenario has no repository {url}"));
        self.git.get(url).ok_or_else(unknown)
    }

    fn http(&mut self, words: &str) -> Result<HttpResponse, HttpFault> {
        let found = match self.http_once.answer(words) {
            Found::Answer(http) => Some(http.clone()),
            Found::Free | Found::None => match self.http.answer(words) {
                Found::Answer(http) => Some(http.clone()),
                Found::Free => None,
                Found::None => {
                    let text = format!("no [[http]] fits `{words}`, or those that do are used up");
                    self.missing.get_or_insert(text.clone());
                    return Err(HttpFault::Transport(text));
                }
            },
        };
        let Some(http) = found else {
            return Ok(HttpResponse {
                status: 200,
                headers: Vec::new(),
                body: Vec::new(),
            });
        };
        match http.error.as_deref() {
            Some("timeout") => Err(HttpFault::Timeout),
            Some("too-large") => Err(HttpFault::TooLarge),
            Some(text) => Err(HttpFault::Transport(text.to_owned())),
            None => Ok(HttpResponse {
                status: http.status.unwrap_or(200),
                headers: http.headers.into_iter().collect(),
                body: match (http.json, http.body) {
                    (Some(json), _) => json.0.to_string().into_bytes(),
                    (None, body) => body.unwrap_or_default().into_bytes(),
                },
            }),
        }
    }
}

impl HttpPort for World {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        let words = format!("{} {}", request.method, request.url);
        let with = json!({
            "method": request.method, "url": request.url, "headers": members(&request.headers),
            "secret_headers": members(&request.secret_headers), "timeout_ms": request.timeout_ms,
            "body": String::from_utf8_lossy(&request.body),
        });
        let call = Call::new("http.fetch", &words, with).with_json(&request.body);
        ready(self.ask(call, |inner| inner.http(&words))).boxed()
    }
}

fn members(pairs: &[(String, String)]) -> Map<String, Value> {
    let member = |(name, value): &(String, String)| (name.clone(), json!(value));
    pairs.iter().map(member).collect()
}

impl FilesPort for World {
    fn append_line(&self, path: String, line: String) -> BoxFuture<'_, Result<(), FileFault>> {
        let with = json!({ "path": path, "line": line });
        let call = Call::new("report-files.append-line", &path, with).with_json(line.as_bytes());
        let answer = self.ask(call, |inner| {
            if let Found::Answer(text) = inner.file_faults.answer(&path) {
                return Err(FileFault(text.clone()));
            }
            let file = inner.files.entry(path).or_default();
            file.push_str(&line);
            file.push('\n');
            Ok(())
        });
        ready(answer).boxed()
    }
}

impl StatePort for World {
    fn get(&self, _owner: String, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateFault>> {
        let call = Call::new("state.get", &key, json!({ "key": key }));
        ready(self.ask(call, |inner| Ok(inner.state.get(&key).cloned()))).boxed()
    }

    fn set(
        &self,
        _owner: String,
        key: String,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StateFault>> {
        let call = match &value {
            Some(value) => {
                let with = json!({ "key": key, "value": String::from_utf8_lossy(value) });
                Call::new("state.set", &key, with)
            }
            None => Call::new("state.delete", &key, json!({ "key": key })),
        };
        let answer = self.ask(call, |inner| match value {
            Some(_) if inner.state.len() >= MOST_KEYS && !inner.state.contains_key(&key) => Err(
                StateFault::Invalid(format!("expected at most {MOST_KEYS} keys, found more")),
            ),
            Some(value) => {
                inner.state.insert(key, value);
                Ok(())
            }
            None => {
                inner.state.remove(&key);
                Ok(())
            }
        });
        ready(answer).boxed()
    }
}

impl MailPort for World {
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), MailFault>> {
        let list = |boxes: &[Mailbox]| boxes.iter().map(mailbox).collect::<Vec<_>>();
        let names: Vec<&str> = mail.attachments.iter().map(|file| file.name.as_str()).collect();
        let with = json!({
            "to": list(&mail.to), "cc": list(&mail.cc), "bcc": list(&mail.bcc), "subject": mail.subject,
            "text": mail.text, "html": mail.html, "headers": members(&mail.headers), "attachments": names,
        });
        let call = Call::new("mail.send", &mail.subject, with.clone());
        let answer = self.ask(call, |inner| {
            if let Found::Answer(text) = inner.mail_faults.answer(&mail.subject) {
                return Err(MailFault::Unavailable(text.clone()));
            }
            inner.mails.push(with);
            Ok(())
        });
        ready(answer).boxed()
    }
}

fn mailbox(mailbox: &Mailbox) -> String {
    match &mailbox.name {
        Some(name) => format!("{name} <{}>", mailbox.address),
        None => mailbox.address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_call_is_answered_as_before_and_another_is_a_difference() {
        let world = World::new(Inner::default());
        let set = |value: &str| {
            let value = Some(value.as_bytes().to_vec());
            world
                .set("r".to_owned(), "k".to_owned(), value)
                .now_or_never()
                .unwrap()
        };
        let start = world.inner().begin();
        set("1").unwrap();
        world.inner().repeat(start);
        set("1").unwrap();
        world.inner().repeated();
        assert_eq!(world.inner().difference, None);
        assert_eq!(world.inner().count(), 1, "it happened once");
        world.inner().repeat(start);
        set("2").unwrap_err();
        world.inner().repeated();
        let (call, recorded, found) = world.inner().difference.clone().unwrap();
        assert_eq!(call, 1);
        assert!(
            recorded.contains(r#""value":"1""#) && found.contains(r#""value":"2""#),
            "{recorded} {found}"
        );
    }

    #[test]
    fn a_call_that_is_not_repeated_is_a_difference() {
        let world = World::new(Inner::default());
        let start = world.inner().begin();
        world
            .get("r".to_owned(), "k".to_owned())
            .now_or_never()
            .unwrap()
            .unwrap();
        world.inner().repeat(start);
        world.inner().repeated();
        let (_, _, found) = world.inner().difference.clone().unwrap();
        assert_eq!(found, "none: it returned");
    }
}
