//! Where connections live.

use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    error::{Error, Phase},
    grpc::Code,
};

/// A runtime that drives connections, and its number among its peers.
///
/// A connection's socket and timers belong to one runtime. A client has one worker, the runtime that it was built in.
/// A proxy with a runtime per core has a worker for each, so that a call never crosses cores.
///
/// ```
/// use grpc_balance::connect::Worker;
///
/// assert!(Worker::current().is_err(), "there is no runtime here");
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let worker = Worker::new(runtime.handle().clone());
/// assert_eq!(worker.index(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Worker {
    runtime: Handle,
    index: usize,
}

impl Worker {
    /// The only worker, on this runtime, which must drive I/O and time.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, index: 0 }
    }

    /// The only worker, on the runtime of the caller.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION outside a tokio runtime.
    pub fn current() -> Result<Self, Error> {
        Handle::try_current().map(Self::new).map_err(|error| {
            Error::new(
                Code::FailedPrecondition,
                Phase::Build,
                "there is no runtime to drive connections: call it inside a tokio runtime or pass .runtime(handle)",
            )
            .because(error)
        })
    }

    /// Numbers the worker; each of several has its own number, from 0. Default 0.
    #[must_use]
    pub fn with_index(mut self, index: usize) -> Self {
        self.index = index;
        self
    }

    /// Its number.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its runtime.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts a task on it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.runtime.spawn(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_runtime_the_error_says_what_to_do() {
        let error = Worker::current().unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.message().contains("inside a tokio runtime or pass .runtime(handle)"), "{error}");
    }

    #[tokio::test]
    async fn inside_a_runtime_it_spawns_there() {
        let here = Handle::current().id();
        let there = Worker::current().unwrap().spawn(async { Handle::current().id() }).await.unwrap();
        assert_eq!(here, there);
    }
}
