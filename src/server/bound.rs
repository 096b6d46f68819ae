use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    runtime,
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use super::{
    Handle, HttpService, Phase,
    config::Config,
    connection::Context,
    listener::{Accepted, Acceptor, Listener},
    stats::Counters,
};

/// A server that listens, and does not serve yet: connections wait in the kernel.
#[derive(Debug)]
pub struct Bound {
    acceptor: Acceptor,
    connection_limit: usize,
    linger: Duration,
    grace: Option<Duration>,
    handle: Handle,
    config: Config,
}

impl Bound {
    pub(super) fn new(
        listeners: Vec<Listener>,
        connection_limit: Option<usize>,
        linger: Duration,
        grace: Option<Duration>,
        handle: Handle,
        config: Config,
    ) -> Self {
        let acceptor = Acceptor::new(listeners, handle.counters().clone());
        Self {
            acceptor,
            connection_limit: connection_limit.unwrap_or(usize::MAX),
            linger,
            grace,
            handle,
            config,
        }
    }

    /// The addresses that it listens on, with the ports that were chosen, in the order in which they were given. A
    /// unix socket has none.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.acceptor.listeners().iter().filter_map(Listener::local_addr)
    }

    /// A handle to drain it and to read its counters.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until it has been drained, by `shutdown` or by a [`Handle`], and everything is closed.
    ///
    /// An error of the service resets the stream (HTTP/2, INTERNAL_ERROR) or closes the connection (HTTP/1).
    /// Requests carry a [`ConnectInfo`](super::ConnectInfo).
    ///
    /// Dropping the future ends everything at once: it owns every task.
    pub async fn serve<S>(self, service: S, shutdown: impl Future<Output = ()>)
    where
        S: HttpService,
    {
        self.serve_on(vec![(runtime::Handle::current(), service)], shutdown).await;
    }

    /// The same with a runtime per core; see [`Server::per_core`](super::Server::per_core).
    pub fn per_core<F, S>(self, factory: F) -> super::PerCore<F>
    where
        F: FnMut(&crate::connect::Worker) -> S,
        S: HttpService,
    {
        super::PerCore::new(Ok(self), factory)
    }

    /// The same on several runtimes, each with its own service: they get connections in turn.
    pub(super) async fn serve_on<S>(
        self,
        seats: Vec<(runtime::Handle, S)>,
        shutdown: impl Future<Output = ()>,
    ) where
        S: HttpService,
    {
        let Self { mut acceptor, connection_limit, linger, grace, handle, config } = self;
        let counters = handle.counters().clone();
        let context = Context { config: Arc::new(config), counters: counters.clone(), phase: handle.watch() };
        let mut connections = Connections { tasks: JoinSet::new(), limit: connection_limit, counters };
        let here = runtime::Handle::current().id();
        let mut turns = (0..seats.len()).cycle();
        // Also when this future is dropped.
        let ending = Ending(handle.clone());

        let mut closing = pin!(lead_to_closing(&handle, shutdown, linger));
        loop {
            tokio::select! {
                biased;
                () = closing.as_mut() => break,
                Some(ended) = connections.tasks.join_next() => report(ended),
                accepted = acceptor.accept() => {
                    let Some((runtime, service)) = turns.next().and_then(|turn| seats.get(turn)) else { break };
                    connections.open(&context, accepted, service.clone(), runtime, runtime.id() != here);
                }
            }
        }
        drop(acceptor);
        drop(seats);

        let mut phase = handle.watch();
        tokio::select! {
            biased;
            () = ended(&mut phase) => {}
            () = connections.finish() => {}
            () = elapsed(grace) => {}
        }
        connections.cut().await;
        drop(ending);
    }
}

/// Sees the server through the phases in which it accepts connections.
async fn lead_to_closing(handle: &Handle, shutdown: impl Future<Output = ()>, linger: Duration) {
    let mut phase = handle.watch();
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase > Phase::Serving) => {}
        () = shutdown => handle.advance(Phase::Lingering),
    }
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase > Phase::Lingering) => {}
        () = sleep(linger) => handle.advance(Phase::Closing),
    }
}

async fn ended(phase: &mut watch::Receiver<Phase>) {
    // An error would mean the same.
    let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
}

async fn elapsed(grace: Option<Duration>) {
    match grace {
        Some(grace) => sleep(grace).await,
        None => std::future::pending().await,
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(target: "grpc_balance::server", %error, "a service panicked, and its connection is closed");
    }
}

/// The connections of a server, each in its own task.
#[derive(Debug)]
struct Connections {
    tasks: JoinSet<()>,
    limit: usize,
    counters: Arc<Counters>,
}

impl Connections {
    fn open<S>(
        &mut self,
        context: &Context,
        (socket, info): Accepted,
        service: S,
        runtime: &runtime::Handle,
        moves: bool,
    ) where
        S: HttpService,
    {
        if !self.counters.open(self.limit) {
            self.counters.overflowed.add();
            return; // The socket is closed with this.
        }
        self.counters.accepted.add();
        let (context, open) = (context.clone(), Open(self.counters.clone()));
        let serve = async move {
            match if moves { socket.move_here() } else { Ok(socket) } {
                Ok(socket) => context.serve(socket, info, service).await,
                Err(error) => {
                    tracing::error!(target: "grpc_balance::server", %error, "a connection could not be handed over");
                }
            }
            drop(open);
        };
        self.tasks.spawn_on(serve, runtime);
    }

    async fn finish(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            report(ended);
        }
    }

    async fn cut(&mut self) {
        for _ in 0..self.tasks.len() {
            self.counters.cut.add();
        }
        // A service that blocks its thread must not hold up the end.
        let _ = timeout(Duration::from_secs(1), self.tasks.shutdown()).await;
    }
}

/// A connection that counts as open.
#[derive(Debug)]
struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug)]
struct Ending(Handle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.advance(Phase::Ended);
    }
}
