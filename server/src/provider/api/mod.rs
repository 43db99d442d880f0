//! UR's API: a trait with every endpoint in use, and its client over HTTPS.
//!
//! UR's limits are unknown, so all callers share one budget a minute by priority, and a breaker stops calls while UR is
//! down. Decisions never call UR.

mod account_mode;
mod breaker;
mod budget;
mod client;

use std::future::Future;

use tapgate_engine::ids::UrId;
use tapgate_engine::money::Minor;

pub use account_mode::AccountMode;
use account_mode::Subject;
pub use breaker::Breaker;
pub use budget::{Budget, Priority};
pub use client::{AmountForms, Client, ClientSetUpError, Settings};

use crate::wire::Malformed;
use crate::wire::ur::{Balances, Cursor, DepositQuote, Page, Profile, Rate, RefusalCode, Token, Transaction};

/// UR's codes for an invalid request (seed 003): a field missing, malformed or out of range.
const BAD_REQUEST: std::ops::RangeInclusive<i64> = 20_001..=20_003;

/// Reasons why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrError {
    /// UR refused the call.
    #[error("UR refused {path}: {code} {message:?}")]
    Refused {
        /// The endpoint.
        path: &'static str,
        /// The code's meaning.
        kind: RefusalCode,
        /// UR's code, or the HTTP status if it sent none.
        code: i64,
        /// UR's text.
        message: String,
    },
    /// No connection, or it broke.
    #[error("UR is not reachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("UR did not answer {0} in time")]
    Timeout(&'static str),
    /// An answer of unknown form.
    #[error("UR's answer to {path} cannot be read: {error}")]
    Malformed {
        /// The endpoint.
        path: &'static str,
        /// The fault in the answer.
        error: Malformed,
    },
    /// The answer's signature is not UR's.
    #[error("UR's answer to {0} bears a signature that is not UR's: check ur.base_url and ur.signers")]
    Signature(&'static str),
    /// The answer has no signature, where one is required.
    #[error(
        "UR's answer to {0} has no signature: somebody between UR and this machine answers, or UR does not sign its answers \
         here (ur.require_signed_answers)"
    )]
    Unsigned(&'static str),
    /// The breaker holds calls back.
    #[error("UR has failed repeatedly and is not asked before its pause is over")]
    Paused,
}

impl UrError {
    /// Whether the same call may pass later without any change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            UrError::Refused { kind, .. } => matches!(kind, RefusalCode::Unavailable | RefusalCode::RateLimited),
            UrError::Unreachable(_) | UrError::Timeout(_) | UrError::Paused => true,
            UrError::Malformed { .. } | UrError::Signature(_) | UrError::Unsigned(_) => false,
        }
    }

    /// Whether UR itself has said, by a published code, that the request was not executed and never will be. A status
    /// without a code may come from a proxy; an unknown code may mean "again", "later" or "never".
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            UrError::Refused { kind: RefusalCode::Status | RefusalCode::Blocked, .. } => true,
            UrError::Refused { kind: RefusalCode::Invalid, code, .. } => BAD_REQUEST.contains(code),
            _ => false,
        }
    }

    /// The meaning of UR's code, if UR refused.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalCode> {
        match self {
            UrError::Refused { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// Whether UR itself failed: the failures that the breaker counts.
    fn is_failure(&self) -> bool {
        self.is_transient() && self.refusal() != Some(RefusalCode::RateLimited)
    }
}

/// Filter of `/v1/transactions` (seed 004).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionFilter {
    /// A single type.
    pub kind: Option<&'static str>,
    /// Not before, in unix seconds.
    pub from: Option<i64>,
    /// Items in a page, 1 to 100.
    pub page_size: u8,
}

/// A page of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// The first page.
    #[default]
    Start,
    /// The page after another, by its `next`.
    After(Cursor),
}

/// A request for the output of an amount before it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteAsked<'a> {
    pub user: &'a UrId,
    pub input: &'a str,
    pub output: &'a str,
    /// In smallest units of `input`.
    pub amount: Minor,
}

/// A deposit: the payment, its output, and the id that makes a repetition harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositOrder {
    pub user: UrId,
    pub input: String,
    pub output: String,
    /// In smallest units of the token paid.
    pub amount: Minor,
    /// Stored before the call, and the same at every retry.
    pub request_id: String,
}

/// The engine's calls to UR. A call may wait for the budget; besides that it ends within the client's deadline.
pub trait UrApi: Send + Sync + 'static {
    /// `/v1/profile`, or its like in Managed Custody.
    fn profile(&self, user: &UrId, priority: Priority) -> impl Future<Output = Result<Profile, UrError>> + Send;

    /// `/v1/balance`, likewise.
    fn balance(&self, user: &UrId, priority: Priority) -> impl Future<Output = Result<Balances, UrError>> + Send;

    /// The path that [`UrApi::balance`] asks.
    fn balance_path(&self) -> &'static str {
        AccountMode::default().path(Subject::Balance)
    }

    /// One page of `/v1/transactions`, likewise.
    fn transactions(
        &self,
        user: &UrId,
        filter: &TransactionFilter,
        at: At,
        priority: Priority,
    ) -> impl Future<Output = Result<Page<Transaction>, UrError>> + Send;

    /// `/v1/transaction/query`. The batch fails whole with [`RefusalCode::NotFound`] if one transaction is missing.
    fn transactions_of(
        &self,
        pairs: &[(UrId, String)],
        priority: Priority,
    ) -> impl Future<Output = Result<Page<Transaction>, UrError>> + Send;

    /// `/v1/tokens`.
    fn tokens(&self, priority: Priority) -> impl Future<Output = Result<Vec<Token>, UrError>> + Send;

    /// `/v1/exchangeRate`.
    fn exchange_rate(
        &self,
        from: &str,
        to: &str,
        priority: Priority,
    ) -> impl Future<Output = Result<Rate, UrError>> + Send;

    /// `/v1/deposit/quote`.
    fn deposit_quote(&self, asked: &QuoteAsked<'_>) -> impl Future<Output = Result<DepositQuote, UrError>> + Send;

    /// `/v1/deposit`; the transaction's hash. One attempt: a refusal proves something only if no attempt went before
    /// it.
    fn deposit(&self, asked: &DepositOrder) -> impl Future<Output = Result<String, UrError>> + Send;
}
