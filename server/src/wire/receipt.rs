//! Signed heads and receipts, as files: they are checked long after, and by others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tapgate_engine::tree::{Hash, Head as TreeHead};

/// A head of a journal's tree that somebody signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
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
    /// Where the head before was signed by another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<Introduction>,
    /// The head before, and the proof that this one extends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<Older>,
}

/// The signature of the key before over a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introduction {
    /// The address of the key before.
    pub by: String,
    pub signature: String,
}

/// An older head, and what proves that a newer one extends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Older {
    pub size: u64,
    pub root: String,
    /// The hashes of the proof one after the other, in Base64.
    pub path: String,
}

/// The proof that a decision is in a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Document {
    Receipt(Box<Receipt>),
    Head(Box<Head>),
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
