//! What schedulers are asked for by steps, people and command lines: a call waits as an event of its scheduler, and its answer is
//! written with the decision about it.

use capstan_model::{BuildId, CallId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Consumed, Payload, consume, enqueue, patches};
use crate::buildsets::Submitted;
use crate::sql::{Conn, Json, Row, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// A call of a scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The key.
    pub id: CallId,
    /// Who is asked.
    pub scheduler: String,
    /// What for.
    pub body: Value,
    /// When it came.
    pub created: Timestamp,
    /// What came of it; `None` while it waits.
    pub answer: Option<Answer>,
}

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These buildsets; there may be none, for what is asked for may come later.
    Made(Vec<Submitted>),
    /// Nothing, for these reasons.
    Refused(Vec<CallProblem>),
}

/// Something that is wrong in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallProblem {
    /// Where in the call: `values.branch`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Answer {
    /// Refused for one reason.
    pub fn refused(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(vec![CallProblem {
            path: path.into(),
            message: message.into(),
        }])
    }
}

impl Store {
    /// Leaves a call for a scheduler and rings the bell. The key is the caller's: the same again is the same call. The text of a
    /// patch in it (`patch.body`) is kept beside it: what the scheduler sees of it is a [`capstan_model::Patch`].
    /// [`Error::Conflict`] when the scheduler is disabled.
    pub async fn call_scheduler(
        &self,
        scheduler: &str,
        key: &str,
        body: Value,
        now: Timestamp,
    ) -> Result<CallId, Error> {
        let (scheduler, key) = (scheduler.to_owned(), key.to_owned());
        self.write(move |tx| ask(tx, None, scheduler, key, body, now).boxed())
            .await
    }

    /// The same for a step of that build, which becomes the parent of what is made.
    pub async fn call_scheduler_for(
        &self,
        build: BuildId,
        scheduler: &str,
        key: &str,
        body: Value,
        now: Timestamp,
    ) -> Result<CallId, Error> {
        let (scheduler, key) = (scheduler.to_owned(), key.to_owned());
        self.write(move |tx| ask(tx, Some(build), scheduler, key, body, now).boxed())
            .await
    }

    /// The call of that key, if it was made.
    pub async fn call_by_key(&self, key: &str) -> Result<Option<Call>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT * FROM scheduler_calls WHERE key = $1";
        conn.row(sql, args![key]).await?.map(|row| read(&row)).transpose()
    }

    /// Takes a call back that nobody is to answer any more, for that reason; answers what became of it before, if something did.
    pub async fn withdraw_call(
        &self,
        key: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Answer>, Error> {
        let (key, reason) = (key.to_owned(), reason.to_owned());
        self.write(move |tx| withdraw(tx, key, reason, now).boxed()).await
    }

    /// That call, with its answer once there is one.
    pub async fn call(&self, id: CallId) -> Result<Option<Call>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT * FROM scheduler_calls WHERE id = $1";
        conn.row(sql, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Answers a call that asks for something that cannot be; the scheduler's state stays.
    pub async fn refuse_call(
        &self,
        scheduler: &str,
        consumed: Consumed,
        problems: Vec<CallProblem>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let scheduler = scheduler.to_owned();
        self.write(move |tx| {
            async move {
                let Some(Payload::Call(call)) = consume(tx, &scheduler, &consumed).await? else {
                    return Err(Error::invalid("expected a call to refuse, found another event"));
                };
                answer(tx, call, &Answer::Refused(problems), now).await?;
                Ok(())
            }
            .boxed()
        })
        .await
    }
}

async fn withdraw(tx: &mut Tx, key: String, reason: String, now: Timestamp) -> Result<Option<Answer>, Error> {
    let known = "SELECT * FROM scheduler_calls WHERE key = $1";
    let Some(row) = tx.row(known, args![&key]).await? else {
        return Ok(None);
    };
    let call = read(&row)?;
    if call.answer.is_none() {
        let delete = "DELETE FROM scheduler_events WHERE scheduler = $1 AND payload = $2";
        tx.run(delete, args![&call.scheduler, Json(&Payload::Call(call.id))])
            .await?;
        answer(tx, call.id, &Answer::refused("", &reason), now).await?;
    }
    Ok(call.answer)
}

fn read(row: &Row) -> Result<Call, Error> {
    let made = row.maybe::<Json<Vec<Submitted>>>("buildsets")?;
    let problems = row.maybe::<Json<Vec<CallProblem>>>("problems")?;
    let answer = match (made, problems) {
        (_, Some(problems)) => Some(Answer::Refused(problems.0)),
        (Some(made), None) => Some(Answer::Made(made.0)),
        (None, None) => None,
    };
    Ok(Call {
        id: row.get("id")?,
        scheduler: row.get("scheduler")?,
        body: row.get::<Json<Value>>("body")?.0,
        created: row.get("created")?,
        answer,
    })
}

pub(super) async fn body(conn: &mut Conn, id: CallId) -> Result<Option<Value>, Error> {
    let sql = "SELECT body FROM scheduler_calls WHERE id = $1";
    let row = conn.row(sql, args![id]).await?;
    row.map(|row| Ok(row.get::<Json<Value>>("body")?.0)).transpose()
}

async fn ask(
    tx: &mut Tx,
    build: Option<BuildId>,
    scheduler: String,
    key: String,
    mut body: Value,
    now: Timestamp,
) -> Result<CallId, Error> {
    let known = "SELECT id FROM scheduler_calls WHERE key = $1";
    if let Some(row) = tx.row(known, args![&key]).await? {
        return row.get("id");
    }
    if !super::enabling::is_enabled(tx, &scheduler).await? {
        return Err(Error::conflict(format!(
            "expected the scheduler `{scheduler}` to be enabled, found it disabled"
        )));
    }
    patches::keep(tx, &mut body).await?;
    let insert = "INSERT INTO scheduler_calls (scheduler, key, body, created, build) VALUES ($1, $2, $3, $4, $5) RETURNING id";
    let row = tx
        .one(insert, args![&scheduler, &key, Json(&body), now, build])
        .await?;
    let id: CallId = row.get("id")?;
    enqueue(tx, &scheduler, &Payload::Call(id), now).await?;
    Ok(id)
}

/// Writes what came of a call.
pub(super) async fn answer(tx: &mut Tx, id: CallId, answer: &Answer, now: Timestamp) -> Result<(), Error> {
    let (made, problems) = match answer {
        Answer::Made(made) => (Some(Json(made)), None),
        Answer::Refused(problems) => (None, Some(Json(problems))),
    };
    let sql = "UPDATE scheduler_calls SET answered = $2, buildsets = $3, problems = $4 WHERE id = $1 RETURNING build";
    let row = tx.row(sql, args![id, now, made, problems]).await?;
    let build = row.map_or(Ok(None), |row| row.maybe::<BuildId>("build"))?;
    if let (Some(build), Answer::Made(made)) = (build, answer) {
        for set in made {
            let update = "UPDATE buildsets SET parent = $2 WHERE id = $1";
            tx.run(update, args![set.buildset, build]).await?;
        }
    }
    tx.ring_for_work();
    Ok(())
}
