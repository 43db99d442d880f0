//! The data directory's files beside the store.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::receipts::daily::Publish;
use crate::treasury::follow::Cache;

/// The file of treasury's cache.
pub(super) const TREASURY_CACHE: &str = "treasury.cache";

/// A file that is replaced as a whole.
pub(super) struct CacheFile(PathBuf);

impl CacheFile {
    pub(super) fn of_treasury(data_dir: &Path) -> CacheFile {
        CacheFile(data_dir.join(TREASURY_CACHE))
    }
}

impl Cache for CacheFile {
    fn read(&self) -> Option<Vec<u8>> {
        std::fs::read(&self.0).ok()
    }

    // No sync: the checksum detects a torn file.
    fn replace(&self, bytes: &[u8]) -> std::io::Result<()> {
        let written = self.0.with_extension("cache.new");
        std::fs::write(&written, bytes)
            .and_then(|()| std::fs::rename(&written, &self.0))
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", self.0.display())))
    }
}

/// Writes files into a directory that others read, each whole or not at all. The directory is made if it is missing.
pub(super) fn publish_into(directory: PathBuf) -> Publish {
    Box::new(move |name, bytes| {
        std::fs::create_dir_all(&directory)?;
        let (written, published) = (directory.join(format!("{name}.new")), directory.join(name));
        let mut file = std::fs::File::create(&written)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&written, &published)?;
        std::fs::File::open(&directory)?.sync_all()
    })
}

/// `None` if the system does not report it: a missing figure must not stop the service.
pub(super) fn free_bytes(directory: &Path) -> Option<u64> {
    let figures = rustix::fs::statvfs(directory).ok()?;
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_replaced_as_a_whole_and_leaves_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CacheFile::of_treasury(directory.path());
        assert_eq!(cache.read(), None);
        for bytes in [&b"first"[..], b"2nd"] {
            cache.replace(bytes).unwrap();
            assert_eq!(cache.read().as_deref(), Some(bytes));
        }
        let files: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [TREASURY_CACHE]);
    }
}
