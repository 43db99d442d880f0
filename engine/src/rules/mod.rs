//! Rules: pure decisions from rows and facts.

mod explain;
mod ladder;
mod matching;
mod settle;
mod standing;

pub use explain::{Explanation, Rung, SourceExplanation, explain};
pub use ladder::{Plan, decide, largest_approvable};
pub use matching::{Candidate, find};
pub use settle::{Claims, THIS, breaks, settle, state};
pub use standing::{DrawStanding, Standing, is_uncharged, standing};
