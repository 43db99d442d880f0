//! What the operator configures of automatic prefunds.

use std::time::Duration;

use compact_str::CompactString;
use tapgate_engine::money::Minor;

/// The settings of automatic prefunds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who decides, and the bounds.
    pub auto_prefund: AutoPrefund,
    /// UR's API, to which orders are bound.
    pub base_url: CompactString,
    /// How often the plan is made anew.
    pub interval: Duration,
    /// Older rates judge no quote.
    pub rates_max_age_seconds: Option<u64>,
    /// A pool with an older report is not topped up.
    pub report_stale_seconds: u32,
}

/// Who approves an automatic top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoPrefundMode {
    /// Nothing is proposed or ordered.
    Off,
    /// UR is asked for quotes, and nothing is recorded or ordered.
    DryRun,
    /// tapgate proposes, a treasurer approves, tapgate orders.
    Approval,
    /// tapgate proposes, approves and orders.
    Automatic,
}

impl AutoPrefundMode {
    /// Every mode.
    pub const ALL: &[AutoPrefundMode] =
        &[AutoPrefundMode::Off, AutoPrefundMode::DryRun, AutoPrefundMode::Approval, AutoPrefundMode::Automatic];

    /// The word of the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AutoPrefundMode::Off => "off",
            AutoPrefundMode::DryRun => "dry_run",
            AutoPrefundMode::Approval => "approval",
            AutoPrefundMode::Automatic => "automatic",
        }
    }

    /// Whether top-ups are ordered.
    #[must_use]
    pub fn orders(self) -> bool {
        matches!(self, AutoPrefundMode::Approval | AutoPrefundMode::Automatic)
    }
}

/// Whether top-ups are ordered, and their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPrefund {
    pub mode: AutoPrefundMode,
    /// The most that is ordered within one day of the calendar's time zone, over all pools, in millionths of a USDC.
    pub daily_max: Minor,
    /// The most of one order, likewise; not above `daily_max`.
    pub single_max: Minor,
    /// By how much what a quote gives, fees included, may differ from the ledger's own rate, in basis points, 0 to 1,000.
    pub quote_tolerance_bps: u16,
}
