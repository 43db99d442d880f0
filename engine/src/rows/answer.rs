//! Answers: the stored reply to each id.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::bytes::Fingerprint;
use crate::fact::{EndCause, Ended, Evidence, Fact, Reason, Record, Source, Touches, Verdict};
use crate::ids::{AuthorizationId, Sequence};
use crate::money::{CurrencyCode, Minor};
use crate::time::UnixMillis;

/// The outcome of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Approved, in full or in part.
    Approved {
        source: Source,
        /// In the transaction currency.
        amount: Minor,
        /// The amount is below the requested one.
        partial: bool,
    },
    Declined(Reason),
    /// A reversal or advice was acknowledged.
    Acknowledged {
        /// Released, in the transaction currency; zero where nothing was held.
        amount: Minor,
    },
}

/// The row of an answered id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The last record that gave or changed the answer.
    pub sequence: Sequence,
    /// The record of the decision, with the request and the inputs.
    pub decided: Sequence,
    /// Time of the decision.
    pub at: UnixMillis,
    /// Hash of the request, to recognize a repeat.
    pub fingerprint: Fingerprint,
    pub root: AuthorizationId,
    pub currency: CurrencyCode,
    pub outcome: Outcome,
}

impl Row for Answer {
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
            Fact::Settled(settled) => match &settled.evidence {
                Evidence::Announced(announced) => {
                    let outcome = Outcome::Acknowledged { amount: announced.released };
                    (&announced.request, announced.fingerprint, outcome)
                }
                _ => return None,
            },
            _ => return None,
        };
        let (root, currency) = (request.root().clone(), request.currency_code());
        Some(Answer { sequence, decided: sequence, at: record.at, fingerprint, root, currency, outcome })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// A late decision is answered `deadline_exceeded` permanently.
    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence <= self.sequence {
            return;
        }
        if let Fact::Settled(settled) = &record.fact
            && matches!(&settled.evidence, Evidence::Ended(Ended { cause: EndCause::Late { .. }, .. }))
        {
            self.outcome = Outcome::Declined(Reason::DeadlineExceeded);
            self.sequence = sequence;
        }
    }
}
