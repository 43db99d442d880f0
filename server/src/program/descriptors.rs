//! Open files: the soft limit is raised to the hard one, and shared out between the store and connections.
//!
//! RocksDB opens files at any time, and a failed opening ends the process. So connections can never take the last one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tapgate_engine::store::rocks::TablesOpen;

use crate::http::listener::{CONNECTIONS_MAX, LEAVING_MAX};

/// For calls to UR: a few connections, and the look-ups of its name.
const OF_UR: u64 = 32;

/// For calls to a receiver: one at a time, and its name's look-up.
const OF_RECEIVER: u64 = 2;

/// For what else a process opens: standard streams, listeners, the runtime's, configuration, the treasury's cache; with
/// room for what a library opens unasked.
const OTHERS: u64 = 64;

/// Of both listeners.
const LEAVING: u64 = 2 * LEAVING_MAX as u64;

/// Connections of people and of monitoring, where files are scarce.
const ADMIN_PLACES_LEAST: u64 = 32;

/// Connections of UR, with fewer of which no server starts: it keeps a few dozen.
const PUBLIC_PLACES_LEAST: u64 = 128;

/// Of the files beyond the least, those for the store's tables: one in so many.
const STORE_SHARE: u64 = 2;

/// Of the connections, those for the admin side: one in so many.
const ADMIN_SHARE: u64 = 4;

/// What the store may keep open, and the places of connections on each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) tables: TablesOpen,
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

/// Raises the limit of open files and shares them out, beside what calls to this many receivers need.
///
/// # Errors
/// They are too few for a server.
pub(super) fn share_out(receivers: usize) -> Result<Shares, TooFew> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit. A process may always raise its own soft limit so far; where a sandbox forbids it, the soft one counts.
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    let shares = shares(limit.unwrap_or(u64::MAX), others(receivers))?;
    let Shares { tables, public, admin } = shares;
    tracing::info!(files = limit, of_store = tables.files(), public, admin, "open files are shared out");
    Ok(shares)
}

/// Files of neither the store nor a client.
fn others(receivers: usize) -> u64 {
    // The configuration bounds receivers by a few dozen.
    OTHERS + OF_UR + OF_RECEIVER.saturating_mul(receivers as u64) + LEAVING
}

fn shares(limit: u64, others: u64) -> Result<Shares, TooFew> {
    let store_least = TablesOpen::LEAST.files();
    let least = store_least + others + ADMIN_PLACES_LEAST + PUBLIC_PLACES_LEAST;
    let beyond = limit.checked_sub(least).ok_or(TooFew { limit, least })?;
    let tables = TablesOpen::within(store_least + beyond / STORE_SHARE);
    let left = limit - tables.files() - others;
    let most = CONNECTIONS_MAX as u64;
    let admin = (left / ADMIN_SHARE).clamp(ADMIN_PLACES_LEAST, most).min(left - PUBLIC_PLACES_LEAST);
    let public = (left - admin).min(most);
    // Both are at most `CONNECTIONS_MAX`.
    let places = |count: u64| usize::try_from(count).unwrap_or(CONNECTIONS_MAX);
    Ok(Shares { tables, public: places(public), admin: places(admin) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_and_connections_get_what_everything_else_leaves() {
        let shared =
            |limit| shares(limit, others(0)).map(|shares| (shares.tables.files(), shares.public, shares.admin));
        // A shell's limit, a service's, and none.
        assert_eq!(shared(1_024), Ok((464, 324, 108)));
        assert_eq!(shared(65_536), Ok((8_320, 4_096, 4_096)));
        assert_eq!(shared(u64::MAX), Ok((8_320, 4_096, 4_096)));
        assert_eq!(shared(480), Ok((192, 128, 32)));
        assert_eq!(shared(479), Err(TooFew { limit: 479, least: 480 }));
        let least = TooFew { limit: 570, least: 480 + 2 * 49 };
        assert_eq!(shares(570, others(49)), Err(least), "with every receiver that can be configured");
    }

    #[test]
    fn all_together_they_never_exceed_the_limit() {
        for limit in 480..20_000 {
            let Shares { tables, public, admin } = shares(limit, others(0)).unwrap();
            assert!(tables.files() + others(0) + public as u64 + admin as u64 <= limit, "{limit}");
        }
    }
}
