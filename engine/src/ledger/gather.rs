//! Gathers the inputs of the ladder, once, under the user's guard.

use smallvec::{SmallVec, smallvec};

use super::{Policy, Shared};
use crate::contract::pricing::Price;
use crate::fact::{
    AmountMaxSeen, Capacity, CardUse, Claimed, Controls, FiatChoice, FundingPolicy, FundingRoute, FundsSeen, Gates,
    Inputs, Kind, Listed, Provider, Request, Source, StressSeen, StressTier, UserSeen, VelocitySeen,
};
use crate::money::{Currency, Minor};
use crate::rows::{Authorization, Card, User};
use crate::rules::claimed;
use crate::time::{Moment, UnixMillis, UnixSeconds};

/// The currencies besides USD whose balances UR's account view compares, in its order.
const CHECKED: [Currency; 6] =
    [Currency::EUR, Currency::CHF, Currency::CNH, Currency::SGD, Currency::JPY, Currency::HKD];

type Routes = SmallVec<[FundingRoute; 1]>;

/// The state and request behind one decision.
pub(super) struct Scene<'a> {
    pub(super) policy: &'a Policy,
    pub(super) shared: &'a Shared,
    pub(super) request: &'a Request,
    pub(super) known: Known<'a>,
    pub(super) moment: Moment,
    pub(super) disk_low: bool,
}

/// What rows say about a request.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) user: Option<&'a User>,
    /// The authorization at the request's root, if any.
    pub(super) root: Option<&'a Authorization>,
    /// A reversal of this increment came before it.
    pub(super) reversed_before: bool,
}

impl Scene<'_> {
    pub(super) fn inputs(&self) -> Inputs {
        let request = self.request;
        let now = self.moment.at.seconds();
        let card = self.known.user.and_then(|user| user.card(&request.card));
        let parent = self.known.root.filter(|root| request.kind == Kind::Incremental && root.accepts(request));
        let rates = &self.shared.program.rates;
        let controls = self.controls(card);
        let listed = controls.iter().fold(Listed::default(), |listed, (controls, _)| {
            listed.or(controls.listed(&request.merchant, request.channel))
        });
        let sources = self.sources(card, parent);
        Inputs {
            now,
            gates: self.gates(parent),
            user: self.known.user.map(|user| self.user_seen(user, now)),
            card: card.map(|card| card.status),
            card_use: card.map_or(CardUse::Any, |card| card.card_use),
            listed,
            amount_max: controls
                .iter()
                .filter_map(|(controls, _)| controls.transaction_amount_max)
                .map(|max| AmountMaxSeen { max, chf_rate: rates.chf_rate(max.currency) })
                .collect(),
            velocity: self.velocity(&controls, now),
            rates_age_seconds: rates.set_at.map(|set_at| age_seconds(set_at, self.moment.at)),
            rates_max_age_seconds: self.policy.rates_max_age_seconds,
            limit_weight: self.policy.limit_weight,
            fx_buffer_bps: self.policy.fx_buffer_bps,
            zero_amount_holds: self.policy.zero_amount_holds,
            upcharge_percent: self.upcharge_percent(parent),
            stress: self.stress(),
            routes: self.routes(&sources, card, parent),
            sources,
            claimed: None,
        }
    }

    /// Leaves to the decision what its authorization claims already, because UR's movements came before.
    pub(super) fn leave_claimed(&self, inputs: &mut Inputs) {
        let parent = self.known.root.filter(|root| root.accepts(self.request));
        let row = if self.request.kind == Kind::Incremental { parent } else { self.shown_before() };
        let funds = self.known.user.and_then(|user| user.funds).map(|funds| funds.currency);
        if let Some(claimed) = row.and_then(|row| claimed(row, self.policy.tolerance, funds)) {
            count_as_left(inputs, &claimed);
            inputs.claimed = Some(Box::new(claimed));
        }
    }

    fn gates(&self, parent: Option<&Authorization>) -> Gates {
        let (request, program) = (self.request, &self.shared.program);
        Gates {
            program_suspended: program.suspended,
            provider_suspended: self.known.user.is_some_and(|user| program.suspension(user.provider).is_some()),
            reversed_before: self.known.reversed_before
                || request.kind == Kind::Authorization
                    && self.known.root.is_some_and(|root| root.is_tombstone || root.user != request.user),
            parent_found: request.kind != Kind::Incremental || parent.is_some(),
            time_trusted: self.moment.trusted,
            disk_low: self.disk_low,
        }
    }

    /// Where an increment names no merchant, its authorization's counts.
    fn upcharge_percent(&self, parent: Option<&Authorization>) -> u8 {
        let upcharges = &self.policy.hold_upcharge;
        if upcharges.is_empty() {
            return 0;
        }
        match self.request.merchant.mcc {
            Some(mcc) => upcharges.iter().find(|upcharge| upcharge.mcc == mcc).map_or(0, |upcharge| upcharge.percent),
            None => {
                parent.and_then(|parent| parent.draws.first()?.upcharge.as_ref()).map_or(0, |upcharge| upcharge.percent)
            }
        }
    }

    fn stress(&self) -> Option<Box<[StressSeen]>> {
        let tiers = &self.policy.stress;
        (!tiers.is_empty()).then(|| tiers.iter().map(|tier| self.stress_seen(tier)).collect())
    }

    fn stress_seen(&self, tier: &StressTier) -> StressSeen {
        let mcc = self.request.merchant.mcc;
        StressSeen {
            below_reserve_percent: tier.below_reserve_percent,
            amount_max: tier.amount_max,
            is_listed: tier.mcc.is_empty() || mcc.is_some_and(|mcc| tier.mcc.contains(&mcc)),
        }
    }

    /// Only UR's figures are read by the feeds: those of another provider's accounts, and the pools that it settles from,
    /// come through the admin API, and do not age.
    fn is_fed(&self) -> bool {
        self.known.user.is_none_or(|user| user.provider == Provider::Ur)
    }

    fn user_seen(&self, user: &User, now: UnixSeconds) -> UserSeen {
        UserSeen {
            status: user.status,
            suspended: user.suspended,
            stale: self.is_fed() && self.is_stale(user.reported_at),
            headroom: user.limit_left(&self.request.user, now),
            limit_start: user.limit.start,
            limit_used: user.limit.counted_use(now),
        }
    }

    /// The controls that apply, each with a card number where its velocity counts one card only.
    fn controls<'b>(&'b self, card: Option<&'b Card>) -> SmallVec<[(&'b Controls, Option<u16>); 3]> {
        let own = self.known.user.and_then(User::controls).map(|controls| (controls, None));
        let cards = card.and_then(|card| Some((card.controls.as_deref()?, Some(card.number))));
        [Some((&self.policy.controls, None)), own, cards].into_iter().flatten().collect()
    }

    fn velocity(&self, controls: &[(&Controls, Option<u16>)], now: UnixSeconds) -> Vec<VelocitySeen> {
        let Some(user) = self.known.user else { return Vec::new() };
        let rules =
            controls.iter().flat_map(|(controls, card)| controls.velocity.iter().map(move |rule| (rule, *card)));
        let spends = user.spends();
        rules
            .map(|(rule, card)| {
                let start = rule.period.starts_after(now);
                VelocitySeen {
                    rule: rule.clone(),
                    window: spends.window(start, card),
                    since: rule.period.named().map(|_| start.plus(1)),
                    relief_at: spends.oldest_approval(start, card).map(|at| rule.period.left_at(at)),
                }
            })
            .collect()
    }

    /// The authorization, where UR's movements came before its decision: they claimed its source, in their currency.
    fn shown_before(&self) -> Option<&Authorization> {
        self.known.root.filter(|root| self.request.kind == Kind::Authorization && root.is_shown())
    }

    /// The funding sources in the order of attempts. An increment keeps its parent's source.
    fn sources(&self, card: Option<&Card>, parent: Option<&Authorization>) -> SmallVec<[Source; 2]> {
        if let Some(source) = parent.or_else(|| self.shown_before()).and_then(|row| row.source) {
            return smallvec![source];
        }
        let own = self.known.user.and_then(|user| user.funding).unwrap_or(self.policy.funding);
        let pool = card.and_then(|card| self.shared.pool(card.currency));
        let below_reserve = pool.is_some_and(|pool| pool.available() < pool.reserve_kept());
        if self.policy.protect_runway && below_reserve && own != FundingPolicy::Fiat {
            return smallvec![Source::Fiat, Source::Crypto];
        }
        match own {
            FundingPolicy::Crypto => smallvec![Source::Crypto],
            FundingPolicy::Fiat => smallvec![Source::Fiat],
            FundingPolicy::CryptoThenFiat => smallvec![Source::Crypto, Source::Fiat],
            FundingPolicy::FiatThenCrypto => smallvec![Source::Fiat, Source::Crypto],
        }
    }

    /// The routes of all sources. Where UR's movements came first, those in their currency.
    fn routes(&self, sources: &[Source], card: Option<&Card>, parent: Option<&Authorization>) -> Routes {
        let mut routes = Routes::new();
        for source in sources {
            self.add_routes(&mut routes, *source, card, parent);
        }
        if let Some(row) = self.shown_before() {
            routes.retain(|route| route.currency == row.paid_currency);
        }
        routes
    }

    /// Rules (1) to (3) of pricing. An increment is paid in its parent's currency, so that every release is in the
    /// currency of the one hold.
    fn add_routes(&self, routes: &mut Routes, source: Source, card: Option<&Card>, parent: Option<&Authorization>) {
        let transaction = self.request.currency;
        if self.request.settlement_currency.is_some_and(|currency| !currency.is_held_by_ur()) {
            // UR's contract refuses it even where no settlement amount is needed.
            return;
        }
        if let Some(parent) = parent {
            let paid_in = parent.paid_currency;
            let price = if paid_in == transaction { Some(Some(Price::Direct)) } else { self.price(paid_in) };
            routes.extend(price.and_then(|price| self.route(source, paid_in, price)));
            return;
        }
        if self.request.amount.is_zero() && transaction.is_held_by_ur() {
            // UR's contract finds zero covered by any balance, and looks for no other.
            routes.extend(self.route(source, transaction, Some(Price::Direct)));
            return;
        }
        if source == Source::Fiat && self.policy.fiat_choice == FiatChoice::AccountCheck {
            return self.add_account_check_routes(routes);
        }
        let Some(card) = card else { return };
        // A missing pool or balance in the card's currency counts as empty, not as an unsupported currency.
        let direct_exists = card.currency == transaction
            || match source {
                Source::Crypto => self.shared.pool(transaction).is_some(),
                Source::Fiat => self.known.user.is_some_and(|user| user.fiat_in(transaction).is_some()),
            };
        if direct_exists {
            routes.extend(self.route(source, transaction, Some(Price::Direct)));
        }
        if card.currency != transaction
            && let Some(price) = self.price(card.currency)
        {
            routes.extend(self.route(source, card.currency, price));
        }
    }

    /// The balances from which UR's account view would have a spend paid, in its order: the one in the transaction
    /// currency, or in EUR for a currency that UR does not hold; USD; and of the others the one worth most.
    fn add_account_check_routes(&self, routes: &mut Routes) {
        let Some(user) = self.known.user else { return };
        let transaction = self.request.currency;
        let first = if transaction.is_held_by_ur() { transaction } else { Currency::EUR };
        let dollars = |currency: Currency| {
            let (balance, rates) = (user.fiat_in(currency)?, &self.shared.program.rates);
            rates.conversion(currency, Currency::USD)?.floor(balance.available())
        };
        let others = CHECKED.into_iter().filter(|currency| *currency != first);
        let mut others: SmallVec<[(Minor, Currency); CHECKED.len()]> =
            others.filter_map(|currency| Some((dollars(currency)?, currency))).collect();
        // A stable sort: of two worth the same, UR takes the earlier of its list.
        others.sort_by_key(|(dollars, _)| std::cmp::Reverse(*dollars));
        let others = others.into_iter().map(|(_, currency)| currency);
        let second = (first != Currency::USD).then_some(Currency::USD);
        // Where none covers it, UR tries USD in vain; people are told of the first.
        let order = [first].into_iter().chain(second).chain(others).chain([first]);
        let price = |into| if into == transaction { Some(Some(Price::Direct)) } else { self.price(into) };
        routes.extend(order.filter_map(|currency| self.route(Source::Fiat, currency, price(currency)?)));
    }

    /// `None`: unsupported. `Some(None)`: the price needs rates, and none were ever set.
    #[expect(clippy::option_option, reason = "the two kinds of absence decline with different reasons")]
    fn price(&self, into: Currency) -> Option<Option<Price>> {
        let rates = &self.shared.program.rates;
        let settled_in_eur = self.request.settlement_in_eur().is_some();
        match rates.price(self.request.currency, settled_in_eur, into) {
            Some(price) => Some(Some(price)),
            None if rates.set_at.is_none() => (self.request.currency.is_held_by_ur() || settled_in_eur).then_some(None),
            None => None,
        }
    }

    fn route(&self, source: Source, currency: Currency, price: Option<Price>) -> Option<FundingRoute> {
        let rates = &self.shared.program.rates;
        let capacity = match source {
            Source::Crypto => {
                let pool = self.shared.pool(currency);
                Capacity::Pool {
                    available: pool.map_or(Minor::ZERO, |pool| pool.spendable()),
                    reserve: pool.map_or(Minor::ZERO, |pool| pool.reserve_kept()),
                    stale: self.is_fed() && pool.is_some_and(|pool| self.is_stale(pool.reported_at())),
                    funds: self.known.user.and_then(|user| user.funds).map(|funds| FundsSeen {
                        currency: funds.currency,
                        available: funds.available(),
                        conversion: rates.conversion(currency, funds.currency),
                    }),
                }
            }
            Source::Fiat => {
                let balance = self.known.user?.fiat_in(currency);
                Capacity::Balance {
                    available: balance.map_or(Minor::ZERO, |balance| balance.available()),
                    allowance: balance.is_some_and(|balance| balance.allowance),
                }
            }
        };
        let rates_age_seconds = (!rates.kept.is_empty()).then(|| {
            let set_at = self.rates_set_at(currency, price, &capacity);
            set_at.map_or(0, |set_at| age_seconds(set_at, self.moment.at))
        });
        Some(FundingRoute { currency, price, chf_rate: rates.chf_rate(currency), capacity, rates_age_seconds })
    }

    /// When the oldest rate was set that a route uses; `None` if all of them are pinned.
    fn rates_set_at(&self, currency: Currency, price: Option<Price>, capacity: &Capacity) -> Option<UnixMillis> {
        let rates = &self.shared.program.rates;
        let of_price = match price {
            Some(Price::Direct) | None => None,
            Some(Price::Converted(_)) => rates.conversion_set_at(self.request.currency, currency),
            Some(Price::Settled { .. }) => rates.conversion_set_at(Currency::EUR, currency),
        };
        let of_funds = match capacity {
            Capacity::Pool { funds: Some(funds), .. } => rates.conversion_set_at(currency, funds.currency),
            Capacity::Pool { funds: None, .. } | Capacity::Balance { .. } => None,
        };
        [of_price, of_funds, rates.chf_set_at(currency)].into_iter().flatten().min()
    }

    fn is_stale(&self, reported_at: UnixMillis) -> bool {
        self.policy.state_max_age_seconds.is_some_and(|max| age_seconds(reported_at, self.moment.at) > max)
    }
}

/// What an authorization claims already is not claimed twice: to its own decision it is left.
fn count_as_left(inputs: &mut Inputs, claimed: &Claimed) {
    if let Some(user) = &mut inputs.user {
        // Saturating: the headroom of an unlimited account is at the end of i64 already.
        user.headroom = user.headroom.saturating_add(claimed.limit);
    }
    for route in &mut inputs.routes {
        let paid = if route.currency == claimed.paid.currency { claimed.paid.amount } else { Minor::ZERO };
        match &mut route.capacity {
            Capacity::Pool { available, funds, .. } => {
                *available += paid;
                if let Some(funds) = funds {
                    funds.available += claimed.funds;
                }
            }
            Capacity::Balance { available, .. } => *available += paid,
        }
    }
}

fn age_seconds(since: UnixMillis, now: UnixMillis) -> u64 {
    // A report later than the stamp is not old.
    now.0.saturating_sub(since.0) / 1000
}
