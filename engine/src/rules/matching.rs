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
