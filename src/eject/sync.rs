//! The atomics of this module, which `--cfg model` swaps for loom's so that every interleaving can be tried.

#[cfg(not(all(test, model)))]
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(all(test, model))]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64};
