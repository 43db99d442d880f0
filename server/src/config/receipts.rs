//! The section `[receipts]`: who signs the journal's heads, and where they are published.

use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::sections::{ReadFile, not_empty, signing_key};
use crate::receipts::Signer;

/// Signed heads and receipts.
#[derive(Default)]
pub(super) struct Receipts {
    pub(super) signer: Option<Signer>,
    pub(super) heads_dir: Option<PathBuf>,
}

pub(super) fn receipts(reader: &mut Reader<'_>, read_file: ReadFile<'_>, data_dir: &Path) -> Receipts {
    let key = signing_key(reader, read_file, ["receipts.key", "receipts.key_file"]);
    let previous = signing_key(reader, read_file, ["receipts.previous_key", "receipts.previous_key_file"]);
    let heads_dir = reader.value("receipts.heads_dir", |setting| setting.parsed(not_empty)).map(PathBuf::from);
    // Who has the directory with the journal must not have what its heads are checked by.
    for path in ["receipts.key_file", "receipts.previous_key_file", "receipts.heads_dir"] {
        let setting = reader.find(path);
        if let Some(setting) =
            setting.filter(|setting| setting.text().is_ok_and(|at| Path::new(&at).starts_with(data_dir)))
        {
            reader.report(&setting, "must lie outside of data_dir: it is to guard what lies in there".to_owned());
        }
    }
    if key.is_none() && heads_dir.is_some() && reader.find("receipts.key_file").is_none() {
        reader.missing("receipts.key_file", "without it no head is signed for receipts.heads_dir");
    }
    Receipts { signer: key.map(|key| Signer { key, previous }), heads_dir }
}
