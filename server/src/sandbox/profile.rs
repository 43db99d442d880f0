//! The fault profiles: what goes wrong between UR and tapgate.

use super::{settle, traffic};

/// What goes wrong on the way between UR and tapgate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FaultProfile {
    /// Only what always happens: now and then a repeated, altered or forged callback.
    None,
    /// Answers are lost, and UR asks again.
    Lossy,
    /// Every fourth callback comes twice.
    Duplicate,
    /// Many callbacks are too old when they arrive.
    Late,
    /// Reversals overtake their authorizations, and notifications come in any order.
    Reorder,
    /// UR tells debits as rejected and settles them, and settles what nobody asked for.
    Contradict,
    /// UR's API is away when the sweeps begin.
    Outage,
    /// UR's API says "too many" again and again.
    Ratelimit,
    /// UR settles other amounts than it asked for.
    Amounts,
    /// Guests of restaurants tip: UR settles more than it asked for, and tapgate holds it before (`hold_upcharge`).
    Tips,
    /// UR shows transactions under unknown and empty statuses, early, late, in parts and merged.
    Statuses,
    /// UR's answers now and then leave out a balance, a rate or a row.
    Omit,
    /// UR's answers contain odd tokens, odd rates and rows that cannot be read.
    Forms,
    /// All of it.
    All,
}

impl FaultProfile {
    /// Whether all its faults are those of events, which another provider than UR can have.
    pub(super) fn is_of_events(self) -> bool {
        matches!(self, FaultProfile::None | FaultProfile::Duplicate | FaultProfile::Late | FaultProfile::Reorder)
    }

    /// The faults of callbacks.
    pub(super) fn of_traffic(self) -> traffic::Faults {
        use traffic::Faults;
        let none = Faults::NONE;
        match self {
            FaultProfile::None
            | FaultProfile::Contradict
            | FaultProfile::Outage
            | FaultProfile::Ratelimit
            | FaultProfile::Amounts
            | FaultProfile::Tips
            | FaultProfile::Statuses
            | FaultProfile::Omit
            | FaultProfile::Forms => none,
            FaultProfile::Lossy => Faults { lost: 150, ..none },
            FaultProfile::Duplicate => Faults { again: 150, twice: 100, ..none },
            FaultProfile::Late => Faults { stale: 150, ..none },
            FaultProfile::Reorder => Faults { overtaken: 100, ..none },
            FaultProfile::All => {
                Faults { again: 80, twice: 50, altered: 20, forged: 30, stale: 50, lost: 80, overtaken: 50 }
            }
        }
    }

    /// The faults of settlement.
    pub(super) fn of_settlement(self) -> settle::Faults {
        use settle::Faults;
        let none = Faults::default();
        match self {
            FaultProfile::None => none,
            FaultProfile::Lossy => Faults { lost: 400, ..none },
            FaultProfile::Duplicate => Faults { twice: 500, ..none },
            FaultProfile::Late => Faults { late: 400, ..none },
            FaultProfile::Reorder => Faults { shuffled: true, ..none },
            FaultProfile::Contradict => Faults { contradicted: 50, orphans: 5, ..none },
            FaultProfile::Outage => Faults { lost: 1_000, away: 12, ..none },
            FaultProfile::Ratelimit => Faults { lost: 1_000, limited_every: 40, ..none },
            FaultProfile::Amounts => Faults { wrong: 50, ..none },
            FaultProfile::Tips => Faults { tipped: 500, ..none },
            FaultProfile::Statuses => {
                Faults { worded: 300, split: 200, merges: true, shuffled: true, twice: 100, ..none }
            }
            FaultProfile::Omit => Faults { omits: true, lost: 500, ..none },
            FaultProfile::Forms => Faults { is_odd: true, ..none },
            FaultProfile::All => Faults {
                lost: 200,
                twice: 200,
                late: 200,
                shuffled: true,
                contradicted: 20,
                wrong: 20,
                tipped: 0,
                orphans: 3,
                away: 8,
                limited_every: 100,
                worded: 100,
                split: 100,
                merges: true,
                omits: true,
                is_odd: true,
            },
        }
    }
}
