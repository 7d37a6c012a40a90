//! `capstan run`: the master with its web server, in the foreground.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt as _;
use capstan_config::Operator;
use capstan_master::{Error, Master, Options};
use capstan_model::SystemClock;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Common;
use crate::commands::{check, init};
use crate::output;

/// Open files that a farm of some size needs: a log for each running command, besides connections and the database's files.
const ENOUGH_FILES: u64 = 4096;

/// How long requests that are being answered may take after the end was asked for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or an interrupt. Builds go on at their workers meanwhile and are taken up by the next run.
pub async fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let operator = Operator::load(&common.farm)?;
    allow_open_files();
    let data = operator.master.data.clone();
    let listen = operator.web.listen;
    if let Some(file) = SystemClock::offset_file() {
        tracing::warn!(file = %file.display(), "the clock is moved by a number in a file: this is for tests only");
    }
    let options = Options {
        operator,
        built_in: capstan_builtin::components(),
        clock: Arc::new(SystemClock),
    };
    let master = match Master::start(options).await {
        Ok(master) => master,
        Err(Error::Config(diagnostics)) => {
            check::print_diagnostics(&diagnostics);
            output::print_error("capstan: the configuration has faults; nothing was started");
            return Ok(ExitCode::FAILURE);
        }
        Err(other) => return Err(other.into()),
    };
    check::print_diagnostics(master.remarks());
    init::write_token(&data)?;
    let token = std::fs::read_to_string(data.join("token")).context("failed to read the control token")?;
    let web = TcpListener::bind(listen).await.with_context(|| {
        format!(
            "failed to open the web server's address {listen}; [web] listen in capstan.toml chooses another"
        )
    })?;
    let web_address = web.local_addr()?;
    master.set_web_address(web_address);
    let shutdown = CancellationToken::new();
    let app = capstan_web::router(capstan_web::Options {
        handle: master.handle(),
        token: token.trim().to_owned(),
        listen: web_address,
        shutdown: shutdown.clone(),
    });
    announce(&data, web_address, &master)?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(wait_for_signal(shutdown.clone()));
    let stopped = shutdown.clone();
    tasks.spawn(async move {
        // Small answers on a connection that is kept would wait for the reader's acknowledgement, 40 ms each.
        let web = web.tap_io(|stream| drop(stream.set_nodelay(true)));
        let served = axum::serve(web, app).with_graceful_shutdown(stopped.clone().cancelled_owned());
        tokio::select! {
            result = served => result.context("the web server ended"),
            // Streams that follow a log have no end of their own.
            () = async { stopped.cancelled().await; tokio::time::sleep(LAST_ANSWERS).await } => Ok(()),
        }
    });
    let result = master.run(shutdown.clone()).await;
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task ended badly")??;
    }
    let _gone = std::fs::remove_file(data.join("run.json"));
    result?;
    Ok(ExitCode::SUCCESS)
}

/// Allows this process as many open files as the system lets it have: the limit that holds otherwise is often 1,024.
fn allow_open_files() {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match allowed {
        Ok(allowed) if allowed < ENOUGH_FILES => tracing::warn!(
            allowed,
            "the system allows few open files, and each running command needs one for its log; raise the hard limit \
             (`ulimit -Hn`, LimitNOFILE= in a systemd unit) to {ENOUGH_FILES} or more"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "failed to raise the limit of open files"),
    }
}

/// Says where the master is: to people on standard output, to the command line in `run.json`.
fn announce(data: &Path, web: SocketAddr, master: &Master) -> anyhow::Result<()> {
    let link = master.link_address();
    let run = serde_json::json!({
        "pid": std::process::id(),
        "web": format!("http://{web}"),
        "link": link.to_string(),
        "epoch": master.handle().about().epoch,
    });
    let (path, new) = (data.join("run.json"), data.join("run.json.new"));
    std::fs::write(&new, serde_json::to_vec(&run)?)
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| format!("failed to write {}", path.display()))?;
    output::print(&format!("capstan is ready: web http://{web}, workers {link}"));
    Ok(())
}

async fn wait_for_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = shutdown.cancelled() => {}
    }
    shutdown.cancel();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let limits = || getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let (_, hard) = limits();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(512), hard).unwrap();
        allow_open_files();
        assert_eq!(limits(), (hard, hard));
    }
}
