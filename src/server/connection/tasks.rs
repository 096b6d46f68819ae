use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// The tasks of one connection: with HTTP/2, each request has its own. They end when the owner is dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// What hyper starts tasks with. It owns none.
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(self.0.clone())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // Tasks hold spawners, so dropping the set would not come by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

#[derive(Clone, Debug)]
pub(super) struct Spawner(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else collects what has ended.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn tasks_end_with_their_owner_even_while_they_hold_a_spawner() {
        let tasks = Tasks::default();
        let (held, ended) = oneshot::channel::<()>();
        let spawner = tasks.spawner();
        tasks.spawner().execute(async move {
            let _held = (held, spawner);
            std::future::pending().await
        });
        drop(tasks);
        assert!(ended.await.is_err(), "the task was dropped");
    }

    #[tokio::test]
    async fn what_has_ended_does_not_pile_up() {
        let tasks = Tasks::default();
        for _ in 0..1_000 {
            let (done, end) = oneshot::channel();
            tasks.spawner().execute(async move { done.send(()).unwrap() });
            end.await.unwrap();
        }
        assert!(tasks.0.lock().unwrap().len() < 10);
    }
}
