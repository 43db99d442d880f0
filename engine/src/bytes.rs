//! Bytes: how values of the engine become bytes, and the short hash that stands for bytes.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// 128 bits of a hash: equal iff the hashed bytes are equal, for all practical purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of these bytes, by BLAKE3: whoever chose them finds no others with the same.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Fingerprint {
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(blake3::hash(bytes).as_bytes()) {
            *to = *from;
        }
        Fingerprint(short)
    }

    /// Of a provider's request, by XXH3 with the seed 0, big-endian: only a provider, who signs its requests, could make two
    /// that are alike.
    #[must_use]
    pub(crate) fn of_request(bytes: &[u8]) -> Fingerprint {
        Fingerprint(XxHash3_128::oneshot(bytes).to_be_bytes())
    }
}

/// Collects postcard's bytes, strings in one copy: postcard's own growing buffers take them byte by byte.
pub(crate) struct Buffer(pub(crate) Vec<u8>);

// Inlined: a record's encoding calls these a hundred times, from other modules.
impl postcard::ser_flavors::Flavor for &mut Buffer {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        match bytes {
            // Most numbers, and the names of all variants.
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Buffer {
    /// Appends a value's bytes.
    #[expect(
        clippy::expect_used,
        reason = "serialising the engine's types to memory cannot fail; an empty record or row would be worse"
    )]
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        postcard::serialize_with_flavor(value, self).expect("a value of the engine's serialises");
    }
}

/// Appends a number: seven bits a byte, least first; the highest bit of a byte says that another follows.
#[inline]
pub(crate) fn put_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7F) as u8);
}

/// Takes such a number off; `None` where the bytes end early or it does not end.
#[inline]
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    // Most numbers are short.
    if let [byte @ ..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(u64::from(*byte));
    }
    take_long_number(bytes)
}

fn take_long_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requests_fingerprint_is_xxh3s() {
        // Of the reference implementation (xxhsum -H2).
        for (bytes, expected) in [
            ("", "99aa06d3014798d86001c324468d497f"),
            ("a", "a96faf705af16834e6c632b61e964e1f"),
            ("abc", "06b05ab6733a618578af5f94892f3950"),
        ] {
            let Fingerprint(found) = Fingerprint::of_request(bytes.as_bytes());
            let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, expected, "{bytes:?}");
        }
    }
}
