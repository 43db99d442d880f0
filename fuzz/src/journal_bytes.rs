//! Bytes of a damaged disk: reading a record never panics, and each record has exactly one encoding.

use tapgate_engine::fact::Record;

/// Decodes the bytes. A decoded record must encode to bytes that decode to the same record and encode to the same bytes.
pub fn check(data: &[u8]) {
    let Ok(record) = Record::decode(data) else { return };
    let bytes = record.encode();
    let again = Record::decode(&bytes);
    assert_eq!(again.as_ref(), Ok(&record), "an encoded record reads back as itself");
    assert_eq!(again.map(|record| record.encode()), Ok(bytes), "a record has one encoding");
}
