//! Treasury: how fast a pool is spent, when a top-up sent now would be credited, and so when to send how much.
//!
//! Everything here is a pure function of the journal's spending, the calendar and `now`. `docs/treasury.md` explains the
//! model and shows how well its probabilities come true.

mod accuracy;
pub mod burn;
pub mod calendar;
pub mod forecast;
pub mod holidays;
pub mod level;
mod month;
pub mod movement;
pub mod outcomes;
mod profile;
#[cfg(test)]
mod simulation;
pub mod spend;
pub mod statement;
pub mod tail;
mod words;
