//! Matches a UR transaction with an authorization. Pure: all inputs are arguments.

use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rules::Tolerance;
use tapgate_engine::time::UnixSeconds;

use crate::wire::ur::{Direction, Transaction};

/// Longest time by which UR's transaction may precede its authorization: clocks differ.
const BEFORE_SECONDS_MAX: i64 = 3_600;
/// Longest time by which it may follow: UR's indexer lags, and settlement takes days.
const AFTER_SECONDS_MAX: i64 = 10 * 86_400;

/// An authorization that may match a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub root: AuthorizationId,
    /// The account holder.
    pub user: UrId,
    /// The currency of payment.
    pub currency: Currency,
    /// The held amount in that currency.
    pub held: Minor,
    /// The merchant's category, if the request had it.
    pub mcc: Option<u16>,
    /// The time of the decision.
    pub at: UnixSeconds,
}

/// The result of matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    One(AuthorizationId),
    /// The number of authorizations that fit; none is chosen.
    Several(usize),
    /// None of ours fits.
    Nothing,
}

/// The authorization that UR's reference names, if it belongs to the same account; else the only open one whose
/// currency, amount, category and time fit.
#[must_use]
pub fn find(
    transaction: &Transaction,
    named: Option<&Candidate>,
    holding: &[Candidate],
    tolerance: Tolerance,
) -> Match {
    if let Some(named) = named.filter(|named| named.user == transaction.user) {
        return Match::One(named.root.clone());
    }
    let fits = |candidate: &&Candidate| {
        let apart = transaction.at.0.saturating_sub(candidate.at.0);
        let difference = Minor((candidate.held - transaction.amount).0.abs());
        candidate.user == transaction.user
            && candidate.currency == transaction.currency
            && difference <= tolerance.of(candidate.held)
            && (candidate.mcc.is_none() || transaction.mcc.is_none() || candidate.mcc == transaction.mcc)
            && (-BEFORE_SECONDS_MAX..=AFTER_SECONDS_MAX).contains(&apart)
    };
    // A refund must name its authorization: otherwise the match is a guess.
    let fitting: Vec<_> = match transaction.direction {
        Direction::Out => holding.iter().filter(fits).collect(),
        Direction::In => Vec::new(),
    };
    match fitting.as_slice() {
        [] => Match::Nothing,
        [one] => Match::One(one.root.clone()),
        [first, others @ ..] if others.iter().all(|other| other.held == first.held) => {
            // Between equal ones the choice moves nobody's money: the oldest.
            let oldest = fitting.iter().min_by_key(|candidate| (candidate.at, candidate.root.as_str()));
            Match::One(oldest.unwrap_or(first).root.clone())
        }
        several => Match::Several(several.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;
    use crate::wire::ur::Status;

    fn candidate(root: &str, held: i64) -> Candidate {
        Candidate {
            root: root.parse().unwrap(),
            user: "12345".parse().unwrap(),
            currency: Currency::EUR,
            held: Minor(held),
            mcc: Some(5_812),
            at: UnixSeconds(1_000_000),
        }
    }

    fn transaction(amount: i64) -> Transaction {
        Transaction {
            user: "12345".parse().unwrap(),
            kind: "CRD".to_owned(),
            amount: Minor(amount),
            currency: Currency::EUR,
            direction: Direction::Out,
            status: Status::Completed,
            at: UnixSeconds(1_000_300),
            hash: "0xab".to_owned(),
            mcc: Some(5_812),
            references: Vec::new(),
            charged_in: None,
        }
    }

    fn found(transaction: &Transaction, holding: &[Candidate]) -> Match {
        find(transaction, None, holding, Tolerance::default())
    }

    fn one(root: &str) -> Match {
        Match::One(root.parse().unwrap())
    }

    #[test]
    fn a_reference_decides_where_the_account_is_the_same() {
        let named = candidate("a1", 5);
        let twin = [candidate("a2", 1_000)];
        let find = |transaction: &Transaction| find(transaction, Some(&named), &twin, Tolerance::default());
        assert_eq!(find(&transaction(1_000)), one("a1"));
        let stranger = Transaction { user: "99".parse().unwrap(), ..transaction(1_000) };
        assert_eq!(find(&stranger), Match::Nothing, "another account's reference names nothing");
    }

    #[test]
    fn without_one_everything_must_fit_and_fit_once() {
        let holding = [candidate("a1", 1_000), candidate("a2", 3_000)];
        assert_eq!(found(&transaction(1_000), &holding), one("a1"));
        assert_eq!(found(&transaction(1_020), &holding), one("a1"), "within two percent");
        assert_eq!(found(&transaction(1_021), &holding), Match::Nothing);
        assert_eq!(found(&transaction(1_000), &[holding[0].clone(), candidate("a3", 1_005)]), Match::Several(2));
        let older = Candidate { at: UnixSeconds(999_000), ..candidate("a3", 1_000) };
        assert_eq!(found(&transaction(1_000), &[holding[0].clone(), older]), one("a3"), "equal ones: the oldest");
        for changed in [
            Transaction { currency: Currency::USD, ..transaction(1_000) },
            Transaction { mcc: Some(5_411), ..transaction(1_000) },
            Transaction { at: UnixSeconds(1_000_000 - BEFORE_SECONDS_MAX - 1), ..transaction(1_000) },
            Transaction { at: UnixSeconds(1_000_000 + AFTER_SECONDS_MAX + 1), ..transaction(1_000) },
            Transaction { direction: Direction::In, ..transaction(1_000) },
        ] {
            assert_eq!(found(&changed, &holding), Match::Nothing, "{changed:?}");
        }
        let untold = Transaction { mcc: None, ..transaction(1_000) };
        assert_eq!(found(&untold, &holding), one("a1"), "what is not told contradicts nothing");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn the_order_of_candidates_does_not_matter(amounts in prop::collection::vec(900_i64..1_100, 0..6), amount in 900_i64..1_100) {
            let mut holding: Vec<_> =
                amounts.iter().enumerate().map(|(n, held)| candidate(&format!("a{n}"), *held)).collect();
            let forward = found(&transaction(amount), &holding);
            holding.reverse();
            prop_assert_eq!(forward, found(&transaction(amount), &holding));
        }
    }
}
