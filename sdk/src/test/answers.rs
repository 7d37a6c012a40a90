//! What an author scripts: how commands end, what servers answer, what fails. The first rule that fits a call and is not used
//! up answers it.

use serde_json::Value;

use super::call::fits;
use crate::host::commands::{CommandError, Exit};
use crate::host::http::{Header, HttpError, Response};
use crate::params::Span;

/// Rules for one kind of call.
#[derive(Clone, Debug)]
pub(crate) struct Rules<T>(Vec<Rule<T>>);

#[derive(Clone, Debug)]
struct Rule<T> {
    pattern: String,
    left: Option<u32>,
    answer: T,
}

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Rules<T> {
    pub(crate) fn add(&mut self, pattern: &str, times: Option<u32>, answer: T) {
        self.0.push(Rule {
            pattern: pattern.to_owned(),
            left: times,
            answer,
        });
    }

    /// The answer of the first rule that fits these words and is not used up.
    pub(crate) fn take_if(&mut self, words: &str) -> Option<T> {
        let rule = self.0.iter_mut().find(|rule| {
            let open = rule.left.is_none_or(|left| left > 0);
            open && fits(&rule.pattern, words)
        })?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.answer.clone())
    }

    /// As `take_if`; where there are rules, one of them must fit.
    pub(crate) fn take(&mut self, call: &str, words: &str) -> Option<T> {
        let answer = self.take_if(words);
        assert!(
            answer.is_some() || self.0.is_empty(),
            "the script has no answer to: {call} {words}"
        );
        answer
    }
}

/// How a command ends.
#[derive(Clone, Debug)]
pub struct Ends {
    pub(crate) end: Result<Exit, CommandError>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) after: Span,
    pub(crate) times: Option<u32>,
}

impl Ends {
    /// By itself, with code 0.
    pub fn well() -> Self {
        Self::with(Exit::Code(0))
    }

    /// By itself, with this code.
    pub fn code(code: i32) -> Self {
        Self::with(Exit::Code(code))
    }

    /// In any way.
    pub fn with(exit: Exit) -> Self {
        Self::new(Ok(exit))
    }

    /// Not at all: its worker is gone.
    pub fn lost(reason: &str) -> Self {
        Self::new(Err(CommandError::WorkerLost(reason.to_owned())))
    }

    /// It is not started: a right is missing.
    pub fn denied(reason: &str) -> Self {
        Self::new(Err(CommandError::Denied(reason.to_owned())))
    }

    fn new(end: Result<Exit, CommandError>) -> Self {
        Self {
            end,
            stdout: Vec::new(),
            after: Span::default(),
            times: None,
        }
    }

    /// Prints this.
    pub fn printing(mut self, stdout: impl Into<Vec<u8>>) -> Self {
        self.stdout = stdout.into();
        self
    }

    /// Takes so long; no time by default.
    pub fn after(mut self, span: Span) -> Self {
        self.after = span;
        self
    }

    /// Answers so many commands; then the rules after it do.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answers {
    pub(crate) answer: Result<Response, HttpError>,
    pub(crate) times: Option<u32>,
}

impl Answers {
    /// With this status and nothing else.
    pub fn status(status: u16) -> Self {
        Self {
            answer: Ok(Response {
                status,
                headers: Vec::new(),
                body: Vec::new(),
            }),
            times: None,
        }
    }

    /// With status 200 and this as JSON.
    pub fn json(value: &Value) -> Self {
        Self::status(200)
            .header("Content-Type", "application/json")
            .body(value.to_string())
    }

    /// Not at all.
    pub fn error(error: HttpError) -> Self {
        Self {
            answer: Err(error),
            times: None,
        }
    }

    /// With this header too.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(response) = &mut self.answer {
            response.headers.push(Header {
                name: name.to_owned(),
                value: value.to_owned(),
            });
        }
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Ok(response) = &mut self.answer {
            response.body = body.into();
        }
        self
    }

    /// Answers so many requests; then the rules after it do.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

impl Rules<Result<Response, HttpError>> {
    /// A request's answer; 200 where the script says nothing of requests.
    pub(crate) fn answer(&mut self, call: &str, words: &str) -> Result<Response, HttpError> {
        self.take(call, words)
            .unwrap_or_else(|| Answers::status(200).answer)
    }
}
