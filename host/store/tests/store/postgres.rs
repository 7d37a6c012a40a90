//! A PostgreSQL server for the tests: one that `CAPSTAN_TEST_POSTGRES` names, or a private cluster in a temporary
//! folder that ends with this process, however that ends.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Once};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// The server, or why there is none.
static SERVER: LazyLock<Result<Server, String>> =
    LazyLock::new(|| match std::env::var("CAPSTAN_TEST_POSTGRES") {
        Ok(url) => Ok(Server { url, _keeper: None }),
        Err(_) => Server::start(),
    });

struct Server {
    /// Its address, with a database that exists.
    url: String,
    /// Ends a private server and removes its folder when its standard input closes: with this process.
    _keeper: Option<Child>,
}

/// Where the server is.
fn server() -> &'static str {
    SERVER
        .as_ref()
        .map(|server| server.url.as_str())
        .unwrap_or_else(|reason| panic!("{reason}"))
}

/// The address of a new, empty database; `None`, and said so, when PostgreSQL is left out.
pub async fn database() -> Option<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if std::env::var_os("CAPSTAN_NO_POSTGRES").is_some_and(|value| value != "0") {
        // Not `eprintln`: the harness keeps that back when a test passes.
        static SAY: Once = Once::new();
        SAY.call_once(|| {
            let _ = writeln!(
                std::io::stderr(),
                "left out: every test on PostgreSQL (CAPSTAN_NO_POSTGRES is set)"
            );
        });
        return None;
    }
    let server = tokio::task::spawn_blocking(server).await.unwrap();
    let name = format!(
        "capstan_test_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    execute(server, format!("CREATE DATABASE {name}")).await;
    let (address, parameters) = server.split_once('?').unwrap_or((server, ""));
    let address = address.rsplit_once('/').map_or(address, |(address, _)| address);
    Some(format!("{address}/{name}?{parameters}"))
}

/// Removes a database that [`database`] made.
pub async fn remove(url: &str) {
    let name = url.rsplit_once('/').unwrap().1.split_once('?').unwrap().0;
    execute(server(), format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// Runs a statement of a test's own making.
pub async fn execute(url: &str, statement: String) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
}

impl Server {
    #[expect(clippy::zombie_processes, reason = "the keeper ends when this process does")]
    fn start() -> Result<Self, String> {
        let (initdb, postgres) = (program("initdb")?, program("postgres")?);
        let folder = tempfile::Builder::new()
            .prefix("capstan-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        let mut keeper = keeper(&folder);
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder))?;
        }
        let data = folder.join("data");
        let options = [
            "--auth=trust",
            "--username=capstan",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ];
        run(unprivileged(&initdb).args(options).arg(&data))?;
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut server = unprivileged(&postgres);
        server
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", "", "-F"]);
        // Many short tests at a time, each with pools of its own.
        server.args(["-c", "max_connections=300", "-c", "shared_buffers=32MB"]);
        server
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let server = server
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", postgres.display()))?;
        writeln!(keeper.stdin.as_mut().unwrap(), "{}", server.id()).unwrap();
        let url = format!("postgres://capstan@127.0.0.1:{port}/postgres");
        wait_until_ready(&url, server, &folder)?;
        Ok(Self {
            url,
            _keeper: Some(keeper),
        })
    }
}

/// A shell that waits for its standard input to close, then ends the server whose id it read and removes the folder.
fn keeper(folder: &Path) -> Child {
    let script = r#"read pid; cat; kill -QUIT $pid; while kill -0 $pid; do sleep 0.1; done; rm -rf "$1""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "keeper"]).arg(folder);
    // Not the test's own output: whoever reads that waits for all who could write to it.
    shell
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_until_ready(url: &str, mut server: Child, folder: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while runtime.block_on(PgConnection::connect(url)).is_err() {
        let ended = server.try_wait().unwrap();
        if ended.is_some() || Instant::now() > deadline {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(format!(
                "expected the test's PostgreSQL server to accept connections, found {ended:?}:\n{log}"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// One of PostgreSQL's programs; Debian keeps them out of PATH.
fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let mut places = std::env::split_paths(&path)
        .chain(folders.into_iter().rev())
        .map(|folder| folder.join(name));
    places.find(|place| place.is_file()).ok_or_else(|| {
        format!(
            "expected PostgreSQL's `{name}` in PATH or /usr/lib/postgresql/*/bin, found none; install the package \
             `postgresql`, name a server in CAPSTAN_TEST_POSTGRES, or leave PostgreSQL out with CAPSTAN_NO_POSTGRES=1"
        )
    })
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"])
        .arg(program);
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn run(command: &mut Command) -> Result<(), String> {
    // The server's user may not look into the folder that the tests run in.
    let output = command
        .current_dir("/")
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
