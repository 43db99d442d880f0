//! Deliveries that had their effect. UR names each by a request id, under which it repeats it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tapgate_engine::bytes::Fingerprint;

/// Deliveries remembered, of 24 bytes each; beyond it those whose time is over are forgotten, or else all: every event has an
/// effect only once by what it says, too.
const REMEMBERED_MAX: usize = 100_000;

/// Until when each is remembered, in unix seconds.
#[derive(Debug, Default)]
pub(super) struct Delivered(Mutex<HashMap<Fingerprint, u64>>);

/// What tells a delivery from any other: two bodies under one request id are two deliveries.
pub(super) fn delivery(request_id: &str, body: &[u8]) -> Fingerprint {
    Fingerprint::of(&[request_id.as_bytes(), b"\n", body].concat())
}

impl Delivered {
    fn known(&self) -> MutexGuard<'_, HashMap<Fingerprint, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, delivery: Fingerprint) -> bool {
        self.known().contains_key(&delivery)
    }

    /// Remembers it until its signature is too old for anybody to send it again.
    pub(super) fn note(&self, delivery: Fingerprint, now_seconds: u64, window_seconds: u64) {
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, until| *until >= now_seconds);
        }
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        // It may be dated a window ahead, and then is fresh for another one.
        known.insert(delivery, now_seconds.saturating_add(window_seconds.saturating_mul(2)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_its_id_and_its_bytes() {
        let delivered = Delivered::default();
        delivered.note(delivery("id", b"body"), 1_000, 300);
        assert!(delivered.has(delivery("id", b"body")));
        assert!(!delivered.has(delivery("id", b"another")) && !delivered.has(delivery("other", b"body")));
    }

    #[test]
    fn what_is_too_old_to_come_again_is_forgotten_first() {
        let delivered = Delivered::default();
        let number = |number: usize| delivery(&number.to_string(), b"");
        for old in 0..REMEMBERED_MAX - 1 {
            delivered.note(number(old), 1_000, 300);
        }
        delivered.note(number(REMEMBERED_MAX), 1_601, 300);
        delivered.note(number(REMEMBERED_MAX + 1), 1_601, 300);
        assert!(!delivered.has(number(0)) && delivered.has(number(REMEMBERED_MAX)));
    }
}
