//! The parts that Unix systems share: signals, waiting for children and pipes, the shell.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use super::{Ended, Reaped, Told};

/// Wakes [`wait_readable`] when a child ends or when this process is told to end.
pub struct Alarm {
    bell: UnixStream,
    told: Arc<AtomicBool>,
}

impl Alarm {
    /// Catches the signals. Only caught, never blocked: a mask would be inherited by the command.
    pub fn install() -> io::Result<Self> {
        let (bell, hammer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let told = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, told.clone())?;
        for signal in [SIGCHLD, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, hammer.try_clone()?)?;
        }
        // A closed terminal or an interrupt meant for the daemon is none of a running command's business.
        for signal in [SIGHUP, SIGINT] {
            signal_hook::flag::register(signal, Arc::default())?;
        }
        Ok(Self { bell, told })
    }

    /// Whether this process was told to end since the last call.
    pub fn was_told_to_end(&self) -> bool {
        self.told.swap(false, Ordering::SeqCst)
    }

    /// Silences the bell.
    pub fn clear(&mut self) {
        let mut sink = [0; 64];
        while matches!(self.bell.read(&mut sink), Ok(1..)) {}
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Waits until one of `sources` can be read or has ended, or for `limit`. Says which; an interruption is an
/// early end.
pub fn wait_readable(sources: &[BorrowedFd<'_>], limit: Duration) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = sources
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    // Rounded up: a wait that ends just before its deadline would be followed by a busy loop.
    let limit = u16::try_from(limit.as_millis() + 1).unwrap_or(u16::MAX);
    match poll(&mut polled, PollTimeout::from(limit)) {
        Ok(_) | Err(Errno::EINTR) => Ok(polled.iter().map(|p| p.any().unwrap_or(false)).collect()),
        Err(error) => Err(error.into()),
    }
}

/// Resolves when this process is told to end, by a service manager or at its terminal. For processes with
/// tokio.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Makes reads (or writes) answer `WouldBlock` instead of waiting.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Starts a session of its own, away from the terminal and the process group of whoever started this process.
pub fn leave_session() {
    // Fails only for a leader of a process group, which a person started from a shell: then it has its own
    // group.
    let _ = nix::unistd::setsid();
}

/// Takes one ended child, whichever it is.
pub fn reap() -> io::Result<Reaped> {
    loop {
        return match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                Ok(Reaped::Child(pid.as_raw().unsigned_abs(), Ended::Code(code)))
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => Ok(Reaped::Child(
                pid.as_raw().unsigned_abs(),
                Ended::Signal(signal as i32),
            )),
            Ok(WaitStatus::StillAlive) => Ok(Reaped::NoneYet),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => Ok(Reaped::NoChildren),
            Err(error) => Err(error.into()),
        };
    }
}

/// Sends `told` to the process `pid`; one that is gone already is fine.
pub fn send(pid: u32, told: Told) {
    told_to(pid, told, kill);
}

/// Sends `told` to all processes of the group `leader`.
pub fn send_group(leader: u32, told: Told) {
    told_to(leader, told, killpg);
}

fn told_to(pid: u32, told: Told, send: impl Fn(Pid, Signal) -> nix::Result<()>) {
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw) else {
        return;
    };
    match told {
        Told::Terminate => {
            let _ = send(pid, Signal::SIGTERM);
            let _ = send(pid, Signal::SIGCONT);
        }
        Told::Kill => {
            let _ = send(pid, Signal::SIGKILL);
        }
    }
}

/// The program and arguments that run `line` in this system's shell.
pub fn shell(line: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]
}

/// Makes a folder that only this user can enter, and those above it.
pub fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Writes a file that only this user can read.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // Removed first: the mode of an existing file would stay.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// Makes new and renamed entries of a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether the error means that there is no room left.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The machine's name on its network.
pub fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
