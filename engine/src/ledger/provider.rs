//! A provider's word about its own accounts, cards and card service. A provider says it at least once and in any order:
//! the latest word by the provider's time stands, a repetition changes nothing, and what an event names before its creation
//! is created by it.

use std::sync::Arc;

use super::change::ChangeError;
use super::change::users::{LIST_MAX, some_unless_empty};
use super::commit::fold;
use super::{Admin, Ledger};
use crate::contract::limit::ClientLimit;
use crate::fact::{
    AccountReported, AccountStatus, AccountWord, Author, CardLimited, CardLimits, CardReported, Controls, Fact, Import,
    ImportedCard, Period, Provider, ProviderSuspended, VelocityRule,
};
use crate::ids::{CardId, UrId};
use crate::journal::Ticket;
use crate::money::ChfMinor;
use crate::rows::User;
use crate::time::{Moment, UnixMillis, UnixSeconds};

/// The effect of a provider's word.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Resolved once the change is durable.
    Recorded(Arc<Ticket>),
    /// Nothing new: a repetition, or older than the last word.
    Known,
    /// About an account or card that is not this provider's.
    NotOurs,
}

impl Ledger {
    /// Adds an account without limit, funds or cards: it spends nothing until it is imported.
    ///
    /// # Errors
    /// It was not recorded.
    pub fn open_account(&self, provider: Provider, user: &UrId, now: Moment) -> Result<Heard, ChangeError> {
        let _one_at_a_time = self.lock_admin();
        self.open_unless_known(provider, user, now)
    }

    fn open_unless_known(&self, provider: Provider, user: &UrId, now: Moment) -> Result<Heard, ChangeError> {
        if let Some(known) = self.provider_of(user) {
            return Ok(if known == provider { Heard::Known } else { Heard::NotOurs });
        }
        let import = Import {
            user: user.clone(),
            status: AccountStatus::Tourist,
            limit: ClientLimit { used: ChfMinor::ZERO, client: ChfMinor::ZERO, start: now.at.seconds() },
            funds: None,
            fiat: Vec::new(),
            funding: None,
            cards: Vec::new(),
            overrides: false,
            provider: Some(provider),
        };
        self.import(&Author::of(provider), self.stamp(now), Box::new(import)).map(Heard::Recorded)
    }

    /// Records that the provider suspended, resumed or deleted an account.
    ///
    /// # Errors
    /// It was not recorded.
    pub fn report_account(
        &self,
        provider: Provider,
        user: &UrId,
        word: AccountWord,
        at: UnixSeconds,
        now: Moment,
    ) -> Result<Heard, ChangeError> {
        let _one_at_a_time = self.lock_admin();
        self.open_unless_known(provider, user, now)?;
        let at = at.min(now.at.seconds());
        self.hear(provider, user, self.stamp(now), |row| {
            let status = word.after(row.status);
            let report = AccountReported { user: user.clone(), word, status, at };
            row.is_news_of_account(word, at).then(|| Fact::AccountReported(Box::new(report)))
        })
    }

    /// Adds a card that the provider created. A card that is known keeps its status: a repeated creation does not undo what
    /// happened to the card since.
    ///
    /// # Errors
    /// It was not recorded.
    pub fn issue_card(
        &self,
        provider: Provider,
        user: &UrId,
        card: &ImportedCard,
        now: Moment,
    ) -> Result<Heard, ChangeError> {
        let mut admin = self.lock_admin();
        self.issue_unless_known(&mut admin, provider, user, card, now)
    }

    /// Records that the provider blocked, unblocked or deleted a card.
    ///
    /// # Errors
    /// It was not recorded.
    pub fn report_issued_card(
        &self,
        provider: Provider,
        user: &UrId,
        card: &ImportedCard,
        at: UnixSeconds,
        now: Moment,
    ) -> Result<Heard, ChangeError> {
        let mut admin = self.lock_admin();
        if let Heard::NotOurs = self.issue_unless_known(&mut admin, provider, user, card, now)? {
            return Ok(Heard::NotOurs);
        }
        let at = at.min(now.at.seconds());
        self.hear(provider, user, self.stamp(now), |row| {
            let is_news = row.card(&card.id).is_some_and(|known| row.is_news_of_card(known, card.status, at));
            let report = CardReported { user: user.clone(), card: card.id.clone(), status: card.status, at };
            is_news.then(|| Fact::CardReported(Box::new(report)))
        })
    }

    fn issue_unless_known(
        &self,
        admin: &mut Admin,
        provider: Provider,
        user: &UrId,
        card: &ImportedCard,
        now: Moment,
    ) -> Result<Heard, ChangeError> {
        if let Some(owner) = self.owner(admin, &card.id) {
            let is_theirs = owner == user && self.provider_of(user) == Some(provider);
            return Ok(if is_theirs { Heard::Known } else { Heard::NotOurs });
        }
        if let Heard::NotOurs = self.open_unless_known(provider, user, now)? {
            return Ok(Heard::NotOurs);
        }
        let is_full = self.users.get(user).is_some_and(|row| row.cards.len() >= LIST_MAX);
        if is_full {
            return Err(ChangeError::Invalid(format!("a user has at most {LIST_MAX} cards")));
        }
        let fact = || Fact::CardAdded { user: user.clone(), card: card.clone() };
        let added = self.hear(provider, user, self.stamp(now), |_| Some(fact()))?;
        if matches!(added, Heard::Recorded(_)) {
            admin.cards.add(&card.id, user);
        }
        Ok(added)
    }

    /// Records the limits of a card as the provider keeps them. The card's other controls stay.
    ///
    /// # Errors
    /// The limits are out of range, or were not recorded.
    pub fn limit_card(
        &self,
        provider: Provider,
        card: &CardId,
        limits: &CardLimits,
        at: UnixSeconds,
        now: Moment,
    ) -> Result<Heard, ChangeError> {
        let admin = self.lock_admin();
        let Some(user) = self.owner(&admin, card).cloned() else { return Ok(Heard::NotOurs) };
        let at = at.min(now.at.seconds());
        let before = self.users.get(&user).and_then(|row| row.card(card)?.controls.as_deref().cloned());
        let controls = limited(before.unwrap_or_default(), limits);
        controls.validate()?;
        // The `admin` lock is held: nobody else changes the card's controls meanwhile.
        self.hear(provider, &user, self.stamp(now), |row| {
            let limited =
                CardLimited { user: user.clone(), card: card.clone(), controls: some_unless_empty(controls), at };
            row.is_news_of_limits(card, at).then(|| Fact::CardLimited(Box::new(limited)))
        })
    }

    /// Records that a provider suspended or resumed its card service. `None`: the word is older than the last, or says the
    /// same again.
    ///
    /// # Errors
    /// It was not recorded.
    pub fn suspend_provider(&self, word: ProviderSuspended, now: Moment) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let _one_at_a_time = self.lock_admin();
        let word = ProviderSuspended { at: word.at.min(now.at.seconds()), ..word };
        let shared = self.stop_decisions();
        if !shared.program.is_news_of(&word) {
            return Ok(None);
        }
        let author = Author::of(word.provider);
        self.program_change(&author, self.stamp(now), shared, Fact::ProviderSuspended(Box::new(word))).map(Some)
    }

    /// Commits a provider's news of its account, if there are any.
    fn hear(
        &self,
        provider: Provider,
        user: &UrId,
        at: UnixMillis,
        fact: impl FnOnce(&User) -> Option<Fact>,
    ) -> Result<Heard, ChangeError> {
        let shared = self.read_shared();
        let Some(mut row) = self.users.get_mut(user).filter(|row| row.provider == provider) else {
            return Ok(Heard::NotOurs);
        };
        let Some(fact) = fact(&row) else { return Ok(Heard::Known) };
        let ticket = self.commit(shared, &Author::of(provider), at, fact, |_, sequence, record| {
            fold(&mut **row, sequence, record);
        })?;
        Ok(Heard::Recorded(ticket))
    }
}

/// The controls with the provider's limits in place of the amounts that it keeps; counts, other windows and lists stay.
fn limited(mut controls: Controls, limits: &CardLimits) -> Controls {
    controls.transaction_amount_max = limits.transaction_amount_max;
    for (window_seconds, amount_max) in &limits.windows {
        let of_window = |rule: &&mut VelocityRule| rule.period == Period::Sliding(*window_seconds);
        match controls.velocity.iter_mut().find(of_window) {
            Some(rule) => rule.amount_max = *amount_max,
            None => controls.velocity.push(VelocityRule {
                period: Period::Sliding(*window_seconds),
                amount_max: *amount_max,
                count_max: None,
            }),
        }
    }
    controls.velocity.retain(|rule| rule.amount_max.is_some() || rule.count_max.is_some());
    controls
}
