//! A task for each definition of the plan. When the plan changes, those whose definition stays go on undisturbed: exchanging one
//! plugin costs the others nothing. Used by `schedulers` and `sources`.

use std::collections::HashMap;

use tokio::task::{AbortHandle, JoinSet};

/// The tasks, by the name of what each serves.
pub(crate) struct Definitions<D> {
    tasks: JoinSet<()>,
    running: HashMap<String, (D, AbortHandle)>,
}

impl<D: PartialEq + Clone> Definitions<D> {
    pub fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Ends the tasks whose definition is gone or changed, and starts those that are missing. A call that is cut off is made again:
    /// it changed nothing, and what it may still commit is committed once.
    pub fn replace<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        wanted: impl IntoIterator<Item = (String, D)>,
        serve: impl Fn(D) -> F,
    ) {
        let wanted: HashMap<_, _> = wanted.into_iter().collect();
        self.running.retain(|name, (definition, task)| {
            let stays = wanted.get(name) == Some(definition) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, definition) in wanted {
            if !self.running.contains_key(&name) {
                let task = self.tasks.spawn(serve(definition.clone()));
                self.running.insert(name, (definition, task));
            }
        }
        // What has ended is let go of.
        while self.tasks.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn only_what_changed_is_started_anew() {
        let started = Arc::new(AtomicU32::new(0));
        let serve = |definition: u32| {
            started.fetch_add(definition, Ordering::Relaxed);
            std::future::pending()
        };
        let wanted = |list: &[(&str, u32)]| -> Vec<_> {
            list.iter()
                .map(|&(name, definition)| (name.to_owned(), definition))
                .collect()
        };
        let mut tasks = Definitions::new();
        tasks.replace(wanted(&[("a", 1), ("b", 10)]), serve);
        assert_eq!(started.load(Ordering::Relaxed), 11);
        tasks.replace(wanted(&[("a", 1), ("b", 20), ("c", 100)]), serve);
        assert_eq!(started.load(Ordering::Relaxed), 131, "a stays");
        tasks.replace(wanted(&[("c", 100)]), serve);
        assert_eq!(started.load(Ordering::Relaxed), 131);
        while tasks.tasks.len() > 1 {
            tasks.tasks.join_next().await;
        }
        assert_eq!(tasks.running.len(), 1, "a and b have ended");
    }
}
