//! A naive ledger: no locks, no rows, no deltas. It keeps what happened and computes every figure anew by summing over
//! all of it, in plain integers and with its own arithmetic, so that it can disagree with the real one.

use std::collections::BTreeMap;

use super::calendar;
use super::shown::{Approved, Rows, Stands, Status};

/// What the model answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelReply {
    /// Approved from this source, for this amount.
    Approved(&'static str, i64),
    /// Declined.
    Declined(&'static str),
    /// Given back.
    Acknowledged(i64),
}

const MONTH_SECONDS: i64 = 30 * 24 * 3600;

/// Rates of the model's world: USD→EUR 0.9168 with 1.5 % spread, EUR→USD set apart, francs on 10,000.
const USD_TO_EUR: i128 = 9168;

const EUR_TO_USD: i128 = 10907;

const SPREAD: i128 = 10150;

const INTERCHANGE: i128 = 101;

const CHF_EUR: i128 = 9_450;

const CHF_USD: i128 = 8_630;

/// One approved decision.
#[derive(Clone, Debug)]
struct Draw {
    id: u32,
    user: usize,
    at: i64,
    amount: i64,
    remaining: i64,
    /// Taken for the whole amount.
    taken: i64,
    /// Standing, in the paid currency.
    paid: i64,
    /// Standing of the user's funds.
    funds: i64,
    /// Taken of the user's funds for the whole amount; zero once debited.
    debit: i64,
    /// Counted against the limit.
    limit: i64,
    reflected: bool,
    /// A person ended it.
    is_ended: bool,
    /// Taken of the user's funds at first.
    whole_debit: i64,
    /// Held in addition at first: at the source, and of the user's funds.
    upcharge: (i64, i64),
}

/// What an approval takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    source: &'static str,
    paid_in: &'static str,
    paid: i64,
    funds: i64,
    upcharge: (i64, i64),
}

#[derive(Clone, Debug)]
struct Root {
    state: &'static str,
    user: usize,
    currency: &'static str,
    source: &'static str,
    paid_currency: &'static str,
    authorized: i64,
    /// Announced by UR as given back.
    announced: i64,
    /// Of the announced part, in francs: counted as a use, too.
    announced_chf: i64,
    /// Of everything announced, in francs, each part rounded.
    parts_chf: i64,
    draws: Vec<Draw>,
    rows: Rows,
    /// In percent of what is approved, at the first decision's merchant.
    upcharge_percent: i64,
    /// Claimed when a report last included everything, if one did.
    reported: Option<i64>,
}

/// An authorization that an increment raises, and what movements beyond its decisions claim already.
#[derive(Clone, Copy, Debug, Default)]
struct Raised {
    paid_in: &'static str,
    /// Of the pool or the balance.
    paid: i64,
    /// Of the limit, in francs.
    limit: i64,
    /// Of the user's funds.
    funds: i64,
    /// Held above the increment.
    percent: i64,
}

/// A user of the model.
#[derive(Clone, Debug)]
pub struct ModelUser {
    /// The sources in order.
    pub sources: Vec<&'static str>,
    /// Suspended by the partner.
    pub suspended: bool,
    /// The one card is frozen by a person.
    pub frozen: bool,
    /// The next approval of the card freezes it.
    pub single_use: bool,
    /// Its approval froze it.
    pub card_used: bool,
    /// UR's figures.
    pub used: i64,
    /// UR's figures.
    pub client: i64,
    /// UR's figures.
    pub start: i64,
    /// The partner's figure.
    pub funds: i64,
    /// Its currency.
    pub funds_currency: &'static str,
    /// Its version.
    pub version: u64,
    /// The EUR balance at UR.
    pub fiat: i64,
    /// Whether it may be taken from.
    pub allowance: bool,
    /// Set by a person on the user.
    pub controls: ModelControls,
}

/// Restrictions of a user.
#[derive(Clone, Debug, Default)]
pub struct ModelControls {
    /// Most approvals within an hour.
    pub hourly: Option<u32>,
    /// Most approvals in a calendar day of Zurich.
    pub daily: Option<u32>,
    /// Most francs in a calendar month of New York.
    pub monthly: Option<i64>,
    /// The categories that may be paid; empty: all.
    pub only_mccs: Vec<u16>,
}

/// An approval that velocity counts.
#[derive(Clone, Copy, Debug)]
struct ModelSpend {
    user: usize,
    at: i64,
    root: u32,
    draw: u32,
}

/// A request of the model.
#[derive(Clone, Copy, Debug)]
pub struct ModelTap {
    /// Its number.
    pub id: u32,
    /// The root's number, for an increment.
    pub parent: Option<u32>,
    /// `None`: unknown.
    pub user: Option<usize>,
    /// In smallest units.
    pub amount: i64,
    /// Its code.
    pub currency: &'static str,
    /// The merchant's category.
    pub mcc: Option<u16>,
}

/// A pool of the model.
#[derive(Clone, Debug, Default)]
pub struct ModelPool {
    /// As reported, with credits.
    pub reported: i64,
    /// Kept back.
    pub reserve: i64,
}

/// The model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Users by number.
    pub users: Vec<ModelUser>,
    /// Pools by currency.
    pub pools: BTreeMap<&'static str, ModelPool>,
    roots: BTreeMap<u32, Root>,
    /// Uses of the limit that reversals made, as (user, at, francs).
    reversal_uses: Vec<(usize, i64, i64)>,
    /// Every approval ever: velocity counts them whatever became of them.
    approvals: Vec<ModelSpend>,
    /// What the ledger showed where the model knows bounds only.
    seen: Seen,
}

/// Figures of the ledger that were found within the model's bounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Of each pool, available.
    pub(super) available: BTreeMap<&'static str, i64>,
    /// Of each user's funds, held.
    pub(super) funds: BTreeMap<usize, i64>,
    /// Of each user's limit, left.
    pub(super) limit_left: BTreeMap<usize, i64>,
    /// What movements beyond its decisions claim of the limit, of each authorization.
    pub(super) beyond: BTreeMap<u32, i64>,
}

impl Root {
    /// What stands, where UR shows movements.
    fn stands(&self) -> Option<Stands> {
        if self.rows.is_empty() {
            return None;
        }
        let mut left = self.announced;
        let draws = self.draws.iter().map(|draw| {
            let part = left.min(draw.amount);
            left -= part;
            let announced = draw.taken - share_up(draw.taken, draw.amount - part, draw.amount);
            Approved { paid: draw.taken, announced, is_ended: draw.is_ended, upcharge: draw.upcharge.0 }
        });
        Some(self.rows.stands(&draws.collect::<Vec<_>>()))
    }

    fn held(&self) -> i64 {
        self.stands().map_or_else(|| self.draws.iter().map(|draw| draw.paid).sum(), |stands| stands.held)
    }

    /// Held above each decision's amount, and at most: at the source, and of the user's funds.
    fn upcharges(&self) -> Vec<[(i64, i64); 2]> {
        let upcharges: Vec<(i64, i64)> = match self.stands() {
            Some(stands) => stands.upcharges,
            None => {
                let share = |draw: &Draw| share_up(draw.upcharge.0, draw.paid, draw.taken);
                self.draws.iter().map(|draw| (share(draw), share(draw))).collect()
            }
        };
        let with_funds = self.draws.iter().zip(upcharges).map(|(draw, (now, most))| {
            let of_funds = |paid: i64| share_up(draw.upcharge.1, paid, draw.upcharge.0);
            [(now, most), (of_funds(now), of_funds(most))]
        });
        with_funds.collect()
    }

    /// Held above the approved amounts, at the source.
    fn upcharged(&self) -> i64 {
        self.upcharges().iter().map(|[(now, _), _]| now).sum()
    }

    /// The same of the user's funds.
    fn funds_upcharged(&self) -> i64 {
        self.upcharges().iter().map(|[_, (now, _)]| now).sum()
    }

    /// What movements claim beyond what was approved and upcharged.
    fn beyond(&self) -> i64 {
        let upcharges: i64 = self.upcharges().iter().map(|[(now, most), _]| most - now).sum();
        self.stands().map_or(0, |stands| (stands.held + stands.taken - stands.approved - upcharges).max(0))
    }

    /// What the user owes for them, at the first decision's rate.
    fn owed_beyond(&self) -> i64 {
        let owed = self.stands().and_then(|stands| stands.owed.last().copied());
        let first = self.draws.first().filter(|_| self.source == "CRYPTO");
        let owed = owed.zip(first).map_or(0, |(owed, first)| share_up(first.whole_debit, owed, first.taken));
        let upcharges: i64 = self.upcharges().iter().map(|[_, (now, most)]| most - now).sum();
        (owed - upcharges).max(0)
    }

    fn claimed(&self) -> i64 {
        self.held() + self.stands().map_or(0, |stands| stands.taken)
    }

    fn state(&self) -> &'static str {
        self.stands().map_or(self.state, |stands| stands.state)
    }

    fn is_open(&self) -> bool {
        matches!(self.state(), "approved" | "confirmed" | "partly_cleared")
    }

    /// Least and most of the pool's claims that no report includes.
    fn unreflected(&self) -> (i64, i64) {
        if self.rows.is_empty() {
            let open = self.draws.iter().filter(|draw| !draw.reflected).map(|draw| draw.paid).sum();
            return (open, open);
        }
        let claimed = self.claimed();
        let most = self.draws.iter().map(|draw| draw.taken).sum::<i64>() + self.rows.total_out();
        self.reported.map_or((claimed, claimed), |reported| ((claimed - reported).max(0), most.max(claimed)))
    }

    /// Least and most held of the user's funds.
    fn funds_held(&self) -> (i64, i64) {
        let upcharged = self.funds_upcharged();
        let Some(stands) = self.stands() else {
            let held = self.draws.iter().map(|draw| draw.funds).sum::<i64>() + upcharged;
            return (held, held);
        };
        if self.source != "CRYPTO" {
            return (0, 0);
        }
        let of = |draw: &Draw, owed: i64| share_up(draw.whole_debit, owed, draw.taken);
        let shares = self.draws.iter().zip(&stands.owed).map(|(draw, owed)| of(draw, *owed)).sum::<i64>();
        let beyond = stands.owed.last().zip(self.draws.first()).map_or(0, |(owed, draw)| of(draw, *owed));
        let is_debited = self.draws.iter().any(|draw| draw.debit != draw.whole_debit);
        let most = shares + beyond + upcharged;
        (if is_debited { upcharged } else { most }, most)
    }
}

/// Held above an approved amount at a restaurant.
fn upcharge_percent(mcc: Option<u16>) -> i64 {
    if mcc == Some(5_812) { 20 } else { 0 }
}

fn add((least, most): (i64, i64), (low, high): (i64, i64)) -> (i64, i64) {
    (least + low, most + high)
}

fn floor_convert(amount: i64, rate: i128, spread: i128) -> i64 {
    (i128::from(amount) * rate * spread / 100_000_000) as i64
}

fn francs(amount: i64, currency: &str) -> i64 {
    let rate = if currency == "EUR" { CHF_EUR } else { CHF_USD };
    (i128::from(amount) * rate / 10_000) as i64
}

fn share_up(amount: i64, part: i64, whole: i64) -> i64 {
    if part <= 0 || whole <= 0 {
        return 0;
    }
    ((i128::from(amount) * i128::from(part) + i128::from(whole) - 1) / i128::from(whole)) as i64
}

impl Model {
    fn draws(&self) -> impl Iterator<Item = (&Root, &Draw)> {
        self.roots.values().flat_map(|root| root.draws.iter().map(move |draw| (root, draw)))
    }

    /// Least and most that a pool has left for approvals: one figure unless UR shows movements of what a report includes.
    #[must_use]
    pub fn available(&self, currency: &str) -> (i64, i64) {
        let open = self.roots.values().filter(|root| root.source == "CRYPTO" && root.paid_currency == currency);
        let (least, most) = open.clone().map(Root::unreflected).fold((0, 0), add);
        // No report includes it.
        let upcharged = open.map(Root::upcharged).sum::<i64>();
        let reported = self.pools.get(currency).map_or(0, |pool| pool.reported) - upcharged;
        (reported - most, reported - least)
    }

    /// What stands held of a pool.
    #[must_use]
    pub fn held(&self, currency: &str) -> i64 {
        let open = self.roots.values().filter(|root| root.source == "CRYPTO" && root.paid_currency == currency);
        open.map(Root::held).sum()
    }

    /// Least and most held of a user's funds: one figure unless UR shows movements of what is debited.
    #[must_use]
    pub fn funds_held(&self, user: usize) -> (i64, i64) {
        self.roots.values().filter(|root| root.user == user).map(Root::funds_held).fold((0, 0), add)
    }

    /// What a user's EUR balance does not show yet: no report comes in these scripts.
    #[must_use]
    pub fn fiat_held(&self, user: usize) -> i64 {
        let own = self.roots.values().filter(|root| root.user == user && root.source == "FIAT");
        own.map(|root| root.claimed() + root.upcharged()).sum()
    }

    /// Notes what the ledger shows, to decide by where the model knows bounds only.
    pub(super) fn see(&mut self, seen: Seen) {
        self.seen = seen;
    }

    fn known((least, most): (i64, i64), seen: Option<&i64>) -> i64 {
        if least == most { least } else { seen.copied().unwrap_or(least) }
    }

    fn available_now(&self, currency: &str) -> i64 {
        Model::known(self.available(currency), self.seen.available.get(currency))
    }

    /// Least and most that is left of a user's limit, below zero where more is used than allowed: one figure unless UR
    /// shows movements of the user.
    #[must_use]
    pub fn limit_left(&self, user: usize, now: i64) -> (i64, i64) {
        let figures = &self.users[user];
        let used = if figures.start + MONTH_SECONDS < now { 0 } else { figures.used };
        if self.roots.values().any(|root| root.user == user && !root.rows.is_empty()) {
            return (i64::MIN, figures.client - used);
        }
        let lives = |at: i64| at + MONTH_SECONDS >= now;
        let spent: i64 =
            self.draws().filter(|(_, draw)| draw.user == user && lives(draw.at)).map(|(_, draw)| draw.limit).sum();
        let reversed: i64 =
            self.reversal_uses.iter().filter(|(who, at, _)| *who == user && lives(*at)).map(|(.., chf)| chf).sum();
        let left = figures.client - used - spent - reversed;
        (left, left)
    }

    /// The state of an authorization.
    #[must_use]
    pub fn state(&self, root: u32) -> Option<&'static str> {
        self.roots.get(&root).map(Root::state)
    }

    /// An authorization or, with a parent, an increment.
    pub fn tap(&mut self, tap: ModelTap, now: i64) -> ModelReply {
        let ModelTap { id, parent, user, amount, currency, .. } = tap;
        let root_id = parent.unwrap_or(id);
        match self.decide(root_id, &tap, now) {
            Err(reason) => {
                if parent.is_none() && !self.roots.contains_key(&root_id) {
                    self.roots.insert(root_id, self.root("declined", user.unwrap_or(usize::MAX), currency));
                }
                ModelReply::Declined(reason)
            }
            Ok(Taken { source, paid_in, paid, funds, upcharge }) => {
                let user = user.unwrap_or(usize::MAX);
                let spent = francs(paid, paid_in);
                let draw = Draw {
                    id,
                    user,
                    at: now,
                    amount: amount.max(1),
                    remaining: amount.max(1),
                    taken: paid,
                    paid,
                    funds,
                    debit: funds,
                    limit: spent,
                    reflected: false,
                    is_ended: false,
                    whole_debit: funds,
                    upcharge,
                };
                self.approvals.push(ModelSpend { user, at: now, root: root_id, draw: id });
                if parent.is_none() {
                    self.users[user].card_used = self.users[user].single_use;
                }
                let fresh = self.root("approved", user, currency);
                let root = self.roots.entry(root_id).or_insert(fresh);
                root.source = source;
                root.paid_currency = paid_in;
                if root.draws.is_empty() {
                    root.upcharge_percent = upcharge_percent(tap.mcc);
                }
                // A zero amount is one unit to give back.
                root.authorized += amount.max(1);
                root.draws.push(draw);
                ModelReply::Approved(source, amount)
            }
        }
    }

    fn root(&self, state: &'static str, user: usize, currency: &'static str) -> Root {
        Root {
            state,
            user,
            currency,
            source: "",
            paid_currency: currency,
            authorized: 0,
            announced: 0,
            announced_chf: 0,
            parts_chf: 0,
            draws: Vec::new(),
            rows: Rows::default(),
            upcharge_percent: 0,
            reported: None,
        }
    }

    fn decide(&self, root_id: u32, tap: &ModelTap, now: i64) -> Result<Taken, &'static str> {
        let ModelTap { parent, user, amount, currency, .. } = *tap;
        let user = user.ok_or("unknown_user")?;
        let figures = &self.users[user];
        let root = self.roots.get(&root_id);
        if parent.is_none() && root.is_some_and(|root| root.state == "tombstoned") {
            return Err("already_reversed");
        }
        let live = root.filter(|root| root.is_open() && root.user == user && root.currency == currency);
        if parent.is_some() && live.is_none() {
            return Err("parent_not_found");
        }
        if figures.suspended {
            return Err("user_suspended");
        }
        if figures.frozen || (figures.card_used && parent.is_none()) {
            return Err("card_frozen");
        }
        if parent.is_some() && amount == 0 {
            return Err("amount_invalid");
        }
        let sources = match live {
            Some(root) if parent.is_some() => vec![root.source],
            _ => figures.sources.clone(),
        };
        let raised = live.filter(|_| parent.is_some()).map(|root| {
            let limit = self.seen.beyond.get(&root_id).copied().unwrap_or_default();
            let percent = tap.mcc.map_or(root.upcharge_percent, |_| upcharge_percent(tap.mcc));
            Raised { paid_in: root.paid_currency, paid: root.beyond(), limit, funds: root.owed_beyond(), percent }
        });
        let tries: Vec<_> = sources.iter().map(|source| self.try_source(source, user, tap, raised, now)).collect();
        if let Some(taken) = tries.iter().find_map(|tried| tried.ok()) {
            return Ok(taken);
        }
        let order = [
            "currency_unsupported",
            "mcc_blocked",
            "velocity_amount",
            "velocity_count",
            "limit_exceeded",
            "insufficient_user_funds",
            "fiat_allowance_missing",
            "pool_stressed",
            "pool_reserve_held",
            "pool_exhausted",
        ];
        let first = order.into_iter().find(|reason| tries.contains(&Err(*reason)));
        Err(first.unwrap_or("pool_exhausted"))
    }

    fn try_source(
        &self,
        source: &'static str,
        user: usize,
        tap: &ModelTap,
        raised: Option<Raised>,
        now: i64,
    ) -> Result<Taken, &'static str> {
        let (figures, controls) = (&self.users[user], &self.users[user].controls);
        let ModelTap { amount, currency, .. } = *tap;
        let paid_in = raised.map(|raised| raised.paid_in);
        let claimed = raised.unwrap_or_default();
        let own_pool = source == "CRYPTO" && self.pools.contains_key(currency);
        let percent = raised.map_or(upcharge_percent(tap.mcc), |raised| raised.percent);
        let upcharge_on = |paid: i64| share_up(paid, percent, 100);
        let essential = |chf: i64| tap.mcc == Some(5_411) && chf <= 800;
        let direct_covers = own_pool && {
            let (left, reserve) =
                (self.available_now(currency) - amount - upcharge_on(amount), self.pools[currency].reserve);
            if essential(francs(amount, currency)) { left >= 0 } else { 2 * left >= 3 * reserve }
        };
        let is_direct = currency == "EUR" || direct_covers || (amount == 0 && currency == "USD");
        let into = paid_in.unwrap_or(if is_direct { currency } else { "EUR" });
        let fiat = figures.fiat - self.fiat_held(user) + claimed.paid;
        let covers = Model::price(amount, currency, into).is_some_and(|paid| paid <= fiat);
        // Where the only balance does not cover a spend, people are told of the one in the charged currency.
        let own = if currency == "THB" { "EUR" } else { currency };
        let is_of_own = source == "FIAT" && paid_in.is_none() && (into != "EUR" || !covers);
        let (into, fiat) = if is_of_own { (own, if own == "EUR" { fiat } else { 0 }) } else { (into, fiat) };
        let paid = Model::price(amount, currency, into).ok_or("currency_unsupported")?;
        if !controls.only_mccs.is_empty() && tap.mcc.is_none_or(|mcc| !controls.only_mccs.contains(&mcc)) {
            return Err("mcc_blocked");
        }
        let of_user = || self.approvals.iter().filter(|spend| spend.user == user);
        if let Some(most) = controls.monthly {
            let month = |at: i64| calendar::month(calendar::local(at, &calendar::NEW_YORK));
            let in_month = of_user().filter(|spend| month(spend.at) == month(now));
            let spent: i64 = in_month.map(|spend| self.counted(spend)).sum();
            if spent + francs(paid, into) > most {
                return Err("velocity_amount");
            }
        }
        let day = |at: i64| calendar::local(at, &calendar::ZURICH).div_euclid(calendar::DAY);
        let lately = of_user().filter(|spend| spend.at > now - 3600).count();
        let today = of_user().filter(|spend| day(spend.at) == day(now)).count();
        let is_full = |most: Option<u32>, count: usize| most.is_some_and(|most| count >= most as usize);
        if is_full(controls.hourly, lately) || is_full(controls.daily, today) {
            return Err("velocity_count");
        }
        let limit_left = Model::known(self.limit_left(user, now), self.seen.limit_left.get(&user));
        if francs(paid, into) > limit_left + claimed.limit {
            return Err("limit_exceeded");
        }
        if source == "FIAT" {
            if paid + upcharge_on(paid) > fiat {
                return Err("insufficient_user_funds");
            }
            let taken = Taken { source, paid_in: into, paid, funds: 0, upcharge: (upcharge_on(paid), 0) };
            return if figures.allowance { Ok(taken) } else { Err("fiat_allowance_missing") };
        }
        let in_funds = |paid: i64| match (into, figures.funds_currency) {
            (paid_in, own) if paid_in == own => paid,
            (_, own) => {
                let rate = if own == "USD" { EUR_TO_USD } else { USD_TO_EUR };
                ((i128::from(paid) * rate * SPREAD + 99_999_999) / 100_000_000) as i64
            }
        };
        let (funds, with_upcharge) = (in_funds(paid), in_funds(paid + upcharge_on(paid)));
        let held = Model::known(self.funds_held(user), self.seen.funds.get(&user));
        if with_upcharge > figures.funds - held + claimed.funds {
            return Err("insufficient_user_funds");
        }
        let left = self.available_now(into) + claimed.paid - paid - upcharge_on(paid);
        let upcharge = (upcharge_on(paid), with_upcharge - funds);
        let taken = Taken { source, paid_in: into, paid, funds, upcharge };
        let reserve = self.pools.get(into).map_or(0, |pool| pool.reserve);
        match left {
            left if left < 0 => Err("pool_exhausted"),
            _ if essential(francs(paid, into)) => Ok(taken),
            left if left < reserve => Err("pool_reserve_held"),
            // The scripts' tier is in force below one and a half reserves.
            left if 2 * left < 3 * reserve => Err("pool_stressed"),
            _ => Ok(taken),
        }
    }

    /// Francs that velocity counts of an approval: what was given back no longer counts. UR shows no movement of it.
    fn counted(&self, spend: &ModelSpend) -> i64 {
        let root = &self.roots[&spend.root];
        let draw = root.draws.iter().find(|draw| draw.id == spend.draw);
        draw.map_or(0, |draw| share_up(francs(draw.taken, root.paid_currency), draw.paid, draw.taken))
    }

    /// What an amount takes in a currency: at least one unit, also of an amount of zero.
    fn price(amount: i64, currency: &str, into: &str) -> Option<i64> {
        let settlement = (amount + 39) / 40;
        let amount = amount.max(1);
        let paid = match (currency, into) {
            (from, to) if from == to => amount,
            ("USD", "EUR") => floor_convert(amount, USD_TO_EUR, SPREAD),
            ("EUR", "USD") => floor_convert(amount, EUR_TO_USD, SPREAD),
            // The settlement amount of a baht transaction is a fortieth, rounded up, in these scripts.
            ("THB", to) => {
                let settlement = i128::from(settlement) * INTERCHANGE;
                let (rate, spread) = if to == "EUR" { (10_000, 10_000) } else { (EUR_TO_USD, SPREAD) };
                (settlement * rate * spread / 10_000_000_000) as i64
            }
            _ => return None,
        };
        Some(paid.max(1))
    }

    /// A reversal of a root by its own user.
    pub fn reverse(&mut self, root_id: u32, user: usize, amount: i64, currency: &'static str, now: i64) -> ModelReply {
        if amount == 0 {
            return ModelReply::Declined("amount_invalid");
        }
        let fresh = self.root("tombstoned", user, currency);
        let Some(root) = self.roots.get_mut(&root_id) else {
            self.roots.insert(root_id, fresh);
            return ModelReply::Acknowledged(0);
        };
        if root.user != user || root.currency != currency {
            return ModelReply::Acknowledged(0);
        }
        let given = amount.min(root.authorized - root.announced);
        if let Some(before) = root.stands() {
            root.announced += given;
            let after = root.stands().map_or(0, |after| after.owed.iter().sum());
            let is_released = before.held > 0 || after < before.owed.iter().sum::<i64>();
            return ModelReply::Acknowledged(if is_released { given } else { 0 });
        }
        let (was_held, first) = (root.state == "approved", root.announced == 0);
        let held: i64 = root.draws.iter().map(|draw| draw.paid).sum();
        root.announced += given;
        if was_held {
            give_back(root, given);
        }
        if given > 0 && root.announced == root.authorized {
            root.state = "reversed";
        }
        if !was_held && first && given > 0 {
            // UR approved it and gives it back, whatever we released: the contract counts both.
            let spent = root.draws.iter().map(|draw| francs(draw.taken, root.paid_currency)).sum();
            self.reversal_uses.push((user, now, spent));
        }
        // The contract rounds each part of what comes back; more than the whole never comes back.
        let taken: i64 = root.draws.iter().map(|draw| draw.taken).sum();
        let back = |part: i64| {
            let stays = share_up(taken, root.authorized - part, root.authorized);
            francs(taken - stays, root.paid_currency)
        };
        let whole = back(root.announced);
        root.parts_chf += back(amount);
        let more = root.parts_chf.min(whole) - root.announced_chf;
        if more > 0 {
            root.announced_chf += more;
            self.reversal_uses.push((user, now, more));
        }
        ModelReply::Acknowledged(if held > 0 { given } else { 0 })
    }

    /// Whose authorization UR can show movements of, and what of it was paid in which currency.
    #[must_use]
    pub(super) fn paid(&self, root_id: u32) -> Option<(usize, i64, &'static str)> {
        let root = self.roots.get(&root_id).filter(|root| !root.draws.is_empty())?;
        Some((root.user, root.draws.iter().map(|draw| draw.taken).sum(), root.paid_currency))
    }

    /// A movement that UR shows of an approved authorization. False if it says nothing new.
    pub(super) fn show(&mut self, root_id: u32, hash: u8, is_out: bool, status: Status, amount: i64) -> bool {
        self.roots.get_mut(&root_id).is_some_and(|root| root.rows.show(hash, is_out, status, amount))
    }

    /// A person's release. False where nothing is held, not even above what was approved.
    pub fn release(&mut self, root_id: u32) -> bool {
        let can_end = |root: &&mut Root| root.is_open() || root.held() > 0 || root.upcharged() > 0;
        let Some(root) = self.roots.get_mut(&root_id).filter(can_end) else {
            return false;
        };
        root.rows.end();
        root.draws.iter_mut().for_each(|draw| draw.is_ended = true);
        if root.stands().is_some() {
            return true;
        }
        let unbooked = root.announced == 0;
        give_back(root, root.authorized - root.announced);
        root.state = "released";
        if unbooked {
            for draw in &mut root.draws {
                draw.limit = 0;
            }
        }
        true
    }

    /// A pool's report that reflects everything so far, or nothing more than before.
    pub fn report(&mut self, currency: &'static str, reported: i64, reserve: i64, reflects_all: bool) {
        self.pools.insert(currency, ModelPool { reported, reserve });
        if reflects_all {
            let roots = self.roots.values_mut();
            let drawn = roots.filter(|root| root.source == "CRYPTO" && root.paid_currency == currency);
            for root in drawn {
                root.reported = Some(root.claimed());
                root.draws.iter_mut().for_each(|draw| draw.reflected = true);
            }
        }
    }

    /// The partner's new figure, which includes the debits of these ids. False for an old version.
    pub fn replace_funds(&mut self, user: usize, funds: i64, version: u64, debited: &[u32]) -> bool {
        if version <= self.users[user].version {
            return false;
        }
        self.users[user].funds = funds;
        self.users[user].version = version;
        let draws = self.roots.values_mut().flat_map(|root| root.draws.iter_mut());
        for draw in draws.filter(|draw| draw.user == user && debited.contains(&draw.id)) {
            (draw.funds, draw.debit) = (0, 0);
        }
        true
    }
}

/// Gives back `amount` of the transaction, oldest draw first.
fn give_back(root: &mut Root, amount: i64) {
    let mut left = amount;
    for draw in &mut root.draws {
        let part = draw.remaining.min(left);
        left -= part;
        draw.remaining -= part;
        let stays = share_up(draw.taken, draw.remaining, draw.amount);
        draw.funds = share_up(draw.debit, stays, draw.taken);
        draw.paid = stays;
    }
}
