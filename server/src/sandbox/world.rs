//! The sandbox's users with cards, funds and habits, and the merchants, all derived from the seed.

use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::tap::Merchant;
use super::ur::account::{Account, Balance, Block, Card, Funding, Funds};
use super::ur::books::Books;
use super::ur::contract::{Code, Limit, PERIOD_SECONDS, Rates};
use super::ur::people::People;

/// The events that follow an approved purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Mostly nothing follows; sometimes the purchase is reversed.
    Shop,
    /// A fixed amount first, then an advice returns the unused part.
    Fuel,
    /// The first night, then more nights; sometimes the stay is reversed.
    Lodging,
    /// A ride's estimate, then a tip.
    Ride,
}

/// A merchant with its usual amount, hours and habit.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) merchant: Merchant,
    /// Median amount, in the merchant's currency, smallest units.
    pub(super) median: u64,
    /// Relative traffic by quarter of the day, from midnight UTC.
    pub(super) busy: [u32; 4],
    pub(super) habit: Habit,
}

const fn place(merchant: Merchant, median: u64, busy: [u32; 4], habit: Habit) -> Place {
    Place { merchant, median, busy, habit }
}

const fn at([id, name, mcc, city, country, currency, channel]: [&'static str; 7]) -> Merchant {
    Merchant { id, name, mcc, city, country, currency, channel }
}

/// Countries and currencies of a user base around Zürich that travels: some held by UR, some settled in EUR, and one
/// without an EUR settlement.
#[rustfmt::skip]
pub(super) static PLACES: [Place; 20] = [
    place(at(["m_grocer_zrh", "Laden am Bahnhof", "5411", "Zürich", "CHE", "CHF", "contactless"]), 2_850, [1, 16, 20, 12], Habit::Shop),
    place(at(["m_bakery_zrh", "Bäckerei Seefeld", "5462", "Zürich", "CHE", "CHF", "contactless"]), 890, [2, 18, 8, 1], Habit::Shop),
    place(at(["m_grocer_ber", "Markt Prenzlauer Berg", "5411", "Berlin", "DEU", "EUR", "contactless"]), 2_320, [1, 14, 20, 14], Habit::Shop),
    place(at(["m_cafe_par", "Café des Arts", "5812", "Paris", "FRA", "EUR", "pos"]), 1_240, [1, 14, 12, 8], Habit::Shop),
    place(at(["m_diner_rom", "Trattoria Trastevere", "5812", "Roma", "ITA", "EUR", "pos"]), 4_650, [1, 2, 8, 16], Habit::Shop),
    place(at(["m_pharma_vie", "Apotheke am Graben", "5912", "Wien", "AUT", "EUR", "pos"]), 1_690, [1, 8, 8, 2], Habit::Shop),
    place(at(["m_web_shop", "everything.example", "5999", "Luxembourg", "LUX", "EUR", "ecommerce"]), 3_990, [4, 6, 10, 14], Habit::Shop),
    place(at(["m_stream", "streams.example", "4899", "Stockholm", "SWE", "EUR", "recurring"]), 1_299, [8, 2, 2, 2], Habit::Shop),
    place(at(["m_cloud", "cloud.example", "7372", "Seattle", "USA", "USD", "recurring"]), 1_100, [6, 2, 2, 2], Habit::Shop),
    place(at(["m_web_usd", "gadgets.example", "5732", "Austin", "USA", "USD", "ecommerce"]), 8_900, [6, 4, 8, 12], Habit::Shop),
    place(at(["m_books_lon", "Bloomsbury Books", "5942", "London", "GBR", "GBP", "contactless"]), 1_899, [1, 6, 10, 4], Habit::Shop),
    place(at(["m_ride", "Rides", "4121", "Amsterdam", "NLD", "EUR", "ecommerce"]), 1_450, [8, 8, 8, 14], Habit::Ride),
    place(at(["m_fuel_muc", "Tankstelle Süd", "5541", "München", "DEU", "EUR", "pos"]), 10_000, [3, 8, 8, 6], Habit::Fuel),
    place(at(["m_hotel_lis", "Hotel do Rio", "7011", "Lisboa", "PRT", "EUR", "ecommerce"]), 14_500, [2, 4, 6, 8], Habit::Lodging),
    place(at(["m_hotel_nyc", "Hudson Hotel", "7011", "New York", "USA", "USD", "pos"]), 28_900, [3, 1, 4, 6], Habit::Lodging),
    place(at(["m_atm_zrh", "Bancomat HB", "6011", "Zürich", "CHE", "CHF", "atm"]), 10_000, [2, 4, 4, 6], Habit::Shop),
    place(at(["m_casino", "spins.example", "7995", "Valletta", "MLT", "EUR", "ecommerce"]), 5_000, [4, 1, 1, 6], Habit::Shop),
    place(at(["m_diner_sto", "Krogen", "5812", "Stockholm", "SWE", "SEK", "contactless"]), 24_500, [1, 3, 4, 6], Habit::Shop),
    place(at(["m_market_bkk", "Chatuchak Stall 14", "5999", "Bangkok", "THA", "THB", "pos"]), 45_000, [4, 6, 2, 1], Habit::Shop),
    place(at(["m_bazaar_ist", "Kapalı Çarşı 7", "5999", "Istanbul", "TUR", "TRY", "pos"]), 95_000, [1, 3, 3, 1], Habit::Shop),
];

/// Quantiles of the amounts, in thousandths of a merchant's median: a log-normal with a sigma of one.
const AMOUNT_QUANTILES: [u64; 11] = [150, 278, 431, 592, 776, 1_000, 1_288, 1_690, 2_320, 3_602, 6_700];

/// The scheme's EUR settlement, in ten-thousandths of a unit. The lira is missing, so nothing can price it.
const SETTLED: [(Code, u64); 2] = [("SEK", 890), ("THB", 265)];

/// The scheme's settlement amount in EUR cents; `None` if UR prices the transaction amount itself, or no price exists.
pub(super) fn settlement(amount: u64, currency: Code) -> Option<u64> {
    let (_, rate) = SETTLED.iter().find(|(code, _)| *code == currency)?;
    Some((amount * rate / 10_000).max(u64::from(amount > 0)))
}

pub(super) fn amount(random: &mut ChaCha8Rng, place: &Place) -> u64 {
    if place.habit == Habit::Fuel {
        return place.median;
    }
    let segments: Vec<_> = AMOUNT_QUANTILES.windows(2).collect();
    let factor = match segments.choose(random) {
        Some([low, high]) => random.random_range(*low..*high),
        _ => 1_000,
    };
    let amount = (place.median * factor / 1_000).max(1);
    // A cash machine pays out notes.
    if place.merchant.channel == "atm" { amount.next_multiple_of(1_000) } else { amount }
}

/// Each part of the sandbox has its own generator, so that one does not disturb the other.
pub(super) fn random(seed: u64, part: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(part);
    random
}

/// The user for taps by hand: traffic never uses it.
pub(super) const SAMPLE_USER: &str = "12345";
pub(super) const SAMPLE_CARD: &str = "card_sample";

/// The sample user's balances: of every currency that UR lists (seed 000), and enough for each of a client's actions.
const SAMPLE_BALANCES: [(Code, u64); 7] = [
    ("EUR", 250_000),
    ("USD", 300_000),
    ("CHF", 150_000),
    ("JPY", 20_000_000),
    ("CNH", 700_000),
    ("SGD", 140_000),
    ("HKD", 800_000),
];

pub(super) fn ur_id(index: usize) -> String {
    (20_000 + index).to_string()
}

pub(super) fn index_of(ur_id: &str) -> Option<usize> {
    ur_id.parse::<usize>().ok()?.checked_sub(20_000)
}

pub(super) fn books(users: usize, seed: u64, now: u64) -> Books {
    let mut random = random(seed, 1);
    let mut accounts: BTreeMap<_, _> =
        (0..users).map(|index| (ur_id(index), account(&mut random, index, now))).collect();
    accounts.insert(SAMPLE_USER.to_owned(), sample(now));
    // Pools large enough for a day of this many users, except the smallest, which runs dry as a demonstration.
    let per_user = |amount: u64| amount * (users as u64).max(100);
    let pools = [
        ("EUR", Balance::of(per_user(400_000), 1_000_000)),
        ("USD", Balance::of(per_user(150_000), 500_000)),
        ("GBP", Balance::of(per_user(900), 10_000)),
    ];
    let people = People::tapping_by_hand([SAMPLE_USER.to_owned()].into());
    Books { limit_weight: 1, rates: rates(), pools: pools.into(), accounts, people, ..Books::default() }
}

fn rates() -> Rates {
    Rates {
        usd: [
            ("USD", 10_000),
            ("EUR", 9_168),
            ("CHF", 8_632),
            ("GBP", 7_674),
            ("CNH", 70_885),
            ("JPY", 1_562_500),
            ("SGD", 12_987),
            ("HKD", 77_850),
        ]
        .into(),
        spread: 10_150,
        chf: [
            ("EUR", 9_414),
            ("USD", 8_632),
            ("GBP", 11_248),
            ("CNH", 1_217),
            ("JPY", 55),
            ("SGD", 6_646),
            ("HKD", 1_108),
        ]
        .into(),
        interchange_percent: 1,
    }
}

fn sample(now: u64) -> Account {
    let limit = Limit { used: 0, client: 1_000_000, start: now };
    Account {
        funds: Some(Funds { amount: 500_000, currency: "USD", version: 0, held: 0 }),
        fiat: SAMPLE_BALANCES.map(|(code, amount)| (code, (Balance::of(amount, 0), true))).into(),
        usdc: 10_000_000_000,
        cards: vec![Card::new(SAMPLE_CARD.to_owned(), "active", "EUR")],
        ..Account::new("live", limit, Funding::Crypto)
    }
}

/// One in `of`.
fn one_in(random: &mut ChaCha8Rng, of: u32) -> bool {
    random.random_ratio(1, of)
}

fn account(random: &mut ChaCha8Rng, index: usize, now: u64) -> Account {
    let client = *[100_000, 500_000, 500_000, 2_000_000].choose(random).unwrap_or(&500_000);
    let limit = Limit {
        used: random.random_range(0..client / 2),
        client,
        start: now.saturating_sub(random.random_range(0..PERIOD_SECONDS)),
    };
    let status = match random.random_range(0..200) {
        0 => "na",
        1 => "tourist",
        2 => "soft_blocked",
        3 => "blocked",
        4 => "closed",
        _ => "live",
    };
    let funding = match random.random_range(0..6) {
        0 => Funding::Fiat,
        1 => Funding::CryptoThenFiat,
        2 => Funding::FiatThenCrypto,
        _ => Funding::Crypto,
    };
    let mut fiat = BTreeMap::new();
    for code in ["EUR", "CHF", "USD"] {
        if random.random_bool(0.6) {
            fiat.insert(code, (Balance::of(random.random_range(0..400_000), 0), !one_in(random, 10)));
        }
    }
    let funds = Funds {
        amount: random.random_range(5_000..800_000),
        currency: if one_in(random, 3) { "EUR" } else { "USD" },
        version: 0,
        held: 0,
    };
    let [country, mcc, atm, online] = ["TUR", "7995", "atm", "ecommerce"].map(str::to_owned);
    let only = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let blocks = [
        Block::Country(country),
        Block::Mcc(mcc),
        Block::Channel(atm),
        Block::Channel(online),
        Block::OnlyMccs(only(&["5411", "5812", "4111"])),
        Block::OnlyChannels(only(&["pos", "contactless"])),
        Block::OnlyCountries(only(&["CHE", "DEU"])),
    ];
    Account {
        suspended: one_in(random, 200),
        funds: (!one_in(random, 50)).then_some(funds),
        fiat,
        cards: (0..random.random_range(1..=2)).map(|number| card(random, index, number)).collect(),
        blocks: if one_in(random, 5) { blocks.choose(random).cloned().into_iter().collect() } else { Vec::new() },
        ..Account::new(status, limit, funding)
    }
}

fn card(random: &mut ChaCha8Rng, index: usize, number: usize) -> Card {
    let status = match random.random_range(0..100) {
        0 => "deleted",
        1..4 => "frozen",
        _ => "active",
    };
    let currency = if one_in(random, 6) { "USD" } else { "EUR" };
    let single_use = one_in(random, 25);
    Card { single_use, ..Card::new(format!("card_{}_{number}", ur_id(index)), status, currency) }
}
