//! Answers: what was said to an id.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::bytes::Fingerprint;
use crate::fact::{Fact, Reason, Record, ReleaseCause, Source, Touches, Verdict};
use crate::ids::{AuthorizationId, Sequence};
use crate::money::{Currency, Minor};
use crate::store::Table;
use crate::time::UnixMillis;

/// What was answered to an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Approved, in full or in part.
    Approved {
        /// Where it is paid from.
        source: Source,
        /// In the transaction currency.
        amount: Minor,
        /// Less than was asked.
        partial: bool,
    },
    /// Declined.
    Declined(Reason),
    /// A reversal or advice: given back, in the transaction currency.
    Acknowledged {
        /// Nothing where nothing was held.
        amount: Minor,
    },
}

/// The row of an answered id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The last record that gave or changed it.
    pub sequence: Sequence,
    /// The record of the decision, which holds the request and the values seen.
    pub decided: Sequence,
    /// When it was decided.
    pub at: UnixMillis,
    /// Of the request, to know the same one again.
    pub fingerprint: Fingerprint,
    /// The root authorization.
    pub root: AuthorizationId,
    /// The transaction currency.
    pub currency: Currency,
    /// What was answered.
    pub outcome: Outcome,
}

impl Row for Answer {
    const TABLE: Table = Table::Answers;
    const LOADED_AT_START: bool = false;
    type Key = AuthorizationId;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = AuthorizationId> {
        touches.answer.cloned().into_iter()
    }

    fn open(_: &AuthorizationId, sequence: Sequence, record: &Record) -> Option<Answer> {
        let (request, fingerprint, outcome) = match &record.fact {
            Fact::Decided(decided) => {
                let outcome = match &decided.verdict {
                    Verdict::Approved(approval) => Outcome::Approved {
                        source: approval.source,
                        amount: approval.amount,
                        partial: approval.amount < decided.request.amount,
                    },
                    Verdict::Declined(reason) => Outcome::Declined(*reason),
                };
                (&decided.request, decided.fingerprint, outcome)
            }
            Fact::HoldReleased(returned) => match &returned.cause {
                ReleaseCause::Requested { request, fingerprint } => {
                    (&**request, *fingerprint, Outcome::Acknowledged { amount: returned.amount })
                }
                ReleaseCause::Late { .. } | ReleaseCause::Person { .. } | ReleaseCause::Expired => return None,
            },
            _ => return None,
        };
        let (root, currency) = (request.root().clone(), request.currency);
        Some(Answer { sequence, decided: sequence, at: record.at, fingerprint, root, currency, outcome })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A decision that was late is answered `deadline_exceeded` for ever.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence <= self.sequence {
            return;
        }
        if let Fact::HoldReleased(returned) = &record.fact
            && matches!(returned.cause, ReleaseCause::Late { .. })
        {
            self.outcome = Outcome::Declined(Reason::DeadlineExceeded);
            self.sequence = sequence;
        }
    }
}
