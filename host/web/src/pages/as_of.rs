//! What all who look at the farm after the same event see, read once: whatever changes a page adds an event, and on a busy
//! farm every open page asks again after each.

use std::sync::Arc;

use capstan_store::Store;
use tokio::sync::Mutex;

use crate::Error;

/// The newest value, and the event before which it was read.
pub(super) struct AsOf<T>(Mutex<Option<(i64, Arc<T>)>>);

impl<T> Default for AsOf<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> AsOf<T> {
    /// The value as of the newest event or a later one. If it has to be read, one reads and the others wait for what it finds.
    pub(super) async fn get(
        &self,
        store: &Store,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<Arc<T>, Error> {
        let wanted = *store.bell().borrow();
        let mut kept = self.0.lock().await;
        if let Some((event, value)) = &*kept
            && *event >= wanted
        {
            return Ok(value.clone());
        }
        // Looked up before reading: what happens meanwhile is read again rather than missed.
        let event = *store.bell().borrow();
        let value = Arc::new(read.await?);
        *kept = Some((event, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use capstan_model::Timestamp;
    use capstan_store::Options;

    use super::*;

    #[tokio::test]
    async fn the_same_event_is_read_once_and_the_next_one_anew() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("farm.db").display());
        let now = Timestamp(1);
        let store = Store::open(&Options::new(url), now).await.unwrap();
        let reads = AtomicU32::new(0);
        let read = async || Ok(reads.fetch_add(1, Ordering::Relaxed));
        let kept = AsOf::default();
        assert_eq!(*kept.get(&store, read()).await.unwrap(), 0);
        assert_eq!(*kept.get(&store, read()).await.unwrap(), 0);
        store
            .record_event("config.loaded", serde_json::json!({}), now)
            .await
            .unwrap();
        assert_eq!(*kept.get(&store, read()).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_failed_read_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("farm.db").display());
        let store = Store::open(&Options::new(url), Timestamp(1)).await.unwrap();
        let kept = AsOf::default();
        let failed = kept.get(&store, async { Err(Error::invalid("no")) }).await;
        assert!(failed.is_err());
        assert_eq!(*kept.get(&store, async { Ok(7) }).await.unwrap(), 7);
    }
}
