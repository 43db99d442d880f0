//! The accounts of the simulated UR: balances, limit, cards and restrictions, and the partner's own figure of funds.

use std::collections::{BTreeMap, VecDeque};

use super::contract::{Code, Limit, PERIOD_SECONDS, Rates};
use super::doubt::{Bounds, Doubt};
use crate::sandbox::tap::Tap;

/// A pool or a fiat balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Balance {
    pub(in crate::sandbox) balance: u64,
    /// UR's minimum balance.
    pub(in crate::sandbox) floor: u64,
    /// The opening balance.
    pub(in crate::sandbox) opened: u64,
    /// All money that UR received: the opening balance and every credit. Negative after an import of less than is taken.
    pub(in crate::sandbox) credited: i64,
    /// The amount that tapgate must count as taken.
    pub(in crate::sandbox) taken: u64,
    /// Taken by taps by hand.
    pub(in crate::sandbox) by_hand: u64,
    /// Amounts that tapgate may count twice.
    pub(in crate::sandbox) doubt: Doubt,
    /// The part that a person keeps: approvals must leave it.
    pub(in crate::sandbox) reserve: u64,
    /// tapgate's last figure of the balance, by an import or a report.
    pub(in crate::sandbox) told: i64,
    /// Amounts that a person's word moved and UR did not: tapgate may count them or not.
    pub(in crate::sandbox) unsure: u64,
    /// Held above approved amounts, or not any more.
    pub(in crate::sandbox) upcharged: u64,
}

impl Balance {
    pub(in crate::sandbox) fn of(amount: u64, floor: u64) -> Balance {
        let told = amount.cast_signed();
        Balance { balance: amount, floor, opened: amount, credited: told, told, ..Balance::default() }
    }

    /// The balance that tapgate may still use, by the reports that it received.
    pub(in crate::sandbox) fn available(&self) -> u64 {
        u64::try_from(self.credited - (self.floor + self.taken + self.by_hand).cast_signed()).unwrap_or(0)
    }

    /// As [`Self::available`], but with feeds, whose reports replace the imported figures.
    pub(in crate::sandbox) fn bounds(&self, is_fed: bool) -> Bounds {
        let imported = self.available();
        let (least, most) = if is_fed {
            let reported = self.balance.saturating_sub(self.floor).saturating_sub(self.by_hand);
            (imported.min(reported).saturating_sub(self.doubt.total()), imported.max(reported))
        } else {
            (imported, imported)
        };
        Bounds { least: least.saturating_sub(self.unsure + self.upcharged), most: most + self.unsure }
    }

    pub(super) fn take(&mut self, amount: u64) -> Result<(), String> {
        let left = self.balance.checked_sub(amount).filter(|left| *left >= self.floor);
        // What a person freed and UR took, UR lacks.
        let left = left.or_else(|| (self.unsure > 0).then(|| self.balance.saturating_sub(amount)));
        self.balance = left.ok_or_else(|| format!("{amount} taken of {}, {} must stay", self.balance, self.floor))?;
        self.taken += amount;
        Ok(())
    }
}

/// The sources, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Funding {
    Crypto,
    Fiat,
    CryptoThenFiat,
    FiatThenCrypto,
}

impl Funding {
    pub(in crate::sandbox) fn name(self) -> &'static str {
        match self {
            Funding::Crypto => "crypto",
            Funding::Fiat => "fiat",
            Funding::CryptoThenFiat => "crypto_then_fiat",
            Funding::FiatThenCrypto => "fiat_then_crypto",
        }
    }

    pub(super) fn sources(self) -> &'static [&'static str] {
        match self {
            Funding::Crypto => &[CRYPTO],
            Funding::Fiat => &[FIAT],
            Funding::CryptoThenFiat => &[CRYPTO, FIAT],
            Funding::FiatThenCrypto => &[FIAT, CRYPTO],
        }
    }
}

pub(in crate::sandbox) const CRYPTO: &str = "CRYPTO";
pub(in crate::sandbox) const FIAT: &str = "FIAT";

#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Card {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) status: &'static str,
    pub(in crate::sandbox) currency: Code,
    pub(in crate::sandbox) blocks: Vec<Block>,
    pub(in crate::sandbox) single_use: bool,
    /// Single-use, and frozen by its approval.
    pub(in crate::sandbox) is_used: bool,
}

impl Card {
    pub(in crate::sandbox) fn new(id: String, status: &'static str, currency: Code) -> Card {
        Card { id, status, currency, blocks: Vec::new(), single_use: false, is_used: false }
    }

    pub(in crate::sandbox) fn shown_status(&self) -> &'static str {
        if self.is_used && self.status == "active" { "frozen" } else { self.status }
    }

    pub(super) fn set_status(&mut self, status: &'static str) {
        self.status = status;
        self.is_used &= status != "active";
    }

    pub(super) fn set_single_use(&mut self, single_use: bool) {
        if self.is_used && !single_use {
            (self.is_used, self.status) = (false, if self.status == "deleted" { "deleted" } else { "frozen" });
        }
        self.single_use = single_use;
    }
}

/// A restriction of a user or a card, in the ladder's order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox) enum Block {
    Country(String),
    OnlyCountries(Vec<String>),
    Mcc(String),
    OnlyMccs(Vec<String>),
    Merchant(String),
    OnlyMerchants(Vec<String>),
    Channel(String),
    OnlyChannels(Vec<String>),
    /// Amounts above this one, in this currency.
    Above(u64, String),
}

impl Block {
    /// Whether it restricts a tap that costs this many francs.
    pub(super) fn hits(&self, tap: &Tap, chf: u64, rates: &Rates) -> bool {
        let merchant = &tap.merchant;
        let lacks = |allowed: &[String], value: &str| allowed.iter().all(|allowed| allowed != value);
        match self {
            Block::Country(country) => country == merchant.country,
            Block::OnlyCountries(countries) => lacks(countries, merchant.country),
            Block::Mcc(mcc) => mcc == merchant.mcc,
            Block::OnlyMccs(mccs) => lacks(mccs, merchant.mcc),
            Block::Merchant(id) => id == merchant.id,
            Block::OnlyMerchants(ids) => lacks(ids, merchant.id),
            Block::Channel(channel) => channel == merchant.channel,
            Block::OnlyChannels(channels) => lacks(channels, merchant.channel),
            Block::Above(most, code) if code == merchant.currency => tap.amount > *most,
            Block::Above(most, code) => chf > rates.to_chf(*most, code),
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Block::Country(_) | Block::OnlyCountries(_) => "country_blocked",
            Block::Mcc(_) | Block::OnlyMccs(_) => "mcc_blocked",
            Block::Merchant(_) | Block::OnlyMerchants(_) => "merchant_blocked",
            Block::Channel(_) | Block::OnlyChannels(_) => "channel_blocked",
            Block::Above(..) => "transaction_amount_limit",
        }
    }
}

/// The partner's own figure of a user's funds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Funds {
    /// Negative for a user in the red.
    pub(in crate::sandbox) amount: i64,
    pub(in crate::sandbox) currency: Code,
    pub(in crate::sandbox) version: u64,
    pub(in crate::sandbox) held: u64,
}

impl Funds {
    pub(super) fn available(&self) -> i64 {
        self.amount - self.held.cast_signed()
    }
}

/// A user's data at UR and the partner.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Account {
    pub(in crate::sandbox) status: &'static str,
    pub(in crate::sandbox) suspended: bool,
    /// The limit as imported into tapgate.
    pub(in crate::sandbox) reported: Limit,
    /// tapgate's last figures of the limit, by an import or a report.
    pub(in crate::sandbox) told: Limit,
    /// The limit in UR's contract.
    pub(in crate::sandbox) limit: Limit,
    /// Francs by which the two limits may differ, after returns of converted amounts.
    pub(in crate::sandbox) limit_drift: u64,
    /// Smallest units by which a user's debits may differ: UR converts what it gives back itself.
    pub(in crate::sandbox) funds_drift: u64,
    /// Held of the funds above approved amounts, or not any more.
    pub(in crate::sandbox) funds_upcharged: u64,
    /// Uses of the limit that tapgate may count twice.
    pub(in crate::sandbox) limit_doubt: Doubt,
    /// Uses that tapgate must add to the report: unix seconds and francs.
    pub(in crate::sandbox) uses: VecDeque<(u64, u64)>,
    pub(in crate::sandbox) funding: Funding,
    pub(in crate::sandbox) funds: Option<Funds>,
    pub(in crate::sandbox) fiat: BTreeMap<Code, (Balance, bool)>,
    pub(in crate::sandbox) cards: Vec<Card>,
    pub(in crate::sandbox) blocks: Vec<Block>,
    /// The wallet's USDC, in millionths of a dollar.
    pub(in crate::sandbox) usdc: u64,
    /// Approved authorizations that the partner has not debited yet.
    pub(in crate::sandbox) undebited: Vec<String>,
}

impl Account {
    /// An account without money, cards and restrictions.
    pub(in crate::sandbox) fn new(status: &'static str, limit: Limit, funding: Funding) -> Account {
        Account {
            status,
            suspended: false,
            reported: limit,
            told: limit,
            limit,
            limit_drift: 0,
            funds_drift: 0,
            funds_upcharged: 0,
            limit_doubt: Doubt::default(),
            uses: VecDeque::new(),
            funding,
            funds: None,
            fiat: BTreeMap::new(),
            cards: Vec::new(),
            blocks: Vec::new(),
            usdc: 0,
            undebited: Vec::new(),
        }
    }

    /// Francs that tapgate adds to the report.
    pub(in crate::sandbox) fn unreflected(&self, now: u64) -> u64 {
        let live = self.uses.iter().filter(|(at, _)| at + PERIOD_SECONDS >= now);
        live.map(|(_, chf)| chf).sum()
    }

    /// Of these, what ended with the reported period: tapgate drops it within a day.
    pub(in crate::sandbox) fn ended(&self, now: u64) -> u64 {
        let end = self.reported.start + PERIOD_SECONDS;
        let live = self.uses.iter().filter(|(at, _)| at + PERIOD_SECONDS >= now && *at < end);
        if self.reported.has_ended(now) { live.map(|(_, chf)| chf).sum() } else { 0 }
    }

    /// Francs that tapgate may still approve.
    pub(in crate::sandbox) fn headroom(&self, now: u64) -> u64 {
        let reported = if self.reported.has_ended(now) { 0 } else { self.reported.used };
        self.reported.client.saturating_sub(reported).saturating_sub(self.unreflected(now))
    }

    /// As [`Self::headroom`], but with feeds. The end of a period frees the uses that UR counted in it, but not those
    /// that tapgate cannot know to be in it.
    pub(in crate::sandbox) fn headroom_bounds(&self, now: u64, is_fed: bool) -> Bounds {
        let imported = self.headroom(now);
        if !is_fed {
            let most = self.reported.client.saturating_sub(self.unreflected(now) - self.ended(now));
            return Bounds { least: imported, most: if self.reported.has_ended(now) { most } else { imported } };
        }
        let used = if self.limit.has_ended(now) { 0 } else { self.limit.used };
        let reported = self.limit.client.saturating_sub(used);
        let unsure = self.limit_drift + self.limit_doubt.total();
        Bounds { least: imported.min(reported).saturating_sub(unsure), most: imported.max(reported + self.limit_drift) }
    }

    /// Counts a use of the limit: the francs that tapgate counts, and those that UR counts. `row` is the row of the
    /// statement that shows it.
    pub(super) fn use_limit(&mut self, (chf, counted): (u64, u64), row: Option<usize>, now: u64) {
        self.limit.add(counted, now);
        self.limit_drift += counted.abs_diff(chf);
        self.uses.push_back((now, chf));
        if let Some(row) = row {
            self.limit_doubt.add(Some(row), chf);
        }
    }
}
