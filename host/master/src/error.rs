//! Why the master could not do what it was asked.

use capstan_config::Diagnostic;
use capstan_model::counted;

/// An error of a master's operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing.
    #[error("there is no {what} `{name}`{}", hint(.nearest))]
    NotFound {
        /// "builder", "worker" …
        what: &'static str,
        /// What was asked for.
        name: String,
        /// The nearest name that there is.
        nearest: Option<String>,
    },
    /// It is in no state for that.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// One part of the request makes no sense.
    #[error("{field}: {reason}")]
    Field {
        /// Its name, as in [`Force`](crate::Force).
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A scheduler does not do what it was asked for.
    #[error("{}", refused(.0))]
    Refused(Vec<capstan_store::CallProblem>),
    /// The configuration has faults; nothing was changed.
    #[error("the configuration has {}", counted(.0.len() as u64, "fault"))]
    Config(Vec<Diagnostic>),
    /// The store failed.
    #[error("failed to use the store: {0}")]
    Store(#[from] capstan_store::Error),
    /// A log failed.
    #[error("failed to use the log store: {0}")]
    Logs(#[from] capstan_logs::Error),
    /// Another fault of the machine or of the set-up.
    #[error("failed to {what}: {reason}")]
    Failed {
        /// What was tried.
        what: String,
        /// Why it did not work.
        reason: String,
    },
}

fn refused(problems: &[capstan_store::CallProblem]) -> String {
    let one = |problem: &capstan_store::CallProblem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

impl Error {
    /// A fault of the machine or of the set-up.
    pub(crate) fn failed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Failed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}
