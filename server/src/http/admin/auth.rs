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

/// Different wrong tokens from one address within the window before its lockout.
const WRONG_TOKENS_MAX: usize = 20;
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
    /// Pools, rates, credits and their calendar, alerts and prefunds: operator and treasurer.
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

/// Whose token came with a request.
pub(super) enum Found {
    Known(Caller),
    /// A token that is nobody's.
    Wrong(TokenHash),
    /// No token, or more than one: nothing was guessed.
    Nothing,
}

/// The owner of the token that came. Compares every configured token, each in constant time.
pub(super) fn caller(headers: &HeaderMap, tokens: &[Token]) -> Found {
    let Some(token) = bearer(headers) else { return Found::Nothing };
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let mut found = Found::Wrong(TokenHash(hash));
    for known in tokens {
        if bool::from(known.sha256.0.ct_eq(&hash)) {
            found = Found::Known(Caller { name: known.name.clone(), role: known.role });
        }
    }
    found
}

/// The one bearer token that came.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = single(headers, AUTHORIZATION.as_str()).ok()??.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Counts different wrong tokens by address; refuses an address that sent too many, whatever it sends next. One that sends
/// a replaced token again and again does not guess, and several clients may come from one address.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    guesses: Mutex<HashMap<IpAddr, Guesses>>,
}

/// Wrong tokens of one address.
#[derive(Debug)]
struct Guesses {
    since: Duration,
    /// Different, at most [`WRONG_TOKENS_MAX`].
    tokens: Vec<TokenHash>,
}

impl Guesses {
    /// Until the window ends.
    fn left(&self, now: Duration) -> Duration {
        WINDOW.saturating_sub(now.saturating_sub(self.since))
    }

    fn is_over(&self, now: Duration) -> bool {
        self.left(now).is_zero()
    }
}

impl Lockout {
    fn guesses(&self) -> MutexGuard<'_, HashMap<IpAddr, Guesses>> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses an address that is locked out before its token is compared, so that guessing on cannot succeed. `now`: the
    /// time since the process started, which never goes back.
    ///
    /// # Errors
    /// The address is locked out.
    pub(super) fn admits(&self, from: IpAddr, now: Duration) -> Result<(), Problem> {
        let all = self.guesses();
        let Some(guesses) = all.get(&from).filter(|guesses| guesses.tokens.len() >= WRONG_TOKENS_MAX) else {
            return Ok(());
        };
        match guesses.left(now) {
            Duration::ZERO => Ok(()),
            left => Err(Problem::TooManyAttempts { seconds: left.as_secs() + 1 }),
        }
    }

    /// Counts a wrong token. A log line tells of the first and of the last before a lockout.
    pub(super) fn count(&self, from: IpAddr, token: TokenHash, now: Duration) {
        let mut all = self.guesses();
        if all.len() >= ADDRESSES_MAX {
            all.retain(|_, guesses| !guesses.is_over(now));
        }
        if all.len() >= ADDRESSES_MAX {
            all.clear();
        }
        let guesses = all.entry(from).or_insert(Guesses { since: now, tokens: Vec::new() });
        if guesses.is_over(now) {
            *guesses = Guesses { since: now, tokens: Vec::new() };
        }
        if guesses.tokens.contains(&token) {
            return;
        }
        guesses.tokens.push(token);
        match guesses.tokens.len() {
            1 => tracing::warn!(%from, "a request with a wrong admin token was refused"),
            WRONG_TOKENS_MAX => {
                let seconds = guesses.left(now).as_secs();
                tracing::warn!(
                    %from, seconds, "the address sent {WRONG_TOKENS_MAX} different wrong admin tokens and is refused"
                );
            }
            _ => {}
        }
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
            assert_eq!(matches!(caller(&headers, &tokens), Found::Known(_)), is_known);
            assert!(!matches!(caller(&headers, &tokens), Found::Wrong(_)));
        }
    }

    fn token(number: usize) -> TokenHash {
        TokenHash(Sha256::digest(number.to_string()).into())
    }

    #[test]
    fn who_guesses_is_locked_out_for_a_minute_and_nobody_else() {
        let lockout = Lockout::default();
        let (guesser, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for number in 0..WRONG_TOKENS_MAX {
            assert_eq!(lockout.admits(guesser, Duration::ZERO), Ok(()));
            lockout.count(guesser, token(number), Duration::ZERO);
        }
        let admitted = |from, millis| lockout.admits(from, Duration::from_millis(millis));
        assert_eq!(
            admitted(guesser, 0),
            Err(Problem::TooManyAttempts { seconds: 61 }),
            "even with a token that is right"
        );
        assert_eq!(admitted(guesser, 59_001), Err(Problem::TooManyAttempts { seconds: 1 }));
        assert_eq!(admitted(other, 0), Ok(()));
        assert_eq!(admitted(guesser, 60_000), Ok(()));
        lockout.count(guesser, token(0), WINDOW);
        assert_eq!(admitted(guesser, 60_000), Ok(()), "it is counted anew");
    }

    #[test]
    fn one_wrong_token_again_and_again_is_no_guessing() {
        let (lockout, from) = (Lockout::default(), IpAddr::from([127, 0, 0, 1]));
        for attempt in 0..10 * WRONG_TOKENS_MAX {
            lockout.count(from, token(attempt % (WRONG_TOKENS_MAX - 1)), Duration::ZERO);
        }
        assert_eq!(lockout.admits(from, Duration::ZERO), Ok(()));
        lockout.count(from, token(WRONG_TOKENS_MAX), Duration::ZERO);
        assert!(lockout.admits(from, Duration::ZERO).is_err());
    }
}
