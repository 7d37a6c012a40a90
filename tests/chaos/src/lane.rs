//! A farm that sees one seed after the other: master, two workers each behind a proxy, a repository, a receiver of reports,
//! a small disk. Made once for many seeds, since that takes as long as a seed does.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, Programs, Project, Proxy, Weather, wait_for};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::faults;
use crate::found::{Build, Found, executions};
use crate::plan::{Database, Plan, WORKERS};
use crate::receiver::Receiver;
use crate::{leftovers, work};
use capstan_tests::cluster::Cluster;

/// How long builds and reports may take to end after everything was healed. A report that had to wait when the clock was put
/// back may wait longer by as much: a minute and a half, of what plans put it back by; what is hours off is due at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a lane is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs under test.
    pub programs: Programs,
    /// The folder for the farm's temporary folder.
    pub scratch: PathBuf,
    /// What the farm keeps its data in.
    pub database: Database,
    /// Whether the logs are on a small disk.
    pub small_disk: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    pub(crate) farm: Farm,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) weather: [Weather; WORKERS.len()],
    pub(crate) disk: Option<Disk>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) project: Project,
    receiver: Receiver,
    /// `capstan.toml` without what a plan says.
    operator: toml::Table,
    pushes: u32,
}

/// What one seed came to.
#[derive(Debug)]
pub struct Seen {
    /// What is left of it.
    pub found: Found,
    /// What did not happen in time.
    pub late: Vec<String>,
}

impl Lane {
    /// Makes a farm, and waits until it has built something.
    pub fn create(options: &Options) -> Result<Self> {
        let mut farm = Farm::create_in(options.programs.clone(), &options.scratch)?;
        let root = farm.root().to_owned();
        let path = work::write_programs(&root)?;
        farm.set_env("PATH", &path);
        let project = Project::create(&root, "project")?;
        project.push(
            "A start",
            &[("README", "A project.\n"), ("src/main.c", "int main;\n")],
        )?;
        project.branch(work::BRANCH)?;
        project.push("Work", &[("README", "Work.\n")])?;
        let receiver = Receiver::start()?;
        let hook = format!("http://{}{}", receiver.address(), work::HOOK);
        farm.write(
            "ci.star",
            work::configuration(&root, &project.repository(), &hook),
        )?;
        let (web, link) = (
            free_port(|at| TcpListener::bind(at).is_ok()),
            free_port(|at| UdpSocket::bind(at).is_ok()),
        );
        let (web, link) = (web?, link?);
        let cluster = match options.database {
            Database::Sqlite => None,
            Database::Postgres => Some(start_cluster(&root)?),
        };
        let operator = operator(&farm.read("capstan.toml")?, web, link, &hook, cluster.as_ref())?;
        let disk = match options.small_disk {
            true => Some(Disk::mount(farm.folder().join("data/logs"), &root)?),
            false => None,
        };
        if let Some(disk) = &disk {
            farm.wrap_master(&disk.wrapper().each_ref().map(String::as_str));
        }
        let proxies = (0..).zip(WORKERS).map(|(seed, _)| Proxy::start(link, seed));
        let mut lane = Self {
            farm,
            proxies: proxies
                .collect::<Result<_, _>>()
                .context("failed to start a proxy")?,
            weather: [Weather::default(); WORKERS.len()],
            disk,
            cluster,
            project,
            receiver,
            operator,
            pushes: 0,
        };
        if let Err(error) = lane.populate() {
            lane.farm.show_outputs();
            return Err(error);
        }
        Ok(lane)
    }

    /// Starts everything, with the workers behind their proxies.
    fn populate(&mut self) -> Result<()> {
        self.receiver.begin(None);
        self.configure(&Plan::quiet())?;
        self.launch_master()?;
        self.farm
            .master()?
            .wait_until_printed("capstan is ready", BOUND)?;
        for (name, proxy) in WORKERS.into_iter().zip(&self.proxies) {
            let joined = self.farm.join(name, &self.farm.invite(name)?)?;
            ensure!(
                joined.status.success(),
                "joining failed: {}",
                String::from_utf8_lossy(&joined.stderr)
            );
            let file = self.farm.worker_folder(name).join("worker.toml");
            let mut member: toml::Table = std::fs::read_to_string(&file)?.parse()?;
            member.insert("addresses".to_owned(), vec![proxy.address().to_string()].into());
            std::fs::write(&file, member.to_string())?;
        }
        for worker in 0..WORKERS.len() {
            self.launch_daemon(worker)?;
        }
        self.farm.finished(work::PUSHED, 1)?;
        self.wait_for_reports(0)?;
        wait_for("the workers to be connected", BOUND, || {
            let api = self.farm.api()?;
            for name in WORKERS {
                if api.get(&format!("/workers/{name}"))?["connected"] != true {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Carries a plan out: asks for the builds, disturbs them, heals everything, and waits until all has ended.
    pub fn run(&mut self, plan: &Plan) -> Result<Seen> {
        self.configure(plan)?;
        self.receiver
            .begin((!plan.faults.is_empty()).then_some(plan.seed));
        let noted = self.notes()?.len();
        let before = self
            .builds()?
            .iter()
            .filter_map(|build| build["id"].as_i64())
            .max()
            .unwrap_or(0);
        for (builder, count) in work::ASKED {
            for _ in 0..count {
                let path = format!("/builders/{builder}/force");
                self.farm.api()?.post(&path, &json!({ "branch": "main" }))?;
            }
        }
        faults::carry_out(self, plan)?;
        let mut late = Vec::new();
        let mut awaited = |what: Result<()>| late.extend(what.err().map(|error| format!("{error:#}")));
        awaited(self.wait_for_builds(before));
        awaited(self.wait_for_reports(before));
        awaited(self.wait_for_workers());
        Ok(Seen {
            found: self.read(before, noted)?,
            late,
        })
    }

    /// Another commit on the branch that is built when it changes.
    pub(crate) fn push(&mut self) -> Result<()> {
        self.pushes += 1;
        let text = format!("Work, part {}.\n", self.pushes);
        self.project
            .push("Some more work", &[("README", &text)])
            .map(drop)
    }

    /// Starts the master, and does not wait.
    pub(crate) fn launch_master(&mut self) -> Result<()> {
        self.own_clock("master");
        self.farm.launch_master().map(drop)
    }

    /// Starts a worker's daemon, and does not wait.
    pub(crate) fn launch_daemon(&mut self, worker: usize) -> Result<()> {
        self.own_clock(WORKERS[worker]);
        self.farm.launch_worker(WORKERS[worker]).map(drop)
    }

    /// Where the offset of a program's clock stands.
    pub(crate) fn clock(&self, whose: &str) -> PathBuf {
        self.farm.root().join(format!("clock-{whose}"))
    }

    fn own_clock(&mut self, whose: &str) {
        let file = self.clock(whose).display().to_string();
        self.farm.set_env("CAPSTAN_CLOCK_OFFSET_FILE", &file);
    }

    /// Takes effect when the master starts again.
    fn configure(&self, plan: &Plan) -> Result<()> {
        let mut file = self.operator.clone();
        for (table, key, value) in [
            ("limits", "keep_instances", plan.keep_instances),
            ("link", "idle", plan.idle),
        ] {
            table_of(&mut file, table)?.insert(key.to_owned(), value.into());
        }
        self.farm.write("capstan.toml", file.to_string())
    }

    fn notes(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.farm.root().join(work::EXECUTIONS)).unwrap_or_default())
    }

    fn builds(&self) -> Result<Vec<Value>> {
        let answer = self.farm.api()?.get("/builds?limit=100")?;
        answer["builds"].as_array().cloned().context("expected builds")
    }

    fn since(&self, before: i64) -> Result<Vec<Value>> {
        let mut builds = self.builds()?;
        builds.retain(|build| build["id"].as_i64().is_some_and(|id| id > before));
        Ok(builds)
    }

    fn wait_for_builds(&self, before: i64) -> Result<()> {
        let mut last = String::new();
        let waited = wait_for("the end of every build", PATIENCE, || {
            let builds = self.since(before)?;
            let requests = self.farm.api()?.get("/requests?state=pending")?;
            let waiting = requests["requests"].as_array().map_or(0, Vec::len);
            let word = |build: &Value| {
                let [builder, number, state] = ["builder", "number", "state"].map(|name| &build[name]);
                format!(
                    "{builder}/{number} on {}: {state} {}",
                    build["worker"], build["outcome"]
                )
            };
            last = format!(
                "{waiting} requests wait; {}",
                builds.iter().map(word).collect::<Vec<_>>().join(", ")
            );
            let complete = builds.iter().filter(|build| build["state"] == "complete").count();
            Ok((waiting == 0 && complete == builds.len() && complete >= work::BUILDS).then_some(()))
        });
        waited.with_context(|| format!("found {last}"))
    }

    /// Waits until the master knows that every report arrived: it would send what it does not know of again, later.
    fn wait_for_reports(&self, before: i64) -> Result<()> {
        let mut missing = Vec::new();
        let waited = wait_for("the delivery of every report", PATIENCE, || {
            missing.clear();
            for build in self.since(before)? {
                let reports = self.farm.api()?.get(&format!("/reports?build={}", build["id"]))?;
                let reports = reports["reports"].as_array().context("expected reports")?;
                let open = reports.iter().filter(|report| report["state"] != "delivered");
                missing
                    .extend(open.map(|report| format!("{}/{} {report}", build["builder"], build["number"])));
            }
            Ok(missing.is_empty().then_some(()))
        });
        waited.with_context(|| format!("missing are {missing:#?}"))
    }

    fn wait_for_workers(&self) -> Result<()> {
        let mut left = Vec::new();
        let waited = wait_for("nothing to be left of the commands", BOUND / 2, || {
            left = leftovers::processes(self.farm.root());
            for name in WORKERS {
                left.extend(leftovers::folders(&self.farm.worker_folder(name))?);
            }
            Ok(left.is_empty().then_some(()))
        });
        waited.with_context(|| format!("left are {left:?}"))
    }

    fn read(&self, before: i64, noted: usize) -> Result<Found> {
        let api = self.farm.api()?;
        let root = self.farm.root().display().to_string();
        let ids = self
            .since(before)?
            .into_iter()
            .filter_map(|build| build["id"].as_i64())
            .rev();
        Ok(Found {
            builds: ids
                .map(|id| Build::read(&api, id, &root))
                .collect::<Result<_>>()?,
            executions: executions(self.notes()?.get(noted..).unwrap_or_default())?,
            deliveries: self.receiver.deliveries(),
        })
    }

    /// Ends the farm's processes and keeps its folder, with `problems` in a file beside its logs.
    pub fn keep(mut self, problems: &str) -> PathBuf {
        let folder = self.farm.keep().to_owned();
        // It is for a reader of a failure: what cannot be saved is not there, and the failure is told in any case.
        let _ = std::fs::write(folder.join("problems.txt"), problems);
        if let Some(disk) = &self.disk {
            let _ = disk.save(&folder.join("logs-of-the-master"));
        }
        folder
    }
}

fn start_cluster(root: &Path) -> Result<Cluster> {
    use std::os::unix::fs::PermissionsExt as _;
    // The server's user has to get to its own folder.
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o711))?;
    Cluster::start(&root.join("postgres"))
}

/// The operator's file of a farm at these addresses.
fn operator(
    text: &str,
    web: SocketAddr,
    link: SocketAddr,
    hook: &str,
    cluster: Option<&Cluster>,
) -> Result<toml::Table> {
    let mut file: toml::Table = text.parse().context("expected TOML in capstan.toml")?;
    let database = cluster.map_or_else(|| "sqlite:data/capstan.db".to_owned(), Cluster::url);
    for (table, key, value) in [
        ("web", "listen", web.to_string().into()),
        ("link", "listen", link.to_string().into()),
        ("database", "url", database.into()),
        ("limits", "max_log", "64MiB".into()),
    ] {
        table_of(&mut file, table)?.insert(key.to_owned(), value);
    }
    let grants = table_of(&mut file, "grants")?;
    table_of(grants, "http-push")?.insert("http".to_owned(), vec![hook.to_owned()].into());
    Ok(file)
}

fn table_of<'a>(file: &'a mut toml::Table, name: &str) -> Result<&'a mut toml::Table> {
    let entry = file.entry(name).or_insert_with(|| toml::Table::new().into());
    entry
        .as_table_mut()
        .with_context(|| format!("expected a table [{name}]"))
}

/// A port below those that the system gives to whoever asks for any: while a master is away, nobody else takes it.
fn free_port(is_free: impl Fn(SocketAddr) -> bool) -> Result<SocketAddr> {
    let mut random = rand::rng();
    (0..1000)
        .map(|_| SocketAddr::from(([127, 0, 0, 1], random.random_range(12_000..32_000))))
        .find(|&address| is_free(address))
        .context("expected a free port")
}
