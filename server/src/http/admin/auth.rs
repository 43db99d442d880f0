//! Bearer tokens, roles, and the lockout of addresses that guess tokens.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::problem::Problem;

/// Wrong tokens from one address within the window before its lockout.
const WRONG_TOKENS_MAX: u32 = 20;
/// Length of the window and of the lockout.
const WINDOW_MILLIS: u64 = 60_000;
/// Addresses remembered; beyond it expired ones are dropped, or else all.
const ADDRESSES_MAX: usize = 10_000;

/// A bearer token, known only by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Unique. The author of changes in the journal: 1 to 64 of letters, digits, `.`, `_` and `-`.
    pub name: String,
    pub role: Role,
    pub sha256: TokenHash,
}

/// The permissions of a token (docs/interface.md, admin listener).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    Viewer,
    /// Everything but approving prefunds.
    Operator,
    /// Reading, and changes to pools, rates, credits, alerts and prefunds.
    Treasurer,
}

/// SHA-256 of a bearer token. A weak token can be guessed from its hash, so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// The access that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Any role.
    Read,
    /// Pools, rates, credits, alerts, deliveries and prefunds: operator and treasurer.
    Treasury,
    /// Approving a prefund, and abandoning one whose money may have left: treasurer only. In automatic mode tapgate
    /// approves its own prefunds. Operators set floor, reserve and rates, which change the suggestion, so only the
    /// configured bounds limit it.
    Approve,
    /// Everything else: operator.
    Operate,
}

/// The owner of a valid token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) name: String,
    role: Role,
}

impl Caller {
    /// Checks that the role permits the access.
    pub(super) fn may(&self, access: Access) -> Result<(), Problem> {
        match (self.role, access) {
            (_, Access::Read)
            | (Role::Operator, Access::Treasury | Access::Operate)
            | (Role::Treasurer, Access::Treasury | Access::Approve) => Ok(()),
            (Role::Viewer, _) => Err(Problem::Forbidden("viewer")),
            (Role::Operator, Access::Approve) => Err(Problem::Forbidden("operator")),
            (Role::Treasurer, Access::Operate) => Err(Problem::Forbidden("treasurer")),
        }
    }
}

/// The token's owner. Compares every configured token, each in constant time.
pub(super) fn caller(headers: &HeaderMap, tokens: &[Token]) -> Option<Caller> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let hash = Sha256::digest(token.trim().as_bytes());
    let mut found = None;
    for known in tokens {
        if bool::from(known.sha256.0.ct_eq(&hash)) {
            found = Some(known);
        }
    }
    found.map(|known| Caller { name: known.name.clone(), role: known.role })
}

/// Counts wrong tokens by address.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    wrong: Mutex<HashMap<IpAddr, (u64, u32)>>,
}

impl Lockout {
    /// Counts a wrong token, and returns the answer.
    pub(super) fn wrong_token(&self, from: IpAddr, now_millis: u64) -> Problem {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES_MAX {
            wrong.retain(|_, (since, _)| now_millis.saturating_sub(*since) < WINDOW_MILLIS);
        }
        if wrong.len() >= ADDRESSES_MAX {
            wrong.clear();
        }
        let (since, count) = wrong.entry(from).or_insert((now_millis, 0));
        if now_millis.saturating_sub(*since) >= WINDOW_MILLIS {
            (*since, *count) = (now_millis, 0);
        }
        *count += 1;
        match *count {
            count if count <= WRONG_TOKENS_MAX => Problem::Unauthorized,
            _ => Problem::TooManyAttempts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_is_locked_out_for_a_minute_and_nobody_else() {
        let lockout = Lockout::default();
        let (guesser, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for attempt in 0..WRONG_TOKENS_MAX {
            assert_eq!(lockout.wrong_token(guesser, u64::from(attempt)), Problem::Unauthorized);
        }
        assert_eq!(lockout.wrong_token(guesser, 100), Problem::TooManyAttempts);
        assert_eq!(lockout.wrong_token(other, 100), Problem::Unauthorized);
        assert_eq!(lockout.wrong_token(guesser, WINDOW_MILLIS), Problem::Unauthorized);
    }
}
