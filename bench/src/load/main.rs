//! `tapgate-load`: signed card traffic against a running tapgate, and the floors it is compared with.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

mod ask;
mod bare;
mod corpus;
mod disk;
mod drive;
mod ended;
mod engine;
mod feed;
mod floor;
mod memory;
mod pace;
mod ramp;
mod receive;
mod report;
mod stages;
mod target;
mod turns;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Signed card traffic against a running tapgate, and the floors it is compared with.
#[derive(Debug, Parser)]
#[command(name = "tapgate-load", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send signed callbacks to a server, check every answer, measure.
    Drive(drive::Options),
    /// Serve the HTTP floor: recover the signature, answer a fixed body, nothing else.
    Bare(bare::Options),
    /// Accept every delivery.
    Receive(receive::Options),
    /// Decide in this process, engine and RocksDB without HTTP.
    Engine(engine::Options),
    /// Write records of one size to RocksDB in groups, with sequential keys and nothing else: the durable floor.
    Floor(floor::Options),
    /// Fill a ledger with users and authorizations, and divide what the process grew by.
    Memory(memory::Options),
    /// Have ids answered and written to rows, ended ones and open ones, and divide what the process grew by.
    Ended(ended::Options),
    /// Fill a store with spends and their clearings, and divide what it grew by.
    Disk(disk::Options),
}

/// What went wrong, for the person who ran it.
#[derive(Debug)]
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed(error.to_string())
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Drive(options) => drive::run(&options),
        Command::Bare(options) => bare::run(&options),
        Command::Receive(options) => receive::run(&options),
        Command::Engine(options) => engine::run(&options),
        Command::Floor(options) => floor::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::Ended(options) => ended::run(&options),
        Command::Disk(options) => disk::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(message)) => {
            // Where stderr is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "tapgate-load: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Writes data to stdout.
fn print(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
