//! Rows: the stored state, and how each row folds a record.
//!
//! Recovery, verification and the tests fold with the same functions (`apply` of each row) that decisions use in
//! memory, so a record has one meaning.

mod alert;
mod answer;
mod authorization;
mod breaks;
mod closure;
mod completions;
mod cursor;
pub(crate) mod encoding;
pub(crate) mod index;
mod key;
pub(crate) mod legal;
mod pool;
mod posting;
mod postings;
mod prefund;
mod program;
mod settlement;
mod shelf;
mod spend_bytes;
mod spend_ring;
mod spends;
mod state;
mod state_hash;
mod told;
mod user;
mod users;

pub use alert::{Acknowledgement, Alert, AlertEnd};
pub use answer::{Answer, Outcome};
pub use authorization::{Authorization, Draw};
pub use breaks::{Break, Resolution};
pub use closure::Closure;
pub use completions::Completions;
pub use cursor::Cursor;
pub(crate) use key::{CallersKey, KeyRow};
pub use legal::FoldError;
pub use pool::{AwaitedCredit, CREDIT_AWAITED_MILLIS, PoolFigures, Reading};
pub(crate) use pool::{PoolRow, returned};
pub use posting::{PostingRow, ShownMovement};
pub(crate) use postings::{Noted, Postings};
pub use prefund::{Prefund, PrefundState, PrefundStep};
pub use program::Program;
pub(crate) use program::{Aged, PROGRAM_KEY, ProgramRow};
pub(crate) use settlement::content;
pub use settlement::{Layer, ReturnUse, Settlement, Sums, ToldBreak};
pub use shelf::{KeyBytes, Row, RowKey, Stored};
pub(crate) use shelf::{Shelf, Shelved, Shelves, each_stored, encode_row};
pub use spends::{NewSpend, SPENDS_KEPT_SECONDS, SPENDS_MAX, Spends};
pub use state::State;
pub(crate) use told::{Told, decoded, record, records_of};
pub use user::{Card, EndedHold, FiatBalance, Funds, Hold, LimitBase, User, merchant_hash};
pub(crate) use users::{Users, hasher};
