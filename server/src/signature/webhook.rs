//! Webhook signatures, V1 and V2 (docs/ur-facts.md, Authentication and "Webhook signature V2").

use super::address::Address;
use super::personal::recover;
use super::{REQUEST_ID_HEADER, SIGNATURE_V2_HEADER, SignatureError, TIMESTAMP_HEADER};

/// Digits of a timestamp or deadline: enough until the year 33658, and far from overflow.
pub const TIMESTAMP_DIGITS_MAX: usize = 12;

/// As for every other id on this interface (docs/interface.md).
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// The operator's requirements for a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookPolicy {
    /// The accepted signers: several, so that UR can rotate its key. With an empty list no webhook is accepted.
    pub signers: Vec<Address>,
    pub require_v2: bool,
    /// The greatest difference of a V2 timestamp from our clock, in either direction.
    pub timestamp_window_seconds: u64,
}

/// The signature headers of a request as received. The caller must refuse a repeated header before, because it is
/// ambiguous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookHeaders<'a> {
    /// `X-Api-Signature`, V1.
    pub signature: Option<&'a [u8]>,
    /// `X-Api-Signature-V2`.
    pub signature_v2: Option<&'a [u8]>,
    /// `X-Webhook-Timestamp`, V2.
    pub timestamp: Option<&'a [u8]>,
    /// `X-Webhook-Request-Id`, V2.
    pub request_id: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookVersion {
    /// Signs the raw body. It has no time, so the body must prevent replays.
    V1,
    /// Signs `{timestamp}.{request id}.{raw body}`.
    V2,
}

/// An authentic request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// One of the policy's signers.
    pub signer: Address,
    pub version: WebhookVersion,
    /// Identifies the delivery across its attempts; V2 only.
    pub request_id: Option<&'a str>,
}

/// Checks that one of the policy's signers signed the request.
///
/// Any V2 header makes the request V2: V2 must then be complete and pass, and a V1 signature beside it is ignored.
/// Without V2 headers, the V1 signature of the raw body decides, unless the policy requires V2. A V1 signature covers
/// no timestamp of its own; for `card_authorization` the caller passes the envelope's timestamp to [`check_freshness`].
///
/// # Errors
/// The first broken rule. Only an authentic message can be [`SignatureError::StaleTimestamp`], so an alert on it means
/// a slow clock or network, and no stranger can trigger it.
pub fn verify_webhook<'a>(
    policy: &WebhookPolicy,
    headers: &WebhookHeaders<'a>,
    body: &[u8],
    now_unix_seconds: u64,
) -> Result<Verified<'a>, SignatureError> {
    if headers.signature_v2.is_some() || headers.timestamp.is_some() || headers.request_id.is_some() {
        return verify_v2(policy, headers, body, now_unix_seconds);
    }
    let signature = headers.signature.ok_or(SignatureError::Missing)?;
    if policy.require_v2 {
        return Err(SignatureError::V2Required);
    }
    let signer = accepted_signer(&policy.signers, signature, &[body])?;
    Ok(Verified { signer, version: WebhookVersion::V1, request_id: None })
}

fn verify_v2<'a>(
    policy: &WebhookPolicy,
    headers: &WebhookHeaders<'a>,
    body: &[u8],
    now_unix_seconds: u64,
) -> Result<Verified<'a>, SignatureError> {
    let signature = headers.signature_v2.ok_or(SignatureError::V2Incomplete(SIGNATURE_V2_HEADER))?;
    let timestamp_digits = headers.timestamp.ok_or(SignatureError::V2Incomplete(TIMESTAMP_HEADER))?;
    let request_id = headers.request_id.ok_or(SignatureError::V2Incomplete(REQUEST_ID_HEADER))?;

    let timestamp = parse_unix_seconds(timestamp_digits).ok_or(SignatureError::V2TimestampForm)?;
    let request_id_text = parse_request_id(request_id).ok_or(SignatureError::V2RequestIdForm)?;
    // A request id may contain '.', so a signed message can be split elsewhere: the id extended by the body's beginning
    // up to some '.'. That is harmless because the rest is never a JSON object, as every event is: a '.' in a number
    // leaves a text that begins with a digit, and a '.' in a string leaves a text with unpaired quotes.
    let signer = accepted_signer(&policy.signers, signature, &[timestamp_digits, b".", request_id, b".", body])?;
    check_freshness(timestamp, now_unix_seconds, policy.timestamp_window_seconds)?;
    Ok(Verified { signer, version: WebhookVersion::V2, request_id: Some(request_id_text) })
}

/// Whether a signed time lies within the window around our clock, its ends included; all in (unix) seconds.
///
/// # Errors
/// [`SignatureError::StaleTimestamp`] outside the window, in either direction.
pub fn check_freshness(timestamp: u64, now_unix_seconds: u64, window_seconds: u64) -> Result<(), SignatureError> {
    if timestamp.abs_diff(now_unix_seconds) <= window_seconds {
        Ok(())
    } else {
        Err(SignatureError::StaleTimestamp { timestamp, now_unix_seconds, window_seconds })
    }
}

/// The message's signer, if accepted.
///
/// Verification with the last signer's key instead of recovery would save little, and would accept a signature with a
/// wrong v.
pub(super) fn accepted_signer(
    signers: &[Address],
    signature: &[u8],
    message: &[&[u8]],
) -> Result<Address, SignatureError> {
    let signer = recover(signature, message)?;
    if signers.contains(&signer) { Ok(signer) } else { Err(SignatureError::UnknownSigner(signer)) }
}

/// Unix seconds in the only form with one spelling: decimal digits without sign or leading zeros.
pub(super) fn parse_unix_seconds(digits: &[u8]) -> Option<u64> {
    let is_canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    if !is_canonical || digits.len() > TIMESTAMP_DIGITS_MAX {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_request_id(bytes: &[u8]) -> Option<&str> {
    let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len());
    if fits && bytes.iter().all(|byte| (0x21..=0x7E).contains(byte)) { str::from_utf8(bytes).ok() } else { None }
}
