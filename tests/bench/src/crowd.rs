//! A crowd of workers in this process: each joins by an invitation, dials with the worker's own client and its certificate,
//! speaks through the worker's session machine, and dials again whenever its connection is gone. Their commands are
//! simulated: see [`work`].

mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_client::{Identity, Options};
use capstan_tests::{Api, Farm};
use capstan_wire::close::Code;
use capstan_wire::control::{FromMaster, Hello};
use capstan_wire::join::Join;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use work::Work;

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

/// Asks for so many builds of a builder.
pub async fn force(farm: &Farm, builder: &str, count: usize) -> Result<()> {
    let (api, path) = (farm.api()?, format!("/builders/{builder}/force"));
    let orders = futures::stream::iter(0..count).map(|_| {
        let (api, path) = (api.clone(), path.clone());
        async move {
            tokio::task::spawn_blocking(move || api.post(&path, &json!({})))
                .await?
                .map(drop)
        }
    });
    orders.buffer_unordered(ABREAST).try_collect().await
}

/// Workers that are connected, or dial.
pub struct Crowd {
    members: usize,
    news: mpsc::UnboundedReceiver<News>,
    end_commands: watch::Sender<bool>,
    tally: Tally,
    _tasks: JoinSet<()>,
}

/// What happened to one of the workers.
enum News {
    /// A master of this epoch has welcomed it.
    Arrived(u64),
    /// It has begun a command.
    Began,
    /// A master that it came back to takes the log of a command that it holds.
    Resumed,
    /// A master knows the end of a command.
    Forgot,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The newest master.
    pub epoch: u64,
    /// How many workers it has welcomed.
    pub here: usize,
    /// How many logs it took up where an earlier connection had left them.
    pub resumed: usize,
    /// Commands that were begun.
    pub began: usize,
    /// Commands whose end a master knows.
    pub forgotten: usize,
}

impl Crowd {
    /// Lets all of them dial.
    pub fn start(members: &[Arc<Member>]) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let (end_commands, end) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for member in members {
            tasks.spawn(live(member.clone(), tell.clone(), end.clone()));
        }
        Self {
            members: members.len(),
            news,
            end_commands,
            tally: Tally::default(),
            _tasks: tasks,
        }
    }

    /// Waits until each has been welcomed by a master of a later epoch than `before`; answers when the last was, and the
    /// master's epoch.
    pub async fn all_after(&mut self, before: u64, bound: Duration) -> Result<(Instant, u64)> {
        let members = self.members;
        let all = |tally: &Tally| tally.epoch > before && tally.here == members;
        let at = self
            .until(&format!("all {members} workers to come"), bound, all)
            .await?;
        Ok((at, self.tally.epoch))
    }

    /// From now on commands end; until then they only run.
    pub fn end_commands(&self) {
        self.end_commands.send_replace(true);
    }

    /// Waits until so much has happened; answers when it was.
    pub async fn until(
        &mut self,
        what: &str,
        bound: Duration,
        done: impl Fn(&Tally) -> bool,
    ) -> Result<Instant> {
        let all = async {
            loop {
                if done(&self.tally) {
                    return anyhow::Ok(Instant::now());
                }
                let news = self.news.recv().await.context("the workers have ended")?;
                self.tally.count(&news);
            }
        };
        let in_time = tokio::time::timeout(bound, all).await;
        in_time.with_context(|| format!("expected {what} within {bound:?}, found {:?}", self.tally))?
    }
}

impl Tally {
    fn count(&mut self, news: &News) {
        match news {
            News::Arrived(epoch) => {
                if *epoch > self.epoch {
                    (self.epoch, self.here) = (*epoch, 0);
                }
                self.here += usize::from(*epoch == self.epoch);
            }
            News::Began => self.began += 1,
            News::Resumed => self.resumed += 1,
            News::Forgot => self.forgotten += 1,
        }
    }
}

/// Stays connected for ever.
async fn live(member: Arc<Member>, tell: mpsc::UnboundedSender<News>, end: watch::Receiver<bool>) {
    let mut work = Work::new(tell, end);
    let mut failed = 0;
    loop {
        let begun = Instant::now();
        // Whatever ended it: a worker dials again.
        let _end = converse(&member, &mut work).await;
        work.disconnected();
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

async fn converse(member: &Member, work: &mut Work) -> Result<()> {
    let connection = capstan_client::connect(&member.identity, &member.address, &Options::default()).await?;
    let (mut to, from) = connection.quinn().open_bi().await?;
    // A message that has come in part is kept while something else happens.
    let inbound = futures::stream::unfold(from, async |mut from| {
        let message = capstan_client::receive::<FromMaster>(&mut from).await;
        Some((message, from))
    });
    let mut inbound = std::pin::pin!(inbound);
    let mut actions = work.session.connected(hello(member));
    loop {
        if !work.act(actions, connection.quinn(), &mut to).await? {
            connection.close(Code::Done, "").await;
            return Ok(());
        }
        actions = tokio::select! {
            message = inbound.next() => {
                let message = message.context("expected a message")??;
                work.session.received(message.context("expected a message")?)?
            }
            actions = work.end() => actions,
        };
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
