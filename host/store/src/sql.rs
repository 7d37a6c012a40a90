//! One way to speak to both databases: statements with `$1` parameters, three kinds of values, rows read by column
//! name.
//!
//! Statements keep to what SQLite and PostgreSQL have in common; the few that cannot are in `dialect`. Every integer is
//! 64 bits wide, times are milliseconds, JSON is text, truth is 0 or 1.

use capstan_model::{
    BuildId, BuilderId, BuildsetId, CallId, ChangeId, CommandId, Digest, EventId, LogId, OutboxId, Outcome,
    RequestId, SourceStampId, StepId, Timestamp, WorkerId,
};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Postgres, Row as _, Sqlite};
use uuid::Uuid;

use crate::Error;
use crate::dialect::Sql;

/// A connection to either database.
pub(crate) enum Conn {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A parameter. NULL has a kind too: PostgreSQL wants to know the type of each parameter.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::sql::Bind::bind($value)),*] };
}
pub(crate) use args;

macro_rules! with_values {
    ($sql:expr, $args:expr) => {
        $args
            .into_iter()
            .fold(sqlx::query($sql), |query, value| match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            })
    };
}

impl Conn {
    /// Every row.
    pub async fn rows(&mut self, sql: impl Into<Sql>, args: Vec<Value>) -> Result<Vec<Row>, Error> {
        let sql = sql.into();
        let found: Result<Vec<_>, _> = match self {
            Self::Sqlite(conn) => {
                let rows = with_values!(sql.sqlite, args).fetch(&mut **conn);
                rows.map_ok(|row| Row {
                    sql: sql.sqlite,
                    cells: Cells::Sqlite(row),
                })
                .try_collect()
                .await
            }
            Self::Postgres(conn) => {
                let rows = with_values!(sql.postgres, args).fetch(&mut **conn);
                rows.map_ok(|row| Row {
                    sql: sql.postgres,
                    cells: Cells::Postgres(row),
                })
                .try_collect()
                .await
            }
        };
        found.map_err(|error| Error::from_driver(sql.sqlite, &error))
    }

    /// The first row, if there is one.
    pub async fn row(&mut self, sql: impl Into<Sql>, args: Vec<Value>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The only row of a statement that always has one.
    pub async fn one(&mut self, sql: impl Into<Sql>, args: Vec<Value>) -> Result<Row, Error> {
        let sql = sql.into();
        let missing = || Error::Database {
            statement: sql.sqlite.to_owned(),
            reason: "expected a row, found none".to_owned(),
        };
        self.row(sql, args).await?.ok_or_else(missing)
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn run(&mut self, sql: impl Into<Sql>, args: Vec<Value>) -> Result<u64, Error> {
        let sql = sql.into();
        let touched = match self {
            Self::Sqlite(conn) => with_values!(sql.sqlite, args)
                .execute(&mut **conn)
                .await
                .map(|done| done.rows_affected()),
            Self::Postgres(conn) => with_values!(sql.postgres, args)
                .execute(&mut **conn)
                .await
                .map(|done| done.rows_affected()),
        };
        touched.map_err(|error| Error::from_driver(sql.sqlite, &error))
    }

    /// Runs a statement without parameters and results, such as those that begin and end transactions.
    pub async fn control(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(conn) => sqlx::raw_sql(statement).execute(&mut **conn).await.map(|_| ()),
            Self::Postgres(conn) => sqlx::raw_sql(statement).execute(&mut **conn).await.map(|_| ()),
        }
    }
}

/// What can be a parameter.
pub(crate) trait Bind {
    fn bind(self) -> Value;
    fn null() -> Value;
}

impl<T: Bind> Bind for Option<T> {
    fn bind(self) -> Value {
        self.map_or_else(T::null, Bind::bind)
    }

    fn null() -> Value {
        T::null()
    }
}

impl Bind for String {
    /// PostgreSQL's text cannot hold NUL; neither database gets it, so that both keep the same.
    fn bind(self) -> Value {
        let text = if self.contains('\0') {
            self.replace('\0', "\u{fffd}")
        } else {
            self
        };
        Value::Text(Some(text))
    }

    fn null() -> Value {
        Value::Text(None)
    }
}

impl Bind for Vec<u8> {
    fn bind(self) -> Value {
        Value::Bytes(Some(self))
    }

    fn null() -> Value {
        Value::Bytes(None)
    }
}

macro_rules! bind {
    ($kind:ident: $($type:ty => $convert:expr;)*) => {$(
        impl Bind for $type {
            fn bind(self) -> Value {
                Bind::bind($convert(self))
            }

            fn null() -> Value {
                Value::$kind(None)
            }
        }
    )*};
}

impl Bind for i64 {
    fn bind(self) -> Value {
        Value::Int(Some(self))
    }

    fn null() -> Value {
        Value::Int(None)
    }
}

bind! { Int:
    i32 => i64::from;
    u32 => i64::from;
    u64 => |n| i64::try_from(n).unwrap_or(i64::MAX);
    bool => i64::from;
    Timestamp => |t: Timestamp| t.0;
}

bind! { Text:
    &str => str::to_owned;
    &String => String::clone;
    Digest => |d: Digest| d.to_string();
    Outcome => |o: Outcome| o.as_str().to_owned();
    CommandId => |c: CommandId| c.to_string();
    Uuid => |u: Uuid| u.to_string();
}

/// A value that is kept as JSON text.
pub(crate) struct Json<T>(pub T);

impl<T: Serialize> Bind for Json<&T> {
    fn bind(self) -> Value {
        serde_json::to_string(self.0)
            .expect("the model's types are JSON: their maps have text as keys")
            .bind()
    }

    fn null() -> Value {
        Value::Text(None)
    }
}

/// A row of an answer.
pub(crate) struct Row {
    sql: &'static str,
    cells: Cells,
}

enum Cells {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column that is never NULL.
    pub fn get<T: Cell>(&self, column: &str) -> Result<T, Error> {
        self.maybe(column)?
            .ok_or_else(|| self.corrupt(column, "expected a value, found NULL"))
    }

    /// The value of a column that may be NULL.
    pub fn maybe<T: Cell>(&self, column: &str) -> Result<Option<T>, Error> {
        T::read(self, column).map_err(|reason| self.corrupt(column, &reason))
    }

    /// A value in a column that Capstan never wrote.
    pub fn corrupt(&self, column: &str, reason: &str) -> Error {
        let words: Vec<_> = self.sql.split_whitespace().collect();
        let table = words
            .windows(2)
            .find(|pair| matches!(pair[0], "FROM" | "INTO" | "UPDATE"));
        let key = i64::read(self, "id").ok().flatten().map(|id| id.to_string());
        Error::Corrupt {
            table: table.map_or("?", |pair| pair[1]).to_owned(),
            column: column.to_owned(),
            row: key
                .or_else(|| String::read(self, "id").ok().flatten())
                .unwrap_or_else(|| "?".to_owned()),
            reason: reason.to_owned(),
        }
    }
}

macro_rules! raw {
    ($row:expr, $column:expr) => {
        match &$row.cells {
            Cells::Sqlite(row) => row.try_get($column),
            Cells::Postgres(row) => row.try_get($column),
        }
        .map_err(|error| error.to_string())
    };
}

/// What can be read from a column; `Err` says what was expected and found.
pub(crate) trait Cell: Sized {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String>;
}

impl Cell for i64 {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
        raw!(row, column)
    }
}

impl Cell for String {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
        raw!(row, column)
    }
}

impl Cell for Vec<u8> {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
        raw!(row, column)
    }
}

impl<T: DeserializeOwned> Cell for Json<T> {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
        let Some(text) = String::read(row, column)? else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(|value| Some(Self(value)))
            .map_err(|error| error.to_string())
    }
}

macro_rules! int_cell {
    ($($type:ty => $convert:expr;)*) => {$(
        impl Cell for $type {
            fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
                let convert: fn(i64) -> Option<Self> = $convert;
                let Some(found) = i64::read(row, column)? else { return Ok(None) };
                let reason = || format!("expected a {}, found {found}", stringify!($type));
                convert(found).map(Some).ok_or_else(reason)
            }
        }
    )*};
}

macro_rules! text_cell {
    ($($type:ty)*) => {$(
        impl Cell for $type {
            fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
                let Some(text) = String::read(row, column)? else { return Ok(None) };
                text.parse().map(Some).map_err(|error| format!("{error}"))
            }
        }
    )*};
}

int_cell! {
    i32 => |n| n.try_into().ok();
    u32 => |n| n.try_into().ok();
    u64 => |n| n.try_into().ok();
    bool => |n| match n { 0 => Some(false), 1 => Some(true), _ => None };
    Timestamp => |n| Some(Timestamp(n));
}

text_cell! { Digest Outcome CommandId Uuid }

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl Bind for $id {
            fn bind(self) -> Value {
                Value::Int(Some(self.0))
            }
            fn null() -> Value {
                Value::Int(None)
            }
        }
        impl Cell for $id {
            fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
                Ok(i64::read(row, column)?.map(Self))
            }
        }
    )*};
}

ids! { BuildId BuilderId BuildsetId CallId ChangeId EventId LogId OutboxId RequestId SourceStampId StepId WorkerId }

/// Declares an enum that is kept as a word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word in the store and the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::sql::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::sql::UnknownWord {
                        expected: concat!($("`", $word, "` "),*),
                        found: text.chars().take(40).collect(),
                    }),
                }
            }
        }

        impl $crate::sql::Bind for $name {
            fn bind(self) -> $crate::sql::Value {
                $crate::sql::Bind::bind(self.as_str())
            }
            fn null() -> $crate::sql::Value {
                $crate::sql::Value::Text(None)
            }
        }

        impl $crate::sql::Cell for $name {
            fn read(row: &$crate::sql::Row, column: &str) -> Result<Option<Self>, String> {
                let Some(text) = <String as $crate::sql::Cell>::read(row, column)? else { return Ok(None) };
                text.parse().map(Some).map_err(|error: $crate::sql::UnknownWord| error.to_string())
            }
        }
    };
}
pub(crate) use words;

/// Text that is none of the words that were expected.
#[derive(Clone, Debug, thiserror::Error)]
#[error("expected one of {expected}, found {found:?}")]
pub struct UnknownWord {
    pub(crate) expected: &'static str,
    pub(crate) found: String,
}
