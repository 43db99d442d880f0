//! What a user takes of memory, and an authorization until rows are written: the process's resident size before and after.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;
use tapgate_bench::{Requests, Sink, drain, ledger, submit};
use tapgate_engine::fact::Controls;

use super::{Failed, print};

#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Idle users, each with one card, a limit and funds
    #[arg(long, default_value_t = 1_000_000)]
    users: u64,
    /// Approved authorizations, spread over the users
    #[arg(long, default_value_t = 1_000_000)]
    open: u64,
    /// Results as JSON
    #[arg(long)]
    json: bool,
}

/// Bytes, by division of resident sizes.
#[derive(Debug, Serialize)]
struct Memory {
    users: u64,
    open: u64,
    per_idle_user: i64,
    /// With its answer and the user's hold, until rows are written and the answer leaves memory.
    per_authorization_until_rows: i64,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let Options { users, open, json } = *options;
    // The queue, the maps' shards and the first user are there before anything is counted.
    drop(ledger(Arc::new(Sink::default()), 1, Controls::default()));
    let empty = rested()?;
    let ledger = ledger(Arc::new(Sink::default()), users, Controls::default());
    let filled = rested()?;
    let mut requests = Requests::new(users, 0);
    for _ in 0..open {
        let _ = submit(&ledger, requests.tap());
    }
    drain(&ledger);
    let opened = rested()?;
    let memory = Memory {
        users,
        open,
        per_idle_user: (filled - empty) / users.max(1).cast_signed(),
        per_authorization_until_rows: (opened - filled) / open.max(1).cast_signed(),
    };
    if json {
        return print(&format!("{}\n", serde_json::to_string(&memory)?));
    }
    print(&format!(
        "{users} users: {} bytes each\n{open} open authorizations until rows are written: {} bytes each\n",
        memory.per_idle_user, memory.per_authorization_until_rows
    ))
}

/// Resident bytes once the allocator has given back what tables left when they grew: it waits a tenth of a second for
/// that, and for somebody to ask it for memory.
pub(crate) fn rested() -> Result<i64, Failed> {
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(200));
        drop(black_box(vec![1_u8; 1 << 20]));
    }
    resident()
}

/// Resident bytes of this process.
fn resident() -> Result<i64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1_024).ok_or_else(|| Failed("the system does not say VmRSS".to_owned()))
}
