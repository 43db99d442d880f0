//! Our calls to the second provider: what a person changed here about one of its accounts or cards.

use serde_json::{Value, json};
use tapgate_engine::fact::{CardStatus, Controls, Period};
use tapgate_engine::ids::{CardId, UrId};
use tapgate_engine::money::ChfMinor;

use super::event::{DAY, MONTH, WEEK};

/// A change that the provider must make, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    Suspend {
        user: UrId,
        suspended: bool,
    },
    Card {
        card: CardId,
        status: CardStatus,
    },
    Limits {
        card: CardId,
        /// The card's controls; the provider keeps the amounts of one transaction, a day, a week and 30 days.
        controls: Option<Box<Controls>>,
    },
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: &'static str,
    /// The segments of the path below the base URL.
    pub path: Vec<String>,
    pub body: Value,
}

impl Instruction {
    /// The operation of seed 001, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Instruction::Suspend { suspended: true, .. } => "user.suspend",
            Instruction::Suspend { suspended: false, .. } => "user.unsuspend",
            Instruction::Card { status: CardStatus::Frozen, .. } => "card.block",
            Instruction::Card { status: CardStatus::Active, .. } => "card.unblock",
            Instruction::Card { status: CardStatus::Deleted, .. } => "card.delete",
            Instruction::Limits { .. } => "card.update_limits",
        }
    }

    /// The request: "Suspend User", "Unsuspend User", "Block Card", "Unblock Card", "Delete Card" and "Update Card Limits" of seed
    /// 001. Each sets a state, so a repetition does no harm.
    #[must_use]
    pub fn call(&self) -> Call {
        let call = |method, path: [&str; 3], body| Call {
            method,
            path: path.into_iter().filter(|segment| !segment.is_empty()).map(str::to_owned).collect(),
            body,
        };
        match self {
            Instruction::Suspend { user, suspended } => {
                let verb = if *suspended { "suspend" } else { "unsuspend" };
                call("POST", ["users", user.as_str(), verb], json!({}))
            }
            Instruction::Card { card, status } => match status {
                CardStatus::Frozen => call("POST", ["cards", card.as_str(), "block"], json!({})),
                CardStatus::Active => call("POST", ["cards", card.as_str(), "unblock"], json!({})),
                CardStatus::Deleted => call("DELETE", ["cards", card.as_str(), ""], json!({})),
            },
            Instruction::Limits { card, controls } => {
                call("PUT", ["cards", card.as_str(), "limits"], limits(controls.as_deref()))
            }
        }
    }
}

/// `null` lifts a limit.
fn limits(controls: Option<&Controls>) -> Value {
    let most = controls.and_then(|controls| controls.transaction_amount_max);
    let rules = || controls.into_iter().flat_map(|controls| &controls.velocity);
    let within = |seconds: u32| -> Option<ChfMinor> {
        rules().filter(|rule| rule.period == Period::Sliding(seconds)).filter_map(|rule| rule.amount_max).min()
    };
    let text = |most: Option<ChfMinor>| most.map(|most| most.to_string());
    json!({
        "currency": most.map(|most| most.currency.as_str().to_owned()),
        "perTransaction": most.map(|most| most.amount.to_string()),
        "dailyChf": text(within(DAY)), "weeklyChf": text(within(WEEK)), "monthlyChf": text(within(MONTH)),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{CardLimits, VelocityRule};
    use tapgate_engine::money::{Currency, Minor, Money};

    use super::super::{Envelope, Event};
    use super::*;

    #[test]
    fn each_operation_has_its_path() {
        let (user, card) = ("1/2".parse::<UrId>().unwrap(), "card_9".parse::<CardId>().unwrap());
        let check = |instruction: Instruction, name: &str, method: &str, path: &str| {
            let call = instruction.call();
            assert_eq!((instruction.name(), call.method, call.path.join(" ").as_str()), (name, method, path));
        };
        let suspend = |suspended| Instruction::Suspend { user: user.clone(), suspended };
        let set = |status| Instruction::Card { card: card.clone(), status };
        check(suspend(true), "user.suspend", "POST", "users 1/2 suspend");
        check(suspend(false), "user.unsuspend", "POST", "users 1/2 unsuspend");
        check(set(CardStatus::Frozen), "card.block", "POST", "cards card_9 block");
        check(set(CardStatus::Active), "card.unblock", "POST", "cards card_9 unblock");
        check(set(CardStatus::Deleted), "card.delete", "DELETE", "cards card_9");
        let limits = Instruction::Limits { card: card.clone(), controls: None };
        check(limits, "card.update_limits", "PUT", "cards card_9 limits");
    }

    #[test]
    fn the_provider_reads_our_limits_as_we_read_its_own() {
        let rule = |seconds, amount_max: Option<i64>| VelocityRule {
            period: Period::Sliding(seconds),
            amount_max: amount_max.map(ChfMinor),
            count_max: Some(9),
        };
        let controls = Controls {
            transaction_amount_max: Some(Money { amount: Minor(5_000), currency: Currency::EUR }),
            velocity: vec![rule(3_600, Some(1)), rule(DAY, Some(10_000)), rule(MONTH, None)],
            ..Controls::default()
        };
        let card: CardId = "card_9".parse().unwrap();
        let mut body = Instruction::Limits { card: card.clone(), controls: Some(Box::new(controls)) }.call().body;
        body["cardId"] = json!("card_9");
        let event = json!({"type": "card.limits_updated", "data": body}).to_string();
        let limits = CardLimits {
            transaction_amount_max: Some(Money { amount: Minor(5_000), currency: Currency::EUR }),
            windows: vec![(DAY, Some(ChfMinor(10_000))), (WEEK, None), (MONTH, None)],
        };
        let read = Envelope::parse(event.as_bytes()).unwrap().event();
        assert_eq!(read, Ok(Some(Event::Limits { user: None, card, limits })));
    }
}
