use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a server counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    active: AtomicUsize,
    pub(super) accepted: Counter,
    pub(super) overflowed: Counter,
    pub(super) accept_errors: Counter,
    pub(super) http1: Counter,
    pub(super) http2: Counter,
    pub(super) proxy_protocol_failures: Counter,
    pub(super) tls_failures: Counter,
    pub(super) tls_timeouts: Counter,
    pub(super) protocol_mismatches: Counter,
    pub(super) preface_timeouts: Counter,
    pub(super) header_timeouts: Counter,
    pub(super) idle_timeouts: Counter,
    pub(super) aged: Counter,
    pub(super) floods: Counter,
    pub(super) cut: Counter,
}

impl Counters {
    /// Counts a connection as open, unless there are that many.
    pub(super) fn open(&self, limit: usize) -> bool {
        self.active.fetch_update(AcqRel, Acquire, |active| (active < limit).then_some(active + 1)).is_ok()
    }

    pub(super) fn close(&self) {
        self.active.fetch_sub(1, AcqRel);
    }

    pub(super) fn snapshot(&self) -> Stats {
        Stats {
            active: self.active.load(Acquire),
            accepted: self.accepted.get(),
            overflowed: self.overflowed.get(),
            accept_errors: self.accept_errors.get(),
            http1: self.http1.get(),
            http2: self.http2.get(),
            proxy_protocol_failures: self.proxy_protocol_failures.get(),
            tls_failures: self.tls_failures.get(),
            tls_timeouts: self.tls_timeouts.get(),
            protocol_mismatches: self.protocol_mismatches.get(),
            preface_timeouts: self.preface_timeouts.get(),
            header_timeouts: self.header_timeouts.get(),
            idle_timeouts: self.idle_timeouts.get(),
            aged: self.aged.get(),
            floods: self.floods.get(),
            cut: self.cut.get(),
        }
    }
}

/// A server's counters at one moment. All but `active` only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open now, those in a TLS handshake included (Envoy: `downstream_cx_active`).
    pub active: usize,
    /// Connections that were accepted and not turned away (Envoy: `downstream_cx_total`).
    pub accepted: u64,
    /// Connections that were closed at once, because as many were open as may be (Envoy: `downstream_cx_overflow`).
    pub overflowed: u64,
    /// Times that a connection could not be accepted: no file descriptors, no memory.
    pub accept_errors: u64,
    /// Connections that turned out to speak HTTP/1 (Envoy: `downstream_cx_http1_total`).
    pub http1: u64,
    /// Connections that turned out to speak HTTP/2 (Envoy: `downstream_cx_http2_total`).
    pub http2: u64,
    /// Connections without a PROXY header that could be understood, where one was asked for.
    pub proxy_protocol_failures: u64,
    /// TLS handshakes that failed (Envoy: `ssl.connection_error`).
    pub tls_failures: u64,
    /// TLS handshakes that took too long.
    pub tls_timeouts: u64,
    /// Connections that spoke another protocol than they had agreed on by ALPN.
    pub protocol_mismatches: u64,
    /// Connections that said nothing, or not enough to know their protocol.
    pub preface_timeouts: u64,
    /// Connections that began a head and did not finish it in time (Envoy: `downstream_rq_header_timeout`).
    pub header_timeouts: u64,
    /// Connections that were closed because they were idle (Envoy: `downstream_cx_idle_timeout`).
    pub idle_timeouts: u64,
    /// Connections that reached their greatest age (Envoy: `downstream_cx_max_duration_reached`).
    pub aged: u64,
    /// Connections that were closed because of a flood, by our limits or by `h2`'s.
    pub floods: u64,
    /// Connections that were closed with requests on them, because a grace was over.
    pub cut: u64,
}
