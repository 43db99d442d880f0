//! Records: the journal's entries and their bytes.

use std::cell::Cell;

use serde::Deserialize;

use super::decided_bytes::{In, put_decision, put_request};
use super::{Author, Decided, Fact, InQuarantine, Request};
use crate::bytes::{Buffer, Fingerprint};
use crate::store::StandIn;
use crate::time::UnixMillis;

/// The version of a record's bytes, for its kind alone: a kind whose bytes change gets a version of its own, and the
/// decoder of the old one stays. Bytes once written never change their meaning; new kinds come at the end.
pub const RECORD_VERSION: u8 = 1;

/// The variant index of [`Fact::Decided`].
const DECIDED: u8 = 0;

/// What every decision's record begins with.
const DECIDED_HEAD: [u8; 2] = [RECORD_VERSION, DECIDED];

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
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

thread_local! {
    /// Where this thread encodes decisions.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The beginning of a decision's record, with its request: encoded once, for its fingerprint and for its record.
pub(crate) struct EncodedRequest {
    bytes: Vec<u8>,
    request_ends: usize,
    fingerprint: Fingerprint,
}

impl Drop for EncodedRequest {
    fn drop(&mut self) {
        if self.bytes.capacity() <= SCRATCH_BYTES_MAX {
            SCRATCH.set(std::mem::take(&mut self.bytes));
        }
    }
}

/// Scratch that a thread keeps: many times a decision.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// Usual size of another record, and some.
const RECORD_BYTES_USUAL: usize = 384;

impl EncodedRequest {
    pub(crate) fn of(request: &Request) -> EncodedRequest {
        let mut bytes = SCRATCH.take();
        bytes.clear();
        bytes.extend_from_slice(&DECIDED_HEAD);
        let binding = put_request(&mut bytes, request);
        let fingerprint = Fingerprint::of_request(bytes.get(DECIDED_HEAD.len()..binding).unwrap_or(&bytes));
        EncodedRequest { request_ends: bytes.len(), bytes, fingerprint }
    }

    /// Hash of what money depends on: a repeat with another merchant name is the same request.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The bytes of the record that decides it.
    pub(crate) fn decided(&mut self, record: &Record, decided: &Decided) -> &[u8] {
        self.bytes.truncate(self.request_ends);
        put_decision(&mut self.bytes, (record.at, &record.author), decided, self.fingerprint);
        &self.bytes
    }
}

impl Record {
    /// The record's bytes: its version, its fact, its time and author.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if let Fact::Decided(decided) = &self.fact {
            return EncodedRequest::of(&decided.request).decided(self, decided).to_vec();
        }
        if let Fact::RecordQuarantined(quarantined) = &self.fact {
            return StandIn { at: self.at, original: quarantined.original.clone() }.encode();
        }
        let mut buffer = Buffer(Vec::with_capacity(RECORD_BYTES_USUAL));
        buffer.put(&(RECORD_VERSION, &self.fact, self.at, &self.author));
        buffer.0
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// The version is unknown, or the bytes are not exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        let (record, rest) = match bytes {
            [] => return Err(RecordError::Malformed("no bytes".to_owned())),
            [RECORD_VERSION, DECIDED, rest @ ..] => Record::decode_decided(rest)?,
            [RECORD_VERSION, rest @ ..] => {
                let ((fact, at, author), rest) = taken(rest)?;
                if matches!(fact, Fact::RecordQuarantined(_)) {
                    return Err(RecordError::Malformed("a stand-in among the kinds of records".to_owned()));
                }
                (Record { at, author, fact }, rest)
            }
            [version, ..] => {
                let StandIn { at, original } = StandIn::decode(bytes).ok_or(RecordError::Version(*version))?;
                let fact = Fact::RecordQuarantined(Box::new(InQuarantine::of(original)));
                (Record { at, author: Author::Engine, fact }, &[][..])
            }
        };
        match rest {
            [] => Ok(record),
            _ => Err(RecordError::Malformed(format!("{} bytes too many", rest.len()))),
        }
    }

    fn decode_decided(bytes: &[u8]) -> Result<(Record, &[u8]), RecordError> {
        let mut input = In(bytes);
        let (request, fingerprint) = input.request()?;
        let (at, author, decided) = input.decision(request, fingerprint)?;
        Ok((Record { at, author, fact: Fact::Decided(Box::new(decided)) }, input.0))
    }
}

fn taken<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(bytes).map_err(|error| RecordError::Malformed(error.to_string()))
}
