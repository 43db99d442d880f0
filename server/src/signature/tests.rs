//! Signatures against the vectors of an independent implementation, and against hostile input.

use proptest::prelude::*;
use serde_json::Value;
use tapgate_engine::testing::cases;

use super::*;

const VECTORS: &str = include_str!("../../tests/vectors/signature-vectors.json");
/// The time of the V2 vectors; the partner vectors' deadline is 300 s later.
const NOW: u64 = 1_768_659_501;

fn key(name: &str) -> SigningKey {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    file["keys"][name]["private_key"].as_str().unwrap().parse().unwrap()
}

fn policy(require_v2: bool) -> WebhookPolicy {
    WebhookPolicy { signers: vec![key("ur_server").address()], require_v2, timestamp_window_seconds: 300 }
}

/// The signed message, built from a vector's fields.
fn message(vector: &Value) -> Vec<u8> {
    let text = |field: &str| vector[field].as_str().unwrap();
    let body = text("body").as_bytes();
    match text("kind") {
        "webhook_v1" => body.to_vec(),
        "webhook_v2" => [text("timestamp").as_bytes(), b".", text("request_id").as_bytes(), b".", body].concat(),
        "partner" => partner_message(body, vector["deadline"].as_u64().unwrap()),
        "partner_fma" => {
            partner_fma_message(body, text("ur_id"), text("external_user_id"), vector["deadline"].as_u64().unwrap())
        }
        other => panic!("unknown kind {other}"),
    }
}

fn verify(vector: &Value) -> Result<Address, SignatureError> {
    let text = |field: &str| vector[field].as_str().map(str::as_bytes);
    let body = text("body").unwrap();
    let deadline = vector["deadline"].as_u64().map(|deadline| deadline.to_string());
    let scope = match (vector["ur_id"].as_str(), vector["external_user_id"].as_str()) {
        (Some(ur_id), Some(external_user_id)) => PartnerScope::ManagedCustody { ur_id, external_user_id },
        _ => PartnerScope::Open,
    };
    match vector["kind"].as_str().unwrap() {
        "webhook_v1" => {
            let headers = WebhookHeaders { signature: text("signature"), ..Default::default() };
            verify_webhook(&policy(false), &headers, body, NOW).map(|verified| verified.signer)
        }
        "webhook_v2" => {
            let headers = WebhookHeaders {
                signature: None,
                signature_v2: text("signature"),
                timestamp: text("timestamp"),
                request_id: text("request_id"),
            };
            verify_webhook(&policy(true), &headers, body, NOW).map(|verified| verified.signer)
        }
        _ => {
            let partner = key("partner").address();
            let deadline = deadline.as_deref().map(str::as_bytes);
            let request = PartnerRequest { signature: text("signature"), deadline, scope, body };
            verify_partner(partner, &request, NOW).map(|()| partner)
        }
    }
}

/// A valid vector verifies, names its signer, and equals our own key's signature of the message; an invalid vector
/// fails.
fn check(vector: &Value) {
    let signer: Address = vector["signer"].as_str().unwrap().parse().unwrap();
    if let Some(expected) = vector["message"].as_str() {
        assert_eq!(String::from_utf8(message(vector)).unwrap(), expected);
    }
    let result = verify(vector);
    if !vector["valid"].as_bool().unwrap() {
        assert!(result.is_err(), "accepted: {vector}");
        return;
    }
    assert_eq!(result, Ok(signer), "{vector}");
    let key = if signer == key("partner").address() { key("partner") } else { key("ur_server") };
    let ours = key.sign_hex(&[&message(vector)]);
    // v may be 0/1 in a vector; our key always produces 27/28.
    let theirs = vector["signature"].as_str().unwrap();
    let theirs =
        match theirs.strip_suffix("00").map(|front| (front, "1b")).or(theirs.strip_suffix("01").map(|f| (f, "1c"))) {
            Some((front, v)) => format!("{front}{v}"),
            None => theirs.to_owned(),
        };
    assert_eq!(ours, theirs, "{vector}");
}

#[test]
fn every_vector_of_the_independent_implementation_agrees() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    for (name, entry) in file["keys"].as_object().unwrap() {
        assert_eq!(key(name).address().to_string(), entry["address"].as_str().unwrap());
    }
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 23);
    vectors.iter().for_each(check);
}

#[test]
fn every_malformed_vector_fails_for_its_own_reason() {
    use MalformedSignature as M;
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let reason = |note: &str| {
        let of_note = |vector: &&Value| vector["note"] == note;
        let vector = file["vectors"].as_array().unwrap().iter().find(of_note).unwrap();
        verify(vector).unwrap_err()
    };
    assert_eq!(reason("high s (malleated)"), SignatureError::HighS);
    assert_eq!(reason("64 bytes"), M::Length(130).into());
    assert_eq!(reason("66 bytes"), M::Length(134).into());
    assert_eq!(reason("no 0x"), M::Length(130).into());
    assert_eq!(reason("not hex"), M::Digit.into());
    assert_eq!(reason("zero r"), M::Scalar.into());
    assert_eq!(reason("v = 2"), M::RecoveryByte(2).into());
    assert_eq!(reason("empty"), M::Length(0).into());
    assert_eq!(reason("another signer"), SignatureError::UnknownSigner(key("partner").address()));
    for note in ["one byte more in the body", "a V1 signature under V2 headers"] {
        assert!(matches!(reason(note), SignatureError::UnknownSigner(_)), "{note}");
    }
}

#[test]
fn numbers_at_the_edges_of_the_curve_order_are_judged_exactly() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order_half = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
    let above_half = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1";
    let one = "0000000000000000000000000000000000000000000000000000000000000001";
    let zero = "0000000000000000000000000000000000000000000000000000000000000000";
    let verdict = |r: &str, s: &str| {
        let signature = format!("0x{r}{s}1b");
        let headers = WebhookHeaders { signature: Some(signature.as_bytes()), ..Default::default() };
        verify_webhook(&policy(false), &headers, b"{}", NOW).unwrap_err()
    };
    assert_eq!(verdict(order, one), MalformedSignature::Scalar.into());
    assert_eq!(verdict(one, order), MalformedSignature::Scalar.into());
    assert_eq!(verdict(one, zero), MalformedSignature::Scalar.into());
    assert_eq!(verdict(one, above_half), SignatureError::HighS);
    assert!(matches!(verdict(one, order_half), SignatureError::UnknownSigner(_)));
    // 5 is not the abscissa of a point: 5³ + 7 = 132 is no square modulo the field's prime.
    assert_eq!(verdict(&one.replace('1', "5"), one), MalformedSignature::NoKey.into());
}

/// A V2 request of "{}" with the given headers, signed as they are, beside the V1 signature `v1`.
struct Case {
    v1: Option<&'static str>,
    v2: bool,
    timestamp: Option<&'static str>,
    request_id: Option<&'static str>,
    require_v2: bool,
}

const V2: Case =
    Case { v1: None, v2: true, timestamp: Some("1768659501"), request_id: Some("req_1"), require_v2: false };

#[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
fn check_webhook(case: &Case, expected: Result<WebhookVersion, SignatureError>) {
    let key = key("ur_server");
    let body: &[u8] = b"{}";
    let v1 = match case.v1 {
        Some("good") => Some(key.sign_hex(&[body])),
        other => other.map(str::to_owned),
    };
    let (timestamp, request_id) = (case.timestamp.map(str::as_bytes), case.request_id.map(str::as_bytes));
    let parts = [timestamp.unwrap_or_default(), b".", request_id.unwrap_or_default(), b".", body];
    let v2 = case.v2.then(|| key.sign_hex(&parts));
    let headers = WebhookHeaders {
        signature: v1.as_deref().map(str::as_bytes),
        signature_v2: v2.as_deref().map(str::as_bytes),
        timestamp,
        request_id,
    };
    let verified = verify_webhook(&policy(case.require_v2), &headers, body, NOW);
    assert_eq!(verified.as_ref().map(|verified| verified.version), expected.as_ref().copied());
    if let Ok(verified) = verified {
        assert_eq!(verified.signer, key.address());
        let of_v2 = verified.version == WebhookVersion::V2;
        assert_eq!(verified.request_id, case.request_id.filter(|_| of_v2));
    }
}

#[test]
fn v2_headers_decide_which_signature_counts() {
    use SignatureError as E;
    let none = Case { v2: false, timestamp: None, request_id: None, ..V2 };
    check_webhook(&V2, Ok(WebhookVersion::V2));
    check_webhook(&Case { v1: Some("0xbad"), require_v2: true, ..V2 }, Ok(WebhookVersion::V2));
    check_webhook(&Case { v1: Some("good"), ..none }, Ok(WebhookVersion::V1));
    check_webhook(&Case { v1: Some("good"), require_v2: true, ..none }, Err(E::V2Required));
    check_webhook(&none, Err(E::Missing));
    check_webhook(&Case { require_v2: true, ..none }, Err(E::Missing));
    // Any of the three headers makes the request V2: a valid V1 signature beside it does not help.
    for (v2, timestamp, request_id, missing) in [
        (false, V2.timestamp, V2.request_id, SIGNATURE_V2_HEADER),
        (false, None, V2.request_id, SIGNATURE_V2_HEADER),
        (true, None, V2.request_id, TIMESTAMP_HEADER),
        (true, V2.timestamp, None, REQUEST_ID_HEADER),
        (true, None, None, TIMESTAMP_HEADER),
    ] {
        let case = Case { v1: Some("good"), v2, timestamp, request_id, require_v2: false };
        check_webhook(&case, Err(E::V2Incomplete(missing)));
    }
}

#[test]
fn v2_timestamps_and_request_ids_are_strict() {
    use SignatureError as E;
    for timestamp in ["", "+1768659501", "-1", "01768659501", "1768659501.0", " 1768659501", "1e9", "1000000000000"] {
        check_webhook(&Case { timestamp: Some(timestamp), ..V2 }, Err(E::V2TimestampForm));
    }
    for request_id in ["", "a b", "a\u{7f}", "\u{e9}", "\n"] {
        check_webhook(&Case { request_id: Some(request_id), ..V2 }, Err(E::V2RequestIdForm));
    }
    const LONGEST: &str = "!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~\
                           !~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~!~x";
    check_webhook(&Case { request_id: Some(&LONGEST[1..]), ..V2 }, Ok(WebhookVersion::V2));
    check_webhook(&Case { request_id: Some(LONGEST), ..V2 }, Err(E::V2RequestIdForm));
}

#[test]
fn the_window_holds_its_ends_and_only_an_authentic_message_is_stale() {
    let stale =
        |timestamp| Err(SignatureError::StaleTimestamp { timestamp, now_unix_seconds: NOW, window_seconds: 300 });
    check_webhook(&Case { timestamp: Some("1768659201"), ..V2 }, Ok(WebhookVersion::V2));
    check_webhook(&Case { timestamp: Some("1768659801"), ..V2 }, Ok(WebhookVersion::V2));
    check_webhook(&Case { timestamp: Some("1768659200"), ..V2 }, stale(NOW - 301));
    check_webhook(&Case { timestamp: Some("1768659802"), ..V2 }, stale(NOW + 301));
    check_webhook(&Case { timestamp: Some("0"), ..V2 }, stale(0));

    let foreign = key("partner").sign_hex(&[b"1.req_1.{}"]);
    let headers = WebhookHeaders {
        signature: None,
        signature_v2: Some(foreign.as_bytes()),
        timestamp: Some(b"1"),
        request_id: Some(b"req_1"),
    };
    let error = verify_webhook(&policy(false), &headers, b"{}", NOW).unwrap_err();
    assert_eq!(error, SignatureError::UnknownSigner(key("partner").address()));
    assert_eq!(error.code(), "unauthorized");
    assert_eq!(check_freshness(1, NOW, 300).unwrap_err().code(), "stale_timestamp");
}

#[test]
fn a_partner_deadline_is_neither_past_nor_far_ahead() {
    let check = |deadline: u64, expected: Result<(), SignatureError>| {
        let signature = key("partner").sign_hex(&[&partner_message(b"{}", deadline)]);
        let text = deadline.to_string();
        let request = PartnerRequest {
            signature: Some(signature.as_bytes()),
            deadline: Some(text.as_bytes()),
            scope: PartnerScope::Open,
            body: b"{}",
        };
        assert_eq!(verify_partner(key("partner").address(), &request, NOW), expected);
        let other_path = PartnerScope::ManagedCustody { ur_id: "", external_user_id: "" };
        let moved = PartnerRequest { scope: other_path, ..request };
        assert!(verify_partner(key("partner").address(), &moved, NOW).is_err());
    };
    let now_unix_seconds = NOW;
    check(NOW, Ok(()));
    check(NOW + 300, Ok(()));
    check(NOW - 1, Err(SignatureError::DeadlinePassed { deadline: NOW - 1, now_unix_seconds }));
    check(NOW + 301, Err(SignatureError::DeadlineTooFar { deadline: NOW + 301, now_unix_seconds }));

    let request = PartnerRequest { signature: None, deadline: None, scope: PartnerScope::Open, body: b"" };
    assert_eq!(verify_partner(key("partner").address(), &request, NOW), Err(SignatureError::Missing));
    let request = PartnerRequest { signature: Some(b"0x"), ..request };
    assert_eq!(verify_partner(key("partner").address(), &request, NOW), Err(SignatureError::DeadlineForm));
}

#[test]
fn an_address_in_mixed_case_must_match_its_checksum() {
    let check = |text: &str, expected: Result<&str, AddressError>| {
        assert_eq!(text.parse().map(|address: Address| address.to_string()), expected.map(str::to_owned), "{text}");
    };
    // The examples of EIP-55, and UR's published production address.
    for address in [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0xee28dEaD5F114C8405BE3be1144D59A4110B7F79",
    ] {
        check(address, Ok(address));
        check(&address.to_lowercase(), Ok(address));
        check(&format!("0x{}", address[2..].to_uppercase()), Ok(address));
    }
    check("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Err(AddressError::Checksum));
    let long = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed0";
    for bad in ["", "0x", &long[2..42], &long[..41], long, "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0xé"] {
        check(bad, Err(AddressError::Form));
    }
}

#[test]
fn a_key_is_a_scalar_and_never_shows_itself() {
    let parse = |text: &str| text.parse::<SigningKey>();
    let zeros = "0".repeat(64);
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    for out_of_range in [&*zeros, order, &"f".repeat(64)] {
        assert_eq!(parse(&format!("0x{out_of_range}")), Err(SigningKeyError::Range));
    }
    for bad in ["", "0x", "0x01", order, &format!("0x{order}0"), &format!("0x{}", "g".repeat(64))] {
        assert_eq!(parse(bad), Err(SigningKeyError::Form));
    }
    let text = format!("0x{}1", "0".repeat(63));
    let shown = format!("{:?}", parse(&text));
    // The address of the key 1 is well known.
    assert_eq!(shown, "Ok(SigningKey(of 0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf))");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    #[test]
    fn a_flipped_bit_is_never_accepted(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        place in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let key = key("ur_server");
        let mut signature = key.sign(&[&body]);
        let accepted = |signature: &[u8], body: &[u8]| {
            let text = format!("0x{}", signature.iter().map(|byte| format!("{byte:02X}")).collect::<String>());
            let headers = WebhookHeaders { signature: Some(text.as_bytes()), ..Default::default() };
            verify_webhook(&policy(false), &headers, body, NOW).is_ok()
        };
        prop_assert!(accepted(&signature, &body));
        let mut changed = body.clone();
        changed[place.index(body.len())] ^= 1 << bit;
        prop_assert!(!accepted(&signature, &changed));
        signature[place.index(SIGNATURE_BYTES)] ^= 1 << bit;
        prop_assert!(!accepted(&signature, &body));
    }

    #[test]
    fn parts_hash_as_one_message(body in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<proptest::sample::Index>()) {
        let (front, back) = body.split_at(cut.index(body.len() + 1));
        prop_assert_eq!(personal_message_hash(&[front, b"", back]), personal_message_hash(&[&body]));
    }

    #[test]
    fn arbitrary_headers_neither_panic_nor_pass(
        headers in proptest::array::uniform4(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..140))),
        digits in "0x[0-9a-fA-F]{130}",
        body in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let [signature, signature_v2, timestamp, request_id] = headers.each_ref().map(Option::as_deref);
        let headers = WebhookHeaders { signature, signature_v2, timestamp, request_id };
        prop_assert!(verify_webhook(&policy(false), &headers, &body, NOW).is_err());
        let shaped = WebhookHeaders { signature: Some(digits.as_bytes()), ..Default::default() };
        prop_assert!(verify_webhook(&policy(false), &shaped, &body, NOW).is_err());
        let request = PartnerRequest { signature, deadline: timestamp, scope: PartnerScope::Open, body: &body };
        prop_assert!(verify_partner(key("partner").address(), &request, NOW).is_err());
    }
}
