//! Tells running builds that they are to stop. That they are is decided in transactions of the store: a newer request came, a
//! buildset failed, somebody asked. The first of these rings the bell for work.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::farm::Farm;

/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut bell = farm.store.work_bell();
    loop {
        bell.borrow_and_update();
        let pause = match farm.store.stopping_builds().await {
            Ok(stopping) => {
                for (build, reason) in stopping {
                    // One that is not here yet reads its row first of all.
                    farm.stops.stop(build, &reason);
                }
                None
            }
            Err(error) => {
                tracing::error!(%error, "failed to look for builds that are to stop");
                Some(PAUSE)
            }
        };
        let again = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = again => {}
            changed = bell.changed() => if changed.is_err() { return },
        }
    }
}
