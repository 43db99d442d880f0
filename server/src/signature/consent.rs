//! A wallet's consent to its profile, which `/v1/mint/nft` asks of a new user (docs/ur-facts.md, Authentication).

use sha3::{Digest, Keccak256};

use super::SignatureError;
use super::address::Address;
use super::webhook::accepted_signer;

/// The words before the hash in the signed message.
const WORDS: &str = "I agree to access my profile. ";

/// The message that a wallet signs by EIP-191: the words, and Keccak-256 of `hash` and `deadline`, in hexadecimal with
/// or without `0x`. UR's documentation does not say which.
#[must_use]
pub fn consent_message(hash: &str, deadline: &str, with_prefix: bool) -> Vec<u8> {
    let digest: [u8; 32] = Keccak256::digest([hash, deadline].concat()).into();
    let prefix = if with_prefix { "0x" } else { "" };
    [WORDS, prefix, &hex::encode(digest)].concat().into_bytes()
}

/// Checks that the wallet signed the consent. The deadline is the caller's to judge.
///
/// # Errors
/// The signature is malformed, or of another wallet or message.
pub fn verify_consent(wallet: Address, signature: &[u8], hash: &str, deadline: &str) -> Result<(), SignatureError> {
    let with_prefix = accepted_signer(&[wallet], signature, &[&consent_message(hash, deadline, true)]);
    with_prefix.or_else(|_| accepted_signer(&[wallet], signature, &[&consent_message(hash, deadline, false)])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SigningKey;

    #[test]
    fn only_the_wallet_consents_and_only_to_its_hash_and_deadline() {
        let wallet = SigningKey::from_bytes([7; 32]).unwrap();
        // keccak256("abc1700000000"), by an independent implementation.
        let digest = "4fbd9c9a745ef6b6fa1527246f1b489f6966d27690881be8c85f0b7848c3d9c5";
        assert_eq!(
            consent_message("abc", "1700000000", true),
            format!("I agree to access my profile. 0x{digest}").into_bytes()
        );
        for with_prefix in [true, false] {
            let signature = wallet.sign_hex(&[&consent_message("abc", "1700000000", with_prefix)]);
            let verify = |wallet, hash, deadline| verify_consent(wallet, signature.as_bytes(), hash, deadline);
            assert_eq!(verify(wallet.address(), "abc", "1700000000"), Ok(()));
            let stranger = SigningKey::from_bytes([8; 32]).unwrap().address();
            for (wallet, hash, deadline) in [
                (stranger, "abc", "1700000000"),
                (wallet.address(), "abd", "1700000000"),
                (wallet.address(), "abc", "1700000001"),
            ] {
                assert!(matches!(verify(wallet, hash, deadline), Err(SignatureError::UnknownSigner(_))));
            }
        }
    }
}
