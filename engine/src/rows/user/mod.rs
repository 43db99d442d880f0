//! A user's row: UR's figures of the account, the partner's funds, fiat balances, cards, controls, holds, spends.

mod cards;
mod holds;
mod limit;
mod money;
mod rare;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use self::cards::Card;
pub use self::holds::{EndedHold, Hold, merchant_hash};
use self::limit::CLOCKS_DIFFER_SECONDS;
pub use self::limit::LimitBase;
pub use self::money::{FiatBalance, Funds};
use self::rare::Rare;
use super::legal::Broken;
use super::{NewSpend, Row, Spends, Stored};
use crate::contract::limit::ClientLimit;
use crate::fact::{
    AccountStatus, AccountWord, Approval, CardUse, Controls, Decided, Difference, EndCause, Ended, Evidence, Fact,
    FundingPolicy, Import, Kind, Provider, Record, Settled, Source, Touches, UserReported, Verdict,
};
use crate::ids::{AuthorizationId, CardId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor};
use crate::store::Table;
use crate::time::{UnixMillis, UnixSeconds};

/// The engine's whole state of one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The last record folded into this row.
    pub sequence: Sequence,
    pub status: AccountStatus,
    /// Suspended by the partner.
    pub suspended: bool,
    pub provider: Provider,
    pub limit: ClientLimit,
    pub limit_base: LimitBase,
    /// Time of UR's last report.
    pub reported_at: UnixMillis,
    /// `None` covers nothing.
    pub funds: Option<Funds>,
    /// Overrides the program's policy.
    pub funding: Option<FundingPolicy>,
    /// Includes deleted cards.
    pub cards: SmallVec<[Card; 1]>,
    rest: Option<Box<Rest>>,
}

/// What a user lacks who never spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rest {
    spends: Spends,
    holds: SmallVec<[Hold; 1]>,
    rare: Option<Box<Rare>>,
}

/// Parts of a user that most records change, by how many pointers lead to them.
#[derive(Clone, Copy)]
pub(super) enum Depth {
    Row,
    Rest,
    Spends,
}

impl Depth {
    pub(super) const ALL: [Depth; 3] = [Depth::Row, Depth::Rest, Depth::Spends];
}

impl Rest {
    const NONE: &'static Rest = &Rest { spends: Spends::NONE, holds: SmallVec::new_const(), rare: None };

    /// Returns the room of what is no longer there: the memory of a user must not show what the user once did.
    fn shrink(&mut self) {
        self.holds.shrink_to_fit();
        if let Some(rare) = &mut self.rare {
            rare.shrink();
        }
    }
}

impl Row for User {
    type Key = UrId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = UrId> {
        touches.user.cloned().into_iter()
    }

    fn open(_: &UrId, sequence: Sequence, record: &Record) -> Option<User> {
        let Fact::UserImported(import) = &record.fact else { return None };
        Some(User::imported(sequence, record.at, import))
    }

    fn check(&self, fact: &Fact) -> Result<(), Broken> {
        self.check_figures(fact)
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        let Record { at, author: _, fact } = record;
        let at = *at;
        if sequence <= self.sequence {
            return;
        }
        match fact {
            Fact::Decided(decided) => {
                if let Verdict::Approved(approval) = &decided.verdict {
                    self.approve(sequence, at, decided, approval);
                }
                if let Some(change) = &decided.settled {
                    self.settle(sequence, at, decided.request.root(), change, false);
                }
            }
            Fact::Settled(settled) => self.settled(sequence, at, settled),
            Fact::UserImported(import) => self.import(sequence, at, import),
            Fact::FundsReplaced(replaced) => self.replace_funds(replaced),
            Fact::UserSuspended { suspended, .. } => self.suspended = *suspended,
            Fact::UserControlled { controls, .. } => self.rare_mut().controls.clone_from(controls),
            Fact::CardChanged { card, status, .. } => self.with_card(card, |card| card.set_status(*status)),
            Fact::CardUseSet { card, single_use, .. } => self.with_card(card, |card| card.set_single_use(*single_use)),
            Fact::CardControlled { card, controls, .. } => {
                self.with_card(card, |card| card.controls.clone_from(controls));
            }
            Fact::CardAdded { card, .. } => self.add_card(card),
            Fact::UserReported(report) => self.report(sequence, at, report),
            Fact::CardReported(report) => self.report_card(report),
            Fact::AllowancesReported(report) => {
                self.rare_mut().allowances_at = report.at;
                for (currency, allowed) in &report.allowances {
                    self.with_balance(*currency, |balance| balance.allowance = *allowed);
                }
            }
            Fact::AccountReported(report) => {
                self.status = report.status;
                self.rare_mut().account_word = Some((report.word, report.at));
            }
            Fact::CardLimited(limited) => self.limit_card(limited),
            Fact::UserAged { before, latest, .. } => self.age(*before, *latest, at.seconds()),
            Fact::PoolReported(_)
            | Fact::PoolCredited(_)
            | Fact::PoolSynced(_)
            | Fact::PoolLimited(_)
            | Fact::RatesReplaced(_)
            | Fact::ProgramSuspended { .. }
            | Fact::BreakOpened(_)
            | Fact::BreakResolved { .. }
            | Fact::AlertRaised(_)
            | Fact::AlertChanged { .. }
            | Fact::AlertRenotified { .. }
            | Fact::AlertAcknowledged { .. }
            | Fact::AlertSilenced { .. }
            | Fact::AlertResolved { .. }
            | Fact::PrefundProposed(_)
            | Fact::PrefundApproved { .. }
            | Fact::PrefundSent(_)
            | Fact::PrefundCancelled { .. }
            | Fact::CursorMoved { .. }
            | Fact::ClosureAdded(_)
            | Fact::ClosureRemoved { .. }
            | Fact::PrefundOrdered(_)
            | Fact::MessageSkipped { .. }
            | Fact::Aged { .. }
            | Fact::ClockSet(_)
            | Fact::PolicyApplied(_)
            | Fact::BalanceOmitted { .. }
            | Fact::ProviderSuspended(_)
            | Fact::PersonErased { .. }
            | Fact::RecordLost
            | Fact::RecordQuarantined(_)
            | Fact::Quarantined(_)
            | Fact::LossAccepted(_)
            | Fact::HeadSigned(_) => {}
        }
        self.tidy();
        self.sequence = sequence;
    }
}

impl Stored for User {
    const TABLE: Table = Table::Users;
}

impl User {
    fn imported(sequence: Sequence, at: UnixMillis, import: &Import) -> User {
        let mut user = User {
            sequence: Sequence::ZERO,
            status: import.status,
            suspended: false,
            provider: Provider::Ur,
            limit: import.limit,
            limit_base: LimitBase::at(sequence, import.limit),
            reported_at: at,
            funds: None,
            funding: None,
            cards: SmallVec::new(),
            rest: None,
        };
        user.import(sequence, at, import);
        user.sequence = sequence;
        user
    }

    /// Reads a part, so that it is near: what it says is nothing.
    pub(super) fn look(&self, depth: Depth) -> usize {
        match depth {
            Depth::Row => self.cards.len() ^ usize::from(self.rest.is_some()),
            Depth::Rest => {
                let Rest { holds, rare, .. } = self.rest();
                holds.len() ^ usize::from(rare.is_some())
            }
            Depth::Spends => {
                let held = self.holds().last().is_some_and(Hold::is_over);
                usize::from(held) ^ usize::from(self.spends().newest() > Some(UnixSeconds(0))) ^ self.asked().len()
            }
        }
    }

    fn rest(&self) -> &Rest {
        self.rest.as_deref().unwrap_or(Rest::NONE)
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    fn rare(&self) -> &Rare {
        self.rest().rare.as_deref().unwrap_or(Rare::NONE)
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rest_mut().rare.get_or_insert_default()
    }

    /// The user's fiat balances at UR.
    #[must_use]
    pub fn fiat(&self) -> &[FiatBalance] {
        &self.rare().fiat
    }

    /// The user's controls.
    #[must_use]
    pub fn controls(&self) -> Option<&Controls> {
        self.rare().controls.as_deref()
    }

    /// Spends of the last 30 days.
    #[must_use]
    pub fn spends(&self) -> &Spends {
        &self.rest().spends
    }

    /// The open holds, oldest first.
    #[must_use]
    pub fn holds(&self) -> &[Hold] {
        &self.rest().holds
    }

    /// Holds that we ended and UR may still take, oldest first.
    #[must_use]
    pub fn ended(&self) -> &[EndedHold] {
        &self.rare().ended
    }

    /// Authorizations with an open question, though they may hold nothing: an awaited return, a pending movement, a
    /// movement that nobody is debited for.
    #[must_use]
    pub fn asked(&self) -> &[AuthorizationId] {
        &self.rare().asked
    }

    /// The user's card with this id.
    #[must_use]
    pub fn card(&self, id: &CardId) -> Option<&Card> {
        self.cards.iter().find(|card| card.id == *id)
    }

    /// The balance in `currency`.
    #[must_use]
    pub fn fiat_in(&self, currency: Currency) -> Option<&FiatBalance> {
        self.fiat().iter().find(|balance| balance.currency == currency)
    }

    /// Whether a [`Fact::UserAged`] would change the row.
    pub(crate) fn ages(&self, before: UnixSeconds, latest: UnixMillis, now: UnixSeconds) -> bool {
        self.reported_at > latest || self.spends().ages(before, latest.seconds()) || self.ages_quietly(now)
    }

    /// Whether it would change what no spend of the user brings up to date.
    pub(crate) fn ages_quietly(&self, now: UnixSeconds) -> bool {
        self.has_ended_uses(now) || self.ended().iter().any(|ended| ended.is_forgotten(now))
    }

    fn age(&mut self, before: UnixSeconds, latest: UnixMillis, now: UnixSeconds) {
        self.reported_at = self.reported_at.min(latest);
        let end = self.uses_end(now);
        if let Some(rest) = &mut self.rest {
            rest.spends.age(before, latest.seconds());
            end.into_iter().for_each(|end| rest.spends.end_uses(end));
            if let Some(rare) = &mut rest.rare {
                rare.ended.retain(|ended| !ended.is_forgotten(now));
            }
            rest.shrink();
        }
    }

    /// Drops empty fields, so that a user left with nothing equals one who never had anything.
    fn tidy(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        if let Some(rare) = &mut rest.rare {
            rare.tidy();
            rest.rare.take_if(|rare| **rare == *Rare::NONE);
        }
        if **rest == *Rest::NONE {
            self.rest = None;
        }
    }

    fn approve(&mut self, sequence: Sequence, at: UnixMillis, decided: &Decided, approval: &Approval) {
        let is_first = decided.request.kind == Kind::Authorization;
        let card = self.cards.iter_mut().find(|card| card.id == decided.request.card).map_or(0, |card| {
            if card.card_use == CardUse::Single && is_first {
                card.card_use = CardUse::Used;
            }
            card.number
        });
        self.rest_mut().spends.add(NewSpend {
            sequence,
            at: at.seconds(),
            card,
            count: 1,
            spent: approval.spent,
            unreflected: approval.limit,
            shown: ChfMinor::ZERO,
            is_urs: false,
        });
        if approval.paid.amount.is_zero() {
            return;
        }
        let funds = approval.funds.map_or(Minor::ZERO, |funds| funds.amount);
        if let Some(own) = &mut self.funds {
            own.held += funds + approval.upcharge.funds;
        }
        if approval.source == Source::Fiat {
            self.hold_fiat(approval.paid.currency, approval.paid.amount + approval.upcharge.paid);
        }
        let merchant = &decided.request.merchant;
        self.rest_mut().holds.push(Hold {
            sequence,
            id: decided.request.id.clone(),
            root: decided.request.root().clone(),
            source: approval.source,
            paid: approval.paid,
            funds,
            at: at.seconds(),
            mcc: merchant.mcc,
            merchant: merchant.name.as_deref().map(merchant_hash),
        });
    }

    fn settled(&mut self, sequence: Sequence, at: UnixMillis, settled: &Settled) {
        if let Evidence::Ended(ended) = &settled.evidence {
            self.keep_ended(&settled.root, at.seconds());
            self.free_card(&settled.root, ended);
            if self.counts_late(ended) {
                ended.draws.iter().for_each(|draw| self.rest_mut().spends.uncount(*draw));
            }
        }
        self.take_card(&settled.root, &settled.evidence);
        // What a callback returns UR counts once it has our answer; anything else it may have counted before it showed it.
        let is_urs = !matches!(settled.evidence, Evidence::Announced(_));
        self.settle(sequence, at, &settled.root, &settled.change, is_urs);
        if let Evidence::Linked(linked) = &settled.evidence {
            self.settle(sequence, at, &linked.from, &linked.change, is_urs);
        }
    }

    /// Whether velocity counts an approval that this end shows to be late.
    pub(crate) fn counts_late(&self, ended: &Ended) -> bool {
        matches!(ended.cause, EndCause::Late { .. }) && ended.draws.iter().any(|draw| self.spends().has(*draw))
    }

    /// Adds the differences of a change to this user's spends, holds, funds and balances.
    fn settle(
        &mut self,
        sequence: Sequence,
        at: UnixMillis,
        root: &AuthorizationId,
        change: &Difference,
        is_urs: bool,
    ) {
        // One record makes one use of the limit, whatever it is made of.
        let (mut used, mut shown) = (ChfMinor::ZERO, ChfMinor::ZERO);
        let mut reflected = ChfMinor::ZERO;
        for layer in &change.layers {
            let made_by = layer.sequence.unwrap_or(sequence);
            let spends = &mut self.rest_mut().spends;
            if layer.sequence.is_some() || spends.has(made_by) {
                spends.lower(made_by, -layer.spent);
                reflected += spends.change_use(made_by, layer.limit, layer.shown, sequence);
            } else {
                used += layer.limit;
                shown += layer.shown;
            }
            self.change_hold(made_by, at, root, change, layer);
        }
        for change in &change.return_uses {
            match change.sequence {
                Some(made_by) => {
                    self.rest_mut().spends.change_use(made_by, change.limit, change.shown, sequence);
                }
                None => {
                    used += change.limit;
                    shown += change.shown;
                }
            }
        }
        if !reflected.is_zero() && self.spends().has(sequence) {
            // A decision after UR's rows takes their use over: what UR's figure includes of it is used already.
            self.rest_mut().spends.change_use(sequence, -reflected, ChfMinor::ZERO, sequence);
        }
        if !used.is_zero() {
            self.rest_mut().spends.add(NewSpend {
                sequence,
                at: at.seconds(),
                card: 0,
                count: 0,
                spent: ChfMinor::ZERO,
                unreflected: used,
                shown,
                is_urs,
            });
        }
        let holds = &mut self.rest_mut().holds;
        holds.retain(|hold| !hold.is_over());
        if holds.is_empty() {
            holds.shrink_to_fit();
        }
        for fiat in &change.fiat {
            self.hold_fiat(fiat.currency, -fiat.available);
            let completions = self.rare_mut().completions.get_or_insert_default();
            completions.add_settled(sequence, Sequence::ZERO, fiat.currency, fiat.completed, change);
        }
        self.ask(root, change.is_asked);
    }

    fn report(&mut self, sequence: Sequence, at: UnixMillis, report: &UserReported) {
        if let Some(account) = &report.account {
            if account.limit.start == self.limit.start {
                let proven = self.spends().completed(self.limit_base.since, report.seen_through);
                // Saturating: at the end of i64 UR must have reached any limit.
                self.limit_base.confirmed = self.limit_base.confirmed.saturating_add(proven);
            } else {
                self.limit_base = LimitBase::at(sequence, account.limit);
                if account.limit.start > self.limit.start
                    && let Some(rest) = &mut self.rest
                {
                    rest.spends.end_uses(account.limit.start.plus(-CLOCKS_DIFFER_SECONDS));
                }
            }
            self.status = account.status;
            self.limit = account.limit;
            self.reported_at = at;
            if let Some(rest) = &mut self.rest {
                rest.spends.reflect(report.seen_through);
            }
            for (currency, allowed) in &account.allowances {
                self.with_balance(*currency, |balance| balance.allowance = *allowed);
            }
        }
        for money in report.balances.iter().flatten() {
            let completions = self.rare_mut().completions.get_or_insert_default();
            let proven = completions.through(report.seen_through, money.currency);
            completions.forget(report.seen_through, money.currency);
            self.with_balance(money.currency, |balance| {
                balance.amount = money.amount;
                balance.held = (balance.held - proven).max(Minor::ZERO);
            });
        }
    }

    /// Whether the provider's word about the account is newer than its last, or another one of the same second.
    pub(crate) fn is_news_of_account(&self, word: AccountWord, at: UnixSeconds) -> bool {
        let last = self.rare().account_word;
        let is_news = last.is_none_or(|(last, last_at)| at > last_at || (at == last_at && word != last));
        is_news && self.status != AccountStatus::Closed
    }

    /// The same of UR's word about allowances.
    pub(crate) fn is_news_of_allowances(&self, allowances: &[(Currency, bool)], at: UnixSeconds) -> bool {
        let last = self.rare().allowances_at;
        let differs = |&(currency, allowed): &(Currency, bool)| {
            self.fiat_in(currency).map_or(allowed, |balance| balance.allowance != allowed)
        };
        at > last || (at == last && allowances.iter().any(differs))
    }

    /// Replaces status, limit, funds (version 0), fiat balances and cards. Keeps holds, spends, suspension, controls,
    /// and the controls of cards that are imported again.
    fn import(&mut self, sequence: Sequence, at: UnixMillis, import: &Import) {
        let funds_held = self.funds.map_or(Minor::ZERO, |funds| funds.held);
        self.provider = import.provider.unwrap_or(self.provider);
        self.status = self.imported_status(import);
        self.limit = import.limit;
        self.limit_base = LimitBase::at(sequence, import.limit);
        self.reported_at = at;
        self.funding = import.funding;
        self.funds = import.funds.map(|funds| Funds {
            amount: funds.amount,
            currency: funds.currency,
            version: 0,
            held: funds_held,
        });
        self.import_cards(import);
        if !self.fiat().is_empty() || !import.fiat.is_empty() {
            self.import_fiat(import);
        }
    }

    /// An import does not lift what the provider suspended or deleted: nobody reads the account's status at the provider, so
    /// its word stands until the next one, or until an import overrides it.
    fn imported_status(&mut self, import: &Import) -> AccountStatus {
        let last = self.rare().account_word;
        let Some((word, at)) = last.filter(|(word, _)| *word != AccountWord::Unsuspended) else { return import.status };
        if !import.overrides {
            return word.after(import.status);
        }
        // Words before the import stay old ones.
        self.rare_mut().account_word = Some((AccountWord::Unsuspended, at));
        import.status
    }
}

#[cfg(test)]
mod tests {
    use super::holds::ENDED_KEPT_SECONDS;
    use super::*;
    use crate::fact::{Author, ImportedFiat};
    use crate::money::Money;

    fn import() -> Import {
        Import {
            user: "10000001".parse().unwrap(),
            status: AccountStatus::Live,
            limit: ClientLimit { used: ChfMinor(0), client: ChfMinor(100), start: UnixSeconds(0) },
            funds: None,
            fiat: Vec::new(),
            funding: None,
            cards: Vec::new(),
            overrides: false,
            provider: None,
        }
    }

    #[test]
    fn a_row_fits_a_size_of_the_allocators() {
        // One byte more, and every user takes 192; so does everyone who spends.
        assert!(size_of::<User>() <= 160, "{} bytes", size_of::<User>());
        assert!(size_of::<Rest>() <= 160, "{} bytes", size_of::<Rest>());
    }

    #[test]
    fn who_has_nothing_any_more_is_as_who_never_had() {
        let at = UnixMillis(1_000);
        let import = import();
        let idle = User::imported(Sequence(1), at, &import);
        let fiat = vec![ImportedFiat { currency: Currency::EUR, amount: Minor(5), allowance: true }];
        let mut user = User::imported(Sequence(1), at, &Import { fiat, ..import.clone() });
        assert_eq!(user.fiat_in(Currency::EUR).map(FiatBalance::available), Some(Minor(5)));
        let fact = Fact::UserImported(Box::new(import.clone()));
        let record = Record { at, author: Author::Engine, fact };
        user.apply(Sequence(1), &record);
        assert_ne!(user, idle, "a record that the row holds already");
        user.apply(Sequence(2), &record);
        let idle = User::imported(Sequence(2), at, &import);
        assert_eq!(user, idle);
    }

    #[test]
    fn who_keeps_a_balance_returns_the_room_of_holds() {
        let at = UnixMillis(1_000);
        let fiat = vec![ImportedFiat { currency: Currency::EUR, amount: Minor(5), allowance: true }];
        let mut user = User::imported(Sequence(1), at, &Import { fiat, ..import() });
        let hold = |sequence| Hold {
            sequence: Sequence(sequence),
            id: "a".parse().unwrap(),
            root: "a".parse().unwrap(),
            source: Source::Fiat,
            paid: Money { amount: Minor(1), currency: Currency::EUR },
            funds: Minor::ZERO,
            at: at.seconds(),
            mcc: None,
            merchant: None,
        };
        let rest = user.rest_mut();
        for sequence in 2..5 {
            rest.holds.push(hold(sequence));
        }
        user.keep_ended(&"a".parse().unwrap(), at.seconds());
        user.rest_mut().holds.clear();
        assert!(user.rest().holds.spilled() && user.rare().ended.capacity() > 0);
        let later = UnixMillis(at.0 + 1_000 * ENDED_KEPT_SECONDS.unsigned_abs() + 1_000);
        let fact = Fact::UserAged { user: "10000001".parse().unwrap(), before: later.seconds(), latest: later };
        user.apply(Sequence(9), &Record { at: later, author: Author::Engine, fact });
        assert!(!user.rest().holds.spilled());
        let rare = user.rare();
        assert_eq!((rare.fiat.capacity(), rare.ended.capacity(), rare.asked.capacity()), (1, 0, 0));
    }
}
