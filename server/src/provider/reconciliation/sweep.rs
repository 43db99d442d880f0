//! A sweep: queries an account's card transactions at UR, and ends holds on which UR stays silent for too long.

use std::collections::HashMap;

use tapgate_engine::fact::Overdue;
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::{ChangeError, Ledger};
use tapgate_engine::store::StoreError;
use tapgate_engine::time::{UnixMillis, UnixSeconds};

use super::expiry::{Due, Listed, Open, close_questions, open};
use super::{Applied, Settings, apply_answer};
use crate::clock::Clock;
use crate::provider::api::{At, Priority, TransactionFilter, UrApi, UrError};
use crate::wire::ur::{RefusalCode, Transaction};

/// Sweeps in a row that must show silence before it is believed.
const CLEAN_SWEEPS_MIN: u32 = 2;
/// Longest time between two sweeps of an account; otherwise half the age of its youngest hold.
const LOOK_SECONDS_MAX: i64 = 6 * 3_600;
/// UR's time of a transaction may precede ours by this much.
const CLOCKS_DIFFER_SECONDS: i64 = 3_600;
/// How long UR is asked about an answer that it did not hear, where it does not list the account's transactions.
const UNHEARD_SECONDS_MAX: i64 = 86_400;
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
    /// Accounts about which UR did not hear an answer, and may have decided by itself: the first and the last time. Nothing
    /// of ours need be open.
    unheard: HashMap<UrId, (UnixSeconds, UnixSeconds)>,
}

impl Sweeps {
    /// Sweeps by these rules.
    #[must_use]
    pub fn new(rules: Settings) -> Sweeps {
        Sweeps { rules, clean_min: CLEAN_SWEEPS_MIN, clean: HashMap::new(), unheard: HashMap::new() }
    }

    /// Sweeps that believe silence at once, to show the holds that would be released.
    #[must_use]
    pub fn for_dry_run(rules: Settings) -> Sweeps {
        Sweeps { clean_min: 1, ..Sweeps::new(rules) }
    }

    /// Has an account's transactions asked for since then, at its next sweep and once more when UR should have shown them.
    pub fn note_unheard(&mut self, user: &UrId, since: UnixMillis) {
        let at = since.seconds();
        self.unheard.entry(user.clone()).and_modify(|(_, last)| *last = at).or_insert((at, at));
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
        let before = open(ledger, user)?;
        self.forget_closed(user, &before);
        // A reversed authorization holds nothing, but uses the limit until UR has shown both movements.
        let since = before.iter().map(|open| open.since).chain(self.unshown_since(ledger, clock, user));
        let since = since.chain(self.unheard.get(user).map(|(first, _)| *first));
        let Some(oldest) = since.min() else { return Ok(swept) };
        let (listed, unclear) = match self.post_all(ledger, clock, api, user, oldest, &mut swept).await {
            Ok(None) => (Listed::Completely, None),
            Ok(Some(unclear)) => (Listed::Partly, Some(unclear)),
            Err(SweepError::Ur(error)) if is_of_account(&error) => {
                for open in open(ledger, user)?.iter().filter(|open| open.holds()) {
                    open.note_refused(ledger, clock.now())?;
                }
                tracing::warn!(%user, %error, "UR refuses to list an account's transactions");
                (Listed::Refused, None)
            }
            Err(error) => return Err(error),
        };
        if listed != Listed::Refused {
            for open in before.iter().filter(|open| open.row.settlement().is_overdue(Overdue::Listing)) {
                ledger.note_listed(&open.root, clock.now())?;
            }
        }
        if let Some(since) = self.unshown_since(ledger, clock, user) {
            swept.look_again(Some(self.until_shown(since, clock.steady().seconds())));
        }
        for open in open(ledger, user)? {
            let (now, at) = (clock.now(), clock.steady().seconds());
            if !open.holds() {
                swept.look_again(Some(self.until_shown(open.since, at)));
                continue;
            }
            let due = open.due(&self.rules, listed, at);
            if now.trusted && self.is_believed(user, &open, due, listed) && open.end(ledger, due, now)? {
                swept.expired += 1;
            } else {
                swept.look_again(Some(self.again_at(&open, due, at)));
            }
        }
        if let Some((_, last)) = self.unheard.get(user) {
            let (now, wait) = (clock.steady().seconds(), i64::from(self.rules.first_look_seconds));
            let (due, age) = (last.plus(wait), now.0.saturating_sub(last.0));
            if now < due {
                swept.look_again(Some(due));
            } else if listed == Listed::Completely || age > UNHEARD_SECONDS_MAX {
                self.unheard.remove(user);
            } else {
                swept.look_again(Some(now.plus(wait.max(age / 2))));
            }
        }
        swept.look_again(close_questions(ledger, user, &self.rules, clock.now())?);
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

    /// Posts every transaction since `oldest`; returns what was not understood, if anything.
    async fn post_all(
        &self,
        ledger: &Ledger,
        clock: &Clock,
        api: &impl UrApi,
        user: &UrId,
        oldest: UnixSeconds,
        swept: &mut Swept,
    ) -> Result<Option<String>, SweepError> {
        let mut rows = Vec::new();
        let read = read_all(api, user, oldest, &mut rows).await;
        let mut unclear = None;
        // Readable transactions are posted, whatever the others are.
        for applied in apply_answer(ledger, &rows, || clock.now()) {
            swept.shown += 1;
            match applied {
                Ok(Applied::Booked(_)) => swept.booked += 1,
                Ok(Applied::Known | Applied::NotOurs) => {}
                Err(ChangeError::Invalid(error)) => unclear = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read?.or(unclear))
    }

    /// Whether what is due may be done: silence counts only if every page was read, every transaction was understood,
    /// and several sweeps say the same.
    fn is_believed(&mut self, user: &UrId, open: &Open, due: Due, listed: Listed) -> bool {
        match listed {
            Listed::Partly => matches!(due, Due::Unsettled(_)),
            Listed::Refused | Listed::Never => true,
            Listed::Completely => {
                let sweeps = self.clean.entry(user.clone()).or_default().entry(open.root.clone()).or_default();
                *sweeps = sweeps.saturating_add(1);
                *sweeps >= self.clean_min
            }
        }
    }

    /// The start of the oldest movement in an account's limit that UR has not shown. Bounded: UR may never show an
    /// amount that it took and returned at once, and it has not taken an expired one.
    fn unshown_since(&self, ledger: &Ledger, clock: &Clock, user: &UrId) -> Option<UnixSeconds> {
        let oldest = clock.steady().seconds().plus(-i64::from(self.rules.expiry_seconds));
        ledger.user(user)?.spends().unshown_since(oldest)
    }

    /// The time of the next query, at growing intervals.
    fn until_shown(&self, since: UnixSeconds, now: UnixSeconds) -> UnixSeconds {
        let age = now.0.saturating_sub(since.0);
        now.plus((age / 2).max(i64::from(self.rules.first_look_seconds)))
    }

    fn again_at(&self, open: &Open, due: Due, now: UnixSeconds) -> UnixSeconds {
        let first_look = i64::from(self.rules.first_look_seconds);
        let age = now.0.saturating_sub(open.at.0);
        if age < first_look {
            return open.at.plus(first_look);
        }
        let look = now.plus((age / 2).clamp(first_look, first_look.max(LOOK_SECONDS_MAX)));
        match due {
            Due::At(at) | Due::Unsettled(at) if at > now => look.min(at),
            _ => look,
        }
    }
}

/// Reads every transaction of an account since `oldest` into `rows`, as far as UR gives them; returns what was not
/// understood, if anything.
async fn read_all(
    api: &impl UrApi,
    user: &UrId,
    oldest: UnixSeconds,
    rows: &mut Vec<Transaction>,
) -> Result<Option<String>, SweepError> {
    let filter = TransactionFilter {
        kind: Some("CRD"),
        from: Some(oldest.0.saturating_sub(CLOCKS_DIFFER_SECONDS)),
        page_size: 100,
    };
    let (mut at, mut unclear) = (At::Start, None);
    for page in 1.. {
        let shown = api.transactions(user, &filter, at, Priority::Sweep).await?;
        unclear = unclear.or(shown.unreadable.first().map(ToString::to_string));
        rows.extend(shown.rows);
        match shown.next {
            None => break,
            Some(_) if page == PAGES_MAX => {
                return Ok(unclear.or(Some(format!("it has more than {PAGES_MAX} pages"))));
            }
            Some(next) => at = At::After(next),
        }
    }
    Ok(unclear)
}

/// Whether UR refuses the account, and not the call: another account's may pass.
fn is_of_account(error: &UrError) -> bool {
    match error {
        UrError::Refused { kind: RefusalCode::Blocked | RefusalCode::Status | RefusalCode::NotFound, .. } => true,
        UrError::Refused { kind: RefusalCode::Invalid, code, .. } => matches!(code, 401 | 403 | 404 | 410),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::Tolerance;

    use super::*;

    #[test]
    fn what_ended_between_two_sweeps_is_forgotten_by_the_next() {
        let mut sweeps = Sweeps::new(Settings {
            first_look_seconds: 1,
            silence_seconds: 86_400,
            expiry_seconds: 864_000,
            long_expiry_seconds: 2_592_000,
            return_after_seconds: 259_200,
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
