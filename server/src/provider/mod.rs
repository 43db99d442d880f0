//! The providers. UR: its API, the figures read from it, reconciliation with its books, and top-ups ordered from it. And the
//! second provider's events.

pub mod api;
pub mod feeds;
pub mod findings;
pub mod hint;
pub mod partner_api;
pub mod prefunding;
pub mod reconciliation;
