//! The shapes on the wire. They stop here: the engine knows no JSON, and nothing here knows HTTP.

pub mod admin;
pub mod callback;
pub mod date;
mod forms;
pub mod partner_api;
pub mod receipt;
mod unique;
pub mod ur;

pub use date::{date, date_of, day_of, rfc3339};
pub use forms::{Digits, Malformed};
