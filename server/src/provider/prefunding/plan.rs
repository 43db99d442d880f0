//! The next step of each pool's automatic top-up, and its reason: a pure function.

use std::collections::BTreeMap;
use std::fmt;

use compact_str::CompactString;
use tapgate_engine::contract::pricing::Rates;
use tapgate_engine::fact::{Author, PrefundOrdered};
use tapgate_engine::ids::{PrefundId, UrId};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::{Prefund, PrefundState, PrefundStep as By, Row};
use tapgate_engine::time::UnixMillis;

use super::quote::{Yardstick, fiat, usdc};
use super::settings::{AutoPrefund, AutoPrefundMode};
use crate::treasury::calendar::CreditCalendar;

const HOUR_MS: u64 = 3_600_000;
/// Longest wait after refusals: one hour after the first, each further one twice as long.
const WAIT_HOURS_MAX: u64 = 24;

/// Time for which an order is repeated: nothing guarantees that UR still recognises an older `requestId` instead of
/// paying again.
const REPEATED_MS: u64 = 24 * HOUR_MS;

/// The parties of an order. A `requestId` makes a repetition harmless only between the same ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desk {
    /// UR's API, as configured.
    pub base_url: CompactString,
    /// The address of the partner's key.
    pub partner: CompactString,
    /// The ops account.
    pub account: UrId,
}

/// The plan's inputs.
#[derive(Clone, Debug)]
pub struct Seen {
    pub settings: AutoPrefund,
    /// The parties of orders now.
    pub desk: Desk,
    /// The reason to begin nothing new now.
    pub held_back: Option<String>,
    /// One entry for each pool in use.
    pub needs: Vec<Need>,
    /// Prefunds with a `requestId`, open and closed, newest first.
    pub prefunds: Vec<Prefund>,
    /// Orders since the day began, sent or not, in millionths of a USDC.
    pub ordered_today: Minor,
    pub day_ends: UnixMillis,
    /// The ledger's rates; `None` if they are too old to judge a quote.
    pub rates: Option<Rates>,
    /// Predicts credits, and formats times in its zone.
    pub calendar: CreditCalendar,
    /// Results of the last attempts.
    pub notes: BTreeMap<Subject, Note>,
    pub now: UnixMillis,
}

/// A pool and its need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub currency: Currency,
    /// The forecast's suggestion, or the reason why there is none.
    pub suggested: Result<Minor, String>,
}

impl Need {
    /// Whether the current suggestion is below an amount.
    fn is_below(&self, amount: Minor) -> bool {
        self.suggested.as_ref().is_ok_and(|suggested| *suggested < amount)
    }
}

/// The subject of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Prefund(PrefundId),
    /// The pool's hypothetical prefund in a dry run.
    Pool(Currency),
}

/// The result of an attempt, until the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// No new attempt before this time.
    pub until: UnixMillis,
    /// Attempts that failed.
    pub attempts: u32,
    pub why: String,
    /// Whether the operator must know.
    pub is_refused: bool,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    /// Propose a top-up of this amount.
    Propose(Minor),
    /// Approve tapgate's own proposal.
    Approve(PrefundId),
    /// Ask UR for a quote, and order if it is acceptable.
    Order(PrefundId, Minor),
    /// Repeat the same order to UR.
    OrderAgain(PrefundId),
    /// Abandon tapgate's own proposal before it is ordered: less is needed now.
    GiveUp(PrefundId),
    /// Ask UR for a quote, for the log.
    Quote(Minor),
}

impl Step {
    /// The name in the admin API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::Wait => "wait",
            Step::Propose(_) => "propose",
            Step::Approve(_) => "approve",
            Step::Order(..) => "order",
            Step::OrderAgain(_) => "order_again",
            Step::GiveUp(_) => "give_up",
            Step::Quote(_) => "quote",
        }
    }
}

/// The next step of a pool, or of one of its prefunds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub currency: Currency,
    pub prefund: Option<PrefundId>,
    /// The expected credit, in smallest units.
    pub amount: Option<Minor>,
    pub step: Step,
    pub why: String,
    /// Whether UR or a bound refuses a needed top-up: the operator must know.
    pub is_refused: bool,
    /// Whether UR was asked for it already, so that the money may have left.
    pub is_ordered: bool,
}

/// A pool's failed prefunds since the last one that was sent.
#[derive(Debug)]
struct Failures<'a> {
    count: u32,
    /// The last of them.
    id: PrefundId,
    given_up: &'a By,
    reason: &'a str,
}

/// The next steps, at least one per pool.
#[must_use]
pub fn plan(seen: &Seen) -> Vec<Planned> {
    let mut planned = Vec::new();
    for need in &seen.needs {
        let waits =
            |prefund: &&Prefund| prefund.currency == need.currency && prefund.is_open() && prefund.credited.is_zero();
        let open: Vec<_> = seen.prefunds.iter().rev().filter(waits).collect();
        if open.is_empty() {
            planned.push(seen.begin(need));
        }
        planned.extend(open.into_iter().map(|prefund| seen.go_on(need, prefund)));
    }
    planned
}

impl Seen {
    /// A pool's own rate and the quote's tolerance.
    #[must_use]
    pub fn yardstick(&self, currency: Currency) -> Option<Yardstick> {
        let conversion = self.rates.as_ref()?.conversion(Currency::USD, currency)?;
        Some(Yardstick { rate: conversion.rate, tolerance_bps: self.settings.quote_tolerance_bps })
    }

    /// The rest of today's bound, in millionths of a USDC.
    #[must_use]
    pub fn left_today(&self) -> Minor {
        (self.settings.daily_max - self.ordered_today).max(Minor::ZERO)
    }

    /// Whether a cost is within the bounds.
    ///
    /// # Errors
    /// The bound that it breaks.
    pub fn check_bounds(&self, cost: Minor) -> Result<(), String> {
        let (single, daily) = (self.settings.single_max, self.settings.daily_max);
        if cost > single {
            return Err(format!("it costs {}, and single_max_usdc allows {}", usdc(cost), usdc(single)));
        }
        if cost > self.left_today() {
            return Err(format!(
                "it costs {}, and of daily_max_usdc ({}) {} are left until {}",
                usdc(cost),
                usdc(daily),
                usdc(self.left_today()),
                self.calendar.wall_time(self.day_ends)
            ));
        }
        Ok(())
    }

    /// Plans a pool without an open prefund.
    fn begin(&self, need: &Need) -> Planned {
        let currency = need.currency;
        let wait = |why: String, is_refused| {
            let amount = need.suggested.clone().ok().filter(|amount| !amount.is_zero());
            Planned { currency, prefund: None, amount, step: Step::Wait, why, is_refused, is_ordered: false }
        };
        let suggested = match &need.suggested {
            _ if self.settings.mode == AutoPrefundMode::Off => return wait("automatic prefunds are off".into(), false),
            Err(why) => return wait(why.clone(), false),
            Ok(Minor::ZERO) => return wait("nothing needs to be sent".into(), false),
            Ok(suggested) => *suggested,
        };
        if let Some((failures, until)) = self.waits_after(currency) {
            let why = format!("{failures}; proposed again {}", self.calendar.wall_time(until));
            return wait(why, failures.is_refusal());
        }
        if let Some(why) = &self.held_back {
            return wait(why.clone(), false);
        }
        let Some(yardstick) = self.yardstick(currency) else { return wait(self.no_rate(currency), true) };
        // A bounded top-up is better than none: the forecast suggests the rest again once this one is credited.
        let (single, left) = (self.settings.single_max, self.left_today());
        let amount = suggested.min(yardstick.least_output(single.min(left)));
        let bounded = if amount < suggested {
            let bound = if left < single { "what daily_max_usdc leaves of today" } else { "single_max_usdc" };
            format!(", of that {} within {bound}", fiat(amount, currency))
        } else {
            String::new()
        };
        let within = yardstick.cost(amount).ok_or_else(|| "it costs more than can be paid".to_owned());
        if let Err(why) = within.and_then(|cost| self.check_bounds(cost)) {
            return wait(why, true);
        }
        if amount.is_zero() {
            return wait("the bounds are less than any top-up costs".to_owned(), true);
        }
        if let Some(note) = self.note(Subject::Pool(currency)) {
            return wait(note.why.clone(), note.is_refused);
        }
        let why = format!("the forecast suggests {}{bounded}", fiat(suggested, currency));
        let is_dry = self.settings.mode == AutoPrefundMode::DryRun;
        let step = if is_dry { Step::Quote(amount) } else { Step::Propose(amount) };
        Planned { currency, prefund: None, amount: Some(amount), step, why, is_refused: false, is_ordered: false }
    }

    /// Plans an open prefund.
    fn go_on(&self, need: &Need, prefund: &Prefund) -> Planned {
        let (id, currency) = (prefund.id, prefund.currency);
        let state = prefund.state(self.now);
        let is_sent = prefund.sent.is_some();
        let is_own = prefund.proposed.as_ref().is_some_and(|step| step.by == Author::Engine.name());
        // Until a prefund is sent, an earlier refusal stays visible.
        let is_wanted = !is_sent && self.settings.mode.orders();
        let was_refused = is_wanted && self.failures(currency).is_some_and(|failures| failures.is_refusal());
        let planned = |step, why, is_refused: bool| Planned {
            currency,
            prefund: Some(id),
            amount: Some(prefund.amount),
            step,
            why,
            is_refused: is_refused || was_refused,
            is_ordered: state == PrefundState::Ordered,
        };
        let wait = |why: String, is_refused| planned(Step::Wait, why, is_refused);
        let note = self.note(Subject::Prefund(id));
        let noted = |note: &Note| {
            wait(format!("{}; tried again {}", note.why, self.calendar.wall_time(note.until)), note.is_refused)
        };
        match state {
            // In every mode: the money may have left.
            PrefundState::Ordered => match (self.ends_repetition(prefund), note) {
                (Some(why), _) => wait(why, true),
                (None, Some(note)) => noted(note),
                (None, None) => planned(Step::OrderAgain(id), "ordered, and UR has not answered".into(), false),
            },
            PrefundState::Proposed | PrefundState::Approved if !self.settings.mode.orders() => {
                wait(format!("{}, and not ordered: the mode is {}", state.name(), self.settings.mode.name()), false)
            }
            PrefundState::Proposed | PrefundState::Approved if is_own && need.is_below(prefund.amount) => {
                let suggested = need.suggested.as_ref().copied().unwrap_or_default();
                let why = format!("no longer needed as proposed: the forecast suggests {}", fiat(suggested, currency));
                planned(Step::GiveUp(id), why, false)
            }
            PrefundState::Approved => {
                if let Some(why) = &self.held_back {
                    return wait(why.clone(), false);
                }
                if let Some(note) = note {
                    return noted(note);
                }
                let Some(yardstick) = self.yardstick(currency) else { return wait(self.no_rate(currency), true) };
                let cost = yardstick.cost(prefund.amount).ok_or_else(|| "it costs more than can be paid".to_owned());
                match cost.and_then(|cost| self.check_bounds(cost)) {
                    Ok(()) => planned(Step::Order(id, prefund.amount), "approved".into(), false),
                    Err(why) => wait(why, true),
                }
            }
            PrefundState::Proposed => match (&self.held_back, self.settings.mode) {
                (None, AutoPrefundMode::Automatic) if is_own => {
                    planned(Step::Approve(id), "within the bounds of [treasury.auto_prefund]".into(), false)
                }
                (Some(why), AutoPrefundMode::Automatic) if is_own => wait(why.clone(), false),
                _ => wait(format!("waits for a treasurer: tapgate prefunds approve {id}"), false),
            },
            PrefundState::Overdue => wait("on its way for longer than expected".into(), false),
            _ => {
                let expected = prefund.expected_at.map(|at| format!(", expected {}", self.calendar.wall_time(at)));
                wait(format!("on its way{}", expected.unwrap_or_default()), false)
            }
        }
    }

    /// Why an order is not repeated, and the remedy.
    fn ends_repetition(&self, prefund: &Prefund) -> Option<String> {
        let (step, PrefundOrdered { base_url, partner, account, .. }) = prefund.ordered.as_ref()?;
        let now = &self.desk;
        let why = if (base_url, partner, account) != (&now.base_url, &now.partner, &now.account) {
            format!(
                "ordered at {base_url} by the key {partner} for the account {account}, and tapgate is now configured for {} with \
                 {} and {}; put the old settings back, or",
                now.base_url, now.partner, now.account
            )
        } else if step.at.0.saturating_add(REPEATED_MS) < self.now.0 {
            "ordered more than a day ago without an answer, and not asked for again;".to_owned()
        } else {
            return None;
        };
        Some(format!(
            "{why} ask UR about the requestId {}: if it was not carried out, tapgate prefunds cancel {} --not-executed; if it \
             arrived, record the credit with the reference {}",
            prefund.request_id.as_deref().unwrap_or_default(),
            prefund.id,
            prefund.reference
        ))
    }

    /// The last attempt's result, while it counts.
    fn note(&self, subject: Subject) -> Option<&Note> {
        self.notes.get(&subject).filter(|note| note.until > self.now)
    }

    fn no_rate(&self, currency: Currency) -> String {
        match self.rates {
            Some(_) => format!("there is no rate between USD and {currency} that is young enough to judge a quote by"),
            None => "UR's rates are too old to judge a quote by".to_owned(),
        }
    }

    /// The failures, and the end of the wait that they cause.
    fn waits_after(&self, currency: Currency) -> Option<(Failures<'_>, UnixMillis)> {
        let failures = self.failures(currency)?;
        let doubled = 1_u64.checked_shl(failures.count.saturating_sub(1)).unwrap_or(u64::MAX);
        let wait = doubled.min(WAIT_HOURS_MAX).saturating_mul(HOUR_MS);
        let until = UnixMillis(failures.given_up.at.0.saturating_add(wait));
        (until > self.now).then_some((failures, until))
    }

    /// A person who withdraws a person's proposal causes no failure, nor does tapgate when it abandons a proposal
    /// before ordering.
    fn failures(&self, currency: Currency) -> Option<Failures<'_>> {
        let of_pool = self.prefunds.iter().filter(|prefund| prefund.currency == currency);
        let since = of_pool.take_while(|prefund| prefund.cancelled.is_some() || prefund.sent.is_none());
        let by_engine = |step: Option<&By>| step.is_some_and(|step| step.by == Author::Engine.name());
        let mut failed = since.filter_map(|prefund| {
            let (given_up, reason) = prefund.cancelled.as_ref()?;
            let counts = if by_engine(Some(given_up)) {
                prefund.ordered.is_some()
            } else {
                by_engine(prefund.proposed.as_ref())
            };
            counts.then_some((prefund.id, given_up, reason.as_str()))
        });
        let (id, given_up, reason) = failed.next()?;
        let count = u32::try_from(failed.count()).unwrap_or(u32::MAX).saturating_add(1);
        Some(Failures { count, id, given_up, reason })
    }
}

impl Failures<'_> {
    /// Whether UR refused, and not a person.
    fn is_refusal(&self) -> bool {
        self.given_up.by == Author::Engine.name()
    }
}

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prefund {} was given up by {}: {}", self.id, self.given_up.by, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::contract::pricing::Conversion;
    use tapgate_engine::ids::Sequence;

    use super::*;
    use crate::treasury::calendar::tests::zurich;

    /// Friday 2026-09-11 10:00 in Zurich.
    const NOW: UnixMillis = UnixMillis(1_789_113_600_000);

    /// The plan for a EUR pool with a suggestion of 1,000.00.
    fn seen(mode: AutoPrefundMode, prefunds: Vec<Prefund>) -> Seen {
        let dollars = ((Currency::USD, Currency::EUR), Conversion { rate: 9_168, spread: 10_150 });
        let settings = AutoPrefund {
            mode,
            daily_max: Minor(5_000_000_000),
            single_max: Minor(2_000_000_000),
            quote_tolerance_bps: 250,
        };
        Seen {
            settings,
            desk: desk(),
            held_back: None,
            needs: vec![Need { currency: Currency::EUR, suggested: Ok(Minor(100_000)) }],
            prefunds,
            ordered_today: Minor::ZERO,
            day_ends: UnixMillis(NOW.0 + 14 * HOUR_MS),
            rates: Some(Rates { pairs: vec![dollars], set_at: Some(NOW), ..Rates::default() }),
            calendar: zurich(),
            notes: BTreeMap::new(),
            now: NOW,
        }
    }

    fn desk() -> Desk {
        Desk { base_url: "https://ur.example".into(), partner: "0x1".into(), account: "9999".parse().unwrap() }
    }

    fn by(name: &str, hours_ago: u64) -> By {
        By { at: UnixMillis(NOW.0 - hours_ago * HOUR_MS), by: name.into() }
    }

    fn proposed(number: u64, who: &str) -> Prefund {
        Prefund {
            sequence: Sequence(number),
            id: PrefundId(Sequence(number)),
            currency: Currency::EUR,
            amount: Minor(100_000),
            reference: "r".into(),
            request_id: Some("r".into()),
            expected_at: None,
            proposed: Some(by(who, 40)),
            approved: None,
            ordered: None,
            sent: None,
            credited: Minor::ZERO,
            credited_at: None,
            cancelled: None,
        }
    }

    fn approved(number: u64) -> Prefund {
        Prefund { approved: Some(by("t", 1)), ..proposed(number, "engine") }
    }

    fn ordered(number: u64) -> Prefund {
        let Desk { base_url, partner, account } = desk();
        let (id, token) = (PrefundId(Sequence(number)), "EUR".into());
        let asked = PrefundOrdered { id, base_url, partner, account, token, paid: Minor(1_000), quoted: Minor(1) };
        Prefund { ordered: Some((by("engine", 1), asked)), ..approved(number) }
    }

    fn sent(number: u64) -> Prefund {
        Prefund { sent: Some(by("engine", 1)), ..ordered(number) }
    }

    fn given_up(number: u64, who: &str, hours_ago: u64) -> Prefund {
        Prefund { cancelled: Some((by(who, hours_ago), "because".into())), ..ordered(number) }
    }

    const WAIT: Step = Step::Wait;
    const PROPOSE: Step = Step::Propose(Minor(100_000));

    fn id(number: u64) -> PrefundId {
        PrefundId(Sequence(number))
    }

    /// The only step, a part of its reason, and whether the operator must know.
    #[track_caller]
    fn check(seen: &Seen, step: Step, words: &str, is_refused: bool) {
        let planned = plan(seen);
        let [only] = planned.as_slice() else { panic!("{planned:?}") };
        assert_eq!((only.step, only.is_refused), (step, is_refused), "{}", only.why);
        assert!(only.why.contains(words), "{}", only.why);
    }

    #[test]
    fn each_mode_goes_its_part_of_the_way() {
        use AutoPrefundMode::{Approval, Automatic, DryRun, Off};
        let ways: [(AutoPrefundMode, [Step; 5]); 4] = [
            (Off, [WAIT, WAIT, WAIT, Step::OrderAgain(id(7)), WAIT]),
            (DryRun, [Step::Quote(Minor(100_000)), WAIT, WAIT, Step::OrderAgain(id(7)), WAIT]),
            (Approval, [PROPOSE, WAIT, Step::Order(id(7), Minor(100_000)), Step::OrderAgain(id(7)), WAIT]),
            (
                Automatic,
                [PROPOSE, Step::Approve(id(7)), Step::Order(id(7), Minor(100_000)), Step::OrderAgain(id(7)), WAIT],
            ),
        ];
        for (mode, steps) in ways {
            let stages = [None, Some(proposed(7, "engine")), Some(approved(7)), Some(ordered(7)), Some(sent(7))];
            for (stage, step) in stages.into_iter().zip(steps) {
                check(&seen(mode, stage.into_iter().collect()), step, "", false);
            }
        }
        check(&seen(Off, vec![proposed(7, "engine")]), WAIT, "proposed, and not ordered: the mode is off", false);
        check(&seen(Off, vec![approved(8), given_up(7, "engine", 2)]), WAIT, "approved, and not ordered", false);
        // In every mode a treasurer approves a person's proposal.
        check(
            &seen(Automatic, vec![proposed(7, "ops")]),
            WAIT,
            "waits for a treasurer: tapgate prefunds approve 7",
            false,
        );
    }

    #[test]
    fn nothing_is_begun_twice_or_without_need() {
        let plain = || seen(AutoPrefundMode::Automatic, Vec::new());
        let need = |suggested| vec![Need { currency: Currency::EUR, suggested }];
        check(&Seen { needs: need(Ok(Minor::ZERO)), ..plain() }, WAIT, "nothing needs to be sent", false);
        check(&Seen { needs: need(Err("too little history".into())), ..plain() }, WAIT, "too little history", false);
        check(&Seen { held_back: Some("catching up".into()), ..plain() }, WAIT, "catching up", false);
        check(
            &Seen { held_back: Some("suspended".into()), prefunds: vec![approved(7)], ..plain() },
            WAIT,
            "suspended",
            false,
        );
        let still = Seen { held_back: Some("suspended".into()), prefunds: vec![ordered(7)], ..plain() };
        check(&still, Step::OrderAgain(id(7)), "UR has not answered", false);
        // A credited, short or abandoned prefund is no longer open.
        for over in [Minor(100_000), Minor(99_000)] {
            check(
                &Seen { prefunds: vec![Prefund { credited: over, ..sent(7) }], ..plain() },
                PROPOSE,
                "suggests 1000.00 EUR",
                false,
            );
        }
        let other = Prefund { currency: Currency::USD, ..sent(7) };
        check(&Seen { prefunds: vec![other], ..plain() }, PROPOSE, "", false);
    }

    #[test]
    fn what_is_no_longer_needed_is_given_up_before_it_is_ordered() {
        let needed = |suggested: Result<i64, &str>, prefund: Prefund| {
            let suggested = suggested.map(Minor).map_err(str::to_owned);
            let needs = vec![Need { currency: Currency::EUR, suggested }];
            Seen { needs, ..seen(AutoPrefundMode::Approval, vec![prefund]) }
        };
        for prefund in [proposed(7, "engine"), approved(7)] {
            for suggested in [0, 99_999] {
                check(
                    &needed(Ok(suggested), prefund.clone()),
                    Step::GiveUp(id(7)),
                    "no longer needed as proposed",
                    false,
                );
            }
            let stays = |suggested| {
                let planned = plan(&needed(suggested, prefund.clone()));
                assert!(!matches!(planned[0].step, Step::GiveUp(_)), "{planned:?}");
            };
            stays(Ok(100_000));
            stays(Ok(200_000));
            stays(Err("nothing can be foretold"));
        }
        // A person's proposal is not abandoned, nor is an order whose money may have left.
        check(&needed(Ok(0), proposed(7, "ops")), WAIT, "waits for a treasurer", false);
        check(&needed(Ok(0), ordered(7)), Step::OrderAgain(id(7)), "", false);
        check(&needed(Ok(0), sent(7)), WAIT, "on its way", false);
        // This is no failure: the next proposal does not wait.
        let given_up = Prefund { ordered: None, ..given_up(7, "engine", 0) };
        check(&seen(AutoPrefundMode::Approval, vec![given_up]), PROPOSE, "", false);
    }

    #[test]
    fn bounds_cut_a_proposal_and_hold_an_order_back() {
        let plain = |prefunds| seen(AutoPrefundMode::Automatic, prefunds);
        let bounded = |mut seen: Seen, single: i64| {
            seen.settings.single_max = Minor(single);
            seen
        };
        // 500 USDC are worth 458.40 EUR; with 2.5 % of fees 446.94.
        let cut = bounded(plain(Vec::new()), 500_000_000);
        check(&cut, Step::Propose(Minor(44_694)), "of that 446.94 EUR within single_max_usdc", false);
        check(
            &bounded(plain(Vec::new()), 2_000_000),
            WAIT,
            "it costs 3.00 USDC, and single_max_usdc allows 2.00 USDC",
            true,
        );
        check(&bounded(plain(vec![approved(7)]), 1_090_000_000), WAIT, "it costs 1090.76 USDC", true);
        let spent = |prefunds| Seen { ordered_today: Minor(4_000_000_000), ..plain(prefunds) };
        check(
            &spent(vec![approved(7)]),
            WAIT,
            "of daily_max_usdc (5000.00 USDC) 1000.00 USDC are left until Sat 12 Sep 00:00",
            true,
        );
        // The rest of the day's bound is better than nothing, if UR accepts that little.
        check(&spent(Vec::new()), Step::Propose(Minor(89_388)), "893.88 EUR within what daily_max_usdc leaves", false);
        let left = |left: i64| Seen { ordered_today: Minor(5_000_000_000 - left), ..plain(Vec::new()) };
        check(&left(3_000_000), Step::Propose(Minor(268)), "", false);
        check(&left(2_999_999), WAIT, "it costs 3.00 USDC, and of daily_max_usdc", true);
        check(&left(0), WAIT, "0.00 USDC are left until", true);
        check(
            &Seen { ordered_today: Minor(3_909_240_000), ..plain(vec![approved(7)]) },
            Step::Order(id(7), Minor(100_000)),
            "",
            false,
        );
        check(&Seen { ordered_today: Minor(3_909_250_000), ..plain(vec![approved(7)]) }, WAIT, "are left until", true);
    }

    #[test]
    fn without_rates_nothing_is_quoted() {
        for prefunds in [Vec::new(), vec![approved(7)]] {
            let plain = || seen(AutoPrefundMode::Approval, prefunds.clone());
            check(&Seen { rates: None, ..plain() }, WAIT, "too old", true);
            check(&Seen { rates: Some(Rates::default()), ..plain() }, WAIT, "no rate between USD and EUR", true);
        }
    }

    #[test]
    fn a_refusal_is_not_repeated_at_once_and_stands_until_one_is_sent() {
        let plain = |prefunds| seen(AutoPrefundMode::Approval, prefunds);
        check(
            &plain(vec![given_up(7, "engine", 0)]),
            WAIT,
            "prefund 7 was given up by engine: because; proposed again Fri 11 Sep 11:00",
            true,
        );
        check(&plain(vec![given_up(7, "engine", 1)]), PROPOSE, "", false);
        check(&plain(vec![given_up(8, "engine", 1), given_up(7, "engine", 3)]), WAIT, "again Fri 11 Sep 11:00", true);
        let many = |hours_ago| (1..=9).rev().map(|number| given_up(number, "engine", hours_ago)).collect();
        check(&plain(many(23)), WAIT, "again Fri 11 Sep 11:00", true);
        check(&plain(many(24)), PROPOSE, "", false);
        // A person's decision needs no alert.
        check(&plain(vec![given_up(7, "ops", 0)]), WAIT, "given up by ops", false);
        let own = Prefund { proposed: Some(by("ops", 2)), ..given_up(7, "ops", 0) };
        check(&plain(vec![own]), PROPOSE, "", false);
        // A sent prefund ends the count; one that awaits approval does not.
        let credited = Prefund { credited: Minor(100_000), ..sent(8) };
        check(&plain(vec![credited, given_up(7, "engine", 0)]), PROPOSE, "", false);
        check(&plain(vec![proposed(8, "engine"), given_up(7, "engine", 2)]), WAIT, "waits for a treasurer", true);
        check(&plain(vec![sent(8), given_up(7, "engine", 2)]), WAIT, "on its way", false);
    }

    #[test]
    fn an_order_is_made_again_for_a_day_and_only_where_it_was_made() {
        let at = |millis: u64| {
            let mut prefund = ordered(7);
            prefund.ordered.as_mut().unwrap().0.at = UnixMillis(NOW.0 - millis);
            seen(AutoPrefundMode::Off, vec![prefund])
        };
        check(&at(24 * HOUR_MS), Step::OrderAgain(id(7)), "", false);
        check(&at(24 * HOUR_MS + 1), WAIT, "ask UR about the requestId r: if it was not carried out, tapgate", true);
        let elsewhere = [
            Desk { base_url: "https://sandbox.example".into(), ..desk() },
            Desk { partner: "0x2".into(), ..desk() },
            Desk { account: "8888".parse().unwrap(), ..desk() },
        ];
        for desk in elsewhere {
            check(
                &Seen { desk, ..at(1) },
                WAIT,
                "ordered at https://ur.example by the key 0x1 for the account 9999",
                true,
            );
        }
    }

    #[test]
    fn what_did_not_come_to_its_end_is_tried_again_later() {
        let note = |until| Note { until: UnixMillis(until), attempts: 1, why: "UR is away".into(), is_refused: false };
        let noted = |prefund: Prefund, until| {
            let mut seen = seen(AutoPrefundMode::Approval, vec![prefund]);
            seen.notes.insert(Subject::Prefund(id(7)), note(until));
            seen
        };
        check(&noted(ordered(7), NOW.0 + 1), WAIT, "UR is away; tried again Fri 11 Sep 10:00", false);
        check(&noted(ordered(7), NOW.0), Step::OrderAgain(id(7)), "", false);
        check(&noted(approved(7), NOW.0 + 1), WAIT, "UR is away", false);
        let mut dry = seen(AutoPrefundMode::DryRun, Vec::new());
        dry.notes.insert(Subject::Pool(Currency::EUR), note(NOW.0 + 1));
        check(&dry, WAIT, "UR is away", false);
    }
}
