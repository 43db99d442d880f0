//! Records: the journal's entries and their bytes.

use serde::{Deserialize, Serialize};

use super::{Author, Decided, Fact, Request};
use crate::bytes::{Buffer, Fingerprint};
use crate::time::UnixMillis;

/// The version of the records' bytes. A change of any type below needs a new version and a decoder for the old one.
pub const RECORD_VERSION: u8 = 1;

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Never before that of a record it depends on.
    pub at: UnixMillis,
    pub author: Author,
    pub fact: Fact,
}

/// A record's bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version of the program.
    #[error(
        "record version {0} is not known to this program (it writes {RECORD_VERSION}); use the program that wrote it"
    )]
    Version(u8),
    /// Not the bytes of a record.
    #[error("not a record: {0}")]
    Malformed(String),
}

/// A request's bytes, encoded once: for its fingerprint and for the record that decides it.
pub(crate) struct EncodedRequest {
    bytes: Vec<u8>,
    /// The length of the part that money depends on.
    binding: usize,
}

impl EncodedRequest {
    /// The bytes are those of the derived encoding, written in three parts.
    pub(crate) fn of(request: &Request) -> EncodedRequest {
        let Request { kind, original, user, card, amount, currency, partial_approval_allowed, .. } = request;
        let Request { settlement_amount, settlement_currency, id, merchant, channel, currency_given, .. } = request;
        let mut buffer = Buffer(Vec::with_capacity(REQUEST_BYTES_USUAL));
        buffer.put(&(kind, original, user, card, amount, currency, partial_approval_allowed));
        let without_settlement = buffer.0.len();
        buffer.put(&(settlement_amount, settlement_currency));
        // UR computes the settlement anew when it asks again; only other currencies are priced by it.
        let binding = if currency.is_held_by_ur() { without_settlement } else { buffer.0.len() };
        buffer.put(&(id, merchant, channel, currency_given));
        EncodedRequest { bytes: buffer.0, binding }
    }

    /// Hash of what money depends on: a repeat with another merchant name is the same request.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_request(self.bytes.get(..self.binding).unwrap_or(&self.bytes))
    }
}

/// Usual size of a decision's record; its request's part follows.
const RECORD_BYTES_USUAL: usize = 320;

const REQUEST_BYTES_USUAL: usize = 192;

/// The variant index of [`Fact::Decided`].
const DECIDED: u8 = 0;

impl Record {
    /// The record's bytes: the version, then the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut buffer = Buffer(Vec::with_capacity(RECORD_BYTES_USUAL));
        buffer.put(&(RECORD_VERSION, self));
        buffer.0
    }

    /// As [`Record::encode`], reusing the encoded request: a decision's request is not encoded twice.
    pub(crate) fn encode_around(&self, request: &EncodedRequest) -> Vec<u8> {
        let Fact::Decided(decided) = &self.fact else { return self.encode() };
        let Decided { request: _, fingerprint, inputs, verdict, previous, settled } = &**decided;
        let mut buffer = Buffer(Vec::with_capacity(RECORD_BYTES_USUAL));
        buffer.put(&(RECORD_VERSION, self.at, &self.author, DECIDED));
        buffer.0.extend_from_slice(&request.bytes);
        buffer.put(&(fingerprint, inputs, verdict, previous, settled));
        buffer.0
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// The version is unknown, or the bytes are not exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        match bytes.split_first() {
            Some((&RECORD_VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((record, [])) => Ok(record),
                Ok((_, rest)) => Err(RecordError::Malformed(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(RecordError::Malformed(error.to_string())),
            },
            Some((version, _)) => Err(RecordError::Version(*version)),
            None => Err(RecordError::Malformed("no bytes".to_owned())),
        }
    }
}
