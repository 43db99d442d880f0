//! Replays the fuzz corpora of what arrives from outside, so that an input that once failed never fails again.

#[path = "../../fuzz/src/admin.rs"]
pub mod admin;
#[path = "../../fuzz/src/answers.rs"]
pub mod answers;
#[path = "../../fuzz/src/config.rs"]
pub mod config;
#[path = "../../fuzz/src/corpus.rs"]
pub mod corpus;
#[path = "../../fuzz/src/mapping.rs"]
pub mod mapping;
#[path = "../../fuzz/src/signature.rs"]
pub mod signature;
#[path = "../../fuzz/src/wire.rs"]
pub mod wire;

#[test]
fn what_providers_said_in_the_corpus_is_read_within_bounds() -> std::io::Result<()> {
    corpus::replay("answers", answers::check)
}

#[test]
fn what_people_said_in_the_corpus_is_read_and_folds() -> std::io::Result<()> {
    corpus::replay("admin", admin::check)
}

#[test]
fn no_configuration_of_the_corpus_shows_a_secret() -> std::io::Result<()> {
    corpus::replay("config", config::check)
}

#[test]
fn what_mappings_of_the_corpus_answer_is_json() -> std::io::Result<()> {
    corpus::replay("mapping", mapping::check)
}

#[test]
fn no_signature_of_the_corpus_is_accepted() -> std::io::Result<()> {
    corpus::replay("signature", signature::check)
}

#[test]
fn what_parses_of_the_corpus_says_all_there_is_to_say() -> std::io::Result<()> {
    corpus::replay("wire", wire::check)
}

/// Else the corpus would only exercise refusals.
#[test]
fn callbacks_of_the_corpus_parse_as_their_names_say() -> std::io::Result<()> {
    for (file, bytes) in corpus::files("wire")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let request = tapgate::wire::callback::Envelope::parse(&bytes).and_then(|envelope| envelope.request());
        if name.starts_with("bad-") {
            assert!(request.is_err(), "{name}: {request:?}");
        } else if name.starts_with("good-") {
            assert!(request.is_ok(), "{name}: {request:?}");
        }
    }
    Ok(())
}
