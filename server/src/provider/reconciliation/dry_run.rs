//! A dry run of sweeps over the data directory: its records stay in memory.

use std::path::PathBuf;
use std::sync::Arc;

use tapgate_engine::fact::{Record, RecordError};
use tapgate_engine::ids::{Sequence, UrId};
use tapgate_engine::ledger::{Ledger, Policy};
use tapgate_engine::recovery::{RecoveryError, recover};
use tapgate_engine::store::Overlay;
use tapgate_engine::store::rocks::Rocks;
use tapgate_engine::store::{Store, StoreError};

use super::Settings;
use super::sweep::{SweepError, Sweeps};
use crate::clock::Clock;
use crate::provider::api::{self, Client, ClientSetUpError};
use crate::randomness::Randomness;

/// The dry run's share of the budget (one half): a running server needs the rest.
const BUDGET_SHARE: u32 = 2;

/// Reasons why a dry run failed.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// Without a key no call can be signed.
    #[error("ur.partner_key is not set: UR cannot be asked without it")]
    NoKey,
    /// The data directory cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The client was not set up.
    #[error(transparent)]
    Client(#[from] ClientSetUpError),
}

/// The server whose sweeps are simulated.
pub struct Given {
    /// The data directory; the server may keep running.
    pub data_dir: PathBuf,
    /// The ledger's policy.
    pub policy: Policy,
    /// UR's API.
    pub api: Option<api::Settings>,
    /// The rules of reconciliation.
    pub settings: Settings,
}

/// The result of a dry run.
#[derive(Debug, Default)]
pub struct DryRun {
    /// Accounts queried.
    pub accounts: usize,
    /// Transactions that UR showed.
    pub shown: usize,
    /// The records that sweeps would write, in order; with the sequences they would have if nothing else happened.
    pub records: Vec<(Sequence, Record)>,
    /// Accounts whose sweep failed, with the reason.
    pub failed: Vec<(UrId, String)>,
}

/// Sweeps the given accounts, or every account with something for UR to show. Believes silence at once. `progress`
/// receives the number of finished accounts and the total.
///
/// # Errors
/// No sweep was possible; the result lists single accounts that failed.
pub async fn dry_run(
    given: Given,
    accounts: Vec<UrId>,
    progress: impl Fn(usize, usize),
) -> Result<DryRun, DryRunError> {
    let mut api = given.api.ok_or(DryRunError::NoKey)?;
    let beneath: Arc<dyn Store> = Arc::new(Rocks::open_read_only(&given.data_dir)?);
    let recovered = recover(&beneath)?;
    let (_, waiting) = recovered.state.accounts();
    let accounts = if accounts.is_empty() { waiting } else { accounts };
    let clock = Arc::new(Clock::start());
    clock.check_behind(recovered.state.latest());
    let store: Arc<dyn Store> = Arc::new(Overlay::over(beneath));
    // Memory does not fail.
    let on_failure = Box::new(|_| ());
    let ledger = Ledger::start(Arc::clone(&store), recovered.state, given.policy, 0, on_failure)?;
    api.calls_per_minute = (api.calls_per_minute / BUDGET_SHARE).max(1);
    let client = Client::new(api, Arc::clone(&clock), Randomness::of_system(), Arc::default())?;
    let mut sweeps = Sweeps::for_dry_run(given.settings);
    let mut found = DryRun { accounts: accounts.len(), ..DryRun::default() };
    for (done, user) in accounts.iter().enumerate() {
        progress(done, accounts.len());
        match sweeps.sweep(&ledger, &clock, &client, user).await {
            Ok(swept) => found.shown += swept.shown,
            Err(error @ (SweepError::Ur(_) | SweepError::Unclear(_) | SweepError::Change(_))) => {
                found.failed.push((user.clone(), error.to_string()));
            }
            Err(SweepError::Store(error)) => return Err(error.into()),
        }
    }
    progress(accounts.len(), accounts.len());
    ledger.journal().close();
    let mut records = Vec::new();
    store.read(recovered.head, &mut |entry| {
        records.push((entry.sequence, Record::decode(entry.payload)));
        std::ops::ControlFlow::Continue(())
    })?;
    for (sequence, record) in records {
        found.records.push((sequence, record?));
    }
    Ok(found)
}
