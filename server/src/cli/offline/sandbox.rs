//! `tapgate sandbox`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Failed;
use crate::provider::api::AccountMode;
use crate::sandbox::{self, FaultProfile, Options, Provider, Provocation};

#[derive(Debug, Args)]
pub(in crate::cli) struct Sandbox {
    /// The provider to play; with partner-api, tapgate is sent its events, and asks UR nothing.
    #[arg(long, value_enum, default_value_t = Provider::Ur)]
    provider: Provider,
    /// Users with cards, beside the sample user.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Taps a second, in real time.
    #[arg(long, default_value = "50", value_name = "PER_SECOND", value_parser = rate)]
    rate: f64,
    /// What goes wrong between UR and tapgate.
    #[arg(long, value_enum, default_value_t = FaultProfile::None, value_name = "PROFILE")]
    faults: FaultProfile,
    /// UR's account mode: the paths at which tapgate asks about accounts. UR serves both.
    #[arg(long, default_value = "external_wallet", value_name = "MODE", value_parser = account_mode)]
    account_mode: AccountMode,
    /// Has UR's API answer a path with one of UR's error codes, such as 10016@/v1/balance, while the traffic runs; may be
    /// given several times.
    #[arg(long = "ur-error", value_name = "CODE@PATH")]
    errors: Vec<Provocation>,
    /// How often UR counts a spend against the CHF limit: 0 to 2. tapgate counts decision.limit_weight times (once).
    #[arg(long = "ur-limit-weight", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=2))]
    limit_weight: u8,
    /// Runs the clock of UR and engine so many times as fast as real time: 1440 makes a minute a day.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    speed: u32,
    /// A new or empty directory to keep the engine's data in [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Makes the users, the throw-away keys and the taps.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends by itself after so many seconds of real time [default: at Ctrl-C].
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number of taps a second, 0.001 to 100000".to_owned())
}

fn account_mode(text: &str) -> Result<AccountMode, String> {
    let found = AccountMode::ALL.into_iter().find(|mode| mode.name() == text);
    found.ok_or_else(|| "must be external_wallet or managed_custody".to_owned())
}

impl Sandbox {
    pub(in crate::cli) fn run(self) -> Result<(), Failed> {
        let options = Options {
            provider: self.provider,
            users: usize::try_from(self.users)?,
            rate: self.rate,
            faults: self.faults,
            limit_weight: self.limit_weight,
            account_mode: self.account_mode,
            errors: self.errors,
            speed: self.speed,
            data: self.data,
            seed: self.seed,
            seconds: self.seconds,
        };
        let ran = crate::cli::on_runtime("warn", sandbox::run(options, &mut std::io::stdout()))?;
        Ok(ran.conclude(&mut std::io::stdout())?)
    }
}
