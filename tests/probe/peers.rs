//! What is probed, and who waits for verdicts.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ::http::uri::Authority;
use grpc_balance::{
    connect::Connector,
    discover::{Fixed, Resolve},
    health::{Thresholds, Verdict},
    probe::{Probe, Probed},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// A listener that serves each connection in a task of its own, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                connections.spawn(serve(socket));
            }
        });
        Self { address, accepted, task }
    }

    /// How many connections it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The probing of one endpoint.
pub(crate) struct Probing(Pin<Box<Probed<Fixed>>>);

impl Probing {
    /// Probes quickly.
    pub(crate) fn of(address: SocketAddr, probe: impl Into<Probe>) -> Self {
        Self::over(Fixed::new([address]), probe)
    }

    pub(crate) fn over(endpoint: Fixed, probe: impl Into<Probe>) -> Self {
        let connector = Connector::builder(Authority::from_static("greeter.test")).build().unwrap();
        Self::with(endpoint, probe, &connector)
    }

    pub(crate) fn with(endpoint: Fixed, probe: impl Into<Probe>, connector: &Connector) -> Self {
        let probe = probe
            .into()
            .interval(Duration::from_millis(20))
            .jitter(Duration::ZERO)
            .thresholds(Thresholds::new(1, 1));
        Self(Box::pin(Probed::new(endpoint, probe, connector)))
    }

    /// The next news: a verdict, or that there is none.
    pub(crate) async fn next(&mut self) -> Option<Verdict> {
        let next = poll_fn(|cx| self.0.as_mut().poll_resolve(cx));
        let set = timeout(Duration::from_secs(30), next).await.expect("no news").unwrap().unwrap();
        assert_eq!(set.len(), 1, "a probe removes nothing");
        set.endpoints()[0].verdict().cloned()
    }

    /// Waits for a verdict that says this.
    pub(crate) async fn says(&mut self, expected: &str) {
        let mut heard = Vec::new();
        loop {
            let said = self.next().await.map_or_else(|| "none".to_owned(), |verdict| verdict.to_string());
            if said.starts_with(expected) {
                return;
            }
            heard.push(said);
            assert!(heard.len() < 50, "never `{expected}`: {heard:?}");
        }
    }

    /// No news, until this.
    pub(crate) async fn quiet_until(&mut self, event: impl Future<Output = ()>) {
        tokio::select! {
            verdict = self.next() => panic!("{verdict:?}"),
            () = event => {}
        }
    }
}

/// Waits until this is so.
pub(crate) async fn until(so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.expect("it never came to be");
}
