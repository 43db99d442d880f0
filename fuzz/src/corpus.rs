//! Replays a target's corpus. Included by the tests `corpora.rs` of engine and server.

use std::io;
use std::path::{Path, PathBuf};

/// The directory of a target's corpus.
#[must_use]
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Every file of `fuzz/corpus/<target>` with its bytes, by name.
///
/// # Errors
/// The corpus cannot be read, or is empty, so that nothing would be tested.
pub fn files(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let directory = folder(target);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        let bytes = std::fs::read(&path)?;
        files.push((path, bytes));
    }
    files.sort();
    if files.is_empty() { Err(io::Error::other(format!("no files in {}", directory.display()))) } else { Ok(files) }
}

/// Runs every file of the corpus through `check`.
///
/// # Errors
/// As [`files`].
pub fn replay(target: &str, check: fn(&[u8])) -> io::Result<()> {
    for (file, bytes) in files(target)? {
        // The test runner shows this output only if the test fails: the last name is that of the failing input.
        eprintln!("{}", file.display());
        check(&bytes);
    }
    Ok(())
}
