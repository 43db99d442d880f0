//! The section `[receipts]`: who signs the journal's heads, and where they are published.

use std::path::{Component, Path, PathBuf};

use super::reader::Reader;
use super::sections::{ReadFile, not_empty, signing_key};
use crate::receipts::Signer;

/// Signed heads and receipts.
#[derive(Default)]
pub(super) struct Receipts {
    pub(super) signer: Option<Signer>,
    pub(super) heads_dir: Option<PathBuf>,
    /// What must lie outside of the data directory, also where links lead elsewhere than the paths say.
    pub(super) kept_outside: Vec<PathBuf>,
}

pub(super) fn receipts(reader: &mut Reader<'_>, read_file: ReadFile<'_>, data_dir: &Path) -> Receipts {
    let key = signing_key(reader, read_file, ["receipts.key", "receipts.key_file"]);
    let previous = signing_key(reader, read_file, ["receipts.previous_key", "receipts.previous_key_file"]);
    let heads_dir = reader.value("receipts.heads_dir", |setting| setting.parsed(not_empty)).map(PathBuf::from);
    // Who has the directory with the journal must not have what its heads are checked by.
    let mut kept_outside = Vec::new();
    for path in ["receipts.key_file", "receipts.previous_key_file", "receipts.heads_dir"] {
        let Some(setting) = reader.find(path) else { continue };
        let Ok(at) = setting.text().map(PathBuf::from) else { continue };
        if plain(&at).is_some_and(|at| plain(data_dir).is_some_and(|data_dir| at.starts_with(data_dir))) {
            reader.report(&setting, "must lie outside of data_dir: it is to guard what lies in there".to_owned());
        }
        kept_outside.push(at);
    }
    let has_key = ["receipts.key", "receipts.key_file"].iter().any(|path| reader.find(path).is_some());
    for path in ["receipts.previous_key", "receipts.previous_key_file", "receipts.heads_dir"] {
        if reader.find(path).is_some() && !has_key {
            reader.missing("receipts.key_file", "without it no head is signed");
            break;
        }
    }
    Receipts { signer: key.map(|key| Signer { key, previous }), heads_dir, kept_outside }
}

/// Where a path leads, as far as its text and the working directory say; links are followed when tapgate starts.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).ok()?.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    Some(plain)
}
