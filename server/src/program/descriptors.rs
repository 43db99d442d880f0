//! Open files: the soft limit is raised to the hard one, and connections get what everything else leaves.
//!
//! RocksDB opens files at any time, and a failed opening ends the process. So connections can never take the last one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tapgate_engine::store::rocks;

use crate::http::listener::CONNECTIONS_MAX;

/// For calls to UR and to receivers: a few connections each, and their names' look-ups.
const OUTGOING: u64 = 64;

/// For what else a process opens: standard streams, listeners, the runtime's, configuration, the treasury's cache; with
/// room for what a library opens unasked.
const OTHERS: u64 = 64;

/// Connections of people and of monitoring, where files are scarce.
const ADMIN_PLACES_LEAST: u64 = 32;

/// Connections of UR, with fewer of which no server starts: it keeps a few dozen.
const PUBLIC_PLACES_LEAST: u64 = 128;

/// Of the files that are left, those for the admin side.
const ADMIN_SHARE: u64 = 4;

/// Places of connections on each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) public: usize,
    pub(super) admin: usize,
}

/// The process may open too few files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open {limit} files and needs {least} at least: raise the hard limit (`ulimit -Hn`, `LimitNOFILE=` of \
     systemd, `ulimits: nofile` of a container)"
)]
pub(super) struct TooFew {
    limit: u64,
    least: u64,
}

/// Raises the limit of open files and shares them out.
///
/// # Errors
/// They are too few for a server.
pub(super) fn share_out() -> Result<Places, TooFew> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit. A process may always raise its own soft limit so far; where a sandbox forbids it, the soft one counts.
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    let places = places(limit.unwrap_or(u64::MAX))?;
    tracing::info!(files = limit, public = places.public, admin = places.admin, "open files are shared out");
    Ok(places)
}

fn places(limit: u64) -> Result<Places, TooFew> {
    let taken = rocks::FILES_MAX + OUTGOING + OTHERS;
    let least = taken + ADMIN_PLACES_LEAST + PUBLIC_PLACES_LEAST;
    if limit < least {
        return Err(TooFew { limit, least });
    }
    let left = limit - taken;
    let most = CONNECTIONS_MAX as u64;
    let admin = (left / ADMIN_SHARE).clamp(ADMIN_PLACES_LEAST, most).min(left - PUBLIC_PLACES_LEAST);
    let public = (left - admin).min(most);
    // Both are at most `CONNECTIONS_MAX`.
    let places = |count: u64| usize::try_from(count).unwrap_or(CONNECTIONS_MAX);
    Ok(Places { public: places(public), admin: places(admin) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_everything_else_leaves() {
        let shared = |limit| places(limit).map(|places| (places.public, places.admin));
        // A shell's limit, a service's, and none.
        assert_eq!(shared(1_024), Ok((336, 112)));
        assert_eq!(shared(65_536), Ok((4_096, 4_096)));
        assert_eq!(shared(u64::MAX), Ok((4_096, 4_096)));
        assert_eq!(shared(736), Ok((128, 32)));
        assert_eq!(shared(735), Err(TooFew { limit: 735, least: 736 }));
    }

    #[test]
    fn all_together_they_never_exceed_the_limit() {
        for limit in 736..20_000 {
            let Places { public, admin } = places(limit).unwrap();
            assert!(rocks::FILES_MAX + OUTGOING + OTHERS + public as u64 + admin as u64 <= limit, "{limit}");
        }
    }
}
