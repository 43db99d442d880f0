//! What the process writes is its owner's alone, and no core dump holds a key.

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

/// Directories: for the owner alone.
const OWNERS: u32 = 0o700;

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// Closes the data directory to others, makes it if it is missing, and lets no file of this process be read by them.
///
/// # Errors
/// The directory cannot be made, or is another user's and open to others.
pub(super) fn keep(data_dir: &Path) -> std::io::Result<()> {
    umask(Mode::from_raw_mode(OTHERS));
    // A sandbox may forbid it: the service file and the container's settings forbid dumps, too.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    DirBuilder::new().recursive(true).mode(OWNERS).create(data_dir)?;
    let mode = data_dir.metadata()?.permissions().mode();
    if mode & OTHERS == 0 { Ok(()) } else { set_permissions(data_dir, Permissions::from_mode(OWNERS)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_directory_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let (made, found) = (parent.path().join("deep/made"), parent.path().join("found"));
        std::fs::create_dir(&found).unwrap();
        set_permissions(&found, Permissions::from_mode(0o755)).unwrap();
        for directory in [made, found] {
            keep(&directory).unwrap();
            assert_eq!(mode(&directory), 0o700, "{}", directory.display());
            std::fs::write(directory.join("file"), "").unwrap();
            assert_eq!(mode(&directory.join("file")), 0o600);
        }
    }
}
