//! In-process gRPC servers on loopback that serve `helloworld.Greeter` and `echo.Echo`, and that can be made to
//! misbehave: delays, refusals, GOAWAY, broken connections.
//!
//! ```ignore
//! let a = Greeter::start("a").await;                                          // 127.0.0.1, any port
//! let b = Greeter::builder("b").delay(ms(20)).max_concurrent_streams(2).start().await;
//! let pods = Greeter::pods(3).await;                                          // .1 .2 .3, one port, as behind DNS
//! a.go_away();                     // every connection is told GOAWAY; the listener stays
//! a.reset_connections();           // every connection is cut with RST; the listener stays
//! a.stop().await;                  // the listener closes, calls finish
//! b.kill();                        // the listener and every connection are cut with RST
//! ```

mod connection;
mod service;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::request::Parts;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use self::connection::Orders;

/// What a server does with a call.
#[derive(Debug)]
pub enum Action {
    /// Serves it, after the server's delay.
    Serve,
    /// Serves it, after this delay.
    ServeAfter(Duration),
    /// Answers at once with this status, trailers only.
    Fail(tonic::Status),
    /// Resets the stream before any headers.
    Reset(h2::Reason),
    /// Never answers.
    Hang,
}

type Hook = Arc<dyn Fn(&Parts) -> Action + Send + Sync>;

/// What a server has counted so far.
#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
    accepted: AtomicU64,
    open: AtomicU64,
}

/// Settings of a [`Greeter`].
#[derive(Clone)]
pub struct Builder {
    name: String,
    at: SocketAddr,
    delay: Duration,
    max_concurrent_streams: Option<u32>,
    hook: Option<Hook>,
}

impl Builder {
    /// The address to listen on. Default: 127.0.0.1, any port.
    pub fn at(mut self, at: SocketAddr) -> Self {
        self.at = at;
        self
    }

    /// How long a call takes. Default: no time.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// SETTINGS_MAX_CONCURRENT_STREAMS. Default: unlimited.
    pub fn max_concurrent_streams(mut self, max: u32) -> Self {
        self.max_concurrent_streams = Some(max);
        self
    }

    /// Decides what becomes of each call. Default: it is served.
    pub fn hook(mut self, hook: impl Fn(&Parts) -> Action + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Starts the server; it accepts when this returns.
    pub async fn start(self) -> Greeter {
        self.try_start().await.expect("the address is free")
    }

    async fn try_start(self) -> std::io::Result<Greeter> {
        let listener = TcpListener::bind(self.at).await?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let (orders, received) = watch::channel(Orders::default());
        let (delay, delays) = watch::channel(self.delay);
        let service = service::Service::new(self.name.clone(), delays, self.hook, counters.clone());
        let max = self.max_concurrent_streams;
        let accepting = tokio::spawn(accept(listener, service, received, max, counters.clone()));
        Ok(Greeter { name: self.name, address, counters, orders, delay, accepting: Some(accepting) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("at", &self.at).finish_non_exhaustive()
    }
}

/// A running server. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Greeter {
    name: String,
    address: SocketAddr,
    counters: Arc<Counters>,
    orders: watch::Sender<Orders>,
    delay: watch::Sender<Duration>,
    accepting: Option<JoinHandle<()>>,
}

impl Greeter {
    /// A server with this name, which it puts into its replies.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            at: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            delay: Duration::ZERO,
            max_concurrent_streams: None,
            hook: None,
        }
    }

    /// A server with default settings.
    pub async fn start(name: &str) -> Self {
        Self::builder(name).start().await
    }

    /// `n` servers at 127.0.0.1, .2, .3, ... which share one port, as the pods behind a DNS name do. Each is named
    /// after its address.
    pub async fn pods(n: u8) -> Vec<Self> {
        'port: for _ in 0..100 {
            let mut pods: Vec<Self> = Vec::new();
            for i in 1..=n {
                let ip = IpAddr::from([127, 0, 0, i]);
                let port = pods.first().map_or(0, |first| first.address.port());
                match Self::builder(&ip.to_string()).at((ip, port).into()).try_start().await {
                    Ok(pod) => pods.push(pod),
                    Err(_) => continue 'port,
                }
            }
            return pods;
        }
        panic!("no port is free on {n} loopback addresses");
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls received so far.
    pub fn calls(&self) -> u64 {
        self.counters.calls.load(SeqCst)
    }

    /// Calls received whose response is not yet complete.
    pub fn in_flight(&self) -> u64 {
        self.counters.in_flight.load(SeqCst)
    }

    /// The most calls that were in flight at once.
    pub fn peak_in_flight(&self) -> u64 {
        self.counters.peak_in_flight.load(SeqCst)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counters.accepted.load(SeqCst)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u64 {
        self.counters.open.load(SeqCst)
    }

    /// Changes how long calls take from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Says GOAWAY on every connection and lets its calls finish. New connections are welcome.
    pub fn go_away(&self) {
        self.orders.send_modify(|orders| orders.go_away += 1);
    }

    /// Says GOAWAY on every connection and closes it at once. New connections are welcome.
    pub fn go_away_and_close(&self) {
        self.orders.send_modify(|orders| orders.cut += 1);
    }

    /// Breaks every connection with RST. New connections are welcome.
    pub fn reset_connections(&self) {
        self.orders.send_modify(|orders| orders.reset += 1);
    }

    /// Stops as a well-behaved server does: closes the listener, says GOAWAY, finishes the calls in flight.
    pub async fn stop(mut self) {
        self.orders.send_modify(|orders| orders.stop = true);
        if let Some(accepting) = self.accepting.take() {
            accepting.await.expect("the server does not panic");
        }
    }

    /// Dies: the listener closes and every connection breaks with RST.
    pub fn kill(self) {
        self.reset_connections();
        // Dropping `self` aborts what has not read the order yet; `reset` is then read as the sockets drop.
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    service: service::Service,
    mut orders: watch::Receiver<Orders>,
    max_concurrent_streams: Option<u32>,
    counters: Arc<Counters>,
) {
    let mut connections = JoinSet::new();
    while !orders.borrow_and_update().stop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                counters.accepted.fetch_add(1, SeqCst);
                let (service, orders) = (service.clone(), orders.clone());
                let open = Gauge::enter(&counters, |counters| &counters.open);
                connections.spawn(async move {
                    connection::serve(stream, service, orders, max_concurrent_streams).await;
                    drop(open);
                });
            }
            _ = orders.changed() => {}
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Counts something as present until dropped.
#[derive(Debug)]
struct Gauge(Arc<Counters>, fn(&Counters) -> &AtomicU64);

impl Gauge {
    fn enter(counters: &Arc<Counters>, gauge: fn(&Counters) -> &AtomicU64) -> Self {
        gauge(counters).fetch_add(1, SeqCst);
        Self(counters.clone(), gauge)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, SeqCst);
    }
}
