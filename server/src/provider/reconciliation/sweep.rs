//! A sweep: queries an account's card transactions at UR, and releases holds on which UR stays silent for too long.

use std::collections::HashMap;

use tapgate_engine::fact::{AuthorizationState, BreakKind, Channel, Discrepancy, Fact};
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::{ChangeError, Ledger};
use tapgate_engine::rows::Authorization;
use tapgate_engine::store::StoreError;
use tapgate_engine::time::{Moment, UnixSeconds};

use super::{Applied, Settings, apply, open_roots};
use crate::clock::Clock;
use crate::provider::api::{At, Priority, TransactionFilter, UrApi, UrError};

/// Sweeps in a row that must show silence before it is believed.
const CLEAN_SWEEPS_MIN: u32 = 2;
/// Longest time between two sweeps of an account; otherwise half the age of its youngest hold.
const LOOK_SECONDS_MAX: i64 = 6 * 3_600;
/// UR's time of a transaction may precede ours by this much.
const CLOCKS_DIFFER_SECONDS: i64 = 3_600;
/// Pages of a hundred per sweep; an account with more needs a person.
const PAGES_MAX: usize = 100;

/// Reasons why a sweep failed. It loses nothing, and runs again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// UR did not answer.
    #[error(transparent)]
    Ur(#[from] UrError),
    /// A transaction or release could not be recorded.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Rows on disk could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// UR showed unreadable transactions, or too many to read.
    #[error("{0}")]
    Unclear(String),
}

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Transactions that UR showed.
    pub shown: usize,
    /// Of these, newly posted.
    pub booked: usize,
    /// Released: UR never settled them.
    pub expired: usize,
    /// The time of the next sweep; `None` if there is nothing to wait for.
    pub again_at: Option<UnixSeconds>,
}

impl Swept {
    fn look_again(&mut self, at: Option<UnixSeconds>) {
        self.again_at = self.again_at.into_iter().chain(at).min();
    }
}

/// The memory between sweeps. A restart loses it, and silence is believed later.
#[derive(Debug)]
pub struct Sweeps {
    rules: Settings,
    clean_min: u32,
    /// Clean sweeps of each account's open holds: what is not open any more is forgotten at the account's next sweep,
    /// whatever ended it.
    clean: HashMap<UrId, HashMap<AuthorizationId, u32>>,
}

/// An authorization with an open hold.
struct Open {
    root: AuthorizationId,
    row: Authorization,
    /// Approval of its first part: none of its UR transactions is older.
    since: UnixSeconds,
    /// Approval of its youngest part: yesterday's increment is not old because its stay began a month ago.
    at: UnixSeconds,
    is_long: bool,
}

impl Sweeps {
    /// Sweeps by these rules.
    #[must_use]
    pub fn new(rules: Settings) -> Sweeps {
        Sweeps { rules, clean_min: CLEAN_SWEEPS_MIN, clean: HashMap::new() }
    }

    /// Sweeps that believe silence at once, to show the holds that would be released.
    #[must_use]
    pub fn for_dry_run(rules: Settings) -> Sweeps {
        Sweeps { clean_min: 1, ..Sweeps::new(rules) }
    }

    /// Sweeps one account.
    ///
    /// # Errors
    /// The sweep failed.
    pub async fn sweep(
        &mut self,
        ledger: &Ledger,
        clock: &Clock,
        api: &impl UrApi,
        user: &UrId,
    ) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        let tolerance = self.rules.tolerance;
        let before = open(ledger, user)?;
        self.forget_closed(user, &before);
        // A reversed authorization holds nothing, but uses the limit until UR has shown both movements.
        let since = before.iter().map(|open| open.since).chain(self.unshown_since(ledger, clock, user));
        let Some(oldest) = since.min() else { return Ok(swept) };
        let filter = TransactionFilter {
            kind: Some("CRD"),
            from: Some(oldest.0.saturating_sub(CLOCKS_DIFFER_SECONDS)),
            page_size: 100,
            ..TransactionFilter::default()
        };
        let (mut at, mut unclear) = (At::Start, None);
        for page in 1.. {
            let shown = api.transactions(user, &filter, at, Priority::Sweep).await?;
            // Readable transactions are posted, whatever the others are.
            unclear = unclear.or(shown.unreadable.first().map(ToString::to_string));
            for transaction in &shown.rows {
                swept.shown += 1;
                match apply(ledger, transaction, tolerance, clock.now()) {
                    Ok(Applied::Booked(_)) => swept.booked += 1,
                    Ok(Applied::Ambiguous) => unclear = Some(format!("{} fits several holds", transaction.hash)),
                    Ok(Applied::Known | Applied::NotOurs) => {}
                    Err(ChangeError::Invalid(error)) => unclear = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
            match shown.next {
                None => break,
                Some(_) if page == PAGES_MAX => {
                    return Err(SweepError::Unclear(format!("account {user} has more than {PAGES_MAX} pages")));
                }
                Some(next) => at = At::After(next),
            }
        }
        if let Some(since) = self.unshown_since(ledger, clock, user) {
            swept.look_again(Some(self.until_shown(since, clock.now().at.seconds())));
        }
        for open in open(ledger, user)? {
            // Silence counts only if every shown transaction is understood.
            if unclear.is_none() && self.is_given_up(user, &open, clock.now()) {
                give_up(ledger, &open, clock.now())?;
                swept.expired += 1;
            } else {
                swept.look_again(Some(self.again_at(&open, clock.now().at.seconds())));
            }
        }
        self.forget_closed(user, &open(ledger, user)?);
        match unclear {
            None => Ok(swept),
            Some(what) => Err(SweepError::Unclear(format!("of account {user}: {what}"))),
        }
    }

    /// Forgets the clean sweeps of holds that are not among the account's open ones.
    fn forget_closed(&mut self, user: &UrId, open: &[Open]) {
        if let Some(clean) = self.clean.get_mut(user) {
            clean.retain(|root, _| open.iter().any(|open| open.root == *root));
            if clean.is_empty() {
                self.clean.remove(user);
            }
        }
    }

    /// Whether UR has been silent for long enough, this sweep included.
    fn is_given_up(&mut self, user: &UrId, open: &Open, now: Moment) -> bool {
        let sweeps = self.clean.entry(user.clone()).or_default().entry(open.root.clone()).or_default();
        *sweeps = sweeps.saturating_add(1);
        let age = now.at.seconds().0.saturating_sub(open.at.0);
        let patience = match (&open.row.posted, open.is_long) {
            (None, _) => self.rules.silence_seconds,
            (Some(_), false) => self.rules.expiry_seconds,
            (Some(_), true) => self.rules.long_expiry_seconds,
        };
        now.trusted && *sweeps >= self.clean_min && age >= i64::from(patience)
    }

    /// The start of the oldest movement in an account's limit that UR has not shown. Bounded: UR may never show an
    /// amount that it took and returned at once, and it has not taken an expired one.
    fn unshown_since(&self, ledger: &Ledger, clock: &Clock, user: &UrId) -> Option<UnixSeconds> {
        let oldest = clock.now().at.seconds().plus(-i64::from(self.rules.expiry_seconds));
        ledger.user(user)?.spends().unshown_since(oldest)
    }

    /// The time of the next query, at growing intervals.
    fn until_shown(&self, since: UnixSeconds, now: UnixSeconds) -> UnixSeconds {
        let age = now.0.saturating_sub(since.0);
        now.plus((age / 2).max(i64::from(self.rules.first_look_seconds)))
    }

    fn again_at(&self, open: &Open, now: UnixSeconds) -> UnixSeconds {
        let first_look = i64::from(self.rules.first_look_seconds);
        let age = now.0.saturating_sub(open.at.0);
        if age < first_look {
            return open.at.plus(first_look);
        }
        now.plus((age / 2).clamp(first_look, first_look.max(LOOK_SECONDS_MAX)))
    }
}

/// An account's authorizations with open holds.
fn open(ledger: &Ledger, user: &UrId) -> Result<Vec<Open>, SweepError> {
    let mut found = Vec::new();
    for (root, row) in open_roots(ledger, user)? {
        let (Some(first), Some(last)) = (row.draws.first(), row.draws.last()) else { continue };
        let (Some(first), Some(last)) = (ledger.record(first.sequence)?, ledger.record(last.sequence)?) else {
            continue;
        };
        let is_long = matches!(&first.fact, Fact::Decided(decided) if {
            let request = &decided.request;
            request.channel != Channel::Atm && request.merchant.mcc.is_some_and(is_lodging_or_rental)
        });
        found.push(Open { root, row, since: first.at.seconds(), at: last.at.seconds(), is_long });
    }
    Ok(found)
}

/// Lodging and car rental authorize for the whole stay (ISO 18245: 3351–3500 car rental, 3501–3999 and 7011 lodging,
/// 7512 other car rental).
fn is_lodging_or_rental(mcc: u16) -> bool {
    matches!(mcc, 3_351..=3_999 | 7_011 | 7_512)
}

/// Releases a hold that UR never settled. One that UR never even showed opens a break for the operator.
fn give_up(ledger: &Ledger, open: &Open, now: Moment) -> Result<(), ChangeError> {
    if open.row.state == AuthorizationState::Approved && open.row.posted.is_none() {
        let discrepancy = Discrepancy {
            kind: BreakKind::MissingAtProvider,
            subject: open.root.as_str().into(),
            field: "state".into(),
            ours: open.row.state.name().into(),
            theirs: "none".into(),
        };
        ledger.open_break(discrepancy, now)?;
    }
    ledger.expire(&open.root, now).map(|_| ())
}

#[cfg(test)]
mod tests {
    use tapgate_engine::rules::Tolerance;

    use super::*;

    #[test]
    fn what_ended_between_two_sweeps_is_forgotten_by_the_next() {
        let mut sweeps = Sweeps::new(Settings {
            first_look_seconds: 1,
            silence_seconds: 86_400,
            expiry_seconds: 864_000,
            long_expiry_seconds: 2_592_000,
            tolerance: Tolerance::default(),
        });
        let [first, second]: [UrId; 2] = ["1", "2"].map(|id| id.parse().unwrap());
        for (user, id) in [(&first, "a"), (&first, "b"), (&second, "c")] {
            sweeps.clean.entry(user.clone()).or_default().insert(id.parse().unwrap(), 1);
        }
        sweeps.forget_closed(&first, &[]);
        assert_eq!(sweeps.clean.keys().collect::<Vec<_>>(), [&second], "a notification cleared both");
    }
}
