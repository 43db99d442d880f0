//! Rows: what is kept, and how each row folds a record.
//!
//! Recovery, verification and the tests fold with the very functions (`apply` of each row) that decisions use in
//! memory, so there is one definition of what a record means.

mod alert;
mod answer;
mod authorization;
mod breaks;
mod closure;
mod completions;
mod cursor;
pub(crate) mod encoding;
mod pool;
mod posting;
mod prefund;
mod program;
mod spends;
mod state;
mod user;

pub(crate) use alert::Alerts;
pub use alert::{Acknowledgement, Alert, AlertEnd};
pub use answer::{Answer, Outcome};
pub use authorization::{Authorization, Draw, Posted};
pub(crate) use breaks::Breaks;
pub use breaks::{Break, Resolution};
pub(crate) use closure::CLOSURES_KEY;
pub use closure::Closures;
pub use completions::Completions;
pub use cursor::Cursor;
pub(crate) use cursor::Cursors;
pub(crate) use pool::PoolRow;
pub use pool::{PoolFigures, Reading};
pub(crate) use posting::{PostingRow, Postings};
pub(crate) use prefund::Prefunds;
pub use prefund::{Prefund, PrefundState, Step};
pub use program::Program;
pub(crate) use program::{Keys, PROGRAM_KEY, ProgramRow};
pub use spends::{NewSpend, SPENDS_MAX, Spends};
pub use state::State;
pub use user::{Card, FiatBalance, Funds, Hold, LimitBase, User};
