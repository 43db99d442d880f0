//! The command line. Data goes to stdout, logs and errors to stderr; exit codes 0 ok, 1 failed, 2 wrong usage.

mod admin;
mod offline;
mod receipt;
mod ui;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use self::admin::{
    alerts, authorizations, breaks, calendar, cards, deliveries, erase, pools, prefunds, program, rates, users,
};
use self::offline::{config, journal, sandbox, sign, sweep};
use self::ui::screen;
use crate::program::privacy;

/// Authorizes card spends for UR: decides in memory, writes ahead, answers.
#[derive(Debug, Parser)]
#[command(name = "tapgate", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve UR's callbacks and the admin API.
    Serve {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// The engine, a simulated UR and card traffic in one process, to see it working.
    Sandbox(sandbox::Sandbox),
    /// Check a configuration, or print a commented default.
    #[command(subcommand)]
    Config(config::Command),
    /// Show the prefunded pools; report and credit them.
    Pools(pools::Pools),
    /// Import users, show one, change one.
    Users(users::Users),
    /// Erase what names the person behind a user: external id and label.
    Erase(erase::Erase),
    /// Freeze, activate, delete or restrict a card.
    Cards(cards::Cards),
    /// List authorizations, show or release one.
    Authorizations(authorizations::Authorizations),
    /// Show every check of a decision, in order, and what would have been approved.
    Explain(authorizations::Explain),
    /// List what differs between our books and UR's; say what explains it.
    Breaks(breaks::Breaks),
    /// Ask UR, and show what a sweep would change.
    Sweep(sweep::Sweep),
    /// List what somebody must know of; take it on or silence it.
    Alerts(alerts::Alerts),
    /// List who is told what happens here; have a receiver go on, back, or past a message.
    Deliveries(deliveries::Deliveries),
    /// List top-ups of the pools; propose one, say that one was sent, approve or cancel one.
    Prefunds(prefunds::Prefunds),
    /// Show when top-ups are credited; close days, or take that back.
    Calendar(calendar::Calendar),
    /// Show the rates and since when each holds; pin or unpin one.
    Rates(rates::Rates),
    /// Show the switch over every decision; suspend or resume.
    Program(program::Program),
    /// Look at a data directory, offline.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Prove that a decision is in the journal; check such a proof without the server.
    Receipt(receipt::Receipt),
    /// Sign the body on stdin and print the headers, to debug an integration.
    Sign(sign::Sign),
    /// Verify the body on stdin, to debug an integration.
    Verify(sign::Verify),
}

/// Connections that are read in one go. The others wait in the system, which knows how long, and not in the runtime's queues,
/// behind which every answer would wait, too.
const READABLE_AT_ONCE: usize = 16;

/// The time that tasks have to release shared resources after serving has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A failed command; the message is for the person who ran it.
#[derive(Debug)]
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed(error.to_string())
    }
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    privacy::of_process();
    let done = match cli.command {
        Command::Serve { config } => serve(&config),
        Command::Sandbox(sandbox) => sandbox.run(),
        Command::Config(command) => config::run(&command),
        Command::Pools(pools) => pools.run(),
        Command::Users(users) => users.run(),
        Command::Receipt(receipt) => receipt.run(),
        Command::Erase(erase) => erase.run(),
        Command::Cards(cards) => cards.run(),
        Command::Authorizations(authorizations) => authorizations.run(),
        Command::Explain(explain) => explain.run(),
        Command::Breaks(breaks) => breaks.run(),
        Command::Sweep(sweep) => sweep.run(),
        Command::Alerts(alerts) => alerts.run(),
        Command::Deliveries(deliveries) => deliveries.run(),
        Command::Prefunds(prefunds) => prefunds.run(),
        Command::Calendar(calendar) => calendar.run(),
        Command::Rates(rates) => rates.run(),
        Command::Program(program) => program.run(),
        Command::Journal(command) => journal::run(&command),
        Command::Sign(sign) => sign.run(),
        Command::Verify(verify) => verify.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(message)) => {
            // With stderr closed there is nowhere to report this.
            let _ = writeln!(std::io::stderr(), "tapgate: {}", screen::clean_lines(&message));
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &std::path::Path) -> Result<(), Failed> {
    let config = config::load(file)?;
    on_runtime("info", crate::program::serve(config))
}

/// Runs `serving` to its end. `level` is the log level unless `TAPGATE_LOG` sets it.
fn on_runtime<T, E: std::error::Error>(level: &str, serving: impl Future<Output = Result<T, E>>) -> Result<T, Failed> {
    crate::program::telemetry::start_logging(level);
    // A second start in one process keeps the first provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The journal's thread wakes what is durable through the workers' shared queue, which a busy worker would look at once
        // in dozens of tasks: what is durable is answered before anything new is read.
        .global_queue_interval(1)
        .max_io_events_per_tick(READABLE_AT_ONCE)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serving);
    // Remaining tasks hold the store open. It must close before the process ends, or RocksDB's own threads run into its
    // destructors.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(served?)
}

/// Writes data to stdout. A reader that stops early, as `head` does, is not a failure.
fn print(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Writes a message for people to stderr, apart from the data. With stderr closed it is dropped.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", screen::clean(text));
}
