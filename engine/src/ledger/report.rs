//! UR's reports of its own figures.

use std::sync::Arc;

use super::Ledger;
use super::change::{ChangeError, has_room, in_range, in_signed_range, not_found};
use super::commit::fold;
use crate::fact::{
    AllowancesReported, Author, CardReported, CardStatus, Fact, PoolSynced, Provider, ReportedAccount, UserReported,
};
use crate::ids::{CardId, Sequence, UrId};
use crate::journal::Ticket;
use crate::money::{Currency, Minor, Money};
use crate::rows::{Reading, User};
use crate::time::{Moment, UnixMillis, UnixSeconds};

impl Ledger {
    /// Records UR's report of a user, requested when the journal ended at `seen_through`. A report requested before the
    /// user was imported, or before the limit's period was first reported, is older than the row.
    ///
    /// # Errors
    /// The report was refused and had no effect.
    pub fn report_user(
        &self,
        user: &UrId,
        account: Option<ReportedAccount>,
        balances: Option<Vec<Money>>,
        seen_through: Sequence,
        now: Moment,
    ) -> Result<Arc<Ticket>, ChangeError> {
        if let Some(account) = &account {
            in_range("limit.usedLimit", Minor(account.limit.used.0))?;
            in_range("limit.clientLimit", Minor(account.limit.client.0))?;
        }
        for money in balances.iter().flatten() {
            in_signed_range("balance", money.amount)?;
        }
        let at = self.stamp(now);
        let report = UserReported { user: user.clone(), account, balances, seen_through };
        self.user_change(&Author::Ur, at, user, |row| {
            if seen_through < row.limit_base.since {
                return Err(ChangeError::Conflict(format!(
                    "user {user} was imported or reported later than that already"
                )));
            }
            Ok(Fact::UserReported(Box::new(report)))
        })
    }

    /// Records UR's report of a pool's balance, requested when the journal ended at `seen_through`. Returns the
    /// unexplained part of the change ([`Reading::unexplained`]).
    ///
    /// # Errors
    /// There is no such pool, or the balance is out of range; the report had no effect.
    pub fn sync_pool(
        &self,
        currency: Currency,
        balance: Minor,
        seen_through: Sequence,
        now: Moment,
    ) -> Result<(Arc<Ticket>, Minor), ChangeError> {
        in_signed_range("balance", balance)?;
        let at = self.stamp(now);
        let shared = self.stop_decisions();
        let pool = shared.pool(currency).ok_or_else(|| not_found("pool", &currency))?;
        let (before, taken_early) = (pool.figures(), pool.taken_early());
        if seen_through < before.seen_through {
            return Err(ChangeError::Conflict(format!("pool {currency} was reported later than that already")));
        }
        let Reading { available, credits_shown, unexplained, .. } = before.read(at, balance, seen_through, taken_early);
        has_room("the available figure", available)?;
        has_room("what nothing explains", before.shown_early + unexplained)?;
        let synced = PoolSynced {
            currency,
            reported: balance,
            seen_through,
            available_change: available - before.available,
            credits_shown,
        };
        let ticket = self.program_change(&Author::Ur, at, shared, Fact::PoolSynced(synced))?;
        Ok((ticket, unexplained))
    }

    /// Records UR's word about a card; `None` if it is older than UR's last, or the card is deleted.
    ///
    /// # Errors
    /// No user of UR has the card, or it was not recorded.
    pub fn report_card(
        &self,
        card: &CardId,
        status: CardStatus,
        at: UnixSeconds,
        now: Moment,
    ) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let admin = self.lock_admin();
        let user = self.owner(&admin, card).cloned().ok_or_else(|| not_found("card", card))?;
        let at = at.min(now.at.seconds());
        let stamp = self.stamp(now);
        self.news(stamp, &user.clone(), |row| {
            let is_news = row.card(card).is_some_and(|card| row.is_news_of_card(card, status, at));
            is_news.then(|| Fact::CardReported(Box::new(CardReported { user, card: card.clone(), status, at })))
        })
    }

    /// Records UR's word about an account's allowances; `None` if it is older than UR's last.
    ///
    /// # Errors
    /// UR has no such user, or it was not recorded.
    pub fn report_allowances(
        &self,
        user: &UrId,
        allowances: Vec<(Currency, bool)>,
        at: UnixSeconds,
        now: Moment,
    ) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let at = at.min(now.at.seconds());
        let stamp = self.stamp(now);
        self.news(stamp, user, |row| {
            let is_news = row.is_news_of_allowances(&allowances, at);
            let report = AllowancesReported { user: user.clone(), allowances, at };
            is_news.then(|| Fact::AllowancesReported(Box::new(report)))
        })
    }

    /// Commits UR's news of one of its users, if there are any.
    fn news(
        &self,
        at: UnixMillis,
        user: &UrId,
        fact: impl FnOnce(&User) -> Option<Fact>,
    ) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let shared = self.read_shared();
        let own = self.users.get_mut(user).filter(|row| row.provider == Provider::Ur);
        let mut row = own.ok_or_else(|| not_found("account of UR", user))?;
        let Some(fact) = fact(&row) else { return Ok(None) };
        let ticket = self.commit(shared, &Author::Ur, at, fact, |_, sequence, record| {
            fold(&mut **row, sequence, record);
        })?;
        Ok(Some(ticket))
    }

    /// Records that a complete answer of UR left a known balance out. No figure changes.
    ///
    /// # Errors
    /// It was not recorded.
    pub fn omit_balance(&self, account: &UrId, currency: Currency, now: Moment) -> Result<Arc<Ticket>, ChangeError> {
        let at = self.stamp(now);
        let fact = Fact::BalanceOmitted { account: account.clone(), currency };
        self.program_change(&Author::Ur, at, self.stop_decisions(), fact)
    }
}
