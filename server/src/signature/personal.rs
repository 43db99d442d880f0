//! EIP-191 `personal_sign`: the signed hash, and recovery of the signer's address.

use std::fmt::{self, Write as _};

use secp256k1::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use sha3::{Digest, Keccak256};

use super::SignatureError;
use super::address::Address;

/// r and s of 32 bytes each, and v.
pub const SIGNATURE_BYTES: usize = 65;

/// `0x` and two digits a byte.
pub const SIGNATURE_TEXT_BYTES: usize = 2 + 2 * SIGNATURE_BYTES;

/// The order of secp256k1 (SEC 2, 2.4.1).
const ORDER: [u8; 32] = secp256k1::constants::CURVE_ORDER;

/// Half the order, rounded down: the largest low s (EIP-2).
const ORDER_HALF: [u8; 32] = [
    0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x5D, 0x57, 0x6E,
    0x73, 0x57, 0xA4, 0x50, 0x1D, 0xDF, 0xE9, 0x2F, 0x46, 0x68, 0x1B, 0x20, 0xA0,
];

/// Errors of a signature's form, found before its signer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedSignature {
    /// Not 132 bytes.
    #[error("it is {0} bytes long, and must be {SIGNATURE_TEXT_BYTES}: 0x and 130 hexadecimal digits")]
    Length(usize),
    /// Does not start with `0x`.
    #[error("it does not start with 0x")]
    Prefix,
    /// Contains a character that is not a hexadecimal digit.
    #[error("it holds a character that is not a hexadecimal digit")]
    Digit,
    /// v is none of 0, 1, 27, 28.
    #[error("its last byte v is {0}, and must be 0, 1, 27 or 28")]
    RecoveryByte(u8),
    /// r or s is zero or not below the order of the curve.
    #[error("its r or s is zero or not below the order of the curve")]
    Scalar,
    /// r is not the abscissa of a point on the curve, or the recovered key is the point at infinity.
    #[error("no public key can have made it")]
    NoKey,
}

/// Lets `write!` format a number into the hash without a buffer.
struct Hasher(Keccak256);

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// Keccak-256 of `"\x19Ethereum Signed Message:\n"`, the message's length in bytes as decimal digits, and the message.
/// The parts are hashed in sequence as one message, without a copy or an allocation.
#[must_use]
pub fn personal_message_hash(parts: &[&[u8]]) -> [u8; 32] {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut hasher = Hasher(Keccak256::new());
    // Cannot fail: `Hasher` accepts every write.
    let _ = write!(hasher, "\x19Ethereum Signed Message:\n{bytes}");
    for part in parts {
        hasher.0.update(part);
    }
    hasher.0.finalize().into()
}

/// The address whose key signed the message, from the signature's text (`0x` and 130 hexadecimal digits of any case).
///
/// # Errors
/// [`SignatureError::Malformed`] and [`SignatureError::HighS`]. A signature of another message is not an error here: it
/// recovers to another address.
pub(super) fn recover(signature: &[u8], message: &[&[u8]]) -> Result<Address, SignatureError> {
    let signature = parse(signature)?;
    let key = signature
        .recover_ecdsa(Message::from_digest(personal_message_hash(message)))
        .map_err(|_| MalformedSignature::NoKey)?;
    Ok(Address::of(&key))
}

/// The address whose key signed a message of its own domain, from the signature's text.
///
/// # Errors
/// As for a webhook's signature; one of another message recovers to another address.
pub fn signer_of(signature: &str, message: &str) -> Result<Address, SignatureError> {
    recover(signature.as_bytes(), &[message.as_bytes()])
}

fn parse(text: &[u8]) -> Result<RecoverableSignature, SignatureError> {
    if text.len() != SIGNATURE_TEXT_BYTES {
        return Err(MalformedSignature::Length(text.len()).into());
    }
    let digits = text.strip_prefix(b"0x").ok_or(MalformedSignature::Prefix)?;
    let mut bytes = [0; SIGNATURE_BYTES];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| MalformedSignature::Digit)?;

    let [r_and_s @ .., v] = &bytes;
    let recovery_id = match v {
        0 | 27 => RecoveryId::Zero,
        1 | 28 => RecoveryId::One,
        other => return Err(MalformedSignature::RecoveryByte(*other).into()),
    };
    // Big-endian numbers of equal length compare like their bytes.
    let (r, s) = r_and_s.split_at(32);
    let is_scalar = |number: &[u8]| number.iter().any(|byte| *byte != 0) && number < ORDER.as_slice();
    if !is_scalar(r) || !is_scalar(s) {
        return Err(MalformedSignature::Scalar.into());
    }
    // Both (r, s) and (r, n − s) are valid, but the contract's libraries accept only the low s. Accepting both would
    // let anyone derive a second valid signature from the first.
    if s > ORDER_HALF.as_slice() {
        return Err(SignatureError::HighS);
    }
    Ok(RecoverableSignature::from_compact(r_and_s, recovery_id).map_err(|_| MalformedSignature::Scalar)?)
}
