//! Signatures of strangers: no input forges a request of UR's, and none panics.

use tapgate::signature::{
    Address, REQUEST_ID_HEADER, SIGNATURE_HEADER, SIGNATURE_V2_HEADER, SignatureError, TIMESTAMP_HEADER,
    WebhookHeaders, WebhookPolicy, verify_webhook,
};

/// An address without a known key: a signature that recovers to it would be a forgery.
const SIGNER: &str = "0x000000000000000000000000000000000000dEaD";
const NOW_UNIX_SECONDS: u64 = 1_768_659_501;
const WINDOW_SECONDS: u64 = 300;

/// Reads the bytes as `Header: value` lines, an empty line and a body, and verifies them for a fixed signer. A
/// signature that is well made but another's must be accepted exactly for that other address.
pub fn check(data: &[u8]) {
    let (headers, body) = split(data);
    for require_v2 in [false, true] {
        let verdict = verify(&headers, body, SIGNER.parse().ok(), require_v2);
        assert!(verdict.is_err(), "forged: {verdict:?}");
        let Err(SignatureError::UnknownSigner(other)) = verdict else { continue };
        match verify(&headers, body, Some(other), require_v2) {
            Ok(signer) => assert_eq!(signer, other, "the signer is the address recovered"),
            // Freshness is checked only after the signature is authentic.
            Err(error) => assert!(matches!(error, SignatureError::StaleTimestamp { .. }), "{error}"),
        }
    }
}

fn verify(
    headers: &WebhookHeaders<'_>,
    body: &[u8],
    signer: Option<Address>,
    require_v2: bool,
) -> Result<Address, SignatureError> {
    let signers: Vec<Address> = signer.into_iter().collect();
    assert!(!signers.is_empty(), "the fixed signer is an address");
    let policy = WebhookPolicy { signers, require_v2, timestamp_window_seconds: WINDOW_SECONDS };
    verify_webhook(&policy, headers, body, NOW_UNIX_SECONDS).map(|verified| verified.signer)
}

fn split(data: &[u8]) -> (WebhookHeaders<'_>, &[u8]) {
    let mut headers = WebhookHeaders::default();
    let mut rest = data;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        for (name, slot) in [
            (SIGNATURE_HEADER, &mut headers.signature),
            (SIGNATURE_V2_HEADER, &mut headers.signature_v2),
            (TIMESTAMP_HEADER, &mut headers.timestamp),
            (REQUEST_ID_HEADER, &mut headers.request_id),
        ] {
            if let Some(value) = line.strip_prefix(name.as_bytes()).and_then(|line| line.strip_prefix(b": ")) {
                *slot = Some(value);
            }
        }
    }
    (headers, rest)
}
