//! The second provider's Partner API (seed 001): its webhooks, and our calls to it.
//!
//! The seed names events, operations and states, but neither fields nor paths; those are ours, shown by
//! `golden/partner_api.json`, and adapting them changes this folder only.

mod event;
mod instruction;

pub use event::{EVENTS, Envelope, Event};
pub use instruction::{Call, Instruction};
