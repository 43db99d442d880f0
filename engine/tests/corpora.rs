//! Replays the fuzz corpora of the core, so that an input that once failed never fails again.

#[path = "../../fuzz/src/corpus.rs"]
pub mod corpus;
#[path = "../../fuzz/src/fold.rs"]
pub mod fold;
#[path = "../../fuzz/src/journal_bytes.rs"]
pub mod journal_bytes;
#[path = "../../fuzz/src/ledger.rs"]
pub mod ledger;

use tapgate_engine::fact::Record;

#[test]
fn every_record_of_the_corpus_has_one_encoding() -> std::io::Result<()> {
    corpus::replay("journal_bytes", journal_bytes::check)
}

#[test]
fn a_fold_holds_or_names_the_record_on_every_input_of_the_corpus() -> std::io::Result<()> {
    corpus::replay("fold", fold::check)
}

#[test]
fn ledger_and_model_agree_on_every_script_of_the_corpus() -> std::io::Result<()> {
    corpus::replay("ledger", ledger::check)
}

/// The seeds were written by an earlier build: reading them is what a new program does with an old journal.
#[test]
fn records_written_before_can_still_be_read() -> std::io::Result<()> {
    let mut records = 0;
    for (file, bytes) in corpus::files("journal_bytes")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("record-") {
            records += 1;
            let record = Record::decode(&bytes);
            assert!(record.is_ok(), "{name}: {record:?}; changed types need a new RECORD_VERSION and the old decoder");
        } else if name.starts_with("bad-") {
            assert!(Record::decode(&bytes).is_err(), "{name} is no record");
        }
    }
    assert!(records > 0, "no records among the seeds");
    Ok(())
}
