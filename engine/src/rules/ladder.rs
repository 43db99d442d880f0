//! The ladder of declines: one flat list of checks over gathered inputs, in documented precedence.
//!
//! The inputs are stored with the decision. An explanation climbs the same ladder over them again with an observer, so
//! it cannot differ from the decision.

use crate::contract::limit::to_chf;
use crate::contract::pricing::{Conversion, Price};
use crate::country::Country;
use crate::fact::{
    AccountStatus, AmountMaxSeen, Approval, Capacity, CardStatus, CardUse, FundingRoute, FundsSeen, Inputs, Kind,
    Listing, Reason, Request, Source, Upcharge, VelocitySeen,
};
use crate::money::{ChfMinor, Minor, Money};

/// A possible approval and its funding route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Index into [`Inputs::routes`].
    pub route: usize,
    pub approval: Approval,
    /// What a pool must keep after it.
    pub kept: Minor,
}

/// Decides `amount` of the request over the inputs: approves from the first source that passes the whole ladder, else
/// declines with the sources' reason of highest precedence.
///
/// # Errors
/// The reason to decline.
pub fn decide(request: &Request, amount: Minor, inputs: &Inputs) -> Result<Plan, Reason> {
    let mut declined: Option<Reason> = None;
    for source in &inputs.sources {
        match climb(request, amount, inputs, *source, &mut Silent) {
            Ok(plan) => return Ok(plan),
            Err(reason) => declined = Some(declined.map_or(reason, |other| other.min(reason))),
        }
    }
    Err(declined.unwrap_or(Reason::CurrencyUnsupported))
}

/// The largest amount up to the request's that would be approved, in the transaction currency: the floor of the
/// tightest bound. Zero if none would.
#[must_use]
pub fn largest_approvable(request: &Request, inputs: &Inputs) -> Minor {
    // A smaller amount passes wherever a larger one does, so bisection finds the edge.
    if !request.amount_is_valid() {
        return Minor::ZERO;
    }
    let (mut passes, mut fails) = (0, request.amount.0 + 1);
    while fails - passes > 1 {
        let middle = passes + (fails - passes) / 2;
        if decide(request, Minor(middle), inputs).is_ok() { passes = middle } else { fails = middle }
    }
    Minor(passes)
}

/// Observes each check.
pub(super) trait Observer {
    fn saw(&mut self, check: Reason, passed: bool, values: impl FnOnce() -> Shown);
}

/// The values of one check, by name.
pub(super) type Shown = Vec<(&'static str, String)>;

/// Ignores every check: for the hot path.
struct Silent;

impl Observer for Silent {
    #[inline]
    fn saw(&mut self, _: Reason, _: bool, _: impl FnOnce() -> Shown) {}
}

/// The ladder for one source: every check in order; the first failed one is the reason.
pub(super) fn climb<O: Observer>(
    request: &Request,
    amount: Minor,
    inputs: &Inputs,
    source: Source,
    observer: &mut O,
) -> Result<Plan, Reason> {
    let mut check = |reason: Reason, passed: bool, seen: &dyn Fn() -> Shown| {
        observer.saw(reason, passed, seen);
        if passed { Ok(()) } else { Err(reason) }
    };
    let status = inputs.user.map(|user| user.status);
    let status_is = |bad: &[AccountStatus]| status.is_some_and(|status| bad.contains(&status));
    let nothing = || Shown::new();
    let status_seen = || vec![("status", status.map_or("none".to_owned(), |status| format!("{status:?}")))];
    let card_seen = || {
        let card = ("card", inputs.card.map_or("none".to_owned(), |card| format!("{card:?}")));
        let used = (inputs.card_use != CardUse::Any).then(|| ("use", format!("{:?}", inputs.card_use)));
        [card].into_iter().chain(used).collect()
    };
    // What a used card was approved for may still grow.
    let is_used = inputs.card_use == CardUse::Used && request.kind == Kind::Authorization;

    check(Reason::ProgramSuspended, !inputs.gates.program_suspended, &nothing)?;
    check(Reason::UnknownUser, inputs.user.is_some(), &nothing)?;
    check(Reason::UnknownCard, inputs.card.is_some(), &card_seen)?;
    check(Reason::AlreadyReversed, !inputs.gates.reversed_before, &nothing)?;
    check(Reason::ParentNotFound, inputs.gates.parent_found, &nothing)?;
    check(Reason::ProviderSuspended, !inputs.gates.provider_suspended, &nothing)?;
    check(Reason::AccountClosed, !status_is(&[AccountStatus::Closed]), &status_seen)?;
    check(Reason::AccountBlocked, !status_is(&[AccountStatus::Blocked]), &status_seen)?;
    check(Reason::AccountSoftBlocked, !status_is(&[AccountStatus::SoftBlocked]), &status_seen)?;
    check(Reason::AccountNotLive, !status_is(&[AccountStatus::Na, AccountStatus::Tourist]), &status_seen)?;
    check(Reason::UserSuspended, inputs.user.is_some_and(|user| !user.suspended), &nothing)?;
    check(Reason::CardFrozen, inputs.card != Some(CardStatus::Frozen) && !is_used, &card_seen)?;
    check(Reason::CardDeleted, inputs.card != Some(CardStatus::Deleted), &card_seen)?;
    check(Reason::AmountInvalid, request.amount_is_valid(), &|| vec![("amount", request.amount.to_string())])?;

    let quote = Quote::of(request, amount, inputs, source);
    let priced = quote.as_ref();
    check(Reason::CurrencyUnsupported, priced.is_some(), &|| price_seen(request, amount, inputs, source, priced))?;
    let Some(quote) = quote else { return Err(Reason::CurrencyUnsupported) };

    let listed = inputs.listed;
    let merchant = &request.merchant;
    let country = merchant.country.as_ref().map(Country::as_str);
    let mcc = format_args!("{:04}", merchant.mcc.unwrap_or(0));
    let channel = format_args!("{:?}", request.channel);
    check(Reason::CountryBlocked, listed.country.is_clear(), &|| listing_seen("country", country, listed.country))?;
    check(Reason::MccBlocked, listed.mcc.is_clear(), &|| listing_seen("mcc", Some(mcc), listed.mcc))?;
    check(Reason::MerchantBlocked, listed.merchant.is_clear(), &|| {
        listing_seen("merchant", merchant.id.as_ref(), listed.merchant)
    })?;
    check(Reason::ChannelBlocked, listed.channel.is_clear(), &|| {
        listing_seen("channel", Some(channel), listed.channel)
    })?;

    let within_max = inputs.amount_max.iter().all(|seen| quote.is_within(request, amount, seen));
    check(Reason::TransactionAmountLimit, within_max, &|| {
        let maxima = inputs.amount_max.iter().map(|seen| ("max", seen.max.to_string()));
        maxima.chain([("amount", Money { amount, currency: request.currency }.to_string())]).collect()
    })?;
    let amount_fits = |seen: &VelocitySeen| {
        // Saturating: a window at the end of i64 exceeds every bound.
        let total = seen.window.spent.saturating_add(quote.spent);
        seen.rule.amount_max.is_none_or(|max| total <= max)
    };
    check(Reason::VelocityAmount, inputs.velocity.iter().all(amount_fits), &|| velocity_seen(inputs, &quote))?;
    let count_fits = |seen: &VelocitySeen| seen.rule.count_max.is_none_or(|max| seen.window.count < max);
    check(Reason::VelocityCount, inputs.velocity.iter().all(count_fits), &|| velocity_seen(inputs, &quote))?;

    let young = |age: u64| inputs.rates_max_age_seconds.is_none_or(|max| age <= max);
    let rates_age = inputs.rates_age_seconds.map(|age| quote.route.rates_age_seconds.unwrap_or(age));
    let rates_fresh = !quote.route.needs_rates() || rates_age.is_some_and(young);
    check(Reason::RatesStale, rates_fresh, &|| {
        vec![("age_seconds", rates_age.map_or("never set".to_owned(), |age| age.to_string()))]
    })?;
    let user_fresh = inputs.user.is_some_and(|user| !user.stale);
    let pool_fresh = !matches!(quote.route.capacity, Capacity::Pool { stale: true, .. });
    let trusted = inputs.gates.time_trusted && !inputs.gates.disk_low;
    check(Reason::StateStale, user_fresh && pool_fresh && trusted, &|| {
        vec![
            ("user_fresh", user_fresh.to_string()),
            ("pool_fresh", pool_fresh.to_string()),
            ("time_trusted", inputs.gates.time_trusted.to_string()),
            ("disk_has_room", (!inputs.gates.disk_low).to_string()),
        ]
    })?;

    let headroom = inputs.user.map_or(ChfMinor::ZERO, |user| user.headroom);
    check(Reason::LimitExceeded, quote.limit <= headroom, &|| {
        let claimed = inputs.claimed.iter().map(|claimed| ("claimed", claimed.limit.to_string()));
        [("chf", quote.limit.to_string()), ("headroom", headroom.to_string())].into_iter().chain(claimed).collect()
    })?;
    let covered = quote.is_covered_by_user();
    check(Reason::InsufficientUserFunds, covered, &|| quote.user_capacity_seen(inputs))?;
    let allowed = !matches!(quote.route.capacity, Capacity::Balance { allowance: false, .. });
    check(Reason::FiatAllowanceMissing, allowed, &nothing)?;
    let left = quote.left_in_pool();
    let pool_seen = || quote.pool_seen(inputs);
    let is_kept = left.is_none_or(|(left, _)| left < Minor::ZERO || left >= quote.kept);
    let in_reserve = left.is_some_and(|(left, reserve)| left < reserve);
    check(Reason::PoolStressed, is_kept || in_reserve, &|| quote.stress_seen(inputs))?;
    check(Reason::PoolReserveHeld, is_kept || !in_reserve, &pool_seen)?;
    check(Reason::PoolExhausted, left.is_none_or(|(left, _)| left >= Minor::ZERO), &pool_seen)?;
    Ok(Plan { route: quote.index, approval: quote.approval(amount), kept: quote.kept })
}

/// The price of an amount on a source's chosen route.
struct Quote<'a> {
    index: usize,
    route: &'a FundingRoute,
    paid: Minor,
    spent: ChfMinor,
    limit: ChfMinor,
    funds: Option<Money>,
    upcharge: Upcharge,
    /// What a pool must keep.
    kept: Minor,
}

impl<'a> Quote<'a> {
    /// Chooses the source's first route that can be priced and covers the amount; else the first that lacks no more than
    /// the user's allowance; else the last that can be priced.
    fn of(request: &Request, amount: Minor, inputs: &'a Inputs, source: Source) -> Option<Quote<'a>> {
        let mut routes = inputs.routes.iter().enumerate().filter(|(_, route)| route.source() == source).peekable();
        let (mut unallowed, mut last) = (None, None);
        while let Some((index, route)) = routes.next() {
            let Some(quote) = Quote::on(request, amount, inputs, index, route) else { continue };
            let is_only = unallowed.or(last).is_none() && routes.peek().is_none();
            if is_only || route.covers(quote.paid, quote.upcharge.paid, quote.kept) {
                return Some(quote);
            }
            if unallowed.is_none() && route.lacks_allowance_only(quote.paid) {
                unallowed = Some((index, route));
            } else {
                last = Some((index, route));
            }
        }
        // Priced again rather than kept: most spends take the first route, or have one.
        let (index, route) = unallowed.or(last)?;
        Quote::on(request, amount, inputs, index, route)
    }

    /// `None` where the route cannot be priced. Without any rates the quote stays zero: `rates_stale` declines first.
    fn on(
        request: &Request,
        amount: Minor,
        inputs: &Inputs,
        index: usize,
        route: &'a FundingRoute,
    ) -> Option<Quote<'a>> {
        let rates_never_set = inputs.rates_age_seconds.is_none();
        let paid = match route.price {
            Some(price) => price.paid(request.amounts_for(amount), inputs.fx_buffer_bps, inputs.zero_amount_holds)?,
            None => Minor::ZERO,
        };
        let spent = match route.chf_rate {
            Some(rate) => to_chf(paid, rate)?,
            None if rates_never_set => ChfMinor::ZERO,
            None => return None,
        };
        let limit = spent.times(inputs.limit_weight);
        let of_source = paid.share_rounded_up(i64::from(inputs.upcharge_percent), 100);
        let (funds, of_funds) = match route.capacity {
            Capacity::Pool { funds: Some(FundsSeen { currency, conversion, .. }), .. } => match conversion {
                Some(Conversion::SAME) => (Some(Money { amount: paid, currency }), of_source),
                Some(conversion) => {
                    let amount = conversion.ceil(paid)?;
                    let of_funds =
                        if of_source.is_zero() { Minor::ZERO } else { conversion.ceil(paid + of_source)? - amount };
                    (Some(Money { amount, currency }), of_funds)
                }
                None if rates_never_set => (None, Minor::ZERO),
                None => return None,
            },
            _ => (None, Minor::ZERO),
        };
        let upcharge = Upcharge { paid: of_source, funds: of_funds };
        let kept = match route.capacity {
            Capacity::Pool { reserve, .. } => kept(inputs, spent, reserve),
            Capacity::Balance { .. } => Minor::ZERO,
        };
        Some(Quote { index, route, paid, spent, limit, funds, upcharge, kept })
    }

    /// Compares in the bound's currency if it is the transaction's, else in francs; an amount that cannot be compared
    /// is not within.
    fn is_within(&self, request: &Request, amount: Minor, seen: &AmountMaxSeen) -> bool {
        if seen.max.currency == request.currency {
            return amount <= seen.max.amount;
        }
        seen.chf_rate.and_then(|rate| to_chf(seen.max.amount, rate)).is_some_and(|max| self.spent <= max)
    }

    /// What the source holds for it.
    fn held(&self) -> Minor {
        self.paid + self.upcharge.paid
    }

    fn is_covered_by_user(&self) -> bool {
        match self.route.capacity {
            Capacity::Pool { funds: Some(seen), .. } => {
                self.funds.is_some_and(|needed| needed.amount + self.upcharge.funds <= seen.available)
            }
            Capacity::Pool { funds: None, .. } => self.paid.is_zero(),
            Capacity::Balance { available, .. } => self.held() <= available,
        }
    }

    fn left_in_pool(&self) -> Option<(Minor, Minor)> {
        match self.route.capacity {
            Capacity::Pool { available, reserve, .. } => Some((available - self.held(), reserve)),
            Capacity::Balance { .. } => None,
        }
    }

    fn approval(&self, amount: Minor) -> Approval {
        Approval {
            source: self.route.source(),
            amount,
            paid: Money { amount: self.paid, currency: self.route.currency },
            spent: self.spent,
            limit: self.limit,
            funds: self.funds,
            upcharge: self.upcharge,
        }
    }

    fn user_capacity_seen(&self, inputs: &Inputs) -> Shown {
        let (mut seen, claimed) = match self.route.capacity {
            Capacity::Pool { funds: Some(funds), .. } => {
                let in_funds = |amount| Money { amount, currency: funds.currency };
                let needed = self.funds.map_or(Minor::ZERO, |needed| needed.amount) + self.upcharge.funds;
                let mut seen = vec![
                    ("needed", in_funds(needed).to_string()),
                    ("available", in_funds(funds.available).to_string()),
                ];
                seen.extend(self.upcharge_seen(in_funds(self.upcharge.funds)));
                (seen, inputs.claimed.as_ref().map(|claimed| in_funds(claimed.funds)))
            }
            Capacity::Pool { funds: None, .. } => {
                (vec![("available", "no funds were given for this user".to_owned())], None)
            }
            Capacity::Balance { available, .. } => {
                let in_paid = |amount| Money { amount, currency: self.route.currency };
                let mut seen =
                    vec![("needed", in_paid(self.held()).to_string()), ("available", in_paid(available).to_string())];
                seen.extend(self.upcharge_seen(in_paid(self.upcharge.paid)));
                (seen, self.claimed(inputs))
            }
        };
        seen.extend(claimed.map(|claimed| ("claimed", claimed.to_string())));
        seen
    }

    fn stress_seen(&self, inputs: &Inputs) -> Shown {
        if inputs.stress.is_none() {
            return Shown::new();
        }
        let mut seen = self.pool_seen(inputs);
        seen.push(("chf", self.spent.to_string()));
        seen.push(("kept", self.kept.to_string()));
        for tier in inputs.stress.iter().flatten() {
            seen.push(("below_reserve_percent", tier.below_reserve_percent.to_string()));
            seen.push(("amount_max_chf", tier.amount_max.map_or("none".to_owned(), |max| max.to_string())));
            seen.push(("category", if tier.is_listed { "listed" } else { "not listed" }.to_owned()));
        }
        seen
    }

    fn pool_seen(&self, inputs: &Inputs) -> Shown {
        match self.route.capacity {
            Capacity::Pool { available, reserve, .. } => {
                let claimed = self.claimed(inputs).map(|claimed| ("claimed", claimed.amount.to_string()));
                let seen = [
                    ("pool", self.route.currency.to_string()),
                    ("needed", self.held().to_string()),
                    ("available", available.to_string()),
                    ("reserve", reserve.to_string()),
                ];
                seen.into_iter().chain(self.upcharge_seen(self.upcharge.paid)).chain(claimed).collect()
            }
            Capacity::Balance { .. } => Shown::new(),
        }
    }

    /// The part of what is needed that is held above the amount.
    fn upcharge_seen(&self, upcharge: impl std::fmt::Display) -> Option<(&'static str, String)> {
        (!self.upcharge.is_zero()).then(|| ("upcharge", upcharge.to_string()))
    }

    /// What the authorization claims already of this source.
    fn claimed(&self, inputs: &Inputs) -> Option<Money> {
        let claimed = inputs.claimed.as_ref().map(|claimed| claimed.paid);
        claimed.filter(|paid| paid.currency == self.route.currency)
    }
}

/// What a pool must keep after a payment: its reserve, and under stress the share below which a tier does not let the
/// payment through. The reserve is there for what a tier lets through.
fn kept(inputs: &Inputs, spent: ChfMinor, reserve: Minor) -> Minor {
    let Some(tiers) = &inputs.stress else { return reserve };
    let refused = tiers.iter().filter(|tier| !tier.permits(spent));
    let is_permitted = tiers.iter().any(|tier| tier.permits(spent));
    let least = if is_permitted { Minor::ZERO } else { reserve };
    refused.map(|tier| tier.share(reserve)).fold(least, Minor::max)
}

fn listing_seen(name: &'static str, value: Option<impl std::fmt::Display>, listing: Listing) -> Shown {
    let mut seen = vec![(name, value.map_or("not given".to_owned(), |value| value.to_string()))];
    if listing == Listing::NotAllowed {
        seen.push(("list", "allow".to_owned()));
    }
    seen
}

fn price_seen(request: &Request, amount: Minor, inputs: &Inputs, source: Source, quote: Option<&Quote<'_>>) -> Shown {
    let Some(quote) = quote else {
        let settlement = request.settlement_currency.map(|currency| ("settlement", currency.to_string()));
        return [("ways", inputs.routes.len().to_string())].into_iter().chain(settlement).collect();
    };
    let mut seen = vec![("paid", Money { amount: quote.paid, currency: quote.route.currency }.to_string())];
    // The balances that were looked at before, or, where none covers it, all others.
    for (index, route) in inputs.routes.iter().enumerate().filter(|(_, route)| route.source() == source) {
        let Capacity::Balance { available, allowance } = route.capacity else { continue };
        let Some(other) = Quote::on(request, amount, inputs, index, route) else { continue };
        if route.currency != quote.route.currency
            && !route.covers(other.paid, other.upcharge.paid, other.kept)
            && index <= quote.index
        {
            let currency = route.currency;
            seen.push(("other_needed", Money { amount: other.paid, currency }.to_string()));
            let there = Money { amount: available, currency }.to_string();
            seen.push(("other_available", if allowance { there } else { "no allowance".to_owned() }));
        }
    }
    match quote.route.price {
        Some(Price::Converted(conversion) | Price::Settled { conversion, .. }) => {
            seen.push(("rate", conversion.rate.to_string()));
            seen.push(("spread", conversion.spread.to_string()));
        }
        Some(Price::Direct) | None => {}
    }
    seen
}

fn velocity_seen(inputs: &Inputs, quote: &Quote<'_>) -> Shown {
    let mut seen = vec![("chf", quote.spent.to_string())];
    let has_calendar = inputs.velocity.iter().any(|velocity| velocity.since.is_some());
    for velocity in &inputs.velocity {
        let none = || "none".to_owned();
        let period = &velocity.rule.period;
        seen.push(("window_seconds", period.seconds().map_or_else(none, |seconds| seconds.to_string())));
        if has_calendar {
            let calendar = period.named().zip(velocity.since);
            seen.push(("window", calendar.map_or_else(none, |((name, _), _)| name.to_owned())));
            seen.push(("since", calendar.map_or_else(none, |((_, zone), since)| zone.shown(since))));
        }
        seen.push(("count", velocity.window.count.to_string()));
        seen.push(("spent_chf", velocity.window.spent.to_string()));
        // Every rule shows every name, so that a rule's values have the same index under each name.
        let unbounded = || "none".to_owned();
        seen.push(("count_max", velocity.rule.count_max.map_or_else(unbounded, |max| max.to_string())));
        seen.push(("amount_max_chf", velocity.rule.amount_max.map_or_else(unbounded, |max| max.to_string())));
    }
    seen
}
