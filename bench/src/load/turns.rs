//! Turns of rows beside what is measured: by the records since the last one, as the server has them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tapgate_engine::store::StoreError;

use super::Failed;

/// After how many records rows follow the journal, how often that is looked for, and how nice their thread is, as the
/// server has it.
const ROWS_RECORDS_MAX: u64 = 500_000;
const ROWS_LOOK_INTERVAL: Duration = Duration::from_secs(5);
const ROWS_NICENESS: i32 = 10;

/// Turns of rows that began and ended within the measured time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Turns {
    pub(crate) rows_turns: u32,
    pub(crate) rows_seconds: f64,
}

/// The thread that writes rows.
pub(crate) struct Rows {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<Turns, StoreError>>,
}

impl Rows {
    /// Starts it. `records`: how many there are so far; `turn` writes their rows. With `soon` a turn begins in the first
    /// quarter of the measured time at the latest, however few records wait for one.
    pub(crate) fn start(
        soon: bool,
        measured: Range<Instant>,
        records: impl Fn() -> u64 + Send + 'static,
        turn: impl Fn() -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Rows, Failed> {
        let stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("rows".to_owned())
            .spawn(move || write(&stops, soon, &measured, &records, &turn))?;
        Ok(Rows { stopping, thread })
    }

    /// Ends it, after the turn that it is in.
    pub(crate) fn stop(self) -> Result<Turns, Failed> {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic has aborted the process already.
        Ok(self.thread.join().unwrap_or(Ok(Turns::default()))?)
    }
}

fn write(
    stopping: &AtomicBool,
    soon: bool,
    measured: &Range<Instant>,
    records: &impl Fn() -> u64,
    turn: &impl Fn() -> Result<(), StoreError>,
) -> Result<Turns, StoreError> {
    let _ = rustix::process::setpriority_process(None, ROWS_NICENESS);
    let mut at_latest = soon.then(|| measured.start + (measured.end - measured.start) / 4);
    let mut written = records();
    let mut turns = Turns::default();
    while !stopping.load(Ordering::Acquire) {
        let (so_far, began) = (records(), Instant::now());
        if so_far.saturating_sub(written) > ROWS_RECORDS_MAX || at_latest.is_some_and(|at| began >= at) {
            (written, at_latest) = (so_far, None);
            turn()?;
            let ended = Instant::now();
            if measured.contains(&began) && measured.contains(&ended) {
                turns.rows_turns += 1;
                turns.rows_seconds += (ended - began).as_secs_f64();
            }
        }
        let until_then = at_latest.map_or(ROWS_LOOK_INTERVAL, |at| at.saturating_duration_since(Instant::now()));
        std::thread::park_timeout(ROWS_LOOK_INTERVAL.min(until_then));
    }
    Ok(turns)
}
