//! The world as guests may reach it: the master's own HTTP client with a real server on the loopback interface, the
//! master's own report files with links planted among them, a git that only notes what it is asked. What reaches any of
//! them has left the process.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use capstan_engine::{Commit, Engine, GitFault, GitPort, Ports, Reference};
use capstan_secrets::Secrets;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// What left the process.
type Left = Arc<Mutex<Vec<String>>>;

pub struct World {
    pub engine: Engine,
    left: Left,
    port: u16,
    folder: tempfile::TempDir,
    ports: Ports,
}

impl World {
    pub fn open(engine: Engine) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let left = Left::default();
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path());
        let ports = Ports {
            git: Arc::new(Git(Arc::clone(&left))),
            http: Arc::new(capstan_master::HttpClient::new(secrets(folder.path())).unwrap()),
            files: Arc::new(capstan_master::ReportFolder(folder.path().join("farm"))),
            ..Ports::nowhere()
        };
        let port = serve(Arc::clone(&left));
        Self {
            engine,
            left,
            port,
            folder,
            ports,
        }
    }

    /// Where the server listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ports(&self) -> Ports {
        self.ports.clone()
    }

    pub fn note(&self) -> impl Fn(String) + Send + Sync + use<> {
        let left = Arc::clone(&self.left);
        move |text| left.lock().unwrap().push(text)
    }

    /// What left the process since it was forgotten last.
    pub fn left(&self) -> Vec<String> {
        let mut left = self.left.lock().unwrap().clone();
        left.extend(
            files(self.folder.path())
                .iter()
                .map(|path| format!("file {}", path.display())),
        );
        left
    }

    /// Back to a world that nobody has touched.
    pub fn forget(&self) {
        self.left.lock().unwrap().clear();
        for name in ["farm", "outside"] {
            fs::remove_dir_all(self.folder.path().join(name)).unwrap();
        }
        plant(self.folder.path());
    }
}

/// A farm's folder, a folder beside it, and links from the first to the second.
fn plant(root: &Path) {
    let reports = root.join("farm/reports");
    fs::create_dir_all(&reports).unwrap();
    fs::create_dir_all(root.join("outside")).unwrap();
    symlink(root.join("outside"), reports.join("folder-out")).unwrap();
    symlink(root.join("outside/file"), reports.join("file-out")).unwrap();
}

/// Every file and folder that is not planted.
fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root.join("farm/reports"), root.join("outside")]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            }
            if !kind.is_symlink() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// A store of secrets with one, `token`.
fn secrets(root: &Path) -> Secrets {
    let folder = root.join("secrets");
    fs::create_dir_all(&folder).unwrap();
    let token = folder.join("token");
    fs::write(&token, "hunter2").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    Secrets::new(folder, "")
}

/// A server that notes the first line of each request and redirects to itself.
fn serve(left: Left) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, port, &left);
        }
    });
    port
}

fn answer(mut stream: TcpStream, port: u16, left: &Left) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or_default();
    let head = String::from_utf8_lossy(&request[..read]).replace("\r\n", " | ");
    left.lock().unwrap().push(format!("server {head}"));
    let location = format!("http://127.0.0.1:{port}/secret");
    let _ = write!(
        stream,
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
}

struct Git(Left);

impl GitPort for Git {
    fn fetch(&self, repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        self.0.lock().unwrap().push(format!("git fetch {repository}"));
        async { Ok(Vec::new()) }.boxed()
    }

    fn commits(
        &self,
        repository: String,
        since: Vec<String>,
        until: String,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        self.0
            .lock()
            .unwrap()
            .push(format!("git commits {repository} {since:?} {until} {limit}"));
        async { Ok(Vec::new()) }.boxed()
    }
}
