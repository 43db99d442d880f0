//! The whole server in one thread, from one seed: engine, journal and the jobs that `serve` starts, over a simulated clock,
//! disk, network, UR and receivers, and people. Only the framing of HTTP, RocksDB and the kernel are left out.
//!
//! A seed makes a [`Scenario`](scenario::Scenario): taps, returns, settlements, time that passes, and faults, among them the
//! end of the process at any write. After each step the [`judge`] says what must hold; at the end UR settles everything, and
//! tapgate's figures must be UR's. What is found is shrunk to its least steps and printed as a scenario.

mod chance;
mod disk;
mod judge;
mod life;
mod network;
mod partner;
mod scenario;
mod shrink;
mod soak;
mod tests;
mod wall;
mod world;

use self::judge::said;
use self::scenario::Scenario;
use self::world::Ended;

/// Runs a scenario on a runtime of its own, whose time stands still but where everything waits.
fn run(scenario: &Scenario) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(world::run(scenario))
}
