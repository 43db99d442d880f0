//! Rules: pure decisions from rows and facts.

mod explain;
mod ladder;
mod posting;
mod tolerance;

pub use explain::{Explanation, Rung, SourceExplanation, explain};
pub use ladder::{Plan, decide, largest_approvable};
pub use posting::{Judged, judge, unmatched_id};
pub use tolerance::Tolerance;
