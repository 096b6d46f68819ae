//! One runtime per core, so that a request never crosses cores.
//!
//! A runtime with several threads moves tasks between them, and every lock and reference count that two of them touch
//! costs both. A proxy has no need for that: its connections are many and alike. So each core has a runtime of a single
//! thread, with its own connections to clients and, by `Cluster::on`, to endpoints. One acceptor hands the sockets over
//! in turn: SO_REUSEPORT would hash few long-lived connections unevenly.

use std::{fmt, io, thread};

use tokio::{runtime, sync::oneshot};

use super::{Bound, HttpService, ListenError};
use crate::connect::Worker;

/// A server with a runtime per core; see [`Server::per_core`](super::Server::per_core).
#[must_use = "it does nothing until `serve`"]
pub struct PerCore<F> {
    bound: Result<Bound, ListenError>,
    cores: Option<usize>,
    factory: F,
}

impl<F, S> PerCore<F>
where
    F: FnMut(&Worker) -> S,
    S: HttpService,
{
    pub(super) fn new(bound: Result<Bound, ListenError>, factory: F) -> Self {
        Self { bound, cores: None, factory }
    }

    /// Sets how many runtimes there are. Default: as many as the process may use cores at once.
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = Some(cores.max(1));
        self
    }

    /// Serves as [`Bound::serve`] does.
    ///
    /// # Errors
    ///
    /// As [`Server::listen`](super::Server::listen), and when a thread or a runtime cannot be had.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ListenError> {
        let Self { bound, cores, mut factory } = self;
        let bound = bound?;
        let cores = cores.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
        let threads = (0..cores).map(Thread::start).collect::<io::Result<Vec<_>>>();
        let threads = threads.map_err(ListenError::workers)?;
        let seats = threads.iter().map(|thread| {
            let worker = &thread.worker;
            let _guard = worker.runtime().enter();
            (worker.runtime().clone(), factory(worker))
        });
        let seats = seats.collect();
        bound.serve_on(seats, shutdown).await;
        Ok(())
    }
}

impl<F> fmt::Debug for PerCore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerCore")
            .field("bound", &self.bound)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

/// A thread that drives one runtime until it is dropped.
struct Thread {
    worker: Worker,
    /// Its end ends the thread.
    _running: oneshot::Sender<()>,
}

impl Thread {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Worker::new(runtime.handle().clone()).with_index(index);
        let (running, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _ = runtime.block_on(ended);
            // What it still drives belongs to somebody who is gone.
            runtime.shutdown_background();
        })?;
        Ok(Self { worker, _running: running })
    }
}
