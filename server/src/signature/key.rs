//! Private keys: the partner's own, and the simulated UR's in the sandbox.

use std::fmt;
use std::str::FromStr;

use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, PublicKey, SecretKey};

use super::address::Address;
use super::personal::{SIGNATURE_BYTES, personal_message_hash};

/// A private key with its address. `Debug` prints the address only, never the key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    secret: SecretKey,
    address: Address,
}

/// The message never contains the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Not `0x` and 64 hexadecimal digits.
    #[error("a private key is 0x and 64 hexadecimal digits")]
    Form,
    /// Zero, or not below the curve's order.
    #[error("a private key is a number from 1 to below the order of secp256k1")]
    Range,
}

impl SigningKey {
    /// The key from its 32 bytes, most significant first.
    ///
    /// # Errors
    /// [`SigningKeyError::Range`] for zero and for numbers not below the order of secp256k1.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<SigningKey, SigningKeyError> {
        let secret = SecretKey::from_secret_bytes(bytes).map_err(|_| SigningKeyError::Range)?;
        let address = Address::of(&PublicKey::from_secret_key(&secret));
        Ok(SigningKey { secret, address })
    }

    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// The EIP-191 signature r‖s‖v of the parts as one message. v is 27 or 28, s is low, and the nonce follows RFC
    /// 6979, so a message always has the same signature.
    #[must_use]
    pub fn sign(&self, message: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        let digest = Message::from_digest(personal_message_hash(message));
        let (recovery_id, r_and_s) =
            RecoverableSignature::sign_ecdsa_recoverable(digest, &self.secret).serialize_compact();
        let mut signature = [0; SIGNATURE_BYTES];
        let (front, back) = signature.split_at_mut(r_and_s.len());
        front.copy_from_slice(&r_and_s);
        back.fill(27 + recovery_id.to_u8());
        signature
    }

    /// The signature as header text: `0x` and 130 lower-case hexadecimal digits.
    #[must_use]
    pub fn sign_hex(&self, message: &[&[u8]]) -> String {
        let mut digits = [0; SIGNATURE_BYTES * 2];
        // Cannot fail: the buffer is exactly twice as long.
        let _ = hex::encode_to_slice(self.sign(message), &mut digits);
        let digits = str::from_utf8(&digits).unwrap_or_default();
        format!("0x{digits}")
    }
}

impl FromStr for SigningKey {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        let digits = text.strip_prefix("0x").ok_or(SigningKeyError::Form)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SigningKeyError::Form)?;
        SigningKey::from_bytes(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.address)
    }
}
