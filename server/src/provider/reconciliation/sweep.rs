//! A sweep: UR is asked for an account's card transactions, and what it stays silent about is given up in its time.

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

/// Silence is believed after so many sweeps.
const CLEAN_SWEEPS_MIN: u32 = 2;
/// The longest between two looks at the same account; else half of what its youngest hold is old.
const LOOK_SECONDS_MAX: i64 = 6 * 3_600;
/// UR's time of a transaction may lie before ours.
const CLOCKS_DIFFER_SECONDS: i64 = 3_600;
/// Pages of a hundred that one sweep reads; an account with more is one that nobody should guess about.
const PAGES_MAX: usize = 100;

/// A sweep did not come to its end; nothing it found is lost, and it will be made again.
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
    /// UR showed what cannot be read, or more than can be looked through.
    #[error("{0}")]
    Unclear(String),
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Transactions that UR showed.
    pub shown: usize,
    /// Of these, booked just now.
    pub booked: usize,
    /// Given up: UR never settled them.
    pub expired: usize,
    /// When to look again; `None`: there is nothing to wait for.
    pub again_at: Option<UnixSeconds>,
}

impl Swept {
    fn look_again(&mut self, at: Option<UnixSeconds>) {
        self.again_at = self.again_at.into_iter().chain(at).min();
    }
}

/// What is remembered between sweeps. A restart forgets it, and silence is only believed later.
#[derive(Debug)]
pub struct Sweeps {
    rules: Settings,
    clean_min: u32,
    clean: HashMap<AuthorizationId, u32>,
}

/// One authorization that holds something.
struct Open {
    root: AuthorizationId,
    row: Authorization,
    /// When its first part was approved: UR's transactions of it cannot be older.
    since: UnixSeconds,
    /// When its youngest part was: an increment of yesterday is not old because its stay began a month ago.
    at: UnixSeconds,
    is_long: bool,
}

impl Sweeps {
    /// Sweeps by these rules.
    #[must_use]
    pub fn new(rules: Settings) -> Sweeps {
        Sweeps { rules, clean_min: CLEAN_SWEEPS_MIN, clean: HashMap::new() }
    }

    /// Sweeps that believe silence at once: to show what would be given up.
    #[must_use]
    pub fn for_dry_run(rules: Settings) -> Sweeps {
        Sweeps { clean_min: 1, ..Sweeps::new(rules) }
    }

    /// Sweeps one account.
    ///
    /// # Errors
    /// It did not come to its end.
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
        // What is given back holds nothing any more, but uses the limit until UR has shown both.
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
            let shown = api.transactions(user, &filter, at, Priority::High).await?;
            // What can be read is booked, whatever stands beside it.
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
            // Silence is only believed where everything that was shown is understood.
            if unclear.is_none() && self.is_given_up(&open, clock.now()) {
                give_up(ledger, &open, clock.now())?;
                self.clean.remove(&open.root);
                swept.expired += 1;
            } else {
                swept.look_again(Some(self.again_at(&open, clock.now().at.seconds())));
            }
        }
        for open in before {
            if ledger.find(&open.root)?.and_then(|found| found.authorization).is_none_or(|row| !row.state.is_open()) {
                self.clean.remove(&open.root);
            }
        }
        match unclear {
            None => Ok(swept),
            Some(what) => Err(SweepError::Unclear(format!("of account {user}: {what}"))),
        }
    }

    /// Whether UR has been silent for long enough, this sweep included.
    fn is_given_up(&mut self, open: &Open, now: Moment) -> bool {
        let sweeps = self.clean.entry(open.root.clone()).or_default();
        *sweeps = sweeps.saturating_add(1);
        let age = now.at.seconds().0.saturating_sub(open.at.0);
        let patience = match (&open.row.posted, open.is_long) {
            (None, _) => self.rules.silence_seconds,
            (Some(_), false) => self.rules.expiry_seconds,
            (Some(_), true) => self.rules.long_expiry_seconds,
        };
        now.trusted && *sweeps >= self.clean_min && age >= i64::from(patience)
    }

    /// Since when an account's limit counts what UR has not shown. Not for ever: UR may never show what it took and gave
    /// back at once, and what expired it has not taken.
    fn unshown_since(&self, ledger: &Ledger, clock: &Clock, user: &UrId) -> Option<UnixSeconds> {
        let oldest = clock.now().at.seconds().plus(-i64::from(self.rules.expiry_seconds));
        ledger.user(user)?.spends().unshown_since(oldest)
    }

    /// When to look for it again: ever more seldom.
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

/// What of an account's holds something now.
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

/// UR never settled it. What it never even showed, a person should know of.
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
