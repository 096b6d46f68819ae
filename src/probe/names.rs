//! A service name that no health server knows: the commonest mistake with gRPC's health protocol.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

/// Who among a cluster's endpoints knows the name.
///
/// A health server knows the names that its application registered, and a wrong one (`route.Router` for
/// `router.Router`) makes every endpoint unfit, for ever. Where panic routing then sends calls to all of them, nothing
/// shows that the probe has never worked. So it is said once, loudly. While only some endpoints do not know the name,
/// it may be a version that is rolling out, and their verdicts say it.
#[derive(Debug)]
pub(super) struct Names {
    service: Arc<str>,
    asked: AtomicUsize,
    strangers: AtomicUsize,
    told: AtomicBool,
    unimplemented: AtomicBool,
}

/// What one endpoint said of the name.
#[derive(Debug)]
pub(super) struct Acquaintance {
    names: Arc<Names>,
    stranger: bool,
}

impl Names {
    pub(super) fn new(service: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            service,
            asked: AtomicUsize::new(0),
            strangers: AtomicUsize::new(0),
            told: AtomicBool::new(false),
            unimplemented: AtomicBool::new(false),
        })
    }

    /// One more endpoint is asked.
    pub(super) fn ask(self: &Arc<Self>) -> Acquaintance {
        self.asked.fetch_add(1, AcqRel);
        Acquaintance { names: self.clone(), stranger: false }
    }
}

impl Acquaintance {
    /// The service that is asked about.
    pub(super) fn service(&self) -> &str {
        &self.names.service
    }

    /// It knows the name.
    pub(super) fn known(&mut self) {
        if std::mem::take(&mut self.stranger) {
            self.names.strangers.fetch_sub(1, AcqRel);
        }
    }

    /// It does not. Whether that has just become so everywhere, which is told once.
    pub(super) fn unknown(&mut self) -> bool {
        let names = &*self.names;
        if !std::mem::replace(&mut self.stranger, true) {
            names.strangers.fetch_add(1, AcqRel);
        }
        let asked = names.asked.load(Acquire);
        let everywhere = names.strangers.load(Acquire) >= asked && !names.told.swap(true, AcqRel);
        if everywhere {
            tracing::error!(
                service = &*names.service,
                endpoints = asked,
                "no endpoint's health server knows the service that the probe asks for: is it the full name, as \
                 registered there? An empty name asks for the server as a whole"
            );
        }
        everywhere
    }

    /// It has no health service, which [`watch`](super::Grpc::watch) takes for health. Told once. Whether it was now.
    pub(super) fn unimplemented(&mut self) -> bool {
        let first = !self.names.unimplemented.swap(true, Relaxed);
        if first {
            tracing::error!(
                service = &*self.names.service,
                "the server has no health service: it counts as healthy while it is connected"
            );
        }
        first
    }
}

impl Drop for Acquaintance {
    fn drop(&mut self) {
        self.known();
        self.names.asked.fetch_sub(1, AcqRel);
    }
}
