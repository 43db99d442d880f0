//! Treasury: how fast a pool is spent, when a top-up sent now would be credited, and so when to send how much.
//!
//! All but one file are pure functions of the journal, the calendar and `now`: `follow` reads the journal. `docs/treasury.md` explains the model and shows how well its
//! probabilities come true.

mod accuracy;
pub mod burn;
pub mod calendar;
pub mod follow;
pub mod forecast;
pub mod holidays;
pub mod level;
mod month;
pub mod movement;
pub mod outcomes;
pub mod position;
mod profile;
#[cfg(test)]
mod simulation;
pub mod spend;
pub mod statement;
pub mod tail;
pub mod words;
