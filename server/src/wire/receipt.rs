//! Signed heads and receipts, as files: they are checked long after, and by others, so that what a later version adds is
//! read over here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tapgate_engine::tree::{Hash, Head as TreeHead};

use super::Malformed;

/// The form of what is signed.
pub const FORMAT: u8 = 1;

/// A head of a journal's tree that somebody signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The form of what is signed: [`FORMAT`].
    #[serde(default = "first_format")]
    pub format: u8,
    /// The journal's name, which its copies keep.
    pub journal: String,
    /// Records that it covers.
    pub size: u64,
    /// The tree's root at this size, in hexadecimal digits.
    pub root: String,
    /// When it was signed, in milliseconds since 1970.
    pub time: u64,
    /// The signer's address. Whoever checks must know it from elsewhere.
    pub key: String,
    /// EIP-191, over the lines that docs/receipts.md shows.
    pub signature: String,
    /// Keys that the one before them introduced, the oldest first, up to the signer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introduced: Vec<Introduction>,
    /// The head before, and the proof that this one extends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<Older>,
}

/// A key's address, and the signature of the key before over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Introduction {
    pub key: String,
    pub signature: String,
}

/// An older head, and what proves that a newer one extends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Older {
    pub size: u64,
    pub root: String,
    /// The hashes of the proof one after the other, in Base64.
    pub path: String,
}

/// The proof that a decision is in a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub authorization_id: String,
    /// The place of the decision's record.
    pub sequence: u64,
    /// The record's bytes, in Base64.
    pub record: String,
    /// The hashes of the proof one after the other, in Base64.
    pub path: String,
    pub head: Head,
}

/// Either kind of file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Receipt(Box<Receipt>),
    Head(Box<Head>),
}

/// Reads a receipt or a head.
///
/// # Errors
/// It is neither, or of a form that this version does not know.
pub fn document(text: &[u8]) -> Result<Document, Malformed> {
    let malformed = |error: serde_json::Error| Malformed(error.to_string());
    let value: Value = serde_json::from_slice(text).map_err(malformed)?;
    let is_receipt = value.get("authorizationId").is_some();
    let format = if is_receipt { value.pointer("/head/format") } else { value.get("format") };
    if format.is_some_and(|format| *format != FORMAT) {
        return Err(Malformed("a later version of tapgate made it: check it with that one".to_owned()));
    }
    match is_receipt {
        true => serde_json::from_value(value).map(Document::Receipt).map_err(malformed),
        false => serde_json::from_value(value).map(Document::Head).map_err(malformed),
    }
}

fn first_format() -> u8 {
    1
}

impl Head {
    /// Size and root; `None` where the root is none.
    #[must_use]
    pub fn tree(&self) -> Option<TreeHead> {
        Some(TreeHead { size: self.size, root: hash(&self.root)? })
    }
}

impl Older {
    /// Size and root; `None` where the root is none.
    #[must_use]
    pub fn tree(&self) -> Option<TreeHead> {
        Some(TreeHead { size: self.size, root: hash(&self.root)? })
    }
}

fn hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

/// Bytes as text.
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Bytes from text; `None` where it is not Base64.
#[must_use]
pub fn bytes_of(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// The hashes of a proof from text; `None` where it holds something else.
#[must_use]
pub fn path_of(text: &str) -> Option<Vec<Hash>> {
    let bytes = bytes_of(text)?;
    let (hashes, []) = bytes.as_chunks() else { return None };
    Some(hashes.to_vec())
}
