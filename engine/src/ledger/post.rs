//! Posts UR's movements on our authorizations: matches each once, and records what it changes.

use std::sync::Arc;

use compact_str::CompactString;

use super::Ledger;
use super::change::{ChangeError, in_range, not_found};
use super::commit::fold;
use super::settle::Books;
use crate::bytes::Fingerprint;
use crate::contract::limit::to_chf;
use crate::fact::{
    Author, Difference, Effect, Evidence, Fact, Flow, Linked, MatchRule, Movement, MovementRates, Posting, Progress,
    Provider, Settled, Shown, Summed,
};
use crate::ids::{AuthorizationId, Sequence};
use crate::journal::Ticket;
use crate::money::{AMOUNT_MAX, ChfMinor, Currency, Minor, Money};
use crate::rows::{Authorization, PostingRow, ShownMovement, User};
use crate::rules::{Candidate, find};
use crate::store::StoreError;
use crate::time::Moment;

/// Times that a match is made again because its hold changed meanwhile; then the movement stands alone.
const MATCH_ATTEMPTS_MAX: usize = 4;

/// Result of posting a movement.
#[derive(Clone, Debug)]
pub struct PostingReceipt {
    /// The authorization that the movement was posted on.
    pub root: AuthorizationId,
    pub effect: Effect,
    /// Number of breaks that the posting opened.
    pub breaks: usize,
    /// Resolved once the posting is durable.
    pub ticket: Arc<Ticket>,
}

/// The authorization of a movement, chosen.
struct Choice {
    root: AuthorizationId,
    number: u16,
    rule: MatchRule,
    /// The draw whose own id the movement names.
    draw: Option<Sequence>,
}

/// A reference that is one of our ids.
struct Named {
    root: AuthorizationId,
    draw: Option<Sequence>,
}

impl Ledger {
    /// Posts a movement that UR shows. `None`: it says nothing new.
    ///
    /// # Errors
    /// The posting had no effect; the feed will deliver the movement again.
    pub fn post(&self, posting: &Posting, now: Moment) -> Result<Option<PostingReceipt>, ChangeError> {
        self.post_listed(posting, &[], now)
    }

    /// Posts a movement that UR shows in a list. `answer`: the rows of UR's answer under the same [`Posting::place`], this
    /// one among them. `None`: it says nothing new.
    ///
    /// # Errors
    /// As for [`Ledger::post`].
    pub fn post_listed(
        &self,
        posting: &Posting,
        answer: &[Posting],
        now: Moment,
    ) -> Result<Option<PostingReceipt>, ChangeError> {
        in_range("amount", posting.amount.amount)?;
        // Held to the end: two deliveries of one movement post it once, and two movements never take one hold twice.
        let _matching = self.lock_matching(&posting.user);
        let place = posting.place();
        let known = self.read_posting(&place, PostingRow::clone)?;
        let shown = known.as_ref().and_then(|row| row.shown_by(posting, answer));
        let named = self.named(posting)?;
        if let Some(shown) = shown {
            let is_elsewhere = |named: &Named| named.root != shown.root;
            if !is_news(shown, posting) && named.as_ref().is_none_or(|named| !is_elsewhere(named)) {
                return Ok(None);
            }
        } else if posting.progress == Progress::Rejected && named.is_none() && posting.awaits.is_none() {
            // Nothing moved, and nothing of ours was meant.
            return Ok(None);
        }
        if let Some(shown) = shown
            && self.is_in_quarantine(&self.root_after_links(&shown.root, posting.key(shown.number))?)?
        {
            // What it is a part of can neither take it in nor give it up.
            return Ok(None);
        }
        for attempt in 0.. {
            let guess = attempt < MATCH_ATTEMPTS_MAX;
            let choice = self.choose(posting, known.as_ref(), shown, named.as_ref(), guess, now)?;
            if choice.rule == MatchRule::Known && shown.is_some_and(|shown| !is_news(shown, posting)) {
                // It could not move to the root that the row names.
                return Ok(None);
            }
            if let Some(posted) = self.post_on(posting, &choice, shown, now)? {
                return Ok(posted);
            }
        }
        Ok(None)
    }

    /// Chooses the authorization: a reference, the movement's own earlier row, a hold that fits, itself.
    fn choose(
        &self,
        posting: &Posting,
        known: Option<&PostingRow>,
        shown: Option<&ShownMovement>,
        named: Option<&Named>,
        guess: bool,
        now: Moment,
    ) -> Result<Choice, ChangeError> {
        let number = shown.map_or_else(|| known.map_or(0, PostingRow::next_number), |shown| shown.number);
        if let Some(shown) = shown {
            let root = self.root_after_links(&shown.root, posting.key(number))?;
            if let Some(named) = named.filter(|named| named.root != root) {
                let author = Author::of(self.provider_of(&posting.user).unwrap_or_default());
                let linked = self.link_movements(&author, &root, &named.root, &[posting.key(number)], now)?;
                if linked.is_none() {
                    // It is a part of that root's sums: it is final, and counts there.
                    return Ok(Choice { root, number, rule: MatchRule::Known, draw: None });
                }
                return Ok(Choice { root: named.root.clone(), number, rule: MatchRule::Reference, draw: named.draw });
            }
            return Ok(Choice { root, number, rule: MatchRule::Known, draw: named.and_then(|named| named.draw) });
        }
        if let Some(named) = named {
            return Ok(Choice { root: named.root.clone(), number, rule: MatchRule::Reference, draw: named.draw });
        }
        let alone = || {
            let Fingerprint(bytes) = posting.key(number);
            let id = format!("posted:{:032x}", u128::from_be_bytes(bytes)).parse();
            id.map_err(|_| ChangeError::Invalid("a transaction needs a name".to_owned()))
        };
        if let Some(awaited) = &posting.awaits {
            let is_own_or_to_come = match self.find(awaited) {
                Err(StoreError::Quarantined(_)) => false,
                found => found?.and_then(|found| found.authorization).is_none_or(|row| row.user == posting.user),
            };
            if is_own_or_to_come {
                return Ok(Choice { root: awaited.clone(), number, rule: MatchRule::Waiting, draw: None });
            }
            return Ok(Choice { root: alone()?, number, rule: MatchRule::Alone, draw: None });
        }
        let found = if guess {
            find(posting, &self.candidates(posting), self.policy.tolerance, self.policy.lives)
        } else {
            None
        };
        match found {
            Some((root, rule)) if !self.is_in_quarantine(&root)? => Ok(Choice { root, number, rule, draw: None }),
            _ => Ok(Choice { root: alone()?, number, rule: MatchRule::Alone, draw: None }),
        }
    }

    /// Posts on the chosen authorization; `None` if its hold has changed so that the choice must be made again.
    #[expect(clippy::option_option, reason = "the outer absence asks for another choice, the inner says nothing new")]
    fn post_on(
        &self,
        posting: &Posting,
        choice: &Choice,
        known: Option<&ShownMovement>,
        now: Moment,
    ) -> Result<Option<Option<PostingReceipt>>, ChangeError> {
        let mut postings = self.lock_postings();
        postings.fetch(&posting.place(), &*self.store)?;
        let shared = self.read_shared();
        let root = self.ids.key(&choice.root);
        let mut places = self.place((root, &choice.root))?;
        let row = places.authorization(root).map(|row| &*row);
        if row.is_some_and(|row| row.user != posting.user) {
            return Err(ChangeError::Invalid(format!("{} is another account's than {}", choice.root, posting.user)));
        }
        let is_guess = matches!(
            choice.rule,
            MatchRule::ExactAmount | MatchRule::OldestExact | MatchRule::NearAmount | MatchRule::Part
        );
        if is_guess && row.is_none_or(|row| row.held().amount.is_zero()) {
            return Ok(None);
        }
        let listed = row.and_then(|row| row.settlement().movement(posting.key(choice.number)));
        // A movement settles once: what the row lists may do so however much was said before.
        let settles = listed.is_some_and(|listed| posting.progress > listed.progress);
        if row.is_some_and(|row| !row.settlement().has_room()) && !settles {
            return Ok(Some(None));
        }
        let summed = known.filter(|_| choice.rule == MatchRule::Known && row.is_some() && listed.is_none());
        let summed = summed.map(|known| Summed { progress: known.progress, amount: known.amount });
        let mut user = self.users.get_mut(&posting.user);
        let at = self.stamp(now);
        let books = Books { shared: &shared, user: user.as_deref().map(|user| &**user), policy: &self.policy };
        let shown = Shown { summed, ..self.shown(posting, choice, row, &books) };
        let settled = books.settled(&choice.root, row, Evidence::Shown(Box::new(shown)));
        let fits = has_room(&settled, row, &books) && books.is_legal(row, &settled);
        let settled = if fits { settled } else { self.beyond_bounds(settled, row, &books) };
        let (effect, breaks) = (settled.change.effect, settled.change.opened.len());
        let fact = Fact::Settled(Box::new(settled));
        let author = Author::of(user.as_deref().map_or(Provider::Ur, |user| user.provider));
        let ticket = self.commit(shared, &author, at, fact, |_, sequence, record| {
            let touches = record.fact.touches(sequence);
            if let Some(user) = user.as_mut().filter(|_| touches.user.is_some()) {
                fold(&mut ***user, sequence, record);
            }
            places.fold_authorization(root, &choice.root, sequence, record);
            postings.apply(&touches, sequence, record);
            self.apply_breaks(&touches, sequence, record);
        })?;
        Ok(Some(Some(PostingReceipt { root: choice.root.clone(), effect, breaks, ticket })))
    }

    /// The evidence: the movement in the currency paid in and in francs, at the rates of its first record.
    fn shown(&self, posting: &Posting, choice: &Choice, row: Option<&Authorization>, books: &Books<'_>) -> Shown {
        let first = row.and_then(|row| row.settlement().movement(posting.key(choice.number)));
        let money = posting.amount;
        let paid_in = row.map_or(money.currency, |row| row.paid_in(money.currency));
        let has_draws = row.is_some_and(|row| !row.draws.is_empty());
        let today = books.movement_rates(money.currency, paid_in, has_draws);
        let first = first.map_or(today, |first| first.rates);
        let rates = MovementRates {
            value: first.value.or(today.value),
            chf: first.chf.or(today.chf),
            funds: first.funds.or(today.funds),
        };
        let value = valued(row, money, paid_in, &rates);
        let limit = rates.chf.and_then(|rate| to_chf(money.amount, rate)).unwrap_or(ChfMinor::ZERO);
        let limit = limit.times(self.policy.limit_weight);
        // A movement that stands alone is debited only when none of the user's open holds may be meant.
        let is_alone = matches!(choice.rule, MatchRule::Alone | MatchRule::Waiting);
        let holds_open = |user: &User| user.holds().iter().any(|hold| hold.paid.currency == money.currency);
        let is_charged = is_alone && !has_draws && !books.user.is_some_and(holds_open);
        Shown {
            posting: posting.clone(),
            number: choice.number,
            value: value.min(AMOUNT_MAX),
            limit,
            funds: rates.owed(money),
            rates,
            draw: choice.draw,
            is_final: posting.flow == Flow::Out && self.is_final(posting, choice, books),
            is_charged,
            rule: choice.rule,
            summed: None,
        }
    }

    /// Whether a capture at this merchant is the last: fuel pumps capture once, less than they authorize.
    fn is_final(&self, posting: &Posting, choice: &Choice, books: &Books<'_>) -> bool {
        let holds = books.user.map_or(&[][..], User::holds);
        let decided = holds.iter().find(|hold| hold.root == choice.root).and_then(|hold| hold.mcc);
        let mcc = decided.or(posting.mcc);
        choice.rule.is_certain() && mcc.is_some_and(|mcc| self.policy.final_capture_mcc.contains(&mcc))
    }

    /// A movement beyond the room of a figure: it moves nothing and opens a break for an operator. It is recorded, so
    /// that it is not delivered again.
    fn beyond_bounds(&self, settled: Settled, row: Option<&Authorization>, books: &Books<'_>) -> Settled {
        let Settled { root, evidence, .. } = settled;
        let Evidence::Shown(mut shown) = evidence else {
            return books.settled(&root, row, evidence);
        };
        (shown.value, shown.limit, shown.funds) = (Minor::ZERO, ChfMinor::ZERO, None);
        books.settled(&root, row, Evidence::Shown(shown))
    }

    /// Reads the movements of one name.
    pub(super) fn read_posting<T>(
        &self,
        place: &CompactString,
        read: impl Fn(&PostingRow) -> T,
    ) -> Result<Option<T>, StoreError> {
        let elsewhere = match self.lock_postings().get(place) {
            Ok(row) => return Ok(Some(read(row))),
            Err(elsewhere) => elsewhere,
        };
        Ok(elsewhere.load(place, &*self.store)?.as_ref().map(read))
    }

    /// The authorization that a reference of the movement names, or that it says it belongs to, if it is the same
    /// account's.
    fn named(&self, posting: &Posting) -> Result<Option<Named>, StoreError> {
        let references = posting.references.iter().map(CompactString::as_str);
        for reference in references.chain(posting.awaits.as_ref().map(AuthorizationId::as_str)) {
            let Ok(id) = reference.parse::<AuthorizationId>() else { continue };
            let Some(found) = self.find_usable(&id)? else { continue };
            let root = found.answer.as_ref().map_or_else(|| id.clone(), |answer| answer.root.clone());
            let Some(row) = found.authorization.filter(|row| row.user == posting.user) else { continue };
            // The root's id names no draw: UR gives it for increments, too.
            let draw = row.draws.iter().find(|draw| draw.id == id && id != root).map(|draw| draw.sequence);
            return Ok(Some(Named { root, draw }));
        }
        Ok(None)
    }

    /// The user's holds that a movement may belong to.
    fn candidates(&self, posting: &Posting) -> Vec<Candidate> {
        let Some(user) = self.users.get(&posting.user) else { return Vec::new() };
        let mut found: Vec<Candidate> = Vec::new();
        for hold in user.holds() {
            if let Some(same) = found.iter_mut().find(|candidate| candidate.root == hold.root) {
                same.held.amount += hold.paid.amount;
                continue;
            }
            found.push(Candidate {
                root: hold.root.clone(),
                held: hold.paid,
                mcc: hold.mcc,
                merchant: hold.merchant,
                at: hold.at,
                is_ended: false,
            });
        }
        found.extend(user.ended().iter().map(|ended| Candidate {
            root: ended.root.clone(),
            held: ended.paid,
            mcc: ended.mcc,
            merchant: ended.merchant,
            at: ended.at,
            is_ended: true,
        }));
        found
    }

    /// The root that has a movement now.
    fn root_after_links(&self, root: &AuthorizationId, key: Fingerprint) -> Result<AuthorizationId, StoreError> {
        let mut root = root.clone();
        loop {
            let row = self.find_usable(&root)?.and_then(|found| found.authorization);
            let moved = row.as_ref().and_then(|row| row.settlement().moved.iter().find(|(moved, _)| *moved == key));
            // A root that gets a movement back forgets that it gave it up: the chain ends.
            let Some((_, to)) = moved else { return Ok(root) };
            root = to.clone();
        }
    }
}

/// Whether UR's row says more than an earlier row of the same movement.
fn is_news(shown: &ShownMovement, posting: &Posting) -> bool {
    let grows = posting.progress > shown.progress;
    let changes = posting.progress == shown.progress && posting.amount.amount != shown.amount;
    let is_refused = posting.progress == Progress::Rejected && shown.progress == Progress::Completed;
    // Once: UR lists the row again and again.
    let contradicts = is_refused && !shown.is_contradicted;
    grows || changes || contradicts
}

/// A movement's value in the currency paid in: at its draws' ratio in the transaction currency, else at its rates. Nothing
/// where no rate is known: a break says so.
fn valued(row: Option<&Authorization>, money: Money, paid_in: Currency, rates: &MovementRates) -> Minor {
    if money.currency == paid_in {
        return money.amount;
    }
    let approved = row.filter(|row| row.currency == money.currency && !row.authorized().is_zero());
    let at_ratio = approved.map(|row| {
        let value = i128::from(row.paid().0) * i128::from(money.amount.0) / i128::from(row.authorized().0);
        // Saturating: the figure is bounded where it is recorded.
        Minor(i64::try_from(value).unwrap_or(i64::MAX))
    });
    let at_rate = || rates.value.and_then(|conversion| conversion.ceil(money.amount));
    at_ratio.or_else(at_rate).unwrap_or(Minor::ZERO)
}

/// Whether every figure that the record lowers has room for it. Each UR amount is bounded; their sum is not.
fn has_room(settled: &Settled, row: Option<&Authorization>, books: &Books<'_>) -> bool {
    if row.is_some_and(|row| !row.settlement().value().has_room()) {
        return false;
    }
    let lowers = |available: Minor| available < Minor::ZERO;
    let pool_has_room = |currency: Currency, available: Minor| {
        !lowers(available) || books.shared.pool(currency).is_none_or(|pool| pool.available().has_room())
    };
    let balance_has_room = |currency: Currency| {
        let balance = books.user.and_then(|user| user.fiat_in(currency));
        balance.is_none_or(|balance| balance.held.has_room())
    };
    let Difference { pools, fiat, .. } = &settled.change;
    pools.iter().all(|pool| pool_has_room(pool.currency, pool.available))
        && fiat.iter().all(|balance| balance_has_room(balance.currency))
}

impl Ledger {
    /// A person links a movement that stands alone with the authorization that it belongs to.
    pub(super) fn link(
        &self,
        author: &Author,
        from: &AuthorizationId,
        to: &AuthorizationId,
        now: Moment,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let row = self.find(from)?.and_then(|found| found.authorization);
        let row = row.ok_or_else(|| not_found("authorization", from))?;
        if !row.is_alone() {
            return Err(ChangeError::Conflict(format!(
                "{from} is an authorization: only a movement without one is linked"
            )));
        }
        if from == to {
            return Err(ChangeError::Conflict(format!("{from} has its movements already")));
        }
        if row.settlement().sums.count > 0 {
            return Err(ChangeError::Conflict(format!(
                "{from} has more movements than it lists, so they cannot be moved: debit them with `--outcome charged`"
            )));
        }
        let _matching = self.lock_matching(&row.user);
        let keys: Vec<Fingerprint> = row.settlement().movements.iter().map(|movement| movement.key).collect();
        let ticket = self.link_movements(author, from, to, &keys, now)?;
        ticket.ok_or_else(|| ChangeError::Conflict(format!("{from} has no movement to link that {to} has room for")))
    }

    /// Moves movements from one root to another of the same account, in one record.
    pub(super) fn link_movements(
        &self,
        author: &Author,
        from: &AuthorizationId,
        to: &AuthorizationId,
        keys: &[Fingerprint],
        now: Moment,
    ) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let at = self.stamp(now);
        let shared = self.read_shared();
        let (from_key, to_key) = (self.ids.key(from), self.ids.key(to));
        let mut places = self.places([(from_key, from), (to_key, to)])?;
        let mut copy = |key, id| places.authorization(key).cloned().ok_or_else(|| not_found("authorization", id));
        let (from_row, to_row) = (copy(from_key, from)?, copy(to_key, to)?);
        if from_row.user != to_row.user {
            return Err(ChangeError::Invalid(format!("{from} and {to} are not of one account")));
        }
        let mut user = self.users.get_mut(&to_row.user);
        let books = Books { shared: &shared, user: user.as_deref().map(|user| &**user), policy: &self.policy };
        let listed = from_row.settlement().movements.iter().filter(|own| keys.contains(&own.key));
        let movements: Vec<Movement> = books.valued_at(&to_row, listed.cloned().collect());
        let moved: Minor = movements.iter().map(|movement| movement.value).sum();
        let has_room = to_row.settlement().has_room() && (to_row.settlement().value() + moved).has_room();
        if movements.is_empty() || !has_room {
            return Ok(None);
        }
        let fact = Fact::Settled(Box::new(books.linked(from, &from_row, to, &to_row, movements)));
        let ticket = self.commit(shared, author, at, fact, |_, sequence, record| {
            let touches = record.fact.touches(sequence);
            if let Some(user) = &mut user {
                fold(&mut ***user, sequence, record);
            }
            places.fold_authorization(from_key, from, sequence, record);
            places.fold_authorization(to_key, to, sequence, record);
            self.apply_breaks(&touches, sequence, record);
        })?;
        Ok(Some(ticket))
    }
}

impl Books<'_> {
    /// Today's rates for a movement: only one without a draw is debited by a rate of its own.
    pub(super) fn movement_rates(&self, currency: Currency, paid_in: Currency, has_draws: bool) -> MovementRates {
        let rates = &self.shared.program.rates;
        let funds = self.user.and_then(|user| user.funds).filter(|_| !has_draws).map(|funds| funds.currency);
        MovementRates {
            value: rates.conversion(currency, paid_in).filter(|_| currency != paid_in),
            chf: rates.chf_rate(currency),
            funds: funds.and_then(|funds| Some((funds, rates.conversion(currency, funds)?))),
        }
    }

    /// Movements as another root keeps them: in the currency that root is paid in.
    fn valued_at(&self, row: &Authorization, mut movements: Vec<Movement>) -> Vec<Movement> {
        let Some(first) = movements.first() else { return movements };
        let paid_in = row.paid_in(first.amount.currency);
        for movement in &mut movements {
            let money = movement.amount;
            movement.rates.value = self.movement_rates(money.currency, paid_in, true).value;
            movement.value = valued(Some(row), money, paid_in, &movement.rates).min(AMOUNT_MAX);
        }
        movements
    }

    fn linked(
        &self,
        from: &AuthorizationId,
        from_row: &Authorization,
        to: &AuthorizationId,
        to_row: &Authorization,
        movements: Vec<Movement>,
    ) -> Settled {
        let evidence = |movements: Vec<Movement>, change: Difference| {
            let (from, previous) = (from.clone(), from_row.sequence);
            Evidence::Linked(Box::new(Linked { from, previous, movements, change }))
        };
        let nothing = Difference::none(from_row.state, from_row.paid_currency);
        let moved = evidence(movements.clone(), nothing);
        let mut after = from_row.clone();
        after.give_up(&movements, to);
        let given_up = self.difference(from, Some(from_row), &after, &moved);
        let evidence = evidence(movements, given_up);
        let settled = self.settled(to, Some(to_row), evidence);
        Settled { user: self.user.map(|_| to_row.user.clone()), ..settled }
    }
}
