//! Treasury: how fast a pool is spent, when a top-up sent now would be credited, and so when to send how much.
//!
//! Everything here is a pure function of the journal's spending, the calendar and `now`. `docs/treasury.md` explains the
//! model and shows how well its probabilities come true.

pub mod calendar;
pub mod holidays;
