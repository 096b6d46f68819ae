//! The queue, and the thread that writes.

use std::{
    fmt,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tracing::{error, warn};

use crate::access_log::{Format, Record};

/// How often dropped lines are told at most.
const TELL: Duration = Duration::from_secs(1);

/// As much as is written at once.
const BATCH: usize = 64 << 10;

/// Where records go. The thread at its other end stops when the last handle is gone and everything is written.
pub(super) struct Queue {
    sender: SyncSender<Box<Record>>,
    taken: AtomicU64,
    dropped: Arc<AtomicU64>,
    /// How many of those that were taken are through.
    written: watch::Receiver<u64>,
}

impl Queue {
    /// Starts the thread. If there can be none, every line counts as dropped.
    pub(super) fn start(capacity: usize, format: Box<dyn Format>, out: impl Write + Send + 'static) -> Self {
        let (sender, records) = sync_channel(capacity.max(1));
        let (progress, written) = watch::channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { format, out, dropped: dropped.clone(), told: 0, told_at: None, failing: false };
        let started = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&records, &progress));
        if let Err(error) = started {
            error!(target: "grpc_balance::access_log", %error, "no thread to write the access log");
        }
        Self { sender, taken: AtomicU64::new(0), dropped, written }
    }

    /// Never blocks.
    pub(super) fn push(&self, record: Box<Record>) {
        match self.sender.try_send(record) {
            Ok(()) => self.taken.fetch_add(1, Relaxed),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped.fetch_add(1, Relaxed),
        };
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Completes when everything that is queued now is through.
    pub(super) async fn flush(&self) {
        let taken = self.taken.load(Relaxed);
        // An error says that the thread is gone: there is nothing to wait for.
        let _ = self.written.clone().wait_for(|written| *written >= taken).await;
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

struct Writer<W> {
    format: Box<dyn Format>,
    out: W,
    dropped: Arc<AtomicU64>,
    told: u64,
    told_at: Option<Instant>,
    failing: bool,
}

impl<W: Write> Writer<W> {
    fn run(mut self, records: &Receiver<Box<Record>>, progress: &watch::Sender<u64>) {
        let mut batch = String::new();
        loop {
            let mut lines = 0;
            let mut next = self.next(records);
            if matches!(next, Err(RecvTimeoutError::Disconnected)) {
                break;
            }
            while let Ok(record) = next {
                self.format.format(&record, &mut batch);
                batch.push('\n');
                lines += 1;
                next = match batch.len() < BATCH {
                    true => records.try_recv().map_err(|_| RecvTimeoutError::Timeout),
                    false => Err(RecvTimeoutError::Timeout),
                };
            }
            self.write(&batch, lines);
            batch.clear();
            progress.send_modify(|written| *written += lines);
            self.tell(TELL);
        }
        self.tell(Duration::ZERO);
    }

    /// Waits for a record; not for ever while there is something to tell.
    fn next(&self, records: &Receiver<Box<Record>>) -> Result<Box<Record>, RecvTimeoutError> {
        if self.dropped.load(Relaxed) == self.told {
            return records.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        records.recv_timeout(TELL)
    }

    fn write(&mut self, batch: &str, lines: u64) {
        let result = self.out.write_all(batch.as_bytes()).and_then(|()| self.out.flush());
        if result.is_err() {
            self.dropped.fetch_add(lines, Relaxed);
        }
        if let (Err(error), false) = (&result, self.failing) {
            warn!(target: "grpc_balance::access_log", %error, "the access log cannot be written");
        }
        self.failing = result.is_err();
    }

    fn tell(&mut self, pause: Duration) {
        let dropped = self.dropped.load(Relaxed);
        if dropped != self.told && self.told_at.is_none_or(|at| at.elapsed() >= pause) {
            let lines = dropped - self.told;
            warn!(target: "grpc_balance::access_log", lines, total = dropped, "access log lines were dropped");
            self.told = dropped;
            self.told_at = Some(Instant::now());
        }
    }
}
