//! What a test logs.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Dispatch, subscriber::NoSubscriber};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs something on this thread, and returns what was logged, tasks included.
pub(super) async fn capture(act: impl Future<Output = ()>) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a single dispatcher in the process, tracing lets the thread that first comes by an event decide for all.
    let _second = Dispatch::new(NoSubscriber::new());
    let guard = tracing::subscriber::set_default(subscriber);
    act.await;
    drop(guard);
    let lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8_lossy(&lines).into_owned()
}
