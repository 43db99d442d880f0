//! Authentication of the second provider by a secret that both sides hold. The provider's documentation is not public, so
//! the scheme and its headers are settings.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::webhook::{TIMESTAMP_DIGITS_MAX, parse_unix_seconds};

/// The shortest secret, in bytes: half of SHA-256's output. A shorter one can be guessed offline from one request.
pub const SECRET_BYTES_MIN: usize = 16;

/// A secret shared with the provider. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Vec<u8>);

impl SharedSecret {
    /// # Errors
    /// It is too short, or no header could carry it. No message repeats it.
    pub fn new(text: &str) -> Result<SharedSecret, String> {
        if text.len() < SECRET_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("must be {SECRET_BYTES_MIN} or more printable ASCII characters without spaces"));
        }
        Ok(SharedSecret(text.as_bytes().to_vec()))
    }

    /// HMAC-SHA256 of these parts.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        // Cannot fail: an HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// How a request shows that its sender holds the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedScheme {
    /// HMAC-SHA256 of `{timestamp}.{raw body}`, or of the raw body alone.
    Hmac {
        signature_header: String,
        /// Unix seconds; `None`: the provider sends none, and a captured request can be replayed at any time.
        timestamp_header: Option<String>,
        /// The most that the timestamp may differ from our clock.
        window_seconds: u64,
    },
    /// `Authorization: Bearer {secret}`.
    Bearer,
}

impl SharedScheme {
    /// Whether what is authentic cannot be a replay of any age: who repeats a bearer's request has the secret.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        match self {
            SharedScheme::Hmac { timestamp_header, .. } => timestamp_header.is_some(),
            SharedScheme::Bearer => true,
        }
    }
}

/// The accepted secrets, the current one and during a rotation the previous one, and their use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPolicy {
    pub scheme: SharedScheme,
    /// Never empty.
    pub secrets: Vec<SharedSecret>,
}

/// The values of the scheme's headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedHeaders<'a> {
    /// The signature, or `Authorization`.
    pub proof: Option<&'a [u8]>,
    pub timestamp: Option<&'a [u8]>,
}

/// Why a request is not the provider's. No message helps to forge one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedSecretError {
    #[error("the header {0} is missing")]
    Missing(String),
    /// Two readers could take different values.
    #[error("an authentication header is given more than once")]
    Repeated,
    #[error("the signature must be HMAC-SHA256 in 64 hexadecimal digits, perhaps after sha256=, or in base64")]
    Form,
    #[error("{0} must be unix seconds: 1 to {TIMESTAMP_DIGITS_MAX} digits, no sign, no leading zero")]
    TimestampForm(String),
    #[error(
        "the timestamp {timestamp} is {} s from this clock's {now_unix_seconds}; at most {window_seconds} s is allowed",
        timestamp.abs_diff(*now_unix_seconds)
    )]
    Stale { timestamp: u64, now_unix_seconds: u64, window_seconds: u64 },
    #[error("the secret is another one, or the bytes were changed on their way")]
    Wrong,
}

impl SharedSecretError {
    /// The error code on the wire; all of them answer 401.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SharedSecretError::Stale { .. } => "stale_timestamp",
            SharedSecretError::Missing(_)
            | SharedSecretError::Repeated
            | SharedSecretError::Form
            | SharedSecretError::TimestampForm(_)
            | SharedSecretError::Wrong => "unauthorized",
        }
    }
}

/// Checks that the sender holds one of the secrets. Every secret is compared, each in constant time.
///
/// # Errors
/// It is not proven.
pub fn verify_shared(
    policy: &SharedPolicy,
    headers: SharedHeaders<'_>,
    body: &[u8],
    now_unix_seconds: u64,
) -> Result<(), SharedSecretError> {
    match &policy.scheme {
        SharedScheme::Bearer => {
            let proof = headers.proof.ok_or_else(|| SharedSecretError::Missing("Authorization".to_owned()))?;
            let token = std::str::from_utf8(proof).ok().and_then(|value| value.split_once(' '));
            let token =
                token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
            // Digests are of one length, so that the comparison shows nothing about the secret's.
            let given = Sha256::digest(token.ok_or(SharedSecretError::Wrong)?.as_bytes());
            admit(policy, |secret| bool::from(Sha256::digest(&secret.0).ct_eq(&given)))
        }
        SharedScheme::Hmac { signature_header, timestamp_header, window_seconds } => {
            let proof = headers.proof.ok_or_else(|| SharedSecretError::Missing(signature_header.clone()))?;
            let given = signature(proof).ok_or(SharedSecretError::Form)?;
            let Some(name) = timestamp_header else {
                return admit(policy, |secret| bool::from(secret.sign(&[body]).ct_eq(&given)));
            };
            let raw = headers.timestamp.ok_or_else(|| SharedSecretError::Missing(name.clone()))?;
            let timestamp = parse_unix_seconds(raw).ok_or_else(|| SharedSecretError::TimestampForm(name.clone()))?;
            admit(policy, |secret| bool::from(secret.sign(&[raw, b".", body]).ct_eq(&given)))?;
            // Only an authentic timestamp says anything.
            if timestamp.abs_diff(now_unix_seconds) > *window_seconds {
                let window_seconds = *window_seconds;
                return Err(SharedSecretError::Stale { timestamp, now_unix_seconds, window_seconds });
            }
            Ok(())
        }
    }
}

fn admit(policy: &SharedPolicy, holds: impl Fn(&SharedSecret) -> bool) -> Result<(), SharedSecretError> {
    let admitted = policy.secrets.iter().fold(false, |admitted, secret| holds(secret) | admitted);
    if admitted { Ok(()) } else { Err(SharedSecretError::Wrong) }
}

/// 32 bytes in hexadecimal digits or base64.
fn signature(text: &[u8]) -> Option<[u8; 32]> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"sha256=").unwrap_or(text);
    let mut bytes = [0; 32];
    if text.len() == 64 {
        hex::decode_to_slice(text, &mut bytes).ok()?;
        return Some(bytes);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_768_659_501;
    const BODY: &[u8] = br#"{"type":"user.created"}"#;

    fn secret(text: &str) -> SharedSecret {
        SharedSecret::new(text).unwrap()
    }

    fn hmac(timestamp_header: Option<&str>) -> SharedPolicy {
        let scheme = SharedScheme::Hmac {
            signature_header: "X-Signature".to_owned(),
            timestamp_header: timestamp_header.map(str::to_owned),
            window_seconds: 300,
        };
        SharedPolicy { scheme, secrets: vec![secret("the-current-secret"), secret("the-previous-secret")] }
    }

    fn check(policy: &SharedPolicy, proof: &str, timestamp: &str, expected: &Result<(), SharedSecretError>) {
        let headers = SharedHeaders {
            proof: Some(proof.as_bytes()).filter(|proof| !proof.is_empty()),
            timestamp: Some(timestamp.as_bytes()).filter(|timestamp| !timestamp.is_empty()),
        };
        assert_eq!(&verify_shared(policy, headers, BODY, NOW), expected, "{proof:?} {timestamp:?}");
    }

    /// Made by Python's `hmac`.
    #[test]
    fn a_signature_is_that_of_any_other_implementation() {
        let signed = secret("the-current-secret").sign(&[b"1768659501", b".", BODY]);
        assert_eq!(hex::encode(signed), SIGNED);
    }

    const SIGNED: &str = "776db762b3e3cdfe0f73b4ae13ab0f488571468287bc8ab4937cc539a87d5557";

    #[test]
    fn a_signature_covers_time_and_body_and_may_be_of_either_secret() {
        let policy = hmac(Some("X-Timestamp"));
        let sign = |name: &str, parts: &[&[u8]]| hex::encode(secret(name).sign(parts));
        let signed = |name: &str, timestamp: &str| sign(name, &[timestamp.as_bytes(), b".", BODY]);
        let now = NOW.to_string();
        check(&policy, SIGNED, &now, &Ok(()));
        check(&policy, &format!("sha256={}", SIGNED.to_uppercase()), &now, &Ok(()));
        check(&policy, &STANDARD.encode(hex::decode(SIGNED).unwrap()), &now, &Ok(()));
        check(&policy, &signed("the-previous-secret", &now), &now, &Ok(()));
        check(&policy, &signed("the-strangers-secret", &now), &now, &Err(SharedSecretError::Wrong));
        check(&policy, &sign("the-current-secret", &[BODY]), &now, &Err(SharedSecretError::Wrong));
        check(
            &policy,
            &sign("the-current-secret", &[now.as_bytes(), b".", b"{}"]),
            &now,
            &Err(SharedSecretError::Wrong),
        );
        check(&policy, SIGNED, &(NOW + 1).to_string(), &Err(SharedSecretError::Wrong));
        check(&policy, "", &now, &Err(SharedSecretError::Missing("X-Signature".to_owned())));
        check(&policy, SIGNED, "", &Err(SharedSecretError::Missing("X-Timestamp".to_owned())));
        check(&policy, "00", &now, &Err(SharedSecretError::Form));
        check(&policy, SIGNED, "+1768659501", &Err(SharedSecretError::TimestampForm("X-Timestamp".to_owned())));
        for timestamp in [NOW - 301, NOW + 301] {
            let stale = SharedSecretError::Stale { timestamp, now_unix_seconds: NOW, window_seconds: 300 };
            check(&policy, &signed("the-current-secret", &timestamp.to_string()), &timestamp.to_string(), &Err(stale));
        }
        for timestamp in [NOW - 300, NOW + 300] {
            check(&policy, &signed("the-current-secret", &timestamp.to_string()), &timestamp.to_string(), &Ok(()));
        }
        check(&hmac(None), &sign("the-current-secret", &[BODY]), "", &Ok(()));
        check(&hmac(None), SIGNED, &now, &Err(SharedSecretError::Wrong));
    }

    #[test]
    fn a_bearer_is_compared_whole() {
        let policy = SharedPolicy { scheme: SharedScheme::Bearer, ..hmac(None) };
        check(&policy, "Bearer the-current-secret", "", &Ok(()));
        check(&policy, "bearer the-previous-secret", "", &Ok(()));
        for proof in
            ["Bearer the-current-secre", "Bearer the-current-secret-", "Basic the-current-secret", "Bearer", "Bearer "]
        {
            check(&policy, proof, "", &Err(SharedSecretError::Wrong));
        }
        check(&policy, "", "", &Err(SharedSecretError::Missing("Authorization".to_owned())));
    }

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        assert!(SharedSecret::new("fifteen-bytes-!").is_err());
        assert!(SharedSecret::new("with a space in it").is_err());
        assert_eq!(format!("{:?}", secret("sixteen-bytes-!!")), "SharedSecret(…)");
    }
}
