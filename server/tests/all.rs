//! Every integration test of the server that is written in Rust, in one binary: it is linked once.
#![allow(clippy::disallowed_methods, reason = "tests wait for real threads and real time")]

mod admin_alerts;
pub mod corpora;
mod deadline;
mod layout;
mod partner_api;
mod settlement;
mod support;
mod ur_facts;
