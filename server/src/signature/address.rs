//! Addresses: the last 20 bytes of a public key's Keccak-256.

use std::fmt;
use std::str::FromStr;

use secp256k1::PublicKey;
use sha3::{Digest, Keccak256};

/// The address of a signing key. `Display` shows its EIP-55 checksum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `0x` and 40 hexadecimal digits.
    #[error("an address is 0x and 40 hexadecimal digits")]
    Form,
    /// Mixed case promises a checksum, and this one is wrong: most likely a mistyped digit.
    #[error("the address's EIP-55 checksum does not match: a digit is wrong, or the case of a letter was changed")]
    Checksum,
}

impl Address {
    /// The address of a public key: Keccak-256 of its two coordinates, without the leading 12 bytes.
    #[must_use]
    pub fn of(public_key: &PublicKey) -> Address {
        let uncompressed = public_key.serialize_uncompressed();
        let [_format, coordinates @ ..] = &uncompressed;
        let hash: [u8; 32] = Keccak256::digest(coordinates).into();
        let [_, _, _, _, _, _, _, _, _, _, _, _, address @ ..] = hash;
        Address(address)
    }

    /// The 40 digits with EIP-55's capitals: a letter is capital where the hash of the lower-case text has a half-byte
    /// of 8 or more.
    fn checksummed(self) -> [u8; 40] {
        let mut digits = [0; 40];
        // Cannot fail: the buffer is exactly twice as long.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        let hash: [u8; 32] = Keccak256::digest(digits).into();
        let half_bytes = hash.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        for (digit, half_byte) in digits.iter_mut().zip(half_bytes) {
            if half_byte >= 8 {
                digit.make_ascii_uppercase();
            }
        }
        digits
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `0x` and 40 hexadecimal digits. All lower or all upper case carries no checksum; mixed case must match
    /// its EIP-55 checksum.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let digits = text.strip_prefix("0x").ok_or(AddressError::Form)?.as_bytes();
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| AddressError::Form)?;
        let address = Address(bytes);
        let mixed = digits.iter().any(u8::is_ascii_lowercase) && digits.iter().any(u8::is_ascii_uppercase);
        if mixed && digits != address.checksummed() {
            return Err(AddressError::Checksum);
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        f.write_str(str::from_utf8(&self.checksummed()).unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
