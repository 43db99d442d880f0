//! UR takes people's word: what they change in tapgate becomes true of UR and of its users.
//!
//! tapgate's figures change when the person's record is written; the books follow when the sandbox reads it. A tap in
//! flight between the two may be judged by either state, so each such state adds what it expects.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, Balance, Block, Card, Funding, Funds};
use super::booking::Expected;
use super::books::Books;
use super::contract::{Code, Limit};
use crate::sandbox::tap::Tap;

/// A user as imported.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Import {
    pub(in crate::sandbox) status: &'static str,
    pub(in crate::sandbox) limit: Limit,
    pub(in crate::sandbox) funds: Option<(i64, String)>,
    /// Currency, amount and allowance.
    pub(in crate::sandbox) fiat: Vec<(String, i64, bool)>,
    pub(in crate::sandbox) funding: Funding,
    /// Id, status, currency, and whether it is single-use, if the import says.
    pub(in crate::sandbox) cards: Vec<(String, &'static str, String, Option<bool>)>,
    /// Whether the cards' statuses replace those that a person set.
    pub(in crate::sandbox) overrides: bool,
}

/// A pool as a person set it.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct PoolSet {
    pub(in crate::sandbox) code: String,
    /// Whether the person reported a balance.
    pub(in crate::sandbox) is_reported: bool,
    pub(in crate::sandbox) floor: u64,
    pub(in crate::sandbox) reserve: u64,
    pub(in crate::sandbox) available_change: i64,
}

/// A change that a person made.
#[derive(Clone, Debug)]
pub(in crate::sandbox) enum Change {
    OfUser(String, UserChange),
    OfProgram(ProgramChange),
}

#[derive(Clone, Debug)]
pub(in crate::sandbox) enum UserChange {
    Suspended(bool),
    /// The account's status, by the second provider's word.
    StatusSet(&'static str),
    /// The user's or a card's restrictions; `None`: restrictions that the books do not know.
    Controlled {
        card: Option<String>,
        blocks: Option<Vec<Block>>,
    },
    CardSet {
        card: String,
        status: &'static str,
        /// Else UR's word, which makes no used card usable again.
        is_persons: bool,
    },
    CardUseSet {
        card: String,
        single_use: bool,
    },
    CardAdded {
        card: String,
        status: &'static str,
        code: String,
    },
    /// A new figure, and the debits that it includes.
    Funds {
        amount: i64,
        code: String,
        version: u64,
        ended: Vec<String>,
    },
    Imported(Box<Import>),
    /// A person decided what becomes of an authorization, and UR may do otherwise. The pools' available amounts changed
    /// by as much.
    Settled {
        pools: Vec<(String, u64)>,
    },
}

#[derive(Clone, Debug)]
pub(in crate::sandbox) enum ProgramChange {
    Suspended(bool),
    /// The second provider suspended or resumed its card service.
    ProviderSuspended(bool),
    Pool(PoolSet),
    Credited {
        code: String,
        amount: u64,
    },
    /// Other rates than UR's.
    Rates,
}

/// What people changed.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct People {
    /// The whole program is suspended.
    pub(super) is_suspended: bool,
    /// The card service of the provider is suspended.
    pub(super) is_provider_suspended: bool,
    /// Users whose figures the books cannot follow.
    left: BTreeSet<String>,
    /// Users with whose cards only people tap: the sample user, and those that people imported.
    pub(in crate::sandbox) by_hand: BTreeSet<String>,
    /// Pools with a balance that a person set.
    pub(in crate::sandbox) reported: BTreeSet<String>,
    /// Taps in flight, with what the books expected of each in any state since it was sent.
    in_flight: BTreeMap<String, (Tap, Vec<Expected>)>,
}

impl People {
    pub(in crate::sandbox) fn tapping_by_hand(by_hand: BTreeSet<String>) -> People {
        People { by_hand, ..People::default() }
    }

    /// Whether the books know a user's figures.
    pub(in crate::sandbox) fn is_followed(&self, ur_id: &str) -> bool {
        !self.left.contains(ur_id)
    }

    /// Whether the books know a user's figures and taps.
    pub(in crate::sandbox) fn is_compared(&self, ur_id: &str) -> bool {
        self.is_followed(ur_id) && !self.by_hand.contains(ur_id)
    }

    /// The number of users whom the books do not follow any more.
    pub(in crate::sandbox) fn left(&self) -> usize {
        self.left.len()
    }
}

impl Books {
    /// Notes that a tap is sent, and returns the number of right answers.
    pub(in crate::sandbox) fn ask(&mut self, tap: &Tap, now: u64) -> usize {
        let expected = self.expect(tap, now);
        let right = expected.len();
        self.people.in_flight.insert(tap.id.clone(), (tap.clone(), expected));
        right
    }

    /// What the books expect of a tap that was in flight until now.
    pub(in crate::sandbox) fn answered(&mut self, tap: &Tap) -> Vec<Expected> {
        self.people.in_flight.remove(&tap.id).map(|(_, expected)| expected).unwrap_or_default()
    }

    /// Follows a change that a person made.
    pub(in crate::sandbox) fn follow(&mut self, change: Change, now: u64) {
        let concerned = match change {
            Change::OfUser(ur_id, change) => {
                if !self.follow_user(&ur_id, change, now) {
                    self.people.left.insert(ur_id.clone());
                }
                Some(ur_id)
            }
            Change::OfProgram(change) => {
                self.follow_program(change);
                None
            }
        };
        let mut in_flight = std::mem::take(&mut self.people.in_flight);
        let is_concerned = |tap: &Tap| concerned.as_ref().is_none_or(|ur_id| tap.ur_id == *ur_id);
        for (tap, expected) in in_flight.values_mut().filter(|(tap, _)| is_concerned(tap)) {
            for one in self.expect(tap, now) {
                if !expected.contains(&one) {
                    expected.push(one);
                }
            }
        }
        self.people.in_flight = in_flight;
    }

    /// tapgate took over UR's figures of a user.
    pub(in crate::sandbox) fn note_told(&mut self, ur_id: &str, limit: Option<Limit>, balances: &[(String, i64)]) {
        let balances: Vec<_> = balances.iter().filter_map(|(code, amount)| Some((self.held(code)?, *amount))).collect();
        let Some(account) = self.accounts.get_mut(ur_id) else { return };
        account.told = limit.unwrap_or(account.told);
        for (code, amount) in balances {
            if let Some((balance, _)) = account.fiat.get_mut(code) {
                balance.told = amount;
            }
        }
    }

    /// A currency that UR holds.
    pub(in crate::sandbox) fn held(&self, code: &str) -> Option<Code> {
        self.rates.usd.keys().copied().find(|known| *known == code)
    }

    fn follow_program(&mut self, change: ProgramChange) {
        match change {
            ProgramChange::Suspended(suspended) => self.people.is_suspended = suspended,
            ProgramChange::ProviderSuspended(suspended) => self.people.is_provider_suspended = suspended,
            ProgramChange::Pool(set) => self.set_pool(&set),
            ProgramChange::Credited { code, amount } => {
                if let Some(code) = self.held(&code) {
                    self.raise(code, amount);
                }
            }
            // UR's rates stay: what tapgate approves by others, the books cannot tell.
            ProgramChange::Rates => self.people.left = self.accounts.keys().cloned().collect(),
        }
    }

    /// Whether the books know the user's figures after the change.
    fn follow_user(&mut self, ur_id: &str, change: UserChange, now: u64) -> bool {
        match change {
            UserChange::StatusSet(status) => self.with_account(ur_id, |account| account.status = status),
            UserChange::Suspended(suspended) => self.with_account(ur_id, |account| account.suspended = suspended),
            UserChange::Controlled { card, blocks } => {
                let is_known = blocks.is_some();
                self.with_account(ur_id, |account| {
                    let own = account.cards.iter_mut().find(|own| Some(&own.id) == card.as_ref());
                    *own.map_or(&mut account.blocks, |card| &mut card.blocks) = blocks.unwrap_or_default();
                }) && is_known
            }
            UserChange::CardSet { card, status, is_persons } => self.with_account(ur_id, |account| {
                for own in account.cards.iter_mut().filter(|own| own.id == card) {
                    if is_persons { own.set_status(status) } else { own.status = status }
                }
            }),
            UserChange::CardUseSet { card, single_use } => self.with_account(ur_id, |account| {
                account.cards.iter_mut().filter(|own| own.id == card).for_each(|card| card.set_single_use(single_use));
            }),
            UserChange::CardAdded { card, status, code } => self.add_card(ur_id, card, status, &code),
            UserChange::Funds { amount, code, version, ended } => {
                self.end_holds(ur_id, &ended);
                self.set_funds(ur_id, Some((amount, &code)), version)
            }
            UserChange::Imported(import) => self.import(ur_id, &import, now),
            // What taps by hand hold is read, not followed.
            UserChange::Settled { .. } if self.people.by_hand.contains(ur_id) => true,
            UserChange::Settled { pools } => {
                for (code, amount) in pools {
                    if let Some(pool) = self.held(&code).and_then(|code| self.pools.get_mut(code)) {
                        pool.unsure += amount;
                    }
                }
                false
            }
        }
    }

    fn with_account(&mut self, ur_id: &str, change: impl FnOnce(&mut Account)) -> bool {
        self.accounts.get_mut(ur_id).map(change).is_some()
    }

    fn add_card(&mut self, ur_id: &str, id: String, status: &'static str, code: &str) -> bool {
        let Some(currency) = self.held(code) else { return false };
        self.with_account(ur_id, |account| account.cards.push(Card::new(id, status, currency)))
    }

    fn set_funds(&mut self, ur_id: &str, funds: Option<(i64, &str)>, version: u64) -> bool {
        let funds = funds.map(|(amount, code)| Some((amount, self.held(code)?)));
        let is_known = funds != Some(None);
        let set = funds.flatten();
        is_known
            && self.with_account(ur_id, |account| {
                let held = account.funds.map_or(0, |funds| funds.held);
                account.funds = set.map(|(amount, currency)| Funds { amount, currency, version, held });
            })
    }

    /// UR's figures move as tapgate's do: what is under way stays under way. Whether UR holds the currencies.
    fn import(&mut self, ur_id: &str, import: &Import, now: u64) -> bool {
        if !self.accounts.contains_key(ur_id) {
            self.people.by_hand.insert(ur_id.to_owned());
            let limit = Limit { used: 0, ..import.limit };
            self.accounts.insert(ur_id.to_owned(), Account::new(import.status, limit, import.funding));
        }
        let funds = import.funds.as_ref().map(|(amount, code)| (*amount, code.as_str()));
        let is_known = self.set_funds(ur_id, funds, 0);
        let fiat: Option<BTreeMap<Code, (i64, bool)>> =
            import.fiat.iter().map(|(code, amount, allowed)| Some((self.held(code)?, (*amount, *allowed)))).collect();
        let cards = import.cards.iter();
        let cards: Option<Vec<(Card, Option<bool>)>> = cards
            .map(|(id, status, code, single_use)| Some((Card::new(id.clone(), status, self.held(code)?), *single_use)))
            .collect();
        let (Some(fiat), Some(cards), Some(account)) = (fiat, cards, self.accounts.get_mut(ur_id)) else {
            return false;
        };
        account.status = import.status;
        account.funding = import.funding;
        account.import_cards(cards, import.overrides);
        account.import_limit(import.limit, self.is_fed, now);
        account.import_fiat(&fiat);
        is_known
    }

    fn set_pool(&mut self, set: &PoolSet) {
        let Some(code) = self.held(&set.code) else { return };
        let pool = self.pools.entry(code).or_insert_with(|| Balance::of(0, 0));
        if set.is_reported {
            self.people.reported.insert(set.code.clone());
            // Without feeds, what a person's report includes is never given back.
            pool.unsure += if self.is_fed { 0 } else { pool.taken };
        }
        let change = set.available_change + set.floor.cast_signed() - pool.floor.cast_signed();
        // Saturating at zero: a pool in the red has nothing to spend.
        pool.balance = pool.balance.saturating_add_signed(change);
        pool.credited += change;
        if pool.opened == 0 {
            pool.opened = pool.balance;
        }
        (pool.floor, pool.reserve) = (set.floor, set.reserve);
    }
}

impl Account {
    /// A card that is frozen or deleted stays so, and stays when an import omits it.
    fn import_cards(&mut self, imported: Vec<(Card, Option<bool>)>, overrides: bool) {
        let (cards, single_use): (Vec<Card>, Vec<Option<bool>>) = imported.into_iter().unzip();
        let before = std::mem::replace(&mut self.cards, cards);
        for (card, single_use) in self.cards.iter_mut().zip(single_use) {
            let Some(old) = before.iter().find(|old| old.id == card.id) else {
                card.single_use = single_use == Some(true);
                continue;
            };
            card.blocks.clone_from(&old.blocks);
            (card.single_use, card.is_used) = (old.single_use, old.is_used && !overrides);
            let strictest = ["deleted", "frozen"].into_iter().find(|status| [old.status, card.status].contains(status));
            if !overrides {
                card.status = strictest.unwrap_or(card.status);
            }
            if let Some(single_use) = single_use {
                card.set_single_use(single_use);
            }
        }
        let stays = |old: &Card| !overrides && (old.status != "active" || old.is_used);
        let omitted = before.into_iter().filter(|old| stays(old) && self.cards.iter().all(|card| card.id != old.id));
        let omitted: Vec<_> = omitted.collect();
        self.cards.extend(omitted);
    }

    fn import_limit(&mut self, imported: Limit, is_fed: bool, now: u64) {
        let since = self.unreflected(now);
        // In a period that began later UR counts from zero.
        let told = if self.told.start == self.limit.start { self.told.used } else { 0 };
        self.told = imported;
        if !is_fed {
            self.reported = imported;
            self.limit = Limit { used: imported.used + since, ..imported };
            return;
        }
        let used = (self.limit.used + imported.used).saturating_sub(told);
        self.limit = Limit { used, ..imported };
        self.reported = Limit { used: used.saturating_sub(since), ..imported };
        if since > used {
            // UR's own figure includes them.
            self.reported.used = used;
            self.uses.clear();
        }
    }

    fn import_fiat(&mut self, imported: &BTreeMap<Code, (i64, bool)>) {
        for code in imported.keys() {
            self.fiat.entry(code).or_insert_with(|| (Balance::of(0, 0), false));
        }
        for (code, (balance, allowed)) in &mut self.fiat {
            let (amount, is_allowed) = imported.get(code).copied().unwrap_or_default();
            let change = amount - balance.told;
            *allowed = is_allowed;
            balance.told = amount;
            balance.credited += change;
            // UR holds no negative balance: what is under way beyond it is the partner's to settle.
            balance.balance = balance.balance.saturating_add_signed(change);
        }
    }
}
