//! Authenticates senders: EIP-191 signatures of UR's webhooks and of the partner's requests (docs/ur-facts.md,
//! Authentication).
//!
//! Everything here is pure: no I/O, no clock; `now` is an argument. tapgate trusts only the address *recovered* from a
//! signature, and only if the configuration lists it. `X-Api-PublicKey` is the sender's own claim, and therefore not
//! even an input.
//!
//! The `secp256k1` crate builds libsecp256k1's precomputed context once per thread, never per request.

mod address;
mod consent;
mod key;
mod partner;
mod personal;
mod shared;
mod webhook;

pub use address::{Address, AddressError};
pub use consent::{consent_message, verify_consent};
pub use key::{SigningKey, SigningKeyError};
pub use partner::{
    PARTNER_DEADLINE_AHEAD_SECONDS_MAX, PartnerRequest, PartnerScope, partner_fma_message, partner_message,
    verify_partner,
};
pub use personal::{MalformedSignature, SIGNATURE_BYTES, SIGNATURE_TEXT_BYTES, personal_message_hash, signer_of};
pub use shared::{
    SECRET_BYTES_MIN, SharedHeaders, SharedPolicy, SharedScheme, SharedSecret, SharedSecretError, verify_shared,
};
pub use webhook::{
    REQUEST_ID_BYTES_MAX, TIMESTAMP_DIGITS_MAX, Verified, WebhookHeaders, WebhookPolicy, WebhookVersion,
    check_freshness, verify_webhook,
};

/// A V1 webhook signature, or the partner's signature.
pub const SIGNATURE_HEADER: &str = "X-Api-Signature";
/// A V2 webhook signature.
pub const SIGNATURE_V2_HEADER: &str = "X-Api-Signature-V2";
/// The V2 timestamp, unix seconds.
pub const TIMESTAMP_HEADER: &str = "X-Webhook-Timestamp";
/// The V2 request id, which identifies a delivery across its attempts.
pub const REQUEST_ID_HEADER: &str = "X-Webhook-Request-Id";
/// The partner's deadline, unix seconds.
pub const DEADLINE_HEADER: &str = "X-Api-Deadline";

/// The account that a Managed Custody request is about, which its signature covers.
pub const UR_ID_HEADER: &str = "X-Ur-Id";
/// The partner's own id of that account, likewise.
pub const EXTERNAL_USER_ID_HEADER: &str = "X-External-User-Id";

/// The signer's address as the sender claims it; never trusted.
pub const PUBLIC_KEY_HEADER: &str = "X-Api-PublicKey";

/// Why a request is not authentic. The messages are for the operator of an integration; none of them helps to forge a
/// signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request carries no signature at all.
    #[error("no {SIGNATURE_HEADER} header: the request is not signed")]
    Missing,
    /// The signature does not have the one accepted form.
    #[error("the signature is malformed: {0}")]
    Malformed(#[from] MalformedSignature),
    /// `s` lies in the upper half of the curve's order: without the key, anyone can rewrite a valid signature to this
    /// form.
    #[error("the signature's s is in the upper half of the curve order (malleable); only low s is accepted")]
    HighS,
    /// The signature belongs to another key, or to another message: the two are indistinguishable.
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
    StaleTimestamp { timestamp: u64, now_unix_seconds: u64, window_seconds: u64 },
    /// A header is repeated: two readers could take different values.
    #[error("a signature header is given more than once")]
    Repeated,
    /// The policy requires V2, but the request has no V2 header.
    #[error("only a V1 signature is given, and the configuration requires V2 (ur.require_v2)")]
    V2Required,
    /// Some V2 headers are present, but this one is absent; a fallback to V1 would let an attacker weaken the check by
    /// stripping a header.
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
    #[error("{DEADLINE_HEADER} {deadline} has passed; this clock says {now_unix_seconds}")]
    DeadlinePassed { deadline: u64, now_unix_seconds: u64 },
    /// The partner's deadline lies further ahead than UR permits.
    #[error(
        "{DEADLINE_HEADER} {deadline} is more than {PARTNER_DEADLINE_AHEAD_SECONDS_MAX} s ahead of this clock's {now_unix_seconds}"
    )]
    DeadlineTooFar { deadline: u64, now_unix_seconds: u64 },
}

impl SignatureError {
    /// The error code on the wire (docs/interface.md, order of checks); all of them answer 401.
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
