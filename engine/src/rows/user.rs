//! A user's row: UR's figures of the account, the partner's funds, fiat balances, cards, controls, holds, spends.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::legal::Broken;
use super::{Completions, NewSpend, Row, Spends};
use crate::contract::limit::{ClientLimit, LIMIT_PERIOD_SECONDS};
use crate::fact::{
    AccountStatus, AccountWord, Approval, CardLimited, CardReported, CardStatus, CardUse, Controls, Decided,
    Difference, EndCause, Ended, Evidence, Fact, Flow, FundingPolicy, FundsReplaced, Import, ImportedCard, Kind,
    LayerChange, Progress, Provider, Record, Settled, Source, Touches, UserReported, Verdict, debit_id,
};
use crate::ids::{AuthorizationId, CardId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::store::Table;
use crate::time::{UnixMillis, UnixSeconds};

/// The partner's figure of the user's funds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funds {
    /// As the partner last set it.
    pub amount: Minor,
    pub currency: Currency,
    /// The partner's version of the figure; only rises, except that an import resets it to 0.
    pub version: u64,
    /// Held for approvals that the partner has not debited yet.
    pub held: Minor,
}

impl Funds {
    /// The amount that further approvals may take.
    #[must_use]
    pub fn available(&self) -> Minor {
        self.amount - self.held
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiatBalance {
    pub currency: Currency,
    /// As UR last reported it.
    pub amount: Minor,
    /// Whether the user allows UR's card contract to debit it.
    pub allowance: bool,
    /// Held for approvals that `amount` does not reflect.
    pub held: Minor,
}

impl FiatBalance {
    /// The amount that further approvals may take.
    #[must_use]
    pub fn available(&self) -> Minor {
        self.amount - self.held
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub id: CardId,
    pub status: CardStatus,
    /// The settlement currency.
    pub currency: Currency,
    pub controls: Option<Box<Controls>>,
    /// Number of the card within the user, for the velocity of one card. A re-import keeps it.
    pub number: u16,
    /// The partner froze it: UR's word does not unfreeze it.
    pub is_kept_frozen: bool,
    /// Beside `status`, which is people's and UR's word.
    pub card_use: CardUse,
}

/// UR's last word about a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CardWord {
    card: CardId,
    status: CardStatus,
    at: UnixSeconds,
}

impl Card {
    /// Whether the card stays although an import omits it: else the next import could make it active again.
    #[must_use]
    pub fn outlives(&self, import: &Import) -> bool {
        !import.overrides && self.shown_status() != CardStatus::Active
    }

    /// The status that people see: an approval freezes a single-use card.
    #[must_use]
    pub fn shown_status(&self) -> CardStatus {
        match self.card_use {
            CardUse::Used => self.status.strictest(CardStatus::Frozen),
            CardUse::Any | CardUse::Single => self.status,
        }
    }

    fn set_status(&mut self, status: CardStatus) {
        self.status = status;
        self.is_kept_frozen = status == CardStatus::Frozen;
        if status == CardStatus::Active && self.card_use == CardUse::Used {
            self.card_use = CardUse::Single;
        }
    }

    fn set_single_use(&mut self, single_use: bool) {
        match (single_use, self.card_use) {
            (true, CardUse::Any) => self.card_use = CardUse::Single,
            (true, CardUse::Single | CardUse::Used) | (false, CardUse::Any) => {}
            (false, CardUse::Single) => self.card_use = CardUse::Any,
            (false, CardUse::Used) => {
                // Only an activation lets it be used again.
                (self.card_use, self.is_kept_frozen) = (CardUse::Any, true);
                self.status = self.status.strictest(CardStatus::Frozen);
            }
        }
    }
}

/// The amounts that one approved decision still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The record of the approval.
    pub sequence: Sequence,
    /// The id of the decision: an authorization's or an increment's.
    pub id: AuthorizationId,
    pub root: AuthorizationId,
    pub source: Source,
    /// The amount held at the source.
    pub paid: Money,
    /// Held of the user's funds, in their currency; zero once the partner has debited them.
    pub funds: Minor,
    /// Time of the decision, or of the record that made the claim.
    pub at: UnixSeconds,
    /// The merchant's category.
    pub mcc: Option<u16>,
    /// The merchant's name, hashed: it breaks ties between holds that a movement fits.
    pub merchant: Option<u32>,
}

/// A hold that we ended: UR may still take it, and name nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedHold {
    pub root: AuthorizationId,
    /// What was held last.
    pub paid: Money,
    pub at: UnixSeconds,
    pub mcc: Option<u16>,
    pub merchant: Option<u32>,
}

/// Authorizations with an open question that a user's row keeps: the youngest.
const ASKED_MAX: usize = 256;

/// How far UR's clock may differ from ours: a use so long before UR's period begins may be counted in it.
const CLOCKS_DIFFER_SECONDS: i64 = 3_600;

/// Single-use cards' late approvals that a user's row keeps: the youngest.
const FREED_MAX: usize = 32;

/// Ended holds that a user's row keeps for late movements: the youngest.
const ENDED_MAX: usize = 32;

impl Hold {
    /// Whether nothing is held any more: the hold was settled or released, and the partner debited the user.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.paid.amount.is_zero() && self.funds.is_zero()
    }
}

/// Baseline of UR's use of the limit within one limit period: whether UR counts at the authorization or at the
/// settlement, its figure must include `used` and every use after `since` that settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitBase {
    /// UR's figure at the baseline.
    pub used: ChfMinor,
    /// The record of that report.
    pub since: Sequence,
    /// Use after the baseline that UR's last figure includes.
    pub confirmed: ChfMinor,
}

impl LimitBase {
    fn at(sequence: Sequence, limit: ClientLimit) -> LimitBase {
        LimitBase { used: limit.used, since: sequence, confirmed: ChfMinor::ZERO }
    }
}

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

/// Fields that most users lack: a user without spends, fiat balances and controls takes no room for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    fiat: Vec<FiatBalance>,
    controls: Option<Box<Controls>>,
    spends: Spends,
    holds: SmallVec<[Hold; 1]>,
    /// Holds that we ended, oldest first.
    ended: Vec<EndedHold>,
    /// Authorizations with an open question, oldest first.
    asked: Vec<AuthorizationId>,
    /// Settled debits of fiat balances that no report provably includes yet; boxed, because most users have none.
    completions: Option<Box<Completions>>,
    /// Of the user's cards that UR reported.
    card_words: Vec<CardWord>,
    /// Time of UR's last event about allowances.
    allowances_at: UnixSeconds,
    /// The provider's last word about the account, and its time.
    account_word: Option<(AccountWord, UnixSeconds)>,
    /// Times of the provider's last word about cards' limits.
    limited_at: Vec<(CardId, UnixSeconds)>,
    /// Late approvals that leave their single-use card unused unless UR takes them, oldest first.
    freed: Vec<(AuthorizationId, CardId)>,
}

impl Rest {
    const NONE: &'static Rest = &Rest {
        fiat: Vec::new(),
        controls: None,
        spends: Spends::NONE,
        holds: SmallVec::new_const(),
        ended: Vec::new(),
        asked: Vec::new(),
        completions: None,
        card_words: Vec::new(),
        allowances_at: UnixSeconds(0),
        account_word: None,
        limited_at: Vec::new(),
        freed: Vec::new(),
    };
}

impl Row for User {
    const TABLE: Table = Table::Users;
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
            Fact::UserControlled { controls, .. } => self.rest_mut().controls.clone_from(controls),
            Fact::CardChanged { card, status, .. } => self.with_card(card, |card| card.set_status(*status)),
            Fact::CardUseSet { card, single_use, .. } => self.with_card(card, |card| card.set_single_use(*single_use)),
            Fact::CardControlled { card, controls, .. } => {
                self.with_card(card, |card| card.controls.clone_from(controls));
            }
            Fact::CardAdded { card, .. } => self.add_card(card),
            Fact::UserReported(report) => self.report(sequence, at, report),
            Fact::CardReported(report) => self.report_card(report),
            Fact::AllowancesReported(report) => {
                self.rest_mut().allowances_at = report.at;
                for (currency, allowed) in &report.allowances {
                    self.with_balance(*currency, |balance| balance.allowance = *allowed);
                }
            }
            Fact::AccountReported(report) => {
                self.status = report.status;
                self.rest_mut().account_word = Some((report.word, report.at));
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
            | Fact::ProviderSuspended(_) => {}
        }
        self.tidy();
        self.sequence = sequence;
    }
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

    fn rest(&self) -> &Rest {
        self.rest.as_deref().unwrap_or(Rest::NONE)
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// The user's fiat balances at UR.
    #[must_use]
    pub fn fiat(&self) -> &[FiatBalance] {
        &self.rest().fiat
    }

    /// The user's controls.
    #[must_use]
    pub fn controls(&self) -> Option<&Controls> {
        self.rest().controls.as_deref()
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
        &self.rest().ended
    }

    /// Authorizations with an open question, though they may hold nothing: an awaited return, a pending movement, a
    /// movement that nobody is debited for.
    #[must_use]
    pub fn asked(&self) -> &[AuthorizationId] {
        &self.rest().asked
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

    /// The rest of the CHF limit: the client limit minus reported and unreflected use, at least zero.
    #[must_use]
    pub fn headroom(&self, id: &UrId, now: UnixSeconds) -> ChfMinor {
        self.limit_left(id, now).max(ChfMinor::ZERO)
    }

    /// As [`User::headroom`], but below zero where more is used than allowed: then not even a spend worth no centime is
    /// (docs/ur-facts.md, "The CHF limit").
    #[must_use]
    pub(crate) fn limit_left(&self, id: &UrId, now: UnixSeconds) -> ChfMinor {
        if id.is_unlimited() {
            return ChfMinor(i64::MAX);
        }
        // Saturating: use at the end of i64 exhausts any limit.
        let taken = self.limit.counted_use(now).saturating_add(self.spends().unreflected(now));
        self.limit.client.saturating_sub(taken)
    }

    /// The least that UR's figure of this period, requested after `seen_through`, must show: half of the settled use,
    /// because UR may settle less than the approved amount, or price it otherwise.
    #[must_use]
    pub fn limit_used_min(&self, seen_through: Sequence) -> ChfMinor {
        let base = self.limit_base;
        // Saturating: use at the end of i64 exceeds any figure that UR can report.
        let settled = base.confirmed.saturating_add(self.spends().completed(base.since, seen_through));
        self.limit.used.max(base.used.saturating_add(ChfMinor(settled.0 / 2)))
    }

    /// Whether a [`Fact::UserAged`] would change the row.
    pub(crate) fn ages(&self, before: UnixSeconds, latest: UnixMillis, now: UnixSeconds) -> bool {
        self.reported_at > latest || self.spends().ages(before, latest.seconds()) || self.has_ended_uses(now)
    }

    /// Whether uses count that UR's period has ended with.
    pub(crate) fn has_ended_uses(&self, now: UnixSeconds) -> bool {
        self.uses_end(now).is_some_and(|end| self.spends().uses_before(end))
    }

    fn age(&mut self, before: UnixSeconds, latest: UnixMillis, now: UnixSeconds) {
        self.reported_at = self.reported_at.min(latest);
        let end = self.uses_end(now);
        if let Some(rest) = &mut self.rest {
            rest.spends.age(before, latest.seconds());
            end.into_iter().for_each(|end| rest.spends.end_uses(end));
        }
    }

    /// Where UR's period is over by `now`: the time before which uses do not count after it.
    fn uses_end(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let end = self.limit.start.plus(LIMIT_PERIOD_SECONDS - CLOCKS_DIFFER_SECONDS);
        self.limit.period_ended(now).then_some(end)
    }

    /// Drops empty fields, so that a user left with nothing equals one who never had anything.
    fn tidy(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.completions.take_if(|completions| **completions == Completions::default());
            if **rest == *Rest::NONE {
                self.rest = None;
            }
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
            self.keep_ended(&settled.root);
            if let Some(card) = self.card_freed_by(&settled.root, ended).and_then(|place| self.cards.get_mut(place)) {
                card.card_use = CardUse::Single;
                let freed = (settled.root.clone(), card.id.clone());
                let kept = &mut self.rest_mut().freed;
                kept.push(freed);
                if kept.len() > FREED_MAX {
                    kept.remove(0);
                }
            }
            if self.counts_late(ended) {
                ended.draws.iter().for_each(|draw| self.rest_mut().spends.uncount(*draw));
            }
        }
        if let Some(card) = self.card_taken_by(&settled.root, &settled.evidence).cloned() {
            self.with_card(&card, |card| {
                card.card_use = if card.card_use == CardUse::Single { CardUse::Used } else { card.card_use };
            });
            self.rest_mut().freed.retain(|(root, _)| *root != settled.root);
        }
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

    /// The single-use card, by its place, that the end of its own approval makes usable again: the approval was late, and
    /// answered as a decline.
    pub(crate) fn card_freed_by(&self, root: &AuthorizationId, ended: &Ended) -> Option<usize> {
        // An increment that was late used nothing.
        if !matches!(&ended.cause, EndCause::Late { id } if id == root) {
            return None;
        }
        let late = ended.draws.first()?;
        let is_its =
            |card: &Card| card.card_use == CardUse::Used && self.spends().last_approval(card.number) == Some(*late);
        self.cards.iter().position(is_its)
    }

    /// The single-use card whose late approval UR took all the same: our answer did not reach it.
    pub(crate) fn card_taken_by(&self, root: &AuthorizationId, evidence: &Evidence) -> Option<&CardId> {
        let (_, card) = self.rest().freed.iter().find(|(freed, _)| freed == root)?;
        let takes = |flow, progress| flow == Flow::Out && progress != Progress::Rejected;
        let is_taken = match evidence {
            Evidence::Shown(shown) => takes(shown.posting.flow, shown.posting.progress),
            Evidence::Linked(linked) => linked.movements.iter().any(|own| takes(own.flow, own.progress)),
            Evidence::Announced(_) | Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } => false,
        };
        is_taken.then_some(card)
    }

    /// Keeps what late movements without a reference are matched by.
    fn keep_ended(&mut self, root: &AuthorizationId) {
        let Some(first) = self.holds().iter().find(|hold| hold.root == *root) else { return };
        let held = self.holds().iter().filter(|hold| hold.root == *root).map(|hold| hold.paid.amount).sum();
        let paid = Money { amount: held, ..first.paid };
        let ended = EndedHold { root: root.clone(), paid, at: first.at, mcc: first.mcc, merchant: first.merchant };
        let kept = &mut self.rest_mut().ended;
        kept.push(ended);
        if kept.len() > ENDED_MAX {
            kept.remove(0);
        }
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
        self.rest_mut().holds.retain(|hold| !hold.is_over());
        for fiat in &change.fiat {
            self.hold_fiat(fiat.currency, -fiat.available);
            let completions = self.rest_mut().completions.get_or_insert_default();
            completions.add_settled(sequence, Sequence::ZERO, fiat.currency, fiat.completed, change);
        }
        self.ask(root, change.is_asked);
    }

    /// Keeps whether an authorization has an open question.
    fn ask(&mut self, root: &AuthorizationId, is_asked: bool) {
        if is_asked == self.asked().contains(root) {
            return;
        }
        let asked = &mut self.rest_mut().asked;
        if is_asked {
            asked.push(root.clone());
            if asked.len() > ASKED_MAX {
                asked.remove(0);
            }
        } else {
            asked.retain(|own| own != root);
        }
    }

    fn change_hold(
        &mut self,
        made_by: Sequence,
        at: UnixMillis,
        root: &AuthorizationId,
        change: &Difference,
        layer: &LayerChange,
    ) {
        if let Some(own) = &mut self.funds {
            own.held += layer.funds + layer.upcharge.funds;
        }
        let holds = &mut self.rest_mut().holds;
        if let Some(hold) = holds.iter_mut().find(|hold| hold.sequence == made_by && hold.root == *root) {
            hold.paid.amount += layer.held;
            hold.funds += layer.funds;
            return;
        }
        let twin = holds.iter().find(|hold| hold.root == *root);
        let (mcc, merchant) = twin.map_or((None, None), |twin| (twin.mcc, twin.merchant));
        let at = twin.map_or(at.seconds(), |twin| twin.at);
        holds.push(Hold {
            sequence: made_by,
            id: debit_id(root, layer.number),
            root: root.clone(),
            source: change.source.unwrap_or(Source::Crypto),
            paid: Money { amount: layer.held, currency: change.currency },
            funds: layer.funds,
            at,
            mcc,
            merchant,
        });
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
            let completions = self.rest_mut().completions.get_or_insert_default();
            let proven = completions.through(report.seen_through, money.currency);
            completions.forget(report.seen_through, money.currency);
            self.with_balance(money.currency, |balance| {
                balance.amount = money.amount;
                balance.held = (balance.held - proven).max(Minor::ZERO);
            });
        }
    }

    fn report_card(&mut self, report: &CardReported) {
        let words = &mut self.rest_mut().card_words;
        words.retain(|word| word.card != report.card);
        words.push(CardWord { card: report.card.clone(), status: report.status, at: report.at });
        // It blocked the card because we said so, and what the card was approved for may still grow.
        let is_echo = self.provider == Provider::PartnerApi && report.status == CardStatus::Frozen;
        self.with_card(&report.card, |card| {
            card.status = match card.status {
                CardStatus::Deleted => CardStatus::Deleted,
                own if is_echo && card.card_use == CardUse::Used => own,
                frozen if card.is_kept_frozen => frozen.strictest(report.status),
                _ => report.status,
            };
        });
    }

    fn limit_card(&mut self, limited: &CardLimited) {
        let words = &mut self.rest_mut().limited_at;
        words.retain(|(card, _)| *card != limited.card);
        words.push((limited.card.clone(), limited.at));
        self.with_card(&limited.card, |card| card.controls.clone_from(&limited.controls));
    }

    /// Whether the provider's word about the account is newer than its last, or another one of the same second.
    pub(crate) fn is_news_of_account(&self, word: AccountWord, at: UnixSeconds) -> bool {
        let last = self.rest().account_word;
        let is_news = last.is_none_or(|(last, last_at)| at > last_at || (at == last_at && word != last));
        is_news && self.status != AccountStatus::Closed
    }

    /// The same of a card's limits: of one second, the word that came first stands.
    pub(crate) fn is_news_of_limits(&self, card: &CardId, at: UnixSeconds) -> bool {
        self.rest().limited_at.iter().find(|(limited, _)| limited == card).is_none_or(|(_, last)| at > *last)
    }

    /// Whether UR's word about a card of the user is newer than its last, or another one of the same second.
    pub(crate) fn is_news_of_card(&self, card: &Card, status: CardStatus, at: UnixSeconds) -> bool {
        let last = self.rest().card_words.iter().find(|word| word.card == card.id);
        let is_news = last.is_none_or(|last| at > last.at || (at == last.at && status != last.status));
        is_news && card.status != CardStatus::Deleted
    }

    /// The same of UR's word about allowances.
    pub(crate) fn is_news_of_allowances(&self, allowances: &[(Currency, bool)], at: UnixSeconds) -> bool {
        let last = self.rest().allowances_at;
        let differs = |&(currency, allowed): &(Currency, bool)| {
            self.fiat_in(currency).map_or(allowed, |balance| balance.allowance != allowed)
        };
        at > last || (at == last && allowances.iter().any(differs))
    }

    /// Changes the balance in a currency; a new balance starts empty and without an allowance.
    fn with_balance(&mut self, currency: Currency, change: impl FnOnce(&mut FiatBalance)) {
        let fiat = &mut self.rest_mut().fiat;
        if let Some(balance) = fiat.iter_mut().find(|balance| balance.currency == currency) {
            return change(balance);
        }
        let mut fresh = FiatBalance { currency, amount: Minor::ZERO, allowance: false, held: Minor::ZERO };
        change(&mut fresh);
        fiat.push(fresh);
    }

    fn hold_fiat(&mut self, currency: Currency, change: Minor) {
        self.with_balance(currency, |balance| balance.held += change);
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
        let last = self.rest().account_word;
        let Some((word, at)) = last.filter(|(word, _)| *word != AccountWord::Unsuspended) else { return import.status };
        if !import.overrides {
            return word.after(import.status);
        }
        // Words before the import stay old ones.
        self.rest_mut().account_word = Some((AccountWord::Unsuspended, at));
        import.status
    }

    fn import_fiat(&mut self, import: &Import) {
        let fiat = &mut self.rest_mut().fiat;
        let before = std::mem::take(fiat);
        let held_in = |currency| before.iter().find(|old| old.currency == currency).map_or(Minor::ZERO, |old| old.held);
        fiat.extend(import.fiat.iter().map(|new| FiatBalance {
            currency: new.currency,
            amount: new.amount,
            allowance: new.allowance,
            held: held_in(new.currency),
        }));
        for old in before.into_iter().filter(|old| !old.held.is_zero()) {
            if fiat.iter().all(|new| new.currency != old.currency) {
                // A balance missing from the import still owes its holds.
                fiat.push(FiatBalance { amount: Minor::ZERO, allowance: false, ..old });
            }
        }
    }

    fn import_cards(&mut self, import: &Import) {
        let before = std::mem::take(&mut self.cards);
        let mut next = before.iter().map(|card| card.number).max().unwrap_or(0);
        for new in &import.cards {
            let old = before.iter().find(|old| old.id == new.id);
            let number = old.map_or_else(
                || {
                    // Saturating: the last number counts for every card, so longer than it should, never shorter.
                    next = next.saturating_add(1);
                    next
                },
                |old| old.number,
            );
            let kept = old.filter(|_| !import.overrides);
            let mut card = Card {
                id: new.id.clone(),
                status: kept.map_or(new.status, |kept| kept.status.strictest(new.status)),
                currency: new.currency,
                controls: old.and_then(|old| old.controls.clone()),
                number,
                is_kept_frozen: kept.is_some_and(|kept| kept.is_kept_frozen),
                card_use: match old.map_or(CardUse::Any, |old| old.card_use) {
                    CardUse::Used if import.overrides => CardUse::Single,
                    own => own,
                },
            };
            if let Some(single_use) = new.single_use {
                card.set_single_use(single_use);
            }
            self.cards.push(card);
        }
        // A later import that names the card again must find that it was blocked.
        for old in before {
            if old.outlives(import) && self.cards.iter().all(|new| new.id != old.id) {
                self.cards.push(old);
            }
        }
        if let Some(rest) = &mut self.rest {
            let is_kept = |id: &CardId| self.cards.iter().any(|card| card.id == *id);
            rest.card_words.retain(|word| is_kept(&word.card));
            rest.limited_at.retain(|(card, _)| is_kept(card));
        }
    }

    fn add_card(&mut self, new: &ImportedCard) {
        // Saturating as for an imported card.
        let number = self.cards.iter().map(|card| card.number).max().unwrap_or(0).saturating_add(1);
        let ImportedCard { id, status, currency, single_use } = new.clone();
        let card_use = if single_use == Some(true) { CardUse::Single } else { CardUse::Any };
        self.cards.push(Card { id, status, currency, controls: None, number, is_kept_frozen: false, card_use });
    }

    fn replace_funds(&mut self, replaced: &FundsReplaced) {
        let mut held = self.funds.map_or(Minor::ZERO, |funds| funds.held);
        if let Some(Rest { holds, .. }) = self.rest.as_deref_mut() {
            for ended in &replaced.ended {
                if let Some(hold) = holds.iter_mut().find(|hold| hold.sequence == *ended) {
                    held -= hold.funds;
                    hold.funds = Minor::ZERO;
                }
            }
            holds.retain(|hold| !hold.is_over());
        }
        let Money { amount, currency } = replaced.funds;
        self.funds = Some(Funds { amount, currency, version: replaced.version, held });
    }

    fn with_card(&mut self, id: &CardId, change: impl FnOnce(&mut Card)) {
        if let Some(card) = self.cards.iter_mut().find(|card| card.id == *id) {
            change(card);
        }
    }
}

/// A merchant's name for comparison, whatever the case of its ASCII letters.
#[must_use]
pub fn merchant_hash(name: &str) -> u32 {
    // FNV-1a: it breaks ties among one user's own holds, and every decision pays for it.
    let bytes = name.trim().bytes();
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Author, ImportedFiat};

    #[test]
    fn a_row_fits_a_size_of_the_allocators() {
        // One byte more, and every user takes 192.
        assert!(size_of::<User>() <= 160, "{} bytes", size_of::<User>());
    }

    #[test]
    fn who_has_nothing_any_more_is_as_who_never_had() {
        let at = UnixMillis(1_000);
        let limit = ClientLimit { used: ChfMinor(0), client: ChfMinor(100), start: UnixSeconds(0) };
        let import = Import {
            user: "10000001".parse().unwrap(),
            status: AccountStatus::Live,
            limit,
            funds: None,
            fiat: Vec::new(),
            funding: None,
            cards: Vec::new(),
            overrides: false,
            provider: None,
        };
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
}
