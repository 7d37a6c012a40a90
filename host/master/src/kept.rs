//! What reporters keep from one report to the next, in the store: keys and values were checked by the engine.

use std::sync::Arc;

use capstan_engine::{StateFault, StatePort};
use capstan_model::Clock;
use capstan_store::{MOST_KEPT, Store};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The part of the store that belongs to reporters.
pub struct Kept {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Kept {
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    async fn write(&self, owner: &str, key: &str, value: Option<Vec<u8>>) -> Result<(), StateFault> {
        let kept = self.store.keep(owner, key, value, self.clock.now()).await;
        if kept.map_err(unavailable)? {
            return Ok(());
        }
        Err(StateFault::Invalid(format!(
            "expected at most {MOST_KEPT} keys, found one more; delete those that are not needed"
        )))
    }
}

fn unavailable(error: capstan_store::Error) -> StateFault {
    StateFault::Unavailable(error.to_string())
}

impl StatePort for Kept {
    fn get(&self, owner: String, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateFault>> {
        async move { self.store.kept(&owner, &key).await.map_err(unavailable) }.boxed()
    }

    fn set(
        &self,
        owner: String,
        key: String,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StateFault>> {
        async move { self.write(&owner, &key, value).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::SystemClock;
    use capstan_store::Options;

    use super::*;

    #[tokio::test]
    async fn a_reporter_that_keeps_too_much_is_told_so_and_one_whose_store_is_gone_may_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/farm.db", folder.path().display());
        let clock = Arc::new(SystemClock);
        let store = Store::open(&Options::new(url.as_str()), clock.now())
            .await
            .unwrap();
        let kept = Kept::new(store.clone(), clock);
        let set = |key: String| kept.set("chat".to_owned(), key, Some(vec![1]));
        for key in 0..MOST_KEPT {
            set(key.to_string()).await.unwrap();
        }
        let full = set("more".to_owned()).await.unwrap_err();
        assert!(
            matches!(&full, StateFault::Invalid(text) if text.contains("at most 256 keys")),
            "{full}"
        );
        assert_eq!(
            kept.get("chat".to_owned(), "0".to_owned()).await,
            Ok(Some(vec![1]))
        );
        store.close().await;
        let gone = set("0".to_owned()).await.unwrap_err();
        assert!(matches!(gone, StateFault::Unavailable(_)), "{gone}");
        let gone = kept.get("chat".to_owned(), "0".to_owned()).await.unwrap_err();
        assert!(matches!(gone, StateFault::Unavailable(_)), "{gone}");
    }
}
