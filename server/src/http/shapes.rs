//! Events of a form that is not known, logged once each: their shape, never their values.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::wire::ur::{name, shape};

/// Shapes that are logged, once each.
const SHAPES_MAX: usize = 64;

/// The shapes of one sender's events.
pub(super) struct Shapes {
    sender: &'static str,
    logged: Mutex<BTreeSet<(String, String)>>,
}

impl Shapes {
    pub(super) fn of(sender: &'static str) -> Shapes {
        Shapes { sender, logged: Mutex::default() }
    }

    pub(super) fn log(&self, event: &str, data: &Value) {
        let (event, shape) = (name(event), shape(data));
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < SHAPES_MAX && logged.insert((event.clone(), shape.clone())) {
            let sender = self.sender;
            tracing::warn!(
                sender,
                event,
                shape,
                "an event of a form that is not known arrived; it is acknowledged and has no effect"
            );
        }
    }
}
