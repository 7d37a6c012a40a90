//! Why the store could not do what it was asked. "Not found" is `None`, not an error.

use crate::Owner;

/// An error of the store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address names no database that Capstan can use.
    #[error(
        "expected a database address like sqlite:farm.db or postgres://user@host/name, found `{found}`: {reason}"
    )]
    Address {
        /// The address, without its password.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database cannot be opened.
    #[error("cannot open the database {database}: {reason}")]
    Open {
        /// The address, without its password.
        database: String,
        /// Why.
        reason: String,
    },
    /// The database was written by a newer Capstan.
    #[error(
        "the database has schema {found}, this Capstan knows schemas up to {known}; \
         run the Capstan that wrote it, or a newer one"
    )]
    NewerSchema {
        /// The newest migration that was applied.
        found: i64,
        /// The newest migration that this program knows.
        known: i64,
    },
    /// The connection is gone. Nothing was written; it is made again by itself.
    #[error("the connection to the database was lost: {reason}; nothing was written")]
    Unavailable {
        /// What the driver says.
        reason: String,
    },
    /// The connection was lost while the database was told to commit: all was written, or nothing. Who asked for it
    /// has to look.
    #[error(
        "the connection to the database was lost during a commit: {reason}; it may or may not have been written"
    )]
    CommitUnknown {
        /// What the driver says.
        reason: String,
    },
    /// Properties that are too many or too large. Nothing was written.
    #[error("{0}")]
    Properties(capstan_model::BadProperties),
    /// The database refused a statement. Nothing was written.
    #[error("the database refused `{statement}`: {reason}")]
    Database {
        /// The beginning of the statement.
        statement: String,
        /// What the database says.
        reason: String,
    },
    /// What was to be changed is no longer as the caller knew it. Nothing was written.
    #[error("{what}")]
    Conflict {
        /// What was expected, and what was found.
        what: String,
    },
    /// The caller names something that does not exist or cannot be. Nothing was written; trying again will not help.
    #[error("{what}")]
    Invalid {
        /// What was expected, and what was found.
        what: String,
    },
    /// A row holds what Capstan never wrote.
    #[error("the database is damaged: table {table}, row {row}, column {column}: {reason}")]
    Corrupt {
        /// The table that was read first.
        table: String,
        /// The column, by its name in the query.
        column: String,
        /// The row's key, or `?`.
        row: String,
        /// What was expected, and what was found.
        reason: String,
    },
    /// Another master works on the database. Nothing was written.
    #[error(
        "expected to be the only master on the database, found {owner}; stop that one first. If its machine is gone, the \
         database server notices within a minute"
    )]
    Taken {
        /// Which one.
        owner: Box<Owner>,
    },
    /// Another master took the database over while this one could not reach it. Nothing was written, and nothing will be.
    #[error("expected to be the only master on the database, found that {owner} has taken it over")]
    Displaced {
        /// Which one.
        owner: Box<Owner>,
    },
    /// The store was closed, or its writer is gone.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    /// What the driver says of `statement`.
    pub(crate) fn from_driver(statement: &str, error: &sqlx::Error) -> Self {
        if is_lost(error) {
            return Self::Unavailable {
                reason: error.to_string(),
            };
        }
        let words: Vec<_> = statement.split_whitespace().collect();
        let mut statement: String = words.join(" ");
        if let Some((end, _)) = statement.char_indices().nth(60) {
            statement.truncate(end);
            statement.push('…');
        }
        Self::Database {
            statement,
            reason: driver_reason(error),
        }
    }
}

/// What the driver says, without the words that say that it is the driver.
pub(crate) fn driver_reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refusal) => refusal.to_string(),
        other => other.to_string(),
    }
}

/// Whether the connection, not the statement, is at fault. PostgreSQL's class 08 is connection exceptions, 57P01 to
/// 57P03 a server that shuts down or starts up, 57P05 and 25P03 a session that was idle for too long, 53300 a server that has
/// no room for another connection.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().unwrap_or_default();
            let postgres = refusal
                .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                .is_some();
            postgres
                && (code.starts_with("08")
                    || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300"))
        }
        _ => false,
    }
}

/// Why an invitation is not good.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InviteError {
    /// Nobody was invited with this secret.
    #[error(
        "expected the secret of an invitation, found one that this farm did not issue; ask for a new join string"
    )]
    Unknown,
    /// Somebody has used it.
    #[error("the invitation for worker `{worker}` was already used; ask for a new join string")]
    Used {
        /// Who was invited.
        worker: String,
    },
    /// It is too late.
    #[error("the invitation for worker `{worker}` has expired; ask for a new join string")]
    Expired {
        /// Who was invited.
        worker: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}
