//! Whatever comes after a decision, in whatever order: the same evidence ends in the same books.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;

use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::{
    AccountStatus, Flow, FundingPolicy, HoldUpcharge, Import, Kind, Merchant, Posting, Progress, ReportedAccount,
    Request, Source, Tolerance,
};
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::rows::{Authorization, Outcome, PoolFigures, User};
use tapgate_engine::rules::standing;
use tapgate_engine::testing::MemoryStore;

use crate::world::{self, World, at, movement, naming, tap};

/// One piece of evidence on an authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    /// UR's reversal by callback.
    Reversal(&'static str, i64),
    /// UR's row: its hash, direction, status and amount.
    Row(&'static str, Flow, Progress, i64),
    /// UR's row that names the increment's own id.
    OfIncrement(&'static str, Progress, i64),
    /// The decision itself, where UR's rows may come before it.
    Tap(i64),
}

use Flow::{In, Out};
use Piece::{OfIncrement, Reversal, Row, Tap};
use Progress::{Completed, Pending, Rejected, Shown};

/// What a decision left before the evidence came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) source: Source,
    /// The transaction currency: another than the paid one prices by rates.
    currency: &'static str,
    /// The authorization's amount, and an increment's.
    draws: &'static [i64],
    /// The merchant's category: at restaurants more is held than was approved.
    mcc: Option<u16>,
}

const RESTAURANT: Option<u16> = Some(5_812);

pub(crate) const SETTINGS: [Setting; 4] = [
    Setting { source: Source::Crypto, currency: "EUR", draws: &[1_000], mcc: None },
    Setting { source: Source::Crypto, currency: "EUR", draws: &[600, 400], mcc: None },
    Setting { source: Source::Fiat, currency: "EUR", draws: &[1_000], mcc: None },
    Setting { source: Source::Crypto, currency: "USD", draws: &[1_000], mcc: None },
];

pub(crate) const PALETTE: &[Piece] = &[
    Reversal("r1", 1_000),
    Reversal("r2", 300),
    Reversal("r3", 1_500),
    Row("h1", Out, Pending, 1_000),
    Row("h1", Out, Completed, 1_000),
    Row("h1", Out, Rejected, 1_000),
    Row("h1", Out, Shown, 1_000),
    Row("h1", Out, Completed, 700),
    Row("h2", Out, Completed, 300),
    Row("h2", Out, Pending, 300),
    Row("h3", In, Completed, 1_000),
    Row("h4", In, Completed, 300),
    OfIncrement("h5", Rejected, 400),
    Row("h6", Out, Completed, 1_200),
];

/// One user with one authorization: many cases share a world, because a ledger's maps are large.
pub(crate) struct Case<'a> {
    pub(crate) world: &'a World,
    pub(crate) setting: Setting,
    pub(crate) number: usize,
}

impl Case<'_> {
    pub(crate) fn begin(world: &World, setting: Setting, number: usize) -> Case<'_> {
        let case = Case { world, setting, number };
        let funding = match setting.source {
            Source::Crypto => FundingPolicy::Crypto,
            Source::Fiat => FundingPolicy::Fiat,
        };
        let mut import = Import { user: case.user_id(), funding: Some(funding), ..world::import() };
        import.cards.iter_mut().for_each(|card| card.id = case.name("card").parse().unwrap());
        world.ledger.change(&world::author(), Change::ImportUser(Box::new(import)), at(0)).unwrap();
        for (id, amount) in ["a", "i"].iter().zip(setting.draws) {
            let mut request = case.request(id, *amount);
            if *id == "i" {
                request = Request { kind: Kind::Incremental, original: Some(case.root_id()), ..request };
            }
            assert!(matches!(case.submitted(request), Outcome::Approved { .. }));
        }
        case
    }

    pub(crate) fn name(&self, of: &str) -> String {
        format!("{of}_{}", self.number)
    }

    pub(crate) fn user_id(&self) -> UrId {
        self.name("user").parse().unwrap()
    }

    pub(crate) fn root_id(&self) -> AuthorizationId {
        self.name("a").parse().unwrap()
    }

    fn request(&self, id: &str, amount: i64) -> Request {
        Request {
            user: self.user_id(),
            card: self.name("card").parse().unwrap(),
            currency: self.setting.currency.parse().unwrap(),
            merchant: Merchant { mcc: self.setting.mcc, ..Merchant::default() },
            ..tap(&self.name(id), amount)
        }
    }

    fn row(&self, hash: &str, flow: Flow, progress: Progress, amount: i64, named: &str) -> Posting {
        Posting {
            user: self.user_id(),
            awaits: Some(self.name(named).parse().unwrap()),
            ..naming(&movement(&self.name(hash), flow, progress, amount), &self.name(named))
        }
    }

    pub(crate) fn add(&self, piece: Piece) {
        match piece {
            Reversal(id, amount) => {
                let original = Some(self.root_id());
                self.submitted(Request { kind: Kind::Reversal, original, ..self.request(id, amount) });
            }
            Tap(amount) => {
                let outcome = self.submitted(self.request("a", amount));
                assert!(matches!(outcome, Outcome::Approved { .. }), "{outcome:?}");
            }
            Row(hash, flow, progress, amount) => self.show(&self.row(hash, flow, progress, amount, "a")),
            OfIncrement(hash, progress, amount) => {
                let named = if self.setting.draws.len() > 1 { "i" } else { "a" };
                self.show(&self.row(hash, Out, progress, amount, named));
            }
        }
    }

    fn submitted(&self, request: Request) -> Outcome {
        self.world.ledger.submit(request, at(10)).unwrap().reply.outcome.unwrap()
    }

    fn show(&self, posting: &Posting) {
        self.world.ledger.post(posting, at(100)).unwrap();
    }

    pub(crate) fn root(&self) -> Authorization {
        self.world.ledger.find(&self.root_id()).unwrap().unwrap().authorization.unwrap()
    }

    fn user(&self) -> User {
        self.world.ledger.user(&self.user_id()).unwrap()
    }

    /// What must hold after every record.
    fn check_claims(&self, context: &dyn Debug) {
        let row = self.root();
        let stands = standing(&row, Tolerance::default());
        assert_eq!(row.held().amount, stands.held, "{context:?}");
        assert_eq!(row.captured(), stands.taken, "{context:?}");
        let claimed = stands.held + stands.taken;
        let still = if row.settlement().ended.is_some() { Minor::ZERO } else { stands.net() };
        let drift = Tolerance::default().of(still);
        assert!(claimed + drift >= still.max(stands.taken), "claims cover what UR may still take: {context:?}");
        let user = self.user();
        let held: Minor = user.holds().iter().map(|hold| hold.paid.amount).sum();
        assert_eq!(held, stands.held, "the user's holds are the authorization's: {context:?}");
        let funds: Minor = user.holds().iter().map(|hold| hold.funds).sum();
        assert_eq!(user.funds.unwrap().held, funds + row.upcharge().funds, "{context:?}");
        let upcharged = Source::Crypto == self.setting.source && self.setting.mcc == RESTAURANT;
        assert!(upcharged || row.upcharge().funds.is_zero(), "{context:?}");
        let may_grow = (Minor::ZERO..=stands.net().share_rounded_up(20, 100) + Minor(1)).contains(&row.upcharge().paid);
        assert!(may_grow, "an upcharge is a share of what nobody gave back: {context:?}");
        let requested: Minor = row.layers().map(|layer| layer.debit).sum();
        assert_eq!(requested, funds, "nothing is debited yet: what is requested is held: {context:?}");
    }

    pub(crate) fn breaks(&self) -> Vec<String> {
        let open = self.world.ledger.open_breaks();
        let mut breaks: Vec<String> = open
            .iter()
            .map(|found| &found.discrepancy)
            // A movement that came before its decision is named by UR's hash, which ends like our ids here.
            .filter(|found| found.subject.ends_with(&self.name("")))
            .map(|found| format!("{} {} {} {}", found.kind.name(), found.field, found.ours, found.theirs))
            .collect();
        breaks.sort();
        breaks
    }

    /// Everything that must not depend on the order. UR's own balance moved by `moved`.
    fn books(&self, moved: i64, before: &PoolFigures) -> String {
        let ledger = &self.world.ledger;
        let through = ledger.journal().claimed();
        let (user, root) = (self.user(), self.root());
        let stands = standing(&root, Tolerance::default());
        let balance = vec![Money { amount: Minor(100_000 + moved), currency: Currency::EUR }];
        let limit = ClientLimit { used: ChfMinor::ZERO, ..world::import().limit };
        let account = ReportedAccount { status: AccountStatus::Live, limit, allowances: Vec::new() };
        ledger.report_user(&self.user_id(), Some(account), Some(balance), through, at(200)).unwrap();
        if root.source == Some(Source::Crypto) {
            ledger.sync_pool(Currency::EUR, before.reported + Minor(moved), through, at(200)).unwrap();
        }
        let fiat = self.user().fiat_in(Currency::EUR).unwrap().available();
        let pool = ledger.pool(Currency::EUR).unwrap();
        let now = at(200).at.seconds();
        let breaks = self.breaks();
        let debits: Minor = root.layers().map(|layer| layer.debit).sum();
        format!(
            "{:?} {stands:?} pool {} {} {} fiat {fiat} funds {} limit {} then {} velocity {:?} debits {debits} {breaks:?}",
            root.state,
            pool.unreflected() - before.unreflected(),
            pool.held - before.held,
            pool.upcharged - before.upcharged,
            user.funds.unwrap().held,
            user.spends().unreflected(now),
            self.user().spends().unreflected(now),
            user.spends().window(now.plus(-3_600), None),
        )
    }
}

/// What these pieces take from UR's balance, by the rows alone.
fn moved(pieces: &[Piece]) -> i64 {
    let mut taken: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    for piece in pieces {
        if let Row(hash, flow, Completed, amount) = *piece {
            let signed = if flow == Out { -amount } else { amount };
            taken.insert((hash, amount), signed);
        }
    }
    taken.values().sum()
}

fn permutations(pieces: &[Piece]) -> Vec<Vec<Piece>> {
    let Some((first, rest)) = pieces.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, *first);
            if !all.contains(&longer) {
                all.push(longer);
            }
        }
    }
    all
}

/// Every set of so many pieces of the palette, in palette order.
fn sets(size: usize, from: &[Piece]) -> Vec<Vec<Piece>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, piece) in from.iter().enumerate() {
        for mut rest in sets(size - 1, &from[place + 1..]) {
            rest.insert(0, *piece);
            all.push(rest);
        }
    }
    all
}

/// Plays every order of the pieces, and asserts that all end alike. Returns their number.
fn ends_alike(world: &World, setting: Setting, pieces: &[Piece], checked: &mut HashSet<Vec<Piece>>) -> usize {
    let mut ends: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
    let orders = permutations(pieces);
    for (number, order) in orders.iter().enumerate() {
        let before = world.ledger.pool(Currency::EUR).unwrap();
        let case = Case::begin(world, setting, number);
        for (place, piece) in order.iter().enumerate() {
            case.add(*piece);
            // Many orders begin alike: once says as much as every time.
            let beginning = &order[..=place];
            if place + 1 == order.len() || checked.insert(beginning.to_vec()) {
                case.check_claims(&(setting, beginning));
            }
        }
        ends.entry(case.books(moved(pieces), &before)).or_insert_with(|| order.clone());
    }
    let listed: Vec<String> = ends.iter().map(|(end, order)| format!("  {order:?}\n    {end}")).collect();
    assert_eq!(ends.len(), 1, "one set of evidence ends in one way: {setting:?}\n{}", listed.join("\n"));
    orders.len()
}

fn every_order_ends_alike(setting: Setting, size: usize) {
    /// Sets between two lines that show how far a long run is.
    const SHOWN_SETS: usize = 200;
    /// Enough for every order of the largest sets.
    const POOL: i64 = 10_000_000;
    let (mut orders, mut checked) = (0, HashSet::new());
    let sets = sets(size, PALETTE);
    for (number, set) in (1..).zip(&sets) {
        let hold_upcharge = vec![HoldUpcharge { mcc: 5_812, percent: 20 }];
        let world = World::with_policy(MemoryStore::new(), Policy { hold_upcharge, ..Policy::default() });
        world.change(world::report(Currency::EUR, POOL, 0)).unwrap();
        orders += ends_alike(&world, setting, set, &mut checked);
        if number % SHOWN_SETS == 0 || number == sets.len() {
            eprintln!("{setting:?}: {orders} orders of {size} pieces, {number} of {} sets", sets.len());
        }
    }
}

#[test]
fn any_order_of_four_pieces_ends_in_the_same_books() {
    every_order_ends_alike(SETTINGS[0], 4);
}

#[test]
fn any_order_of_four_pieces_ends_alike_for_two_draws() {
    every_order_ends_alike(SETTINGS[1], 4);
}

#[test]
fn any_order_of_four_pieces_ends_alike_for_a_users_own_balance() {
    every_order_ends_alike(SETTINGS[2], 4);
}

#[test]
fn any_order_of_four_pieces_ends_alike_in_another_currency() {
    every_order_ends_alike(SETTINGS[3], 4);
}

#[test]
fn any_order_of_three_pieces_ends_alike_where_more_is_held_than_approved() {
    SETTINGS.into_iter().for_each(|setting| every_order_ends_alike(Setting { mcc: RESTAURANT, ..setting }, 3));
}

#[test]
fn rows_of_a_tap_come_before_and_after_its_decision_and_end_alike() {
    let is_row = |piece: &Piece| matches!(piece, Row(..));
    let rows: Vec<Piece> = PALETTE.iter().copied().filter(is_row).collect();
    for setting in [SETTINGS[0], SETTINGS[2], SETTINGS[3]] {
        let (undecided, mut checked) = (Setting { draws: &[], ..setting }, HashSet::new());
        for mut set in sets(3, &rows) {
            let world = World::new();
            world.change(world::report(Currency::EUR, 10_000_000, 0)).unwrap();
            set.push(Tap(1_000));
            ends_alike(&world, undecided, &set, &mut checked);
        }
    }
}

#[test]
#[ignore = "a million orders: make soak"]
fn any_order_of_five_pieces_ends_in_the_same_books() {
    SETTINGS.into_iter().for_each(|setting| every_order_ends_alike(setting, 5));
}

#[test]
#[ignore = "a million orders: make soak"]
fn any_order_of_five_pieces_ends_alike_where_more_is_held_than_approved() {
    SETTINGS.into_iter().for_each(|setting| every_order_ends_alike(Setting { mcc: RESTAURANT, ..setting }, 5));
}

#[test]
#[ignore = "two million orders: make soak"]
fn any_order_of_six_pieces_ends_in_the_same_books() {
    every_order_ends_alike(SETTINGS[0], 6);
}

#[test]
#[ignore = "two million orders: make soak"]
fn any_order_of_six_pieces_ends_alike_for_two_draws() {
    every_order_ends_alike(SETTINGS[1], 6);
}

#[test]
#[ignore = "two million orders: make soak"]
fn any_order_of_six_pieces_ends_alike_for_a_users_own_balance() {
    every_order_ends_alike(SETTINGS[2], 6);
}

#[test]
#[ignore = "two million orders: make soak"]
fn any_order_of_six_pieces_ends_alike_in_another_currency() {
    every_order_ends_alike(SETTINGS[3], 6);
}
