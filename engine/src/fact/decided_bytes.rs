//! The bytes of a decision. It is written before every answer and read again by every reader of the journal, so its form
//! is our own: what is usual takes a bit of a flag, and a number as many bytes as it needs.
//!
//! The request comes first, and of it first what money depends on: one piece, hashed for the fingerprint.

use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::record::RecordError;
use super::{
    AccountStatus, Approval, Author, Capacity, CardStatus, CardUse, Channel, Decided, FundingRoute, FundsSeen, Gates,
    Inputs, Kind, Listed, Merchant, Request, Source, Upcharge, UserSeen, Verdict,
};
use crate::bytes::{Buffer, Fingerprint, put_number, take_number};
use crate::contract::pricing::{Conversion, Price};
use crate::ids::Sequence;
use crate::money::{ChfMinor, Currency, CurrencyCode, Minor, Money};
use crate::time::{UnixMillis, UnixSeconds};

/// The currencies that a number stands for, from 1 on; any other is 0 and its letters. Only ever longer.
const NUMBERED: [Currency; 8] = [
    Currency::EUR,
    Currency::USD,
    Currency::CHF,
    Currency::GBP,
    Currency::CNH,
    Currency::JPY,
    Currency::SGD,
    Currency::HKD,
];

/// The settings that most installations leave as they are: a spend counts once, no margin, a zero amount holds one unit,
/// and nothing is held above the amount.
const USUAL_SETTINGS: (u8, u16, u8, u8) = (1, 0, 1, 0);

fn bits<const N: usize>(flags: [bool; N]) -> u8 {
    const { assert!(N <= 8) };
    let mut byte = 0;
    for (place, flag) in flags.into_iter().enumerate() {
        byte |= u8::from(flag) << place;
    }
    byte
}

fn bit(byte: u8, place: u8) -> bool {
    byte >> place & 1 == 1
}

/// Appends values to a record.
struct Out<'a>(&'a mut Vec<u8>);

impl Out<'_> {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    #[inline]
    fn number(&mut self, value: u64) {
        put_number(self.0, value);
    }

    /// Small numbers of either sign are short.
    #[inline]
    fn signed(&mut self, value: i64) {
        self.number((value << 1 ^ value >> 63).cast_unsigned());
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn currency(&mut self, currency: Currency) {
        match NUMBERED.iter().zip(1..).find(|(numbered, _)| **numbered == currency) {
            Some((_, number)) => self.byte(number),
            None => {
                self.byte(0);
                self.0.extend_from_slice(&<[u8; 3]>::from(currency));
            }
        }
    }

    fn conversion(&mut self, conversion: Conversion) {
        self.number(conversion.rate.into());
        self.number(conversion.spread.into());
    }

    /// What few decisions have, in the form of other facts.
    fn rare<T: Serialize>(&mut self, value: &T) {
        let mut buffer = Buffer(std::mem::take(self.0));
        buffer.put(value);
        *self.0 = buffer.0;
    }
}

/// Appends the request; the length of what money depends on is returned.
pub(super) fn put_request(bytes: &mut Vec<u8>, request: &Request) -> usize {
    let Request { kind, original, user, card, amount, currency, partial_approval_allowed, .. } = request;
    let Request { settlement_amount, settlement_currency, id, merchant, channel, currency_given, .. } = request;
    let mut out = Out(bytes);
    out.byte(kind_number(*kind) | u8::from(*partial_approval_allowed) << 2 | u8::from(original.is_some()) << 3);
    out.currency(*currency);
    out.number(amount.0.cast_unsigned());
    out.text(user.as_str());
    out.text(card.as_str());
    if let Some(original) = original {
        out.text(original.as_str());
    }
    let without_settlement = out.0.len();
    let other_amount = settlement_amount.filter(|other| other != amount);
    let other_currency = settlement_currency.filter(|other| other != currency);
    out.byte(bits([
        settlement_amount.is_some(),
        other_amount.is_some(),
        settlement_currency.is_some(),
        other_currency.is_some(),
        currency_given.is_some(),
    ]));
    if let Some(other) = other_amount {
        out.number(other.0.cast_unsigned());
    }
    if let Some(other) = other_currency {
        out.currency(other);
    }
    // UR computes the settlement anew when it asks again; only other currencies are priced by it.
    let binding = if currency.is_held_by_ur() { without_settlement } else { out.0.len() };
    if let Some(given) = currency_given {
        out.0.extend_from_slice(&<[u8; 3]>::from(*given));
    }
    out.text(id.as_str());
    let Merchant { id, name, mcc, city, country } = merchant;
    let present = bits([id.is_some(), name.is_some(), mcc.is_some(), city.is_some(), country.is_some()]);
    out.byte(present | channel_number(*channel) << 5);
    for text in [id, name, city].into_iter().flatten() {
        out.text(text);
    }
    if let Some(mcc) = mcc {
        out.0.extend_from_slice(&mcc.to_le_bytes());
    }
    if let Some(country) = country {
        out.0.extend_from_slice(&<[u8; 3]>::from(*country));
    }
    binding
}

/// Appends the decision of a request that is encoded already, with the fingerprint of its bytes.
pub(super) fn put_decision(
    bytes: &mut Vec<u8>,
    (at, author): (UnixMillis, &Author),
    decided: &Decided,
    of_bytes: Fingerprint,
) {
    let Decided { request, fingerprint, inputs, verdict, previous, settled } = decided;
    let Inputs { now, gates, user, card, card_use, listed, amount_max, velocity, .. } = inputs;
    let Inputs { rates_age_seconds, rates_max_age_seconds, limit_weight, fx_buffer_bps, zero_amount_holds, .. } =
        inputs;
    let Inputs { upcharge_percent, stress, sources, routes, claimed, .. } = inputs;
    let settings = (*limit_weight, *fx_buffer_bps, *zero_amount_holds, *upcharge_percent);
    let has_rules = !amount_max.is_empty() || !velocity.is_empty() || stress.is_some();
    let flags = bits([
        // A request that names another message than its root was rewritten after it was hashed.
        *fingerprint != of_bytes,
        *now != at.seconds(),
        *previous > Sequence::ZERO,
        settings != USUAL_SETTINGS,
        has_rules,
        claimed.is_some(),
        settled.is_some(),
        user.is_some(),
    ]);
    let card = card.map_or(0, card_number) | card_use_number(*card_use) << 2;
    let rates = bits([rates_age_seconds.is_some(), rates_max_age_seconds.is_some()]) | sources_number(sources) << 2;
    let mut out = Out(bytes);
    out.number(at.0);
    out.0.extend_from_slice(&[author_number(author), flags, gates_number(*gates), listed.to_bits(), card, rates]);
    if author_number(author) == OTHER_AUTHOR {
        out.rare(author);
    }
    if *fingerprint != of_bytes {
        out.0.extend_from_slice(&fingerprint.0);
    }
    if *now != at.seconds() {
        out.signed(now.0);
    }
    if *previous > Sequence::ZERO {
        out.number(previous.0);
    }
    if settings != USUAL_SETTINGS {
        out.byte(*limit_weight);
        out.number((*fx_buffer_bps).into());
        out.byte(*zero_amount_holds);
        out.byte(*upcharge_percent);
    }
    if let Some(UserSeen { status, suspended, stale, headroom, limit_start, limit_used }) = user {
        out.byte(bits([*suspended, *stale]) | status_number(*status) << 2);
        out.signed(headroom.0);
        out.signed(limit_start.0);
        out.signed(limit_used.0);
    }
    for seconds in [rates_age_seconds, rates_max_age_seconds].into_iter().flatten() {
        out.number(*seconds);
    }
    out.number(routes.len() as u64);
    routes.iter().for_each(|route| out.route(route, request.currency));
    out.verdict(verdict, request);
    if has_rules {
        out.rare(&(amount_max, velocity, stress));
    }
    if let Some(claimed) = claimed {
        out.rare(claimed);
    }
    if let Some(settled) = settled {
        out.rare(settled);
    }
}

impl Out<'_> {
    fn route(&mut self, route: &FundingRoute, transaction: Currency) {
        let FundingRoute { currency, price, chf_rate, capacity, rates_age_seconds } = route;
        let (is_pool, yes) = match capacity {
            Capacity::Pool { stale, .. } => (true, *stale),
            Capacity::Balance { allowance, .. } => (false, *allowance),
        };
        let price_number = match price {
            None => 0,
            Some(Price::Direct) => 1,
            Some(Price::Converted(_)) => 2,
            Some(Price::Settled { .. }) => 3,
        };
        let has_funds = matches!(capacity, Capacity::Pool { funds: Some(_), .. });
        let flags =
            [*currency != transaction, is_pool, yes, has_funds, chf_rate.is_some(), rates_age_seconds.is_some()];
        self.byte(bits(flags) | price_number << 6);
        if *currency != transaction {
            self.currency(*currency);
        }
        match price {
            Some(Price::Converted(conversion)) => self.conversion(*conversion),
            Some(Price::Settled { conversion, interchange_percent }) => {
                self.conversion(*conversion);
                self.byte(*interchange_percent);
            }
            None | Some(Price::Direct) => {}
        }
        if let Some(rate) = chf_rate {
            self.number((*rate).into());
        }
        if let Some(seconds) = rates_age_seconds {
            self.number(*seconds);
        }
        match capacity {
            Capacity::Pool { available, reserve, stale: _, funds } => {
                self.signed(available.0);
                self.signed(reserve.0);
                if let Some(FundsSeen { currency, available, conversion }) = funds {
                    self.currency(*currency);
                    self.signed(available.0);
                    self.byte(conversion.is_some().into());
                    if let Some(conversion) = conversion {
                        self.conversion(*conversion);
                    }
                }
            }
            Capacity::Balance { available, allowance: _ } => self.signed(available.0),
        }
    }

    fn verdict(&mut self, verdict: &Verdict, request: &Request) {
        let Approval { source, amount, paid, spent, limit, funds, upcharge } = match verdict {
            Verdict::Declined(reason) => {
                self.byte(0);
                return self.rare(reason);
            }
            Verdict::Approved(approval) => approval,
        };
        self.byte(bits([
            true,
            *source == Source::Fiat,
            *amount != request.amount,
            paid.currency != request.currency,
            paid.amount != *amount,
            limit != spent,
            funds.is_some(),
            !upcharge.is_zero(),
        ]));
        if *amount != request.amount {
            self.number(amount.0.cast_unsigned());
        }
        if paid.currency != request.currency {
            self.currency(paid.currency);
        }
        if paid.amount != *amount {
            self.number(paid.amount.0.cast_unsigned());
        }
        self.number(spent.0.cast_unsigned());
        if limit != spent {
            self.number(limit.0.cast_unsigned());
        }
        if let Some(funds) = funds {
            self.currency(funds.currency);
            self.number(funds.amount.0.cast_unsigned());
        }
        if !upcharge.is_zero() {
            self.number(upcharge.paid.0.cast_unsigned());
            self.number(upcharge.funds.0.cast_unsigned());
        }
    }
}

/// Reads values of a record.
pub(super) struct In<'a>(pub(super) &'a [u8]);

type Read<T> = Result<T, RecordError>;

fn malformed(what: &str) -> RecordError {
    RecordError::Malformed(what.to_owned())
}

impl<'a> In<'a> {
    fn byte(&mut self) -> Read<u8> {
        let (&byte, rest) = self.0.split_first().ok_or_else(|| malformed("it ends early"))?;
        self.0 = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Read<u64> {
        take_number(&mut self.0).ok_or_else(|| malformed("a number ends early, or does not end"))
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Read<T> {
        T::try_from(self.number()?).map_err(|_| malformed("a number is too large"))
    }

    fn signed(&mut self) -> Read<i64> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn amount(&mut self) -> Read<Minor> {
        Ok(Minor(self.number()?.cast_signed()))
    }

    fn francs(&mut self) -> Read<ChfMinor> {
        Ok(ChfMinor(self.number()?.cast_signed()))
    }

    fn bytes(&mut self, length: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(|| malformed("it ends early"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| malformed("it ends early"))
    }

    fn text(&mut self) -> Read<&'a str> {
        let length = self.small()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| malformed("a text is not UTF-8"))
    }

    fn id<T: std::str::FromStr>(&mut self) -> Read<T> {
        self.text()?.parse().map_err(|_| malformed("an id is not one"))
    }

    fn currency(&mut self) -> Read<Currency> {
        match self.byte()?.checked_sub(1) {
            Some(place) => {
                NUMBERED.get(usize::from(place)).copied().ok_or_else(|| malformed("a currency has no such number"))
            }
            None => Currency::try_from(self.array()?).map_err(|_| malformed("a currency is not three letters")),
        }
    }

    fn conversion(&mut self) -> Read<Conversion> {
        Ok(Conversion { rate: self.small()?, spread: self.small()? })
    }

    fn when<T>(&mut self, is_present: bool, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if is_present { read(self).map(Some) } else { Ok(None) }
    }

    fn rare<T: DeserializeOwned>(&mut self) -> Read<T> {
        let (value, rest) =
            postcard::take_from_bytes(self.0).map_err(|error| RecordError::Malformed(error.to_string()))?;
        self.0 = rest;
        Ok(value)
    }

    /// Reads the decision of a request with the fingerprint of its bytes, and the record's time and author.
    pub(super) fn decision(&mut self, request: Request, of_bytes: Fingerprint) -> Read<(UnixMillis, Author, Decided)> {
        let at = UnixMillis(self.number()?);
        let [author, flags, gates, listed, card_byte, rates] = self.array()?;
        let author = match author {
            OTHER_AUTHOR => self.rare()?,
            0 => Author::Ur,
            1 => Author::PartnerApi,
            _ => return Err(malformed("an author has no such number")),
        };
        let given = self.when(bit(flags, 0), In::array)?;
        let fingerprint = given.map_or(of_bytes, Fingerprint);
        let now = self.when(bit(flags, 1), |input| Ok(UnixSeconds(input.signed()?)))?;
        let previous = Sequence(self.when(bit(flags, 2), In::number)?.unwrap_or_default());
        let settings =
            self.when(bit(flags, 3), |input| Ok((input.byte()?, input.small()?, input.byte()?, input.byte()?)))?;
        let (limit_weight, fx_buffer_bps, zero_amount_holds, upcharge_percent) = settings.unwrap_or(USUAL_SETTINGS);
        let gates = gates_of(gates)?;
        let listed = Listed::from_bits(listed).ok_or_else(|| malformed("a listing is not known"))?;
        let statuses = [CardStatus::Active, CardStatus::Frozen, CardStatus::Deleted];
        let card = (card_byte & 3).checked_sub(1).map(|number| numbered(&statuses, number)).transpose()?;
        let card_use = numbered(&[CardUse::Any, CardUse::Single, CardUse::Used], card_byte >> 2)?;
        let user = self.when(bit(flags, 7), In::user_seen)?;
        let rates_age_seconds = self.when(bit(rates, 0), In::number)?;
        let rates_max_age_seconds = self.when(bit(rates, 1), In::number)?;
        let sources = sources(rates >> 2)?;
        let count: u16 = self.small()?;
        let mut routes = SmallVec::new();
        for _ in 0..count {
            routes.push(self.route(request.currency)?);
        }
        let verdict = self.verdict(&request)?;
        let rules = self.when(bit(flags, 4), In::rare)?;
        let (amount_max, velocity, stress) = rules.unwrap_or_default();
        let claimed = self.when(bit(flags, 5), In::rare)?;
        let settled = self.when(bit(flags, 6), In::rare)?;
        let inputs = Inputs {
            now: now.unwrap_or(at.seconds()),
            gates,
            user,
            card,
            card_use,
            listed,
            amount_max,
            velocity,
            rates_age_seconds,
            rates_max_age_seconds,
            limit_weight,
            fx_buffer_bps,
            zero_amount_holds,
            upcharge_percent,
            stress,
            sources,
            routes,
            claimed,
        };
        Ok((at, author, Decided { request, fingerprint, inputs, verdict, previous, settled }))
    }

    /// Reads a request, and hashes what money depends on.
    pub(super) fn request(&mut self) -> Read<(Request, Fingerprint)> {
        let (whole, before) = (self.0, self.0.len());
        let head = self.byte()?;
        let kind = numbered(&[Kind::Authorization, Kind::Incremental, Kind::Reversal, Kind::Advice], head & 3)?;
        let currency = self.currency()?;
        let amount = self.amount()?;
        let (user, card) = (self.id()?, self.id()?);
        let original = self.when(bit(head, 3), In::id)?;
        let without_settlement = before - self.0.len();
        let settlement = self.byte()?;
        let other_amount = self.when(bit(settlement, 1), In::amount)?;
        let other_currency = self.when(bit(settlement, 3), In::currency)?;
        let binding = if currency.is_held_by_ur() { without_settlement } else { before - self.0.len() };
        let currency_given = self.when(bit(settlement, 4), |input| {
            CurrencyCode::try_from(input.array()?).map_err(|_| malformed("a currency is not three letters"))
        })?;
        let id = self.id()?;
        let present = self.byte()?;
        let text = |input: &mut Self| Ok(input.text()?.into());
        let merchant = Merchant {
            id: self.when(bit(present, 0), text)?,
            name: self.when(bit(present, 1), text)?,
            city: self.when(bit(present, 3), text)?,
            mcc: self.when(bit(present, 2), |input| Ok(u16::from_le_bytes(input.array()?)))?,
            country: self.when(bit(present, 4), |input| {
                input.array()?.try_into().map_err(|_| malformed("a country is not three letters"))
            })?,
        };
        let channel = numbered(&Channel::ALL, present >> 5)?;
        let request = Request {
            kind,
            original,
            user,
            card,
            amount,
            currency,
            partial_approval_allowed: bit(head, 2),
            settlement_amount: bit(settlement, 0).then(|| other_amount.unwrap_or(amount)),
            settlement_currency: bit(settlement, 2).then(|| other_currency.unwrap_or(currency)),
            id,
            merchant,
            channel,
            currency_given,
        };
        Ok((request, Fingerprint::of_request(whole.get(..binding).unwrap_or(whole))))
    }

    fn user_seen(&mut self) -> Read<UserSeen> {
        let head = self.byte()?;
        Ok(UserSeen {
            status: numbered(&STATUSES, head >> 2)?,
            suspended: bit(head, 0),
            stale: bit(head, 1),
            headroom: ChfMinor(self.signed()?),
            limit_start: UnixSeconds(self.signed()?),
            limit_used: ChfMinor(self.signed()?),
        })
    }

    fn route(&mut self, transaction: Currency) -> Read<FundingRoute> {
        let head = self.byte()?;
        let currency = self.when(bit(head, 0), In::currency)?.unwrap_or(transaction);
        let price = match head >> 6 {
            0 => None,
            1 => Some(Price::Direct),
            2 => Some(Price::Converted(self.conversion()?)),
            _ => Some(Price::Settled { conversion: self.conversion()?, interchange_percent: self.byte()? }),
        };
        let chf_rate = self.when(bit(head, 4), In::small)?;
        let rates_age_seconds = self.when(bit(head, 5), In::number)?;
        let available = Minor(self.signed()?);
        let capacity = if bit(head, 1) {
            let reserve = Minor(self.signed()?);
            let funds = self.when(bit(head, 3), |input| {
                let (currency, available) = (input.currency()?, Minor(input.signed()?));
                let has_conversion = input.byte()? == 1;
                Ok(FundsSeen { currency, available, conversion: input.when(has_conversion, In::conversion)? })
            })?;
            Capacity::Pool { available, reserve, stale: bit(head, 2), funds }
        } else {
            Capacity::Balance { available, allowance: bit(head, 2) }
        };
        Ok(FundingRoute { currency, price, chf_rate, capacity, rates_age_seconds })
    }

    fn verdict(&mut self, request: &Request) -> Read<Verdict> {
        let head = self.byte()?;
        if !bit(head, 0) {
            return Ok(Verdict::Declined(self.rare()?));
        }
        let amount = self.when(bit(head, 2), In::amount)?.unwrap_or(request.amount);
        let currency = self.when(bit(head, 3), In::currency)?.unwrap_or(request.currency);
        let paid = self.when(bit(head, 4), In::amount)?.unwrap_or(amount);
        let spent = self.francs()?;
        let limit = self.when(bit(head, 5), In::francs)?.unwrap_or(spent);
        let funds = self.when(bit(head, 6), |input| {
            let currency = input.currency()?;
            Ok(Money { amount: input.amount()?, currency })
        })?;
        let upcharge =
            self.when(bit(head, 7), |input| Ok(Upcharge { paid: input.amount()?, funds: input.amount()? }))?;
        Ok(Verdict::Approved(Approval {
            source: if bit(head, 1) { Source::Fiat } else { Source::Crypto },
            amount,
            paid: Money { amount: paid, currency },
            spent,
            limit,
            funds,
            upcharge: upcharge.unwrap_or_default(),
        }))
    }
}

fn numbered<T: Copy>(all: &[T], number: u8) -> Read<T> {
    all.get(usize::from(number)).copied().ok_or_else(|| malformed("a number stands for nothing"))
}

// A number that was written once keeps its meaning.

const STATUSES: [AccountStatus; 6] = [
    AccountStatus::Na,
    AccountStatus::SoftBlocked,
    AccountStatus::Tourist,
    AccountStatus::Blocked,
    AccountStatus::Closed,
    AccountStatus::Live,
];

/// An author who follows in the form of other facts.
const OTHER_AUTHOR: u8 = 2;

fn author_number(author: &Author) -> u8 {
    match author {
        Author::Ur => 0,
        Author::PartnerApi => 1,
        Author::Engine | Author::Person { .. } => OTHER_AUTHOR,
    }
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Authorization => 0,
        Kind::Incremental => 1,
        Kind::Reversal => 2,
        Kind::Advice => 3,
    }
}

fn channel_number(channel: Channel) -> u8 {
    match channel {
        Channel::Pos => 0,
        Channel::Contactless => 1,
        Channel::Ecommerce => 2,
        Channel::Recurring => 3,
        Channel::Atm => 4,
        Channel::Other => 5,
    }
}

fn card_number(status: CardStatus) -> u8 {
    match status {
        CardStatus::Active => 1,
        CardStatus::Frozen => 2,
        CardStatus::Deleted => 3,
    }
}

fn card_use_number(card_use: CardUse) -> u8 {
    match card_use {
        CardUse::Any => 0,
        CardUse::Single => 1,
        CardUse::Used => 2,
    }
}

fn status_number(status: AccountStatus) -> u8 {
    match status {
        AccountStatus::Na => 0,
        AccountStatus::SoftBlocked => 1,
        AccountStatus::Tourist => 2,
        AccountStatus::Blocked => 3,
        AccountStatus::Closed => 4,
        AccountStatus::Live => 5,
    }
}

fn gates_number(gates: Gates) -> u8 {
    let Gates { program_suspended, provider_suspended, reversed_before, parent_found, time_trusted, disk_low } = gates;
    bits([program_suspended, provider_suspended, reversed_before, parent_found, time_trusted, disk_low])
}

fn gates_of(number: u8) -> Read<Gates> {
    if number >> 6 != 0 {
        return Err(malformed("a gate is not known"));
    }
    Ok(Gates {
        program_suspended: bit(number, 0),
        provider_suspended: bit(number, 1),
        reversed_before: bit(number, 2),
        parent_found: bit(number, 3),
        time_trusted: bit(number, 4),
        disk_low: bit(number, 5),
    })
}

/// Sources in the order of attempts: their count, and a bit for each.
fn sources_number(sources: &[Source]) -> u8 {
    let order = sources.iter().rev().fold(0, |order, source| order << 1 | u8::from(*source == Source::Fiat));
    sources.iter().zip(1..).last().map_or(0, |(_, count)| count) | order << 2
}

fn sources(number: u8) -> Read<SmallVec<[Source; 2]>> {
    let count = number & 3;
    if count > 2 {
        return Err(malformed("there are two sources"));
    }
    let source = |place| if bit(number >> 2, place) { Source::Fiat } else { Source::Crypto };
    Ok((0..count).map(source).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_any_size_is_read_back() {
        for value in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            Out(&mut bytes).signed(value);
            Out(&mut bytes).number(value.cast_unsigned());
            let mut input = In(&bytes);
            assert_eq!((input.signed(), input.number()), (Ok(value), Ok(value.cast_unsigned())));
            assert!(input.0.is_empty());
        }
    }

    #[test]
    fn every_currency_is_read_back_and_urs_take_a_byte() {
        for currency in NUMBERED.into_iter().chain(["ISK".parse().unwrap()]) {
            let mut bytes = Vec::new();
            Out(&mut bytes).currency(currency);
            assert_eq!(In(&bytes).currency(), Ok(currency));
            assert_eq!(bytes.len() == 1, currency.is_held_by_ur(), "{currency}");
        }
    }
}
