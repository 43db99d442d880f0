//! Channels: how a message reaches one kind of receiver, and the guard that judges every address.

pub mod guard;
pub mod mail;
pub mod pagerduty;
pub mod partner_api;
pub mod post;
pub mod secret;
pub mod signing;
pub mod slack;
pub mod webhook;
