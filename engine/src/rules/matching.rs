//! Matches a movement that names none of our ids with a hold of its user. Decided once: folds never match again.

use crate::fact::{Flow, Lives, MatchRule, Posting, Tolerance};
use crate::ids::AuthorizationId;
use crate::money::{Minor, Money};
use crate::rows::merchant_hash;
use crate::time::UnixSeconds;

/// Longest time by which UR's transaction may precede its authorization: clocks differ.
const BEFORE_SECONDS_MAX: i64 = 3_600;

/// A hold that a movement may belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub root: AuthorizationId,
    /// Held now, or last.
    pub held: Money,
    /// The merchant's category, if the request had it.
    pub mcc: Option<u16>,
    /// The merchant's name, hashed.
    pub merchant: Option<u32>,
    /// The time of the decision.
    pub at: UnixSeconds,
    /// We ended it.
    pub is_ended: bool,
}

/// The authorization that a movement without a reference belongs to, and the rule that says so: an exact amount before a
/// near one, an open hold before an ended one. Category and merchant break ties and exclude nothing.
#[must_use]
pub fn find(
    posting: &Posting,
    candidates: &[Candidate],
    tolerance: Tolerance,
    lives: Lives,
) -> Option<(AuthorizationId, MatchRule)> {
    if posting.flow == Flow::In {
        // A return must name its authorization: else the match is a guess.
        return None;
    }
    let fits = |candidate: &&Candidate| {
        let apart = posting.at.0.saturating_sub(candidate.at.0);
        let life = i64::from(lives.of(candidate.mcc));
        candidate.held.currency == posting.amount.currency
            && !candidate.held.amount.is_zero()
            && (-BEFORE_SECONDS_MAX..=life).contains(&apart)
    };
    let fitting: Vec<&Candidate> = candidates.iter().filter(fits).collect();
    let amount = posting.amount.amount;
    let (open, ended): (Vec<_>, Vec<_>) = fitting.into_iter().partition(|candidate| !candidate.is_ended);
    let exact = |candidate: &Candidate| candidate.held.amount == amount;
    let near = |candidate: &Candidate| tolerance.holds(candidate.held.amount, amount);
    if let Some((found, is_only)) = best(posting, &open, exact) {
        let rule = if is_only { MatchRule::ExactAmount } else { MatchRule::OldestExact };
        return Some((found.root.clone(), rule));
    }
    if let Some((found, _)) = best(posting, &open, near) {
        return Some((found.root.clone(), MatchRule::NearAmount));
    }
    if let Some(found) = part_of(posting, &open, amount) {
        return Some((found.root.clone(), MatchRule::Part));
    }
    let (found, _) = best(posting, &ended, exact).or_else(|| best(posting, &ended, near))?;
    Some((found.root.clone(), MatchRule::Ended))
}

/// The best of the candidates that fit, and whether it is the only one: the closest category and merchant, then the
/// closest amount, then the oldest.
fn best<'a>(
    posting: &Posting,
    list: &[&'a Candidate],
    fits: impl Fn(&Candidate) -> bool,
) -> Option<(&'a Candidate, bool)> {
    let fitting: Vec<&Candidate> = list.iter().copied().filter(|candidate| fits(candidate)).collect();
    let amount = posting.amount.amount;
    let rank = |candidate: &&Candidate| {
        let apart = Minor((candidate.held.amount - amount).0.abs());
        (std::cmp::Reverse(likeness(posting, candidate)), apart, candidate.at, candidate.root.clone())
    };
    let found = fitting.iter().copied().min_by_key(rank)?;
    let twins = fitting.iter().filter(|other| likeness(posting, other) == likeness(posting, found)).count();
    Some((found, twins == 1))
}

/// The one hold of the same category or merchant that the movement is a part of; of several equal ones the oldest.
fn part_of<'a>(posting: &Posting, open: &[&'a Candidate], amount: Minor) -> Option<&'a Candidate> {
    let alike = open.iter().copied();
    let alike: Vec<&Candidate> =
        alike.filter(|candidate| candidate.held.amount > amount && likeness(posting, candidate) > 0).collect();
    let first = alike.first()?;
    let are_equal = alike.iter().all(|other| other.held.amount == first.held.amount);
    let oldest = alike.iter().copied().min_by_key(|candidate| (candidate.at, candidate.root.clone()))?;
    are_equal.then_some(oldest)
}

/// How much of the merchant agrees: its category, its name.
fn likeness(posting: &Posting, candidate: &Candidate) -> u8 {
    let category = posting.mcc.is_some() && posting.mcc == candidate.mcc;
    let name = posting.merchant.as_deref().map(merchant_hash);
    let merchant = name.is_some() && name == candidate.merchant;
    u8::from(category) + u8::from(merchant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Progress;
    use crate::money::Currency;

    /// UR's time of the movement.
    const AT: i64 = 1_000_000;
    const DAY: i64 = 86_400;
    const CAFE: Option<u16> = Some(5_812);
    const SHOP: Option<u16> = Some(5_411);
    const HOTEL: Option<u16> = Some(7_011);

    /// A hold of EUR from a café, a minute before the movement, and how it differs from that.
    fn hold(root: &str, amount: i64, differs: fn(&mut Candidate)) -> Candidate {
        let mut hold = Candidate {
            root: root.parse().unwrap(),
            held: Money { amount: Minor(amount), currency: Currency::EUR },
            mcc: CAFE,
            merchant: Some(merchant_hash("Café Zürich")),
            at: UnixSeconds(AT - 60),
            is_ended: false,
        };
        differs(&mut hold);
        hold
    }

    /// What UR takes at a merchant: `root rule`, or nothing.
    fn chosen(flow: Flow, amount: i64, mcc: Option<u16>, merchant: Option<&str>, holds: &[Candidate]) -> String {
        let posting = Posting {
            hash: "h".into(),
            user: "user".parse().unwrap(),
            flow,
            progress: Progress::Completed,
            amount: Money { amount: Minor(amount), currency: Currency::EUR },
            at: UnixSeconds(AT),
            mcc,
            merchant: merchant.map(Into::into),
            references: smallvec::SmallVec::new(),
            awaits: None,
            ordinal: 0,
        };
        let found = find(&posting, holds, Tolerance::default(), Lives::default());
        found.map_or_else(String::new, |(root, rule)| format!("{root} {}", rule.name()))
    }

    fn plain(_: &mut Candidate) {}

    #[test]
    fn amounts_come_before_merchants_and_merchants_exclude_nothing() {
        let check = |amount, mcc, holds: &[Candidate], expected: &str| {
            assert_eq!(chosen(Flow::Out, amount, mcc, None, holds), expected, "{holds:?}");
        };
        let shop: fn(&mut Candidate) = |hold| hold.mcc = SHOP;
        let older: fn(&mut Candidate) = |hold| hold.at = UnixSeconds(AT - 600);
        check(1_000, CAFE, &[hold("a", 1_010, plain), hold("b", 1_000, shop)], "b exact_amount");
        check(1_000, SHOP, &[hold("a", 1_000, plain)], "a exact_amount");
        check(1_000, CAFE, &[hold("a", 1_000, shop), hold("b", 1_000, plain)], "b exact_amount");
        check(1_000, None, &[hold("a", 1_000, plain), hold("b", 1_000, older)], "b oldest_exact");
        check(1_000, CAFE, &[hold("a", 1_015, shop), hold("b", 1_018, plain)], "b near_amount");
        check(1_000, None, &[hold("a", 1_018, plain), hold("b", 1_015, plain)], "b near_amount");
        check(1_000, None, &[hold("a", 1_100, plain)], "");
    }

    #[test]
    fn a_part_belongs_to_the_one_hold_of_its_category_or_merchant() {
        let check = |mcc, merchant, holds: &[Candidate], expected: &str| {
            assert_eq!(chosen(Flow::Out, 400, mcc, merchant, holds), expected, "{holds:?}");
        };
        let shop: fn(&mut Candidate) = |hold| (hold.mcc, hold.merchant) = (SHOP, None);
        let older: fn(&mut Candidate) = |hold| hold.at = UnixSeconds(AT - 600);
        check(CAFE, None, &[hold("a", 1_000, plain), hold("b", 1_000, shop)], "a part");
        check(None, Some(" CAFé zürich"), &[hold("a", 1_000, plain), hold("b", 1_000, shop)], "a part");
        check(CAFE, None, &[hold("a", 1_000, plain), hold("b", 1_000, older)], "b part");
        check(CAFE, None, &[hold("a", 1_000, plain), hold("b", 2_000, plain)], "");
        check(None, None, &[hold("a", 1_000, plain)], "");
        check(CAFE, None, &[hold("a", 300, plain)], "");
    }

    #[test]
    fn a_hold_is_open_from_an_hour_before_its_decision_to_the_end_of_its_life() {
        let fits = |mcc, decided: i64| {
            let hold = Candidate { mcc, at: UnixSeconds(AT + decided), ..hold("a", 1_000, plain) };
            !chosen(Flow::Out, 1_000, None, None, &[hold]).is_empty()
        };
        assert_eq!([fits(CAFE, 3_600), fits(CAFE, 3_601)], [true, false]);
        assert_eq!([fits(CAFE, -10 * DAY), fits(CAFE, -10 * DAY - 1)], [true, false]);
        assert_eq!([fits(HOTEL, -30 * DAY), fits(HOTEL, -30 * DAY - 1)], [true, false]);
    }

    #[test]
    fn ended_holds_come_last_and_returns_match_nothing() {
        let ended: fn(&mut Candidate) = |hold| hold.is_ended = true;
        let check = |flow, holds: &[Candidate], expected: &str| {
            assert_eq!(chosen(flow, 1_000, CAFE, None, holds), expected, "{holds:?}");
        };
        check(Flow::Out, &[hold("a", 1_000, ended), hold("b", 1_015, plain)], "b near_amount");
        check(Flow::Out, &[hold("a", 1_000, ended), hold("b", 5_000, plain)], "b part");
        check(Flow::Out, &[hold("a", 1_015, ended), hold("b", 1_000, ended)], "b ended");
        check(Flow::In, &[hold("a", 1_000, plain)], "");
        let dollars: fn(&mut Candidate) = |hold| hold.held.currency = Currency::USD;
        check(Flow::Out, &[hold("a", 1_000, dollars), hold("b", 0, plain)], "");
    }
}
