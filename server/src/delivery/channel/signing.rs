//! Signatures of the Standard Webhooks specification (standardwebhooks.com, version 1, symmetric).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tapgate_engine::time::UnixSeconds;

/// Prefix of every secret.
const PREFIX: &str = "whsec_";
/// Length of a secret's key in bytes, per the specification.
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 64;

/// The key shared with a receiver. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Reasons to reject a secret. No message repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    /// Not `whsec_` and base64.
    #[error("a webhook secret is whsec_ and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes in base64")]
    Form,
    /// Too short to be safe, or too long to be one.
    #[error("a webhook secret holds {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, and this one holds {0}")]
    Length(usize),
}

impl WebhookSecret {
    /// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
    fn sign(&self, id: &str, at: UnixSeconds, body: &[u8]) -> String {
        // Cannot fail: an HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{}.", at.0).as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The value of `webhook-signature`: one signature per secret, so that a receiver may hold either secret during a
/// rotation.
#[must_use]
pub fn signatures(secrets: &[WebhookSecret], id: &str, at: UnixSeconds, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, at, body)).collect::<Vec<_>>().join(" ")
}

impl FromStr for WebhookSecret {
    type Err = WebhookSecretError;

    fn from_str(text: &str) -> Result<WebhookSecret, WebhookSecretError> {
        let key =
            text.strip_prefix(PREFIX).and_then(|key| STANDARD.decode(key).ok()).ok_or(WebhookSecretError::Form)?;
        match key.len() {
            KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(WebhookSecret(key)),
            length => Err(WebhookSecretError::Length(length)),
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Made by the specification's reference library for Python.
    const VECTORS: &str = include_str!("../../../tests/vectors/standard-webhooks.json");

    #[derive(Deserialize)]
    struct Vectors {
        secrets: Vec<String>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        id: String,
        timestamp: i64,
        body: String,
        signatures: Vec<String>,
    }

    #[test]
    fn signatures_are_those_of_the_reference_library() {
        let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        let secrets: Vec<WebhookSecret> = vectors.secrets.iter().map(|secret| secret.parse().unwrap()).collect();
        for Case { id, timestamp, body, signatures: expected } in vectors.cases {
            assert_eq!(signatures(&secrets, &id, UnixSeconds(timestamp), body.as_bytes()), expected.join(" "), "{id}");
        }
    }

    #[test]
    fn a_secret_has_one_form_and_never_shows_itself() {
        let bad = |text: &str| text.parse::<WebhookSecret>().unwrap_err().to_string();
        let form = "a webhook secret is whsec_ and 24 to 64 bytes in base64";
        for text in ["", "whsec_", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o"] {
            let said = bad(text);
            assert!(said == form || said.ends_with("this one holds 0"), "{text}: {said}");
        }
        let of_length = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        assert_eq!(bad(&of_length(23)), "a webhook secret holds 24 to 64 bytes, and this one holds 23");
        assert_eq!(bad(&of_length(65)), "a webhook secret holds 24 to 64 bytes, and this one holds 65");
        assert!(of_length(24).parse::<WebhookSecret>().is_ok() && of_length(64).parse::<WebhookSecret>().is_ok());
        let secret: WebhookSecret = of_length(24).parse().unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
    }
}
