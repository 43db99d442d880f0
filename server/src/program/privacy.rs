//! What the process writes is its owner's alone, and no core dump holds a key.

use std::fs::{DirBuilder, Permissions, read_dir, set_permissions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};
use tapgate_engine::store::rocks;

use super::files::TREASURY_CACHE;

/// Directories: for the owner alone.
const OWNERS: u32 = 0o700;

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// In the root of a file system.
const LOST_AND_FOUND: &str = "lost+found";

/// Lets others read no file that this process makes from now on, and forbids core dumps.
pub(crate) fn of_process() {
    umask(Mode::from_raw_mode(OTHERS));
    // A sandbox may forbid it: the service file and the container's settings forbid dumps, too.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Makes the data directory if it is missing, and closes it to others. In a directory that holds something else, only
/// tapgate's own is closed. Where the file system does not permit it, as a network's or a container's volume, a warning
/// says so.
///
/// # Errors
/// The directory cannot be made or read.
pub(super) fn close(data_dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNERS).create(data_dir)?;
    let (mut ours, mut foreign) = (Vec::new(), None);
    for entry in read_dir(data_dir)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Some(name) if is_ours(name) => ours.push(entry.path()),
            Some(LOST_AND_FOUND) => {}
            _ => foreign = Some(entry.path()),
        }
    }
    let closed = match foreign {
        None => close_all(std::iter::once(data_dir.to_owned())),
        Some(foreign) => {
            let (directory, foreign) = (data_dir.display(), foreign.display());
            tracing::warn!(
                "{directory} is open to others and stays so, because {foreign} is not tapgate's: give tapgate a directory \
                 of its own (`data_dir`)"
            );
            close_all(ours.into_iter())
        }
    };
    match closed {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::Unsupported
            ) =>
        {
            tracing::warn!(
                %error,
                "the data directory may be read by other users of this machine: close it (`chmod 700`), or give it to the \
                 user of this process (`chown`)"
            );
            Ok(())
        }
        closed => closed,
    }
}

/// The first of these paths that lies in the data directory, whatever links lead there.
///
/// # Errors
/// A path cannot be followed.
pub(super) fn inside<'a>(data_dir: &Path, paths: &'a [PathBuf]) -> std::io::Result<Option<&'a PathBuf>> {
    let data_dir = data_dir.canonicalize()?;
    for path in paths {
        // What is still to be made lies where its nearest directory does.
        let there = std::path::absolute(path)?;
        let there = there.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/")).canonicalize()?;
        if there.starts_with(&data_dir) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn is_ours(name: &str) -> bool {
    rocks::ENTRIES.contains(&name) || name.starts_with(TREASURY_CACHE)
}

fn close_all(mut paths: impl Iterator<Item = PathBuf>) -> std::io::Result<()> {
    paths.try_for_each(|path| {
        let mode = path.metadata()?.permissions().mode();
        let is_closed = mode & OTHERS == 0;
        let closed = if is_closed { Ok(()) } else { set_permissions(&path, Permissions::from_mode(mode & !OTHERS)) };
        closed.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn open_directory(path: &Path) {
        std::fs::create_dir(path).unwrap();
        set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn an_open_directory_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let (made, found) = (parent.path().join("deep/made"), parent.path().join("found"));
        open_directory(&found);
        for ours in rocks::ENTRIES.into_iter().chain([LOST_AND_FOUND]) {
            open_directory(&found.join(ours));
        }
        std::fs::write(found.join(TREASURY_CACHE), "").unwrap();
        for directory in [made, found] {
            close(&directory).unwrap();
            assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        }
    }

    #[test]
    fn in_a_directory_of_others_only_ours_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let shared = parent.path().join("shared");
        let (ours, theirs) = (shared.join(rocks::ENTRIES[0]), shared.join("theirs"));
        [&shared, &ours, &theirs].into_iter().for_each(|directory| open_directory(directory));
        close(&shared).unwrap();
        assert_eq!([&shared, &ours, &theirs].map(|path| mode(path)), [0o755, 0o700, 0o755]);
    }

    #[test]
    fn what_is_to_lie_outside_is_found_through_links() {
        let parent = tempfile::tempdir().unwrap();
        let (data, other) = (parent.path().join("data"), parent.path().join("other"));
        open_directory(&data);
        open_directory(&other);
        std::os::unix::fs::symlink(&data, parent.path().join("link")).unwrap();
        let found = |path: &str| inside(&data, &[parent.path().join(path)]).unwrap().is_some();
        let paths = ["data/key", "link/key", "other/../link/new/heads", "other/key", "data.key", "new"];
        assert_eq!(paths.map(found), [true, true, true, false, false, false]);
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(close(&file).is_err());
    }
}
