//! What the feature `metrics` mirrors, without the feature: nothing.

use std::{sync::Arc, time::Duration};

use crate::{grpc::Code, stats::Disconnect};

#[derive(Debug)]
pub(crate) struct Mirror;

impl Mirror {
    pub(crate) fn new(_target: impl Into<Arc<str>>, _methods: impl IntoIterator<Item: AsRef<str>>) -> Self {
        Self
    }

    pub(crate) fn call(&self, _path: &str) -> CallMeter {
        CallMeter
    }

    pub(crate) fn connected(&self) {}

    pub(crate) fn connect_failed(&self) {}

    pub(crate) fn disconnected(&self, _reason: Disconnect) {}

    pub(crate) fn resolved(&self) {}

    pub(crate) fn resolution_failed(&self) {}
}

#[derive(Clone, Debug)]
pub(crate) struct CallMeter;

impl CallMeter {
    pub(crate) fn attempt_started(&self) {}

    pub(crate) fn attempt_ended(&self, _code: Code, _took: impl FnOnce() -> Duration) {}

    pub(crate) fn ended(&self, _code: Code, _took: impl FnOnce() -> Duration, _retries: u32) {}
}
