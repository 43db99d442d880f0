//! Who sent a request: EIP-191 signatures of UR's webhooks and of the partner's requests (ur-facts.md, Authentication).
//!
//! Everything here is pure: no I/O, no clock; `now` is an argument. What is trusted is only the address *recovered*
//! from a signature, and only if the configuration names it. `X-Api-PublicKey` is a hint of the sender's and therefore
//! not even an input.
//!
//! libsecp256k1's precomputed context is built once per thread by the `secp256k1` crate, never per request.

mod address;
mod key;
mod partner;
mod personal;
mod webhook;

pub use address::{Address, AddressError};
pub use key::{SigningKey, SigningKeyError};
pub use partner::{
    PARTNER_DEADLINE_AHEAD_SECONDS_MAX, PartnerRequest, PartnerScope, partner_fma_message, partner_message,
    verify_partner,
};
pub use personal::{MalformedSignature, SIGNATURE_BYTES, SIGNATURE_TEXT_BYTES, personal_message_hash};
pub use webhook::{
    REQUEST_ID_BYTES_MAX, TIMESTAMP_DIGITS_MAX, Verified, WebhookHeaders, WebhookPolicy, WebhookVersion,
    check_freshness, verify_webhook,
};

/// The header that carries a V1 webhook signature and the partner's signature.
pub const SIGNATURE_HEADER: &str = "X-Api-Signature";
/// The header that carries a V2 webhook signature.
pub const SIGNATURE_V2_HEADER: &str = "X-Api-Signature-V2";
/// The header with the V2 timestamp, unix seconds.
pub const TIMESTAMP_HEADER: &str = "X-Webhook-Timestamp";
/// The header with the V2 request id, the delivery's dedupe key.
pub const REQUEST_ID_HEADER: &str = "X-Webhook-Request-Id";
/// The header with the partner's deadline, unix seconds.
pub const DEADLINE_HEADER: &str = "X-Api-Deadline";

/// The header with the signer's address: a hint of the sender's, never believed.
pub const PUBLIC_KEY_HEADER: &str = "X-Api-PublicKey";

/// Why a request is not accepted as its sender's. The messages are for the operator of an integration; none of them
/// helps to forge a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request carries no signature at all.
    #[error("no {SIGNATURE_HEADER} header: the request is not signed")]
    Missing,
    /// The signature's text or numbers are not of the one accepted form.
    #[error("the signature is malformed: {0}")]
    Malformed(#[from] MalformedSignature),
    /// `s` lies in the upper half of the curve's order: a valid signature rewritten by somebody without the key.
    #[error("the signature's s is in the upper half of the curve order (malleable); only low s is accepted")]
    HighS,
    /// The signature belongs to another key, or to another message: the two cannot be told apart.
    #[error(
        "the signature recovers to {0}, which is not an accepted signer: \
         signed with another key, or the bytes were changed on their way"
    )]
    UnknownSigner(Address),
    /// An authentic message is too old, or from the future.
    #[error(
        "the signed timestamp {timestamp} is {} s from this clock's {now_unix_seconds}; at most {window_seconds} s is allowed",
        timestamp.abs_diff(*now_unix_seconds)
    )]
    StaleTimestamp {
        /// What the message says, unix seconds.
        timestamp: u64,
        /// What our clock says, unix seconds.
        now_unix_seconds: u64,
        /// The most they may differ, seconds.
        window_seconds: u64,
    },
    /// A header comes twice: one reader could take the first and another the last.
    #[error("a signature header is given more than once")]
    Repeated,
    /// The policy demands V2 and no V2 header is there.
    #[error("only a V1 signature is given, and the configuration requires V2 (ur.require_v2)")]
    V2Required,
    /// Some V2 headers are there and this one is not; falling back to V1 would let a stripped header weaken the check.
    #[error("a V2 header is present, but {0} is missing")]
    V2Incomplete(&'static str),
    /// The V2 timestamp is not 1 to 12 decimal digits without sign and leading zeros.
    #[error("{TIMESTAMP_HEADER} must be unix seconds: 1 to {TIMESTAMP_DIGITS_MAX} digits, no sign, no leading zero")]
    V2TimestampForm,
    /// The V2 request id is empty, too long, or holds a byte outside 0x21–0x7E.
    #[error("{REQUEST_ID_HEADER} must be 1 to {REQUEST_ID_BYTES_MAX} printable ASCII characters without spaces")]
    V2RequestIdForm,
    /// The partner's deadline is absent or not strict decimal digits.
    #[error("{DEADLINE_HEADER} must be unix seconds: 1 to {TIMESTAMP_DIGITS_MAX} digits, no sign, no leading zero")]
    DeadlineForm,
    /// The partner's deadline is over.
    #[error("{DEADLINE_HEADER} {deadline} has passed; this clock says {now_unix_seconds}")]
    DeadlinePassed {
        /// The signed deadline, unix seconds.
        deadline: u64,
        /// What our clock says, unix seconds.
        now_unix_seconds: u64,
    },
    /// The partner's deadline lies further ahead than UR permits.
    #[error(
        "{DEADLINE_HEADER} {deadline} is more than {PARTNER_DEADLINE_AHEAD_SECONDS_MAX} s ahead of this clock's {now_unix_seconds}"
    )]
    DeadlineTooFar {
        /// The signed deadline, unix seconds.
        deadline: u64,
        /// What our clock says, unix seconds.
        now_unix_seconds: u64,
    },
}

impl SignatureError {
    /// The error code on the wire (interface.md, order of checks); all of them answer 401.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SignatureError::StaleTimestamp { .. } => "stale_timestamp",
            SignatureError::Missing
            | SignatureError::Malformed(_)
            | SignatureError::HighS
            | SignatureError::UnknownSigner(_)
            | SignatureError::Repeated
            | SignatureError::V2Required
            | SignatureError::V2Incomplete(_)
            | SignatureError::V2TimestampForm
            | SignatureError::V2RequestIdForm
            | SignatureError::DeadlineForm
            | SignatureError::DeadlinePassed { .. }
            | SignatureError::DeadlineTooFar { .. } => "unauthorized",
        }
    }
}

#[cfg(test)]
mod tests;
