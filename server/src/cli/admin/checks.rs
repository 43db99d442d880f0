//! The input values of each check, in words.

use tapgate_engine::fact::Reason;

use super::decision::{CheckValues, Step};
use crate::cli::ui::amounts::{Money, chf, with_point};
use crate::cli::ui::screen::Text;
use crate::cli::ui::when::duration;

/// Rates and spreads have four decimals (docs/ur-facts.md, pricing).
const RATE_DECIMALS: usize = 4;

/// The context that a check's words need besides its own values.
pub(in crate::cli) struct CheckContext<'a> {
    /// `authorization` or `incremental`.
    pub(in crate::cli) kind: &'a str,
    /// The requested amount; `None` if the request is unknown.
    pub(in crate::cli) asked: Option<&'a Money>,
    /// `CRYPTO` or `FIAT`; empty if unknown.
    pub(in crate::cli) source: &'a str,
}

/// `None` for a check that this version does not know.
pub(in crate::cli) fn known(name: &str) -> Option<Reason> {
    Reason::ALL.iter().find(|reason| reason.name() == name).copied()
}

/// A check that this version does not know shows its unformatted values.
pub(in crate::cli) fn words(step: &Step, about: &CheckContext<'_>) -> String {
    let seen = &step.values;
    let either = |good: &str, bad: &str| if step.passed { good.to_owned() } else { bad.to_owned() };
    let Some(check) = known(step.check.as_str()) else { return seen.listed() };
    match check {
        Reason::ProgramSuspended => either("the program is running", "the whole program was suspended"),
        Reason::UnknownUser => either("the user is known", "no such user was imported"),
        Reason::UnknownCard => either("the card is this user's", "the card is none of this user's"),
        Reason::AlreadyReversed => either("no reversal came before it", "its reversal came before it"),
        Reason::ParentNotFound if about.kind != "incremental" => "not an increment, so it needs no parent".to_owned(),
        Reason::ParentNotFound => {
            either("its parent still stands", "no standing parent of the same user, card and currency")
        }
        Reason::ProviderSuspended => {
            either("the provider's card service runs", "the provider suspended its card service")
        }
        Reason::AccountClosed | Reason::AccountBlocked | Reason::AccountSoftBlocked | Reason::AccountNotLive => {
            format!("the account is {}", spaced(seen.one("status")))
        }
        Reason::UserSuspended => either("the partner has not suspended the user", "the partner suspended the user"),
        Reason::CardFrozen => card(step),
        Reason::CardDeleted => format!("the card is {}", spaced(seen.one("card"))),
        Reason::AmountInvalid => {
            let asked = about.asked.map_or_else(|| seen.one("amount").to_owned(), Money::to_string);
            let bad = "is nothing, or more than any request may be";
            format!("{asked} {}", either("is an amount", bad))
        }
        Reason::CurrencyUnsupported => price(step, about),
        Reason::CountryBlocked => blocked(step, "country", "country"),
        Reason::MccBlocked => blocked(step, "mcc", "merchant category"),
        Reason::MerchantBlocked => blocked(step, "merchant", "merchant"),
        Reason::ChannelBlocked => blocked(step, "channel", "channel"),
        Reason::TransactionAmountLimit => amount_limit(seen),
        Reason::VelocityAmount => velocity_amount(seen),
        Reason::VelocityCount => velocity_count(seen),
        Reason::RatesStale => rates(step),
        Reason::StateStale => state(step),
        Reason::LimitExceeded => {
            let money = |name: &str| Money::parse(&format!("{} CHF", seen.one(name)));
            let shown = against(money("chf").as_ref(), money("headroom").as_ref(), "headroom");
            shown.unwrap_or_else(|| seen.listed()) + &claimed(money("claimed"))
        }
        Reason::InsufficientUserFunds => {
            let (needed, available) = (Money::parse(seen.one("needed")), Money::parse(seen.one("available")));
            let what = if about.source == "FIAT" { "available on the fiat balance" } else { "available" };
            let shown = against(needed.as_ref(), available.as_ref(), what);
            shown.unwrap_or_else(|| seen.one("available").to_owned())
                + &upcharge(Money::parse(seen.one("upcharge")))
                + &claimed(Money::parse(seen.one("claimed")))
        }
        Reason::FiatAllowanceMissing if about.source == "CRYPTO" => "no fiat balance takes part".to_owned(),
        Reason::FiatAllowanceMissing => {
            either("no allowance is missing", "the user gave no allowance on the fiat balance")
        }
        Reason::PoolStressed => stress(step),
        Reason::PoolReserveHeld | Reason::PoolExhausted => pool(check, step),
        Reason::DeadlineExceeded => "it was not on disk in time; what it held was released".to_owned(),
        Reason::JournalUnavailable => "the journal had failed".to_owned(),
    }
}

fn card(step: &Step) -> String {
    let shown = format!("the card is {}", spaced(step.values.one("card")));
    match (step.values.one("use"), step.passed) {
        ("Used", true) => format!("{shown}; the approval that froze it may grow"),
        ("Used", false) if step.values.one("card") == "Active" => {
            "the card is single-use, and an approval froze it".to_owned()
        }
        ("Single", _) => format!("{shown}; it is single-use: an approval freezes it"),
        _ => shown,
    }
}

/// `SoftBlocked` as `soft blocked`.
fn spaced(name: &str) -> String {
    let mut shown = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !shown.is_empty() {
            shown.push(' ');
        }
        shown.extend(character.to_lowercase());
    }
    shown
}

fn price(step: &Step, about: &CheckContext<'_>) -> String {
    let seen = &step.values;
    if !step.passed {
        return match seen.one("settlement") {
            "" => "no rate leads to a currency it could be paid in".to_owned(),
            settlement => format!("no rate leads to a currency it could be paid in; it settles in {settlement}"),
        };
    }
    let Some(paid) = Money::parse(seen.one("paid")) else { return seen.listed() };
    let others = seen.all("other_needed").iter().zip(seen.all("other_available"));
    let others: String = others.map(|(needed, held)| format!("; not {} ({})", shown(needed), shown(held))).collect();
    priced(seen, &paid, about) + &others
}

/// An amount in words of a person, or as it is.
fn shown(amount: &Text) -> String {
    Money::parse(amount.as_str()).map_or_else(|| amount.to_string(), |money| money.to_string())
}

fn priced(seen: &CheckValues, paid: &Money, about: &CheckContext<'_>) -> String {
    if about.asked.is_some_and(|asked| asked.currency() == paid.currency()) {
        return format!("paid as {paid}, no rate needed");
    }
    match seen.one("rate") {
        "" => format!("paid as {paid}"),
        rate => {
            let spread = with_point(seen.one("spread"), RATE_DECIMALS);
            format!("paid as {paid}: rate {}, spread {spread}", with_point(rate, RATE_DECIMALS))
        }
    }
}

fn blocked(step: &Step, name: &str, what: &str) -> String {
    let value = step.values.one(name);
    let is_listed = step.values.one("list") == "allow";
    let verb = match (step.passed, is_listed) {
        (true, _) => "not blocked",
        (false, false) => "blocked by a control",
        (false, true) => "not among those that a control allows",
    };
    match (name, value) {
        // The engine checks a missing category as 0000.
        (_, "not given") | ("mcc", "0000") if is_listed => {
            format!("no {what} was given, and a control allows some only")
        }
        (_, "not given") | ("mcc", "0000") => format!("no {what} was given"),
        ("channel", value) => format!("{what} {}: {verb}", spaced(value)),
        (_, value) => format!("{what} {value}: {verb}"),
    }
}

fn amount_limit(seen: &CheckValues) -> String {
    let most: Vec<_> = seen.all("max").iter().map(money_or_text).collect();
    let asked = seen.all("amount").first().map(money_or_text).unwrap_or_default();
    if most.is_empty() { "no control on it".to_owned() } else { format!("{asked}, at most {}", most.join(" and ")) }
}

fn money_or_text(text: &Text) -> String {
    Money::parse(text.as_str()).map_or_else(|| text.to_string(), |money| money.to_string())
}

/// The rules that bound one quantity, each as `bound` in its window; the values of a rule share an index.
fn velocity(seen: &CheckValues, bound: &str, before: impl Fn(usize) -> String, max: impl Fn(&str) -> String) -> String {
    let windows = seen.all("window_seconds").iter().enumerate().map(|(index, seconds)| {
        let calendar = |name: &str| seen.all(name).get(index).map_or("", Text::as_str);
        match seconds.as_str().parse() {
            Ok(seconds) => format!("in {}", duration(seconds)),
            Err(_) => format!("in the {} since {}", calendar("window"), calendar("since")),
        }
    });
    let rules = windows.zip(seen.all(bound)).enumerate().filter(|(_, (_, most))| most.as_str() != "none");
    let rules =
        rules.map(|(index, (window, most))| format!("{} {window}, at most {}", before(index), max(most.as_str())));
    let rules: Vec<_> = rules.collect();
    if rules.is_empty() { "no control on it".to_owned() } else { rules.join("; ") }
}

fn velocity_amount(seen: &CheckValues) -> String {
    let spent = |index: usize| chf(seen.all("spent_chf").get(index).map_or("", Text::as_str));
    velocity(seen, "amount_max_chf", |index| format!("{} on top of {}", chf(seen.one("chf")), spent(index)), chf)
}

fn velocity_count(seen: &CheckValues) -> String {
    let count = |index: usize| seen.all("count").get(index).map_or("", Text::as_str);
    velocity(seen, "count_max", |index| format!("{} approved before it", count(index)), str::to_owned)
}

fn rates(step: &Step) -> String {
    let age = step.values.one("age_seconds");
    match (age.parse(), step.passed) {
        (Ok(seconds), true) => format!("rates were {} old", duration(seconds)),
        (Ok(seconds), false) => format!("rates were {} old: too old to price with", duration(seconds)),
        (Err(_), true) => "no rate was needed".to_owned(),
        (Err(_), false) => "rates were never set".to_owned(),
    }
}

fn state(step: &Step) -> String {
    if step.passed {
        return "the user's and the pool's figures are fresh, the clock is trusted, the disk has room".to_owned();
    }
    let causes = [
        ("user_fresh", "UR's figures of the user are too old"),
        ("pool_fresh", "the pool's report is too old"),
        ("time_trusted", "the clock cannot be trusted"),
        ("disk_has_room", "the disk is nearly full"),
    ];
    let causes = causes.into_iter().filter(|(name, _)| step.values.one(name) == "false").map(|(_, cause)| cause);
    causes.collect::<Vec<_>>().join("; ")
}

/// `600.00 EUR needed, 487.50 EUR available: 112.50 EUR short`.
fn against(needed: Option<&Money>, there: Option<&Money>, what: &str) -> Option<String> {
    let (needed, there) = (needed?, there?);
    let short = needed.beyond(there).map_or(String::new(), |short| format!(": {short} short"));
    Some(format!("{needed} needed, {there} {what}{short}"))
}

fn stress(step: &Step) -> String {
    let seen = &step.values;
    let currency = seen.one("pool");
    if currency.is_empty() {
        return "no stress tier is set for it".to_owned();
    }
    let percents = seen.all("below_reserve_percent").iter();
    let tiers =
        percents.zip(seen.all("amount_max_chf")).zip(seen.all("category")).map(|((percent, most), category)| {
            let most = if most.as_str() == "none" { "any amount".to_owned() } else { chf(most.as_str()) };
            format!("below {percent} % of its reserve at most {most}, category {category}")
        });
    let tiers: Vec<_> = tiers.collect();
    let verb = if step.passed { "may pay" } else { "is under stress and does not pay" };
    format!("the {currency} pool {verb} {}: {}", chf(seen.one("chf")), tiers.join("; "))
}

fn pool(check: Reason, step: &Step) -> String {
    let seen = &step.values;
    let currency = seen.one("pool");
    if currency.is_empty() {
        return "no pool takes part".to_owned();
    }
    let money = |name: &str| Money::parse(&format!("{} {currency}", seen.one(name)));
    let (needed, available, reserve) = (money("needed"), money("available"), money("reserve"));
    let kept = reserve.as_ref().and_then(Money::minor).filter(|kept| check == Reason::PoolReserveHeld && *kept > 0);
    let pool = format!("in the {currency} pool");
    let shown = match (kept, needed.as_ref(), available.as_ref()) {
        (None, needed, available) => against(needed, available, &format!("available {pool}")),
        (Some(kept), Some(needed), Some(available)) => available.less(kept).and_then(|spendable| {
            if step.passed && needed.beyond(&spendable).is_some() {
                return Some(format!("the reserve of {} {pool} is there for it", Money::new(kept, currency)));
            }
            let what = format!("available {pool} above its reserve of {}", Money::new(kept, currency));
            against(Some(needed), Some(&spendable), &what)
        }),
        _ => None,
    };
    shown.unwrap_or_else(|| seen.listed()) + &upcharge(money("upcharge")) + &claimed(money("claimed"))
}

/// The part of what is needed that the merchant may add.
fn upcharge(upcharge: Option<Money>) -> String {
    upcharge.map_or(String::new(), |upcharge| format!("; {upcharge} of it for what the merchant may add"))
}

/// What UR's movements, which came before the decision, claimed for the same authorization.
fn claimed(claimed: Option<Money>) -> String {
    let claimed = claimed.filter(|claimed| claimed.minor().is_some_and(|minor| minor != 0));
    claimed.map_or(String::new(), |claimed| format!(", with {claimed} that UR shows of it already"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(name: &str, passed: bool, values: &Value, expected: &str) {
        let step: Step = serde_json::from_value(json!({"check": name, "passed": passed, "values": values})).unwrap();
        let about = CheckContext { kind: "authorization", asked: None, source: "CRYPTO" };
        assert_eq!(words(&step, &about), expected);
    }

    #[test]
    fn controls_read_in_plain_words() {
        let allow = json!({"mcc": "5812", "list": "allow"});
        check("mcc_blocked", false, &allow, "merchant category 5812: not among those that a control allows");
        let none = json!({"country": "not given", "list": "allow"});
        check("country_blocked", false, &none, "no country was given, and a control allows some only");
        let single = json!({"card": "Active", "use": "Single"});
        check("card_frozen", true, &single, "the card is active; it is single-use: an approval freezes it");
        let used = || json!({"card": "Active", "use": "Used"});
        check("card_frozen", false, &used(), "the card is single-use, and an approval froze it");
        check("card_frozen", true, &used(), "the card is active; the approval that froze it may grow");
        let since = "2026-03-29T00:00:00+01:00[Europe/Zurich]";
        let velocity = json!({
            "chf": "100", "window_seconds": ["3600", "none"], "window": ["none", "day"], "since": ["none", since],
            "count": ["1", "2"], "count_max": ["5", "2"], "spent_chf": ["0", "0"], "amount_max_chf": ["none", "none"],
        });
        let expected =
            format!("1 approved before it in 1 h, at most 5; 2 approved before it in the day since {since}, at most 2");
        check("velocity_count", false, &velocity, &expected);
        let stressed = |left: &str, category: &str| {
            json!({
                "pool": "EUR", "needed": "1000", "available": left, "reserve": "10000", "chf": "945", "kept": "15000",
                "below_reserve_percent": "150", "amount_max_chf": "5000", "category": category,
            })
        };
        let tier = "below 150 % of its reserve at most 50.00 CHF, category";
        let expected = format!("the EUR pool is under stress and does not pay 9.45 CHF: {tier} not listed");
        check("pool_stressed", false, &stressed("15999", "not listed"), &expected);
        let expected = format!("the EUR pool may pay 9.45 CHF: {tier} listed");
        check("pool_stressed", true, &stressed("10500", "listed"), &expected);
        let reserve = json!({"pool": "EUR", "needed": "1000", "available": "10500", "reserve": "10000"});
        check("pool_reserve_held", true, &reserve, "the reserve of 100.00 EUR in the EUR pool is there for it");
        let tip = json!({"needed": "1200 EUR", "available": "1199 EUR", "upcharge": "200 EUR"});
        let short = "12.00 EUR needed, 11.99 EUR available: 0.01 EUR short";
        let expected = format!("{short}; 2.00 EUR of it for what the merchant may add");
        check("insufficient_user_funds", false, &tip, &expected);
        let tip = json!({"pool": "EUR", "needed": "1200", "available": "1199", "reserve": "0", "upcharge": "200"});
        let expected = expected.replace(" available", " available in the EUR pool");
        check("pool_exhausted", false, &tip, &expected);
    }
}
