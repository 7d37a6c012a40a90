//! A crowd of workers without commands, in this process: each joins by an invitation, dials with the worker's own client and
//! its certificate, speaks through the worker's session machine, and dials again whenever its connection is gone. What is
//! missing of a real worker is what it would do with commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_client::{Identity, Options};
use capstan_tests::{Api, Farm};
use capstan_wire::close::Code;
use capstan_wire::control::{FromMaster, Hello};
use capstan_wire::join::Join;
use capstan_wire::session::worker::{Action, Worker as Session};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Enrolments at a time: the master turns newcomers away beyond 64.
const ABREAST: usize = 24;

/// A worker that has joined.
pub struct Member {
    name: String,
    address: String,
    identity: Identity,
}

/// Lets `count` workers named `w0`, `w1` … join the farm, whose master runs.
pub async fn enrol(farm: &Farm, count: usize) -> Result<Vec<Arc<Member>>> {
    let api = farm.api()?;
    let members = futures::stream::iter(0..count).map(|number| join(api.clone(), format!("w{number}")));
    members.buffer_unordered(ABREAST).try_collect().await
}

async fn join(api: Api, name: String) -> Result<Arc<Member>> {
    let path = format!("/workers/{name}/invite");
    let invitation = tokio::task::spawn_blocking(move || api.post(&path, &json!({}))).await??;
    let join: Join = invitation["join"]
        .as_str()
        .context("expected a join string")?
        .parse()?;
    let enrolled = capstan_client::enroll(&join, &Options::default()).await?;
    ensure!(
        enrolled.name == name,
        "expected to join as {name}, joined as {}",
        enrolled.name
    );
    Ok(Arc::new(Member {
        name,
        address: enrolled.address,
        identity: enrolled.identity,
    }))
}

/// Workers that are connected, or dial.
pub struct Crowd {
    members: usize,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    _tasks: JoinSet<()>,
}

/// The master has welcomed a worker.
struct Arrival {
    epoch: u64,
    at: Instant,
}

impl Crowd {
    /// Lets all of them dial.
    pub fn start(members: &[Arc<Member>]) -> Self {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for member in members {
            tasks.spawn(live(member.clone(), arrived.clone()));
        }
        Self {
            members: members.len(),
            arrivals,
            _tasks: tasks,
        }
    }

    /// Waits until each has been welcomed by a master of a later epoch than `before`; answers when the last was, and the
    /// master's epoch.
    pub async fn all_after(&mut self, before: u64, bound: Duration) -> Result<(Instant, u64)> {
        let (mut here, mut epoch) = (0, before);
        let all = async {
            loop {
                let arrival = self.arrivals.recv().await.context("the workers have ended")?;
                if arrival.epoch > epoch {
                    (here, epoch) = (0, arrival.epoch);
                }
                if arrival.epoch == epoch && epoch > before {
                    here += 1;
                }
                if here == self.members {
                    return anyhow::Ok((arrival.at, epoch));
                }
            }
        };
        let all = tokio::time::timeout(bound, all).await;
        all.with_context(|| {
            format!(
                "expected all {} workers within {bound:?}, {here} came",
                self.members
            )
        })?
    }
}

/// Stays connected for ever.
async fn live(member: Arc<Member>, arrived: mpsc::UnboundedSender<Arrival>) {
    let mut session = Session::new(0);
    let mut failed = 0;
    loop {
        let begun = Instant::now();
        // Whatever ended it: a worker dials again.
        let _end = converse(&member, &mut session, &arrived).await;
        session.disconnected();
        // As the worker's daemon does: one that lasted a second was a good connection.
        failed = if begun.elapsed() >= Duration::from_secs(1) {
            0
        } else {
            failed + 1
        };
        let pause = Duration::from_millis(200 << failed.min(6)).min(Duration::from_secs(15));
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}

async fn converse(
    member: &Member,
    session: &mut Session,
    arrived: &mpsc::UnboundedSender<Arrival>,
) -> Result<()> {
    let connection = capstan_client::connect(&member.identity, &member.address, &Options::default()).await?;
    let (mut to, mut from) = connection.quinn().open_bi().await?;
    let mut actions = session.connected(hello(member));
    let mut epoch = 0;
    loop {
        for action in actions {
            match action {
                Action::Send(message) => capstan_client::send(&mut to, &message).await?,
                Action::RememberEpoch(seen) => epoch = seen,
                // Nobody counts any more when the measurement is over.
                Action::Ready => drop(arrived.send(Arrival {
                    epoch,
                    at: Instant::now(),
                })),
                Action::Close { .. } => {
                    connection.close(Code::Done, "").await;
                    return Ok(());
                }
                other => anyhow::bail!("expected no commands, found {other:?}"),
            }
        }
        let message = capstan_client::receive::<FromMaster>(&mut from).await?;
        actions = session.received(message.context("expected a message")?)?;
    }
}

/// What a real worker says of itself, in size and shape.
fn hello(member: &Member) -> Hello {
    let facts = [
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
        ("cores", "8"),
        ("version", "0.1.0"),
        ("hostname", member.name.as_str()),
        ("memory_mb", "32000"),
        ("kernel", "6.12.0-amd64"),
    ];
    Hello {
        minor: capstan_wire::PROTOCOL_MINOR,
        version: "0.1.0".to_owned(),
        boot: Uuid::from_u128(1),
        slots: 1,
        labels: vec!["linux".to_owned()],
        facts: facts
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        epoch_seen: 0,
        commands: Vec::new(),
    }
}
