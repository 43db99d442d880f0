//! Settings of automatic prefunds.

use std::time::Duration;

use compact_str::CompactString;
use tapgate_engine::money::Minor;

/// The settings of automatic prefunds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The mode and the bounds.
    pub auto_prefund: AutoPrefund,
    /// UR's API; orders are bound to it.
    pub base_url: CompactString,
    /// The interval of planning.
    pub interval: Duration,
    /// Older rates do not judge a quote.
    pub rates_max_age_seconds: Option<u64>,
    /// A pool with an older report gets no top-up.
    pub report_stale_seconds: u32,
}

/// The approver of automatic top-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoPrefundMode {
    /// No proposals and no orders.
    Off,
    /// tapgate asks UR for quotes, but records and orders nothing.
    DryRun,
    /// tapgate proposes, a treasurer approves, tapgate orders.
    Approval,
    /// tapgate proposes, approves and orders.
    Automatic,
}

impl AutoPrefundMode {
    pub const ALL: &[AutoPrefundMode] =
        &[AutoPrefundMode::Off, AutoPrefundMode::DryRun, AutoPrefundMode::Approval, AutoPrefundMode::Automatic];

    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AutoPrefundMode::Off => "off",
            AutoPrefundMode::DryRun => "dry_run",
            AutoPrefundMode::Approval => "approval",
            AutoPrefundMode::Automatic => "automatic",
        }
    }

    /// Whether the mode places orders.
    #[must_use]
    pub fn orders(self) -> bool {
        matches!(self, AutoPrefundMode::Approval | AutoPrefundMode::Automatic)
    }
}

/// The mode of automatic top-ups, and their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPrefund {
    pub mode: AutoPrefundMode,
    /// The most ordered per day of the calendar's time zone, over all pools, in millionths of a USDC.
    pub daily_max: Minor,
    /// The most per order, in millionths of a USDC; not above `daily_max`.
    pub single_max: Minor,
    /// Permitted difference between a quote's output, after fees, and the ledger's own rate, in basis points, 0 to
    /// 1,000.
    pub quote_tolerance_bps: u16,
}
