//! `--ur-error CODE@PATH`: every call of a path is refused with one of UR's codes, while the traffic runs.

use std::fmt;
use std::str::FromStr;

use super::paths;

/// UR's codes (seeds 002 to 004), with their meaning.
const CODES: [(u32, &str); 27] = [
    (4_001, "transaction not found"),
    (10_000, "default error"),
    (10_001, "invalid signature"),
    (10_002, "the request cannot be parsed"),
    (10_003, "the token id does not exist"),
    (10_004, "the token id does not match the address"),
    (10_005, "duplicate mint"),
    (10_006, "the account's status does not allow it"),
    (10_007, "the token is minted already"),
    (10_008, "the account's status is not Tourist"),
    (10_009, "invalid parameter"),
    (10_010, "the captcha failed"),
    (10_016, "too many requests"),
    (10_040, "the quote has expired, try again"),
    (10_041, "no liveness check was found"),
    (10_051, "invalid chain id"),
    (10_052, "no quote is available"),
    (10_053, "no best route"),
    (10_054, "the fee cannot be calculated"),
    (10_999, "the account is blocked"),
    (20_001, "the request is empty or lacks a required field"),
    (20_002, "the request cannot be parsed"),
    (20_003, "invalid parameter"),
    (30_001, "the NFT exists already"),
    (50_001, "the request cannot be read"),
    (50_002, "internal error"),
    (50_003, "the chain or another service failed"),
];

/// One of UR's errors, at one of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provocation {
    pub(in crate::sandbox) code: u32,
    pub(in crate::sandbox) path: &'static str,
}

/// Why a text names no error of UR's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvocationError {
    #[error("must be CODE@PATH, such as 10016@/v1/balance")]
    Form,
    #[error("{0:?} is none of UR's codes: {codes}", codes = Listed(CODES.iter().map(|(code, _)| code)))]
    Code(String),
    #[error("{0:?} is no path that the simulated UR serves: {paths}", paths = Listed(paths()))]
    Path(String),
}

impl FromStr for Provocation {
    type Err = ProvocationError;

    fn from_str(text: &str) -> Result<Self, ProvocationError> {
        let (code, path) = text.split_once('@').ok_or(ProvocationError::Form)?;
        let found = CODES.iter().find(|(known, _)| known.to_string() == code);
        let (code, _) = *found.ok_or_else(|| ProvocationError::Code(code.to_owned()))?;
        let found = paths().find(|known| *known == path);
        Ok(Provocation { code, path: found.ok_or_else(|| ProvocationError::Path(path.to_owned()))? })
    }
}

impl Provocation {
    pub(super) fn message(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self.code).map_or("", |(_, message)| message)
    }
}

/// Words with commas between.
struct Listed<I>(I);

impl<I: Iterator<Item: fmt::Display> + Clone> fmt::Display for Listed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.clone().enumerate() {
            write!(f, "{}{word}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_of_urs_codes_at_one_of_its_paths() {
        let read = |text: &str| text.parse::<Provocation>();
        assert_eq!(read("10016@/v1/balance"), Ok(Provocation { code: 10_016, path: "/v1/balance" }));
        assert_eq!(read("10016"), Err(ProvocationError::Form));
        assert_eq!(read("10017@/v1/balance"), Err(ProvocationError::Code("10017".to_owned())));
        let error = read("10016@/v1/cards").unwrap_err().to_string();
        assert!(error.contains("/v1/balance, /v1/transactions"), "{error}");
    }

    #[test]
    fn every_code_has_a_remedy_of_its_own_or_is_a_wrong_request() {
        use crate::wire::ur::RefusalCode;
        let of = |wanted| CODES.iter().filter(|(code, _)| RefusalCode::of(i64::from(*code)) == wanted).count();
        assert_eq!(of(RefusalCode::Unavailable), 4);
        assert_eq!(of(RefusalCode::Exists), 3);
        assert_eq!(of(RefusalCode::Status), 2);
        let others = [RefusalCode::NotFound, RefusalCode::Signature, RefusalCode::RateLimited, RefusalCode::Blocked];
        assert_eq!(others.map(of), [1; 4]);
    }
}
