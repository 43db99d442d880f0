//! Rules: pure decisions from rows and facts.

mod breaks;
mod explain;
mod ladder;
mod layers;
mod matching;
mod settle;
mod standing;

pub use breaks::{breaks, state};
pub use explain::{Explanation, Rung, SourceExplanation, explain};
pub use ladder::{Plan, decide, largest_approvable};
pub use matching::{Candidate, find};
pub use settle::{Claims, THIS, settle};
pub use standing::{DrawStanding, Standing, claimed, is_uncharged, standing};
