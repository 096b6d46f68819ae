//! One connection, from the accepted socket to its end. Nothing here knows who accepted it, or on which runtime it
//! runs.

mod drive;
mod io;
mod lifecycle;
mod opening;
mod service;
mod tasks;
mod vitals;

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

pub(super) use self::vitals::Active;
use self::{
    drive::drive, io::Watched, lifecycle::Limits, opening::Opening, service::Served, tasks::Tasks,
    vitals::Vitals,
};
use super::{ConnectInfo, HttpService, config::Config, drain::Phase, proxy_protocol, stats::Counters};
use crate::connect::dial::{Io, Socket};

/// The first byte of a TLS handshake (RFC 8446, 5.1); no HTTP request begins with it.
#[cfg(feature = "tls")]
const HANDSHAKE: u8 = 22;

const TARGET: &str = "grpc_balance::server";

/// What all connections of a server share.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) counters: Arc<Counters>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Context {
    /// Serves a socket that was just accepted, until it is closed. Dropping the future closes it and ends its
    /// requests.
    pub(super) async fn serve<S>(self, mut socket: Socket, mut info: ConnectInfo, service: S)
    where
        S: HttpService,
    {
        // Whoever has not said anything yet has nothing to lose by a drain.
        let mut phase = self.phase.clone();
        let closing = async move {
            let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
        };
        let mut closing = pin!(closing);
        if self.config.proxy_protocol {
            let told = tokio::select! {
                biased;
                told = within(self.config.preface_timeout, proxy_protocol::read(&mut socket)) => told,
                () = &mut closing => return,
            };
            match told {
                Some(Ok(Some(told))) => info = info.told(told),
                Some(Ok(None)) => {}
                Some(Err(why)) => {
                    self.counters.proxy_protocol_failures.add();
                    tracing::debug!(target: TARGET, %info, %why, "connection closed");
                    return;
                }
                None => return self.counters.preface_timeouts.add(),
            }
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.config.tls {
            if self.config.plaintext_too {
                let begins = tokio::select! {
                    biased;
                    begins = within(self.config.preface_timeout, socket.begins_with(HANDSHAKE)) => begins,
                    () = &mut closing => return,
                };
                match begins {
                    Some(Ok(true)) => {}
                    Some(Ok(false)) => return Box::pin(self.open(socket, info, service)).await,
                    Some(Err(_)) => return,
                    None => return self.counters.preface_timeouts.add(),
                }
            }
            let accepted = tokio::select! {
                biased;
                accepted = within(self.config.tls_timeout, tls.accept(socket)) => accepted,
                () = closing => return,
            };
            match accepted {
                Some(Ok(stream)) => {
                    let info = info.secured(stream.get_ref().1);
                    return Box::pin(self.open(stream, info, service)).await;
                }
                Some(Err(error)) => {
                    self.counters.tls_failures.add();
                    tracing::debug!(target: TARGET, %info, error = &error as &dyn std::error::Error, "TLS handshake failed");
                }
                None => self.counters.tls_timeouts.add(),
            }
            return;
        }
        Box::pin(self.open(socket, info, service)).await;
    }

    /// Finds out the protocol, and serves it.
    async fn open<I, S>(self, mut io: I, info: ConnectInfo, service: S)
    where
        I: Io,
        S: HttpService,
    {
        let mut phase = self.phase.clone();
        let opening = tokio::select! {
            biased;
            opening = within(self.config.preface_timeout, opening::read(&mut io)) => opening,
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return,
        };
        let Some(opening) = opening else { return self.counters.preface_timeouts.add() };
        match (opening, info.alpn()) {
            (Opening::Closed, _) => {}
            // Who agreed on one protocol and speaks another is confused, or confuses somebody (RFC 7301, 3.2).
            (Opening::Http1(_), Some(b"h2")) | (Opening::Http2(_), Some(b"http/1.1")) => {
                self.counters.protocol_mismatches.add();
            }
            (Opening::Http1(bytes), _) => self.http1(io, bytes, info, service).await,
            (Opening::Http2(bytes), _) => self.http2(io, bytes, info, service).await,
        }
    }

    async fn http1<I, S>(self, io: I, opening: Bytes, info: ConnectInfo, service: S)
    where
        I: Io,
        S: HttpService,
    {
        self.counters.http1.add();
        let config = &self.config;
        let vitals = Arc::new(Vitals::new());
        let io = TokioIo::new(Watched::new(io, opening, vitals.clone(), None));
        let service = Served::new(service, info, vitals.clone(), config.max_headers, true);
        let header_bytes = usize::try_from(config.max_header_bytes).unwrap_or(usize::MAX);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None) // It would end idle connections as well; `lifecycle` tells them apart.
            .max_headers(config.max_headers)
            .max_header_size(header_bytes)
            // Not less than hyper's least, whatever the limit. `pipeline_flush` stays off: it keeps the answer to a
            // bad request from being sent while there are bytes behind it.
            .max_buf_size(header_bytes.max(64 << 10));
        let connection = pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
        let leave = http1::Connection::graceful_shutdown;
        drive(connection, leave, self.limits(), &vitals, self.phase.clone(), &self.counters).await;
    }

    async fn http2<I, S>(self, io: I, opening: Bytes, info: ConnectInfo, service: S)
    where
        I: Io,
        S: HttpService,
    {
        self.counters.http2.add();
        let config = &self.config;
        let vitals = Arc::new(Vitals::new());
        let meter = config.http2.meter(Instant::now());
        let io = TokioIo::new(Watched::new(io, opening, vitals.clone(), meter));
        let service = Served::new(service, info, vitals.clone(), config.max_headers, false);
        let tasks = Tasks::default();
        let mut builder = http2::Builder::new(tasks.spawner());
        builder.timer(TokioTimer::new()).max_header_list_size(config.max_header_bytes);
        config.http2.apply(&mut builder);
        let connection = pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
        let leave = http2::Connection::graceful_shutdown;
        drive(connection, leave, self.limits(), &vitals, self.phase.clone(), &self.counters).await;
    }

    fn limits(&self) -> Limits {
        let config = &self.config;
        let age = config.max_age.map(|age| {
            // gRFC A9: "a random jitter of +/-10% will be added".
            age.mul_f64(0.9).saturating_add(age.mul_f64(0.2 * config.random.unit()))
        });
        Limits {
            head: config.header_timeout,
            idle: config.idle_timeout,
            age,
            age_grace: config.max_age_grace,
        }
    }
}

/// The future's output, or `None` if it takes longer.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
