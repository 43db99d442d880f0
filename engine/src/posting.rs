//! UR's transactions: what UR really booked, and what that does to what we hold.
//!
//! A posting says how far a debit is (pending, completed, rejected) or gives money back. What it does is decided here,
//! purely, from the authorization as it stands; the ledger only carries it out.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::authorization::{Authorization, Draw, State};
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::record::Fingerprint;
use crate::time::UnixSeconds;

/// Which way the money went, seen from the account holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// UR took it.
    Out,
    /// UR gave it back.
    In,
}

/// How far UR is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// Booked, not settled.
    Pending,
    /// Settled.
    Completed,
    /// Refused; nothing moved.
    Rejected,
}

/// A card transaction as UR shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// UR's hash of it, or what stands for one where UR gives none. One hash may come once for each progress.
    pub hash: CompactString,
    /// The account holder.
    pub user: UrId,
    /// Which way.
    pub flow: Flow,
    /// How far.
    pub progress: Progress,
    /// In the currency paid in; never negative.
    pub amount: Money,
    /// When UR says it happened.
    pub at: UnixSeconds,
}

impl Posting {
    /// What makes it the same movement of money, however far it is: one hash may hold several, of several accounts.
    #[must_use]
    pub fn place(&self) -> CompactString {
        let Posting { hash, user, flow, amount, .. } = self;
        compact_str::format_compact!("{user} {flow:?} {} {} {hash}", amount.amount, amount.currency)
    }

    /// What makes it the same one when it comes again: the movement, and how far it is.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        Fingerprint::of(format!("{} {:?}", self.place(), self.progress).as_bytes())
    }
}

/// What postings did to an authorization so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The keys of all of them.
    pub seen: Vec<Fingerprint>,
    /// Taken by UR in all, in the currency paid in.
    pub captured: Minor,
    /// Given back by UR of what it had not taken: reversals, in the currency paid in.
    pub returned: Minor,
    /// Given back by UR of what it had taken.
    pub refunded: Minor,
}

/// What a posting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// It is known to UR; nothing moved.
    Confirmed,
    /// UR settled all of it.
    Cleared,
    /// UR settled a part; the rest stays held.
    PartlyCleared,
    /// UR settled what we had given up: reversed, released or expired.
    LateCleared,
    /// UR took nothing, or gave back what was not settled.
    Reversed,
    /// UR gave back what was settled.
    Refunded,
    /// UR settled what we never approved.
    ForcePosted,
    /// It only confirms what is known, or says nothing.
    Noted,
}

impl Effect {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Effect::Confirmed => "confirmed",
            Effect::Cleared => "cleared",
            Effect::PartlyCleared => "partly_cleared",
            Effect::LateCleared => "late_cleared",
            Effect::Reversed => "reversed",
            Effect::Refunded => "refunded",
            Effect::ForcePosted => "force_posted",
            Effect::Noted => "noted",
        }
    }
}

/// What one draw loses to a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawPosting {
    /// The record that took it.
    pub sequence: Sequence,
    /// Of its amount, in the transaction currency: settled or given back.
    pub amount: Minor,
    /// Of what it holds, in the currency paid in.
    pub paid: Minor,
    /// UR never took it: funds, velocity and limit come back, too.
    pub is_back: bool,
    /// Of the user's funds, where they come back.
    pub funds: Minor,
    /// No longer counted by velocity.
    pub spent: ChfMinor,
    /// No longer counted against the limit.
    pub unreflected: ChfMinor,
}

impl DrawPosting {
    /// Nothing is held of it any more, and UR shows that it used the limit.
    fn settled_late(draw: &Draw) -> DrawPosting {
        DrawPosting {
            sequence: draw.sequence,
            amount: Minor::ZERO,
            paid: Minor::ZERO,
            is_back: false,
            funds: Minor::ZERO,
            spent: ChfMinor::ZERO,
            unreflected: ChfMinor::ZERO,
        }
    }
}

/// How a posting and what we hold differ beyond what explains itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discrepancy {
    /// Of which kind.
    pub kind: BreakKind,
    /// What of: a root authorization, a hash, a urId or a pool.
    pub subject: CompactString,
    /// The field that differs.
    pub field: CompactString,
    /// Our value of it.
    pub ours: CompactString,
    /// UR's.
    pub theirs: CompactString,
}

/// The kinds of breaks of the three-way comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BreakKind {
    /// We approved, and UR knows nothing of it.
    MissingAtProvider,
    /// UR settled what we know nothing of.
    OrphanAtProvider,
    /// Another amount than we hold, beyond tolerance.
    AmountMismatch,
    /// Another amount within tolerance, where currencies were converted.
    FxDrift,
    /// Another currency than we hold.
    CurrencyMismatch,
    /// Money went the other way.
    DirectionMismatch,
    /// The same settlement twice.
    Duplicate,
    /// Still on its way.
    Timing,
    /// UR's state contradicts ours.
    StatusConflict,
    /// We declined, and UR settled all the same.
    StandIn,
    /// UR's figure of the limit does not hold what it must.
    LimitDrift,
    /// UR's balance of a pool does not hold what it must.
    PoolDrift,
}

impl BreakKind {
    /// Every kind.
    pub const ALL: &[BreakKind] = &[
        BreakKind::MissingAtProvider,
        BreakKind::OrphanAtProvider,
        BreakKind::AmountMismatch,
        BreakKind::FxDrift,
        BreakKind::CurrencyMismatch,
        BreakKind::DirectionMismatch,
        BreakKind::Duplicate,
        BreakKind::Timing,
        BreakKind::StatusConflict,
        BreakKind::StandIn,
        BreakKind::LimitDrift,
        BreakKind::PoolDrift,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BreakKind::MissingAtProvider => "missing_at_provider",
            BreakKind::OrphanAtProvider => "orphan_at_provider",
            BreakKind::AmountMismatch => "amount_mismatch",
            BreakKind::FxDrift => "fx_drift",
            BreakKind::CurrencyMismatch => "currency_mismatch",
            BreakKind::DirectionMismatch => "direction_mismatch",
            BreakKind::Duplicate => "duplicate",
            BreakKind::Timing => "timing",
            BreakKind::StatusConflict => "status_conflict",
            BreakKind::StandIn => "stand_in",
            BreakKind::LimitDrift => "limit_drift",
            BreakKind::PoolDrift => "pool_drift",
        }
    }
}

/// How far two figures may differ before a person looks: one smallest unit, or this share, whichever is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// In hundredths of a percent; the design's drift is 200.
    pub drift_bps: u16,
}

impl Tolerance {
    /// The most that two figures near `amount` may differ.
    #[must_use]
    pub fn of(self, amount: Minor) -> Minor {
        amount.share_rounded_up(i64::from(self.drift_bps), 10_000).max(Minor(1))
    }

    fn holds(self, ours: Minor, theirs: Minor) -> bool {
        Minor(ours.saturating_sub(theirs).0.abs()) <= self.of(ours)
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { drift_bps: 200 }
    }
}

/// What a posting comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// In one word.
    pub effect: Effect,
    /// The authorization's state after it.
    pub state: State,
    /// What each draw loses, oldest first.
    pub draws: Vec<DrawPosting>,
    /// UR took it: a debit of the source that `draws` does not account for in full.
    pub captured: Minor,
    /// UR gave it back.
    pub given_back: Minor,
    /// Returns whose use of the limit UR shows with it.
    pub completes: Vec<Sequence>,
    /// What is to be looked at.
    pub discrepancies: Vec<Discrepancy>,
}

/// The row that a posting nobody can match makes: its id is one that UR cannot give to an authorization of its own.
#[must_use]
pub fn unmatched_id(posting: &Posting) -> Option<AuthorizationId> {
    let Fingerprint(bytes) = Fingerprint::of(posting.place().as_bytes());
    format!("posted:{:032x}", u128::from_be_bytes(bytes)).parse().ok()
}

/// What a posting comes to, for the authorization that it was matched with, if with any. `None`: it is known already, or
/// has not moved anything yet.
#[must_use]
pub fn judge(posting: &Posting, row: Option<&Authorization>, tolerance: Tolerance) -> Option<Judged> {
    let Some(row) = row else { return unmatched(posting) };
    if row.posted.as_ref().is_some_and(|posted| posted.seen.contains(&posting.key())) {
        return None;
    }
    let case = Case { posting, row, tolerance };
    Some(match (posting.flow, posting.progress) {
        (Flow::Out, Progress::Pending) => {
            let state = if row.state == State::Approved { State::Confirmed } else { row.state };
            let effect = if row.state == State::Approved { Effect::Confirmed } else { Effect::Noted };
            Judged { state, ..case.nothing(effect) }
        }
        (Flow::Out, Progress::Completed) => case.settled(),
        (Flow::Out, Progress::Rejected) => case.rejected(),
        (Flow::In, Progress::Completed) => case.given_back(),
        (Flow::In, Progress::Pending | Progress::Rejected) => case.nothing(Effect::Noted),
    })
}

/// Money that moved without an authorization of ours. What has not moved yet may still find one.
fn unmatched(posting: &Posting) -> Option<Judged> {
    if posting.progress != Progress::Completed {
        return None;
    }
    let amount = posting.amount.amount;
    let (captured, given_back, effect) = match posting.flow {
        Flow::Out => (amount, Minor::ZERO, Effect::ForcePosted),
        Flow::In => (Minor::ZERO, amount, Effect::Refunded),
    };
    let discrepancy = Discrepancy {
        kind: BreakKind::OrphanAtProvider,
        subject: posting.hash.clone(),
        field: "authorization".into(),
        ours: CompactString::default(),
        theirs: shown(posting.amount),
    };
    Some(Judged {
        effect,
        state: State::ForcePosted,
        draws: Vec::new(),
        captured,
        given_back,
        completes: Vec::new(),
        discrepancies: vec![discrepancy],
    })
}

fn shown(money: Money) -> CompactString {
    compact_str::format_compact!("{} {}", money.amount, money.currency)
}

struct Case<'a> {
    posting: &'a Posting,
    row: &'a Authorization,
    tolerance: Tolerance,
}

impl Case<'_> {
    fn nothing(&self, effect: Effect) -> Judged {
        Judged {
            effect,
            state: self.row.state,
            draws: Vec::new(),
            captured: Minor::ZERO,
            given_back: Minor::ZERO,
            completes: Vec::new(),
            discrepancies: Vec::new(),
        }
    }

    fn broken(&self, kind: BreakKind, field: &str, ours: CompactString, theirs: CompactString) -> Discrepancy {
        let subject = self.row.root_of_draws().map_or_else(|| self.posting.hash.clone(), |id| id.as_str().into());
        Discrepancy { kind, subject, field: field.into(), ours, theirs }
    }

    fn posted(&self) -> &Posted {
        const NONE: &Posted =
            &Posted { seen: Vec::new(), captured: Minor::ZERO, returned: Minor::ZERO, refunded: Minor::ZERO };
        self.row.posted.as_deref().unwrap_or(NONE)
    }

    /// UR settled a debit.
    fn settled(&self) -> Judged {
        let Case { posting, row, .. } = *self;
        let captured = posting.amount.amount;
        let nothing = Judged { captured, ..self.nothing(Effect::Noted) };
        let state = |row: &Authorization| CompactString::from(row.state.name());
        match row.state {
            State::Declined | State::Tombstoned => {
                let stand_in = self.broken(BreakKind::StandIn, "state", state(row), "completed".into());
                Judged {
                    effect: Effect::ForcePosted,
                    state: State::ForcePosted,
                    discrepancies: vec![stand_in],
                    ..nothing
                }
            }
            // A debit that UR reversed is shown as both: taken, and given back.
            State::Reversed if self.is_announced(self.row.captured().saturating_add(captured)) => {
                Judged { draws: row.draws.iter().map(DrawPosting::settled_late).collect(), ..nothing }
            }
            State::Reversed | State::Released | State::Expired => {
                // What expired may still be settled: that is why clearings are late. What UR itself reversed may not.
                let conflict = (row.state == State::Reversed)
                    .then(|| self.broken(BreakKind::StatusConflict, "state", state(row), "completed".into()));
                Judged {
                    effect: Effect::LateCleared,
                    state: State::Cleared,
                    draws: row.draws.iter().map(DrawPosting::settled_late).collect(),
                    discrepancies: conflict.into_iter().collect(),
                    ..nothing
                }
            }
            State::Cleared | State::ForcePosted => {
                let (before, paid) = (self.row.captured(), self.row.paid());
                // The last of several parts may be so small that the others seemed to be all.
                if before.saturating_add(captured) <= paid.saturating_add(self.tolerance.of(paid)) {
                    return Judged { effect: Effect::Cleared, ..nothing };
                }
                let ours = shown(Money { amount: before, currency: row.paid_currency });
                let kind = if captured == before { BreakKind::Duplicate } else { BreakKind::AmountMismatch };
                let twice = self.broken(kind, "captured", ours, shown(posting.amount));
                Judged { effect: Effect::Cleared, discrepancies: vec![twice], ..nothing }
            }
            State::Approved | State::Confirmed | State::PartlyCleared => self.captured(),
        }
    }

    /// Whether so much in all is what we gave back on UR's word. Several small returns may differ by what one large one
    /// explains.
    fn is_announced(&self, amount: Minor) -> bool {
        let announced = self.row.announced;
        !announced.is_zero() && amount <= announced.saturating_add(self.tolerance.of(announced))
    }

    /// A settlement of what stands held.
    fn captured(&self) -> Judged {
        let Case { posting, row, tolerance } = *self;
        let (held, amount) = (row.held(), posting.amount.amount);
        let due = Money { amount: self.row.paid().saturating_sub(self.row.captured()), ..held };
        if posting.amount.currency != held.currency {
            let other = self.broken(BreakKind::CurrencyMismatch, "currency", shown(held), shown(posting.amount));
            return Judged {
                state: State::Cleared,
                draws: draws(row, WHOLE, false),
                captured: amount,
                discrepancies: vec![other],
                ..self.nothing(Effect::Cleared)
            };
        }
        // UR shows a debit whole, and what came back beside it; another provider settles what is left.
        let is_left = !tolerance.holds(due.amount, amount) && tolerance.holds(held.amount, amount);
        let due = if is_left { held } else { due };
        let within = tolerance.holds(due.amount, amount);
        if amount < due.amount && !within {
            let draws = draws(row, amount, false);
            let lost = draws.iter().fold(Minor::ZERO, |sum, draw| sum.saturating_add(draw.paid));
            if lost < held.amount {
                return Judged {
                    state: State::PartlyCleared,
                    draws,
                    captured: amount,
                    ..self.nothing(Effect::PartlyCleared)
                };
            }
        }
        let kind = if within { BreakKind::FxDrift } else { BreakKind::AmountMismatch };
        let differs = amount > due.amount || (within && amount < due.amount);
        let discrepancy = differs.then(|| self.broken(kind, "amount", shown(due), shown(posting.amount)));
        Judged {
            state: State::Cleared,
            draws: draws(row, WHOLE, false),
            captured: amount,
            discrepancies: discrepancy.into_iter().collect(),
            ..self.nothing(Effect::Cleared)
        }
    }

    /// UR took nothing after all.
    fn rejected(&self) -> Judged {
        let row = self.row;
        if !row.state.is_open() {
            return self.nothing(Effect::Noted);
        }
        let captured = self.row.captured();
        if !captured.is_zero() {
            let ours = shown(Money { amount: captured, currency: row.paid_currency });
            let conflict = self.broken(BreakKind::StatusConflict, "captured", ours, "rejected".into());
            return Judged { discrepancies: vec![conflict], ..self.nothing(Effect::Noted) };
        }
        let mut draws = draws(row, WHOLE, true);
        // UR never took it, so it never used the limit.
        for (lost, draw) in draws.iter_mut().zip(&row.draws) {
            lost.unreflected = draw.limit;
        }
        Judged { state: State::Reversed, draws, ..self.nothing(Effect::Reversed) }
    }

    /// UR gave money back: what a callback announced, what was not settled yet, or a refund.
    fn given_back(&self) -> Judged {
        let Case { posting, row, tolerance } = *self;
        let posted = self.posted();
        let amount = posting.amount.amount;
        let nothing = Judged { given_back: amount, ..self.nothing(Effect::Noted) };
        if matches!(row.state, State::Declined | State::Tombstoned) {
            let wrong = self.broken(BreakKind::DirectionMismatch, "direction", "none".into(), "IN".into());
            return Judged { discrepancies: vec![wrong], ..nothing };
        }
        if posting.amount.currency != row.paid_currency {
            let ours = shown(Money { amount: row.held().amount, currency: row.paid_currency });
            let other = self.broken(BreakKind::CurrencyMismatch, "currency", ours, shown(posting.amount));
            return Judged { discrepancies: vec![other], ..nothing };
        }
        let returned = posted.returned.saturating_add(amount);
        if self.is_announced(returned) {
            let drift = (returned > row.announced).then(|| {
                let ours = shown(Money { amount: row.announced, currency: row.paid_currency });
                let theirs = shown(Money { amount: returned, ..posting.amount });
                self.broken(BreakKind::FxDrift, "returned", ours, theirs)
            });
            let is_draw = |event: &&Sequence| row.draws.iter().any(|draw| draw.sequence == **event);
            let completes = row.events.iter().filter(|event| !is_draw(event)).copied().collect();
            return Judged { discrepancies: drift.into_iter().collect(), completes, ..nothing };
        }
        if !posted.captured.is_zero() {
            let given = posted.returned.saturating_add(posted.refunded).saturating_add(amount);
            let over = given > posted.captured && !tolerance.holds(posted.captured, given);
            let mismatch = over.then(|| {
                let ours = shown(Money { amount: posted.captured, currency: row.paid_currency });
                self.broken(BreakKind::AmountMismatch, "refunded", ours, shown(posting.amount))
            });
            return Judged { effect: Effect::Refunded, discrepancies: mismatch.into_iter().collect(), ..nothing };
        }
        let held = row.held().amount;
        if held.is_zero() {
            let nothing_held = self.broken(BreakKind::DirectionMismatch, "held", "0".into(), shown(posting.amount));
            return Judged { discrepancies: vec![nothing_held], ..nothing };
        }
        let whole = amount >= held || tolerance.holds(held, amount);
        let drift = (whole && amount != held).then(|| {
            let kind = if tolerance.holds(held, amount) { BreakKind::FxDrift } else { BreakKind::AmountMismatch };
            let ours = shown(Money { amount: held, currency: row.paid_currency });
            self.broken(kind, "returned", ours, shown(posting.amount))
        });
        Judged {
            effect: Effect::Reversed,
            state: if whole { State::Reversed } else { row.state },
            draws: draws(row, if whole { WHOLE } else { amount }, true),
            discrepancies: drift.into_iter().collect(),
            ..nothing
        }
    }
}

/// More than anything can hold.
const WHOLE: Minor = Minor(i64::MAX);

/// What the draws lose, oldest first, when so much of what they hold goes.
fn draws(row: &Authorization, paid: Minor, is_back: bool) -> Vec<DrawPosting> {
    let mut left = paid;
    let mut lost = Vec::with_capacity(row.draws.len());
    for draw in &row.draws {
        let held = draw.held_at(draw.remaining);
        let amount = if left >= held { draw.remaining } else { amount_for(draw, left) };
        let stays = draw.remaining.saturating_sub(amount);
        let paid = held.saturating_sub(draw.held_at(stays));
        // A part leaves draws alone; the whole says of each that it is settled.
        if amount.is_zero() && !is_back && left < WHOLE {
            continue;
        }
        if left < WHOLE {
            left = left.saturating_sub(paid).max(Minor::ZERO);
        }
        lost.push(DrawPosting {
            sequence: draw.sequence,
            amount,
            paid,
            is_back,
            funds: Minor::ZERO,
            spent: if is_back {
                draw.spent_at(draw.remaining).saturating_sub(draw.spent_at(stays))
            } else {
                ChfMinor::ZERO
            },
            unreflected: ChfMinor::ZERO,
        });
    }
    lost
}

/// How much of a draw's amount a part of what it holds pays for, rounded down: what stays held never falls short.
fn amount_for(draw: &Draw, paid: Minor) -> Minor {
    if draw.paid.is_zero() {
        return Minor::ZERO;
    }
    let amount = i128::from(draw.amount.0) * i128::from(paid.0) / i128::from(draw.paid.0);
    Minor(i64::try_from(amount).unwrap_or(i64::MAX)).min(draw.remaining)
}

/// A pool's or balance's debits that UR has completed and no report is proven to hold yet, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions(std::collections::VecDeque<Completion>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Completion {
    /// The record that showed it.
    at: Sequence,
    currency: Currency,
    amount: Minor,
}

/// Completions kept apart; beyond it the two oldest become one that is proven as late as the later of them.
const COMPLETIONS_MAX: usize = 8_192;

impl Completions {
    /// Notes one; nothing is noted as nothing.
    pub fn add(&mut self, at: Sequence, currency: Currency, amount: Minor) {
        if amount <= Minor::ZERO {
            return;
        }
        self.0.push_back(Completion { at, currency, amount });
        if self.0.len() > COMPLETIONS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            match self.0.iter_mut().find(|next| next.currency == oldest.currency) {
                Some(next) => next.amount = next.amount.saturating_add(oldest.amount),
                None => self.0.push_front(oldest),
            }
        }
    }

    /// What a report in `currency` that was asked for after `through` proves.
    #[must_use]
    pub fn through(&self, through: Sequence, currency: Currency) -> Minor {
        let proven = self.0.iter().filter(|done| done.at <= through && done.currency == currency);
        proven.fold(Minor::ZERO, |sum, done| sum.saturating_add(done.amount))
    }

    /// Forgets what [`Completions::through`] counts.
    pub fn forget(&mut self, through: Sequence, currency: Currency) {
        self.0.retain(|done| done.at > through || done.currency != currency);
    }
}
