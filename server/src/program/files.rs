//! The data directory's files beside the store.

use std::fs::Permissions;
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::receipts::daily::Publish;
use crate::treasury::follow::Cache;
use crate::wire::receipt::Head;

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
            .map_err(|error| Error::new(error.kind(), format!("{}: {error}", self.0.display())))
    }
}

/// Writes files into a directory that others read, each whole or not at all, and never over another one. The directory is
/// made if it is missing. Both are open to be read by everybody, whatever this process's mask.
pub(super) fn publish_into(directory: PathBuf) -> Publish {
    Arc::new(move |name, bytes| {
        let published = directory.join(name);
        match std::fs::read(&published) {
            Ok(there) if is_same_head(&there, bytes) => return Ok(()),
            Ok(_) => {
                let published = published.display();
                return Err(Error::other(format!(
                    "{published} is another head: keep it, somebody has to explain this"
                )));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if !directory.try_exists()? {
            std::fs::create_dir_all(&directory)?;
            std::fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        }
        let written = directory.join(format!("{name}.new"));
        let mut file = std::fs::File::create(&written)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        std::fs::rename(&written, &published)?;
        std::fs::File::open(&directory)?.sync_all()
    })
}

/// Whether both say the same of a journal: another version may write the rest otherwise.
fn is_same_head(there: &[u8], bytes: &[u8]) -> bool {
    let said = |bytes: &[u8]| {
        let head: Head = serde_json::from_slice(bytes).ok()?;
        Some((head.journal, head.size, head.root, head.time, head.key, head.signature))
    };
    there == bytes || said(there).is_some_and(|there| Some(there) == said(bytes))
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
    fn a_head_is_readable_by_all_and_never_replaced_by_another() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("heads");
        let publish = publish_into(directory.clone());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        for _ in 0..2 {
            publish("head-1.json", b"one").unwrap();
        }
        assert_eq!((mode(&directory), mode(&directory.join("head-1.json"))), (0o755, 0o644));
        let said = publish("head-1.json", b"two").unwrap_err().to_string();
        assert!(said.contains("is another head"), "{said}");
        assert_eq!(std::fs::read(directory.join("head-1.json")).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }

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
