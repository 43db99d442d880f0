//! Where a callback's time goes, for the bench. Only with the feature `trace`: then every answer of a callback has a header
//! with the moments at which it reached each [`Mark`], by the machine's monotonic clock, which the load generator reads,
//! too. Without it everything here is nothing.

#[cfg(not(feature = "trace"))]
mod off;
#[cfg(feature = "trace")]
mod on;
#[cfg(feature = "trace")]
mod watched;

#[cfg(not(feature = "trace"))]
pub use off::{Written, begins, mark, told, traced, watched};
#[cfg(feature = "trace")]
pub use on::{Written, begins, mark, told, traced};
#[cfg(feature = "trace")]
pub use watched::watched;

/// The header of a traced answer: a number for each [`Mark`], in their order, with spaces between.
pub const HEADER: &str = "x-tapgate-trace";

/// Numbers in the header.
pub const MARKS: usize = Mark::WaitedForCore as usize + 1;

/// What a traced answer tells, in its order: nanoseconds since the machine started, 0 where nothing was noted; from
/// [`Mark::RowReads`] on a count and durations instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The answer before this one, on the same connection, was handed to its socket.
    WrittenBefore,
    /// The first bytes reached the machine.
    Read,
    /// Head and body are there.
    Handled,
    /// The signature is verified and the callback parsed.
    Parsed,
    /// The decision is made, and its record published.
    Decided,
    /// The journal began the write that holds the record, and ended it.
    AppendBegan,
    AppendEnded,
    /// The journal's thread woke the request's task.
    Told,
    /// The task ran.
    Woke,
    /// The answer is rendered.
    Answered,
    /// From [`Mark::Handled`] to [`Mark::Decided`]: rows looked up on disk, and how long that took.
    RowReads,
    RowReadsTook,
    /// In the same time: on a core, and waiting for one although it could run. What is left waited for a lock or the disk.
    OnCore,
    WaitedForCore,
}
