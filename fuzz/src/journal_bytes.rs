//! Bytes of a damaged disk: reading a record never panics, and what is read has one encoding.

use tapgate_engine::record::Record;

/// Decodes the bytes. Of a record, decoding its encoding must give the same record, and encoding that the same bytes.
pub fn check(data: &[u8]) {
    let Ok(record) = Record::decode(data) else { return };
    let bytes = record.encode();
    let again = Record::decode(&bytes);
    assert_eq!(again.as_ref(), Ok(&record), "an encoded record reads back as itself");
    assert_eq!(again.map(|record| record.encode()), Ok(bytes), "a record has one encoding");
}
