//! Nothing is traced.

use std::future::Future;
use std::sync::Arc;

use tapgate_engine::store::Store;
use tokio::time::Instant;

use super::Mark;

/// When a connection's last answer was written: not noted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written;

impl Written {
    /// Notes nothing.
    #[inline]
    pub fn now(self) {}
}

/// Notes nothing.
#[inline]
pub fn begins(_: Instant, _: &Written) {}

/// Notes nothing.
#[inline]
pub fn mark(_: Mark) {}

/// The future as it is.
#[inline]
pub fn told<F: Future>(future: F) -> F {
    future
}

/// The future as it is.
#[inline]
pub fn traced<F: Future>(answer: F) -> F {
    answer
}

/// The store as it is.
#[must_use]
pub fn watched(store: Arc<dyn Store>) -> Arc<dyn Store> {
    store
}
