//! Bearer tokens, roles, and the lockout of addresses that guess tokens.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::problem::Problem;
use crate::http::single::single;

/// Wrong tokens from one address within the window before its lockout.
const WRONG_TOKENS_MAX: u32 = 20;
/// Length of the window and of the lockout.
const WINDOW: Duration = Duration::from_secs(60);
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

/// The owner of the one token that came. Compares every configured token, each in constant time.
pub(super) fn caller(headers: &HeaderMap, tokens: &[Token]) -> Option<Caller> {
    let value = single(headers, AUTHORIZATION.as_str()).ok()??.to_str().ok()?;
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

/// Counts wrong tokens by address; refuses an address that sent too many, whatever it sends next.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
}

/// Wrong tokens of one address.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    since: Duration,
    count: u32,
}

impl Wrong {
    fn is_over(self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= WINDOW
    }
}

impl Lockout {
    fn wrong(&self) -> MutexGuard<'_, HashMap<IpAddr, Wrong>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses an address that is locked out before its token is compared, so that guessing on cannot succeed. `now`: the
    /// time since the process started, which never goes back.
    ///
    /// # Errors
    /// The address is locked out.
    pub(super) fn admits(&self, from: IpAddr, now: Duration) -> Result<(), Problem> {
        let wrong = self.wrong().get(&from).copied();
        let is_out = wrong.is_some_and(|wrong| wrong.count >= WRONG_TOKENS_MAX && !wrong.is_over(now));
        if is_out { Err(Problem::TooManyAttempts) } else { Ok(()) }
    }

    /// Counts a wrong token, and returns the answer. A log line tells of the first and of the last before a lockout.
    pub(super) fn wrong_token(&self, from: IpAddr, now: Duration) -> Problem {
        let mut all = self.wrong();
        if all.len() >= ADDRESSES_MAX {
            all.retain(|_, wrong| !wrong.is_over(now));
        }
        if all.len() >= ADDRESSES_MAX {
            all.clear();
        }
        let wrong = all.entry(from).or_insert(Wrong { since: now, count: 0 });
        if wrong.is_over(now) {
            *wrong = Wrong { since: now, count: 0 };
        }
        wrong.count += 1;
        match wrong.count {
            1 => tracing::warn!(%from, "a request with a wrong admin token was refused"),
            WRONG_TOKENS_MAX => {
                tracing::warn!(%from, "{WRONG_TOKENS_MAX} wrong admin tokens: the address is refused for a minute");
            }
            _ => {}
        }
        Problem::Unauthorized
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_are_none() {
        let tokens =
            [Token { name: "anna".into(), role: Role::Viewer, sha256: TokenHash(Sha256::digest("a token").into()) }];
        let mut headers = HeaderMap::new();
        for is_known in [true, false] {
            headers.append(AUTHORIZATION, "Bearer a token".parse().unwrap());
            assert_eq!(caller(&headers, &tokens).is_some(), is_known);
        }
    }

    #[test]
    fn who_guesses_is_locked_out_for_a_minute_and_nobody_else() {
        let lockout = Lockout::default();
        let (guesser, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let at = Duration::from_millis;
        for attempt in 0..WRONG_TOKENS_MAX {
            assert_eq!(lockout.admits(guesser, at(u64::from(attempt))), Ok(()));
            assert_eq!(lockout.wrong_token(guesser, at(u64::from(attempt))), Problem::Unauthorized);
        }
        assert_eq!(lockout.admits(guesser, at(100)), Err(Problem::TooManyAttempts), "even with a token that is right");
        assert_eq!(lockout.admits(other, at(100)), Ok(()));
        assert_eq!(lockout.admits(guesser, WINDOW), Ok(()));
        assert_eq!(lockout.wrong_token(guesser, WINDOW), Problem::Unauthorized);
        assert_eq!(lockout.admits(guesser, WINDOW), Ok(()), "it is counted anew");
    }
}
