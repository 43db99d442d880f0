//! The partner's requests to UR: the signed message, and its check by the receiver (docs/ur-facts.md, Authentication).

use super::SignatureError;
use super::address::Address;
use super::webhook::{accepted_signer, parse_unix_seconds};

/// In seconds (docs/ur-facts.md: `X-Api-Deadline` ≤ 300 s ahead).
pub const PARTNER_DEADLINE_AHEAD_SECONDS_MAX: u64 = 300;

/// A partner's request as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartnerRequest<'a> {
    /// `X-Api-Signature`; `None` where absent.
    pub signature: Option<&'a [u8]>,
    /// `X-Api-Deadline`; `None` where absent.
    pub deadline: Option<&'a [u8]>,
    pub scope: PartnerScope<'a>,
    pub body: &'a [u8],
}

/// The part of the signed message that depends on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartnerScope<'a> {
    /// Ordinary paths add nothing.
    Open,
    /// The managed-custody paths `/api/fma/v1/*` add the user, from two headers. An absent header counts as the empty
    /// string.
    ManagedCustody {
        /// `X-Ur-Id`.
        ur_id: &'a str,
        /// `X-External-User-Id`.
        external_user_id: &'a str,
    },
}

/// The message that an ordinary request signs: `{body} {deadline}`. Sign the exact bytes that are sent.
#[must_use]
pub fn partner_message(body: &[u8], deadline: u64) -> Vec<u8> {
    [body, b" ", deadline.to_string().as_bytes()].concat()
}

/// The message that a managed-custody request signs: `{body}urId:{ur_id}externalUserId:{external_user_id} {deadline}`.
#[must_use]
pub fn partner_fma_message(body: &[u8], ur_id: &str, external_user_id: &str, deadline: u64) -> Vec<u8> {
    let user = [b"urId:".as_slice(), ur_id.as_bytes(), b"externalUserId:", external_user_id.as_bytes()].concat();
    [body, &user, b" ", deadline.to_string().as_bytes()].concat()
}

/// Checks signature and deadline as UR does; used by the simulated UR and by `tapgate verify`.
///
/// # Errors
/// The first broken rule. The deadline is checked only after the signature is authentic; it is valid through its last
/// second and may be at most [`PARTNER_DEADLINE_AHEAD_SECONDS_MAX`] ahead.
pub fn verify_partner(
    partner: Address,
    request: &PartnerRequest<'_>,
    now_unix_seconds: u64,
) -> Result<(), SignatureError> {
    let signature = request.signature.ok_or(SignatureError::Missing)?;
    let deadline = request.deadline.and_then(parse_unix_seconds).ok_or(SignatureError::DeadlineForm)?;
    let message = match request.scope {
        PartnerScope::Open => partner_message(request.body, deadline),
        PartnerScope::ManagedCustody { ur_id, external_user_id } => {
            partner_fma_message(request.body, ur_id, external_user_id, deadline)
        }
    };
    accepted_signer(&[partner], signature, &[&message])?;
    if deadline < now_unix_seconds {
        return Err(SignatureError::DeadlinePassed { deadline, now_unix_seconds });
    }
    if deadline - now_unix_seconds > PARTNER_DEADLINE_AHEAD_SECONDS_MAX {
        return Err(SignatureError::DeadlineTooFar { deadline, now_unix_seconds });
    }
    Ok(())
}
