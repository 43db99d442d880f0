//! What a user's approvals still hold, and what UR may still take of it.

use serde::{Deserialize, Serialize};

use super::User;
use crate::fact::{Difference, LayerChange, Source, debit_id};
use crate::ids::{AuthorizationId, Sequence};
use crate::money::{Minor, Money};
use crate::time::{UnixMillis, UnixSeconds};

/// Authorizations with an open question that a user's row keeps: the youngest.
const ASKED_MAX: usize = 256;

/// Ended holds that a user's row keeps for late movements: the youngest.
const ENDED_MAX: usize = 32;

/// How long an ended hold is kept: longer than the longest life of a hold that can be configured (90 days), with a month for
/// movements that UR shows late.
pub(super) const ENDED_KEPT_SECONDS: i64 = 120 * 24 * 3_600;

/// The amounts that one approved decision still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The record of the approval.
    pub sequence: Sequence,
    /// The id of the decision: an authorization's or an increment's.
    pub id: AuthorizationId,
    pub root: AuthorizationId,
    pub source: Source,
    /// The amount held at the source.
    pub paid: Money,
    /// Held of the user's funds, in their currency; zero once the partner has debited them.
    pub funds: Minor,
    /// Time of the decision, or of the record that made the claim.
    pub at: UnixSeconds,
    /// The merchant's category.
    pub mcc: Option<u16>,
    /// The merchant's name, hashed: it breaks ties between holds that a movement fits.
    pub merchant: Option<u32>,
}

/// A hold that we ended: UR may still take it, and name nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedHold {
    pub root: AuthorizationId,
    /// What was held last.
    pub paid: Money,
    pub at: UnixSeconds,
    pub mcc: Option<u16>,
    pub merchant: Option<u32>,
}

impl EndedHold {
    /// Whether no movement can be matched with it any more.
    pub(super) fn is_forgotten(&self, now: UnixSeconds) -> bool {
        self.at.plus(ENDED_KEPT_SECONDS) < now
    }
}

impl Hold {
    /// Whether nothing is held any more: the hold was settled or released, and the partner debited the user.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.paid.amount.is_zero() && self.funds.is_zero()
    }
}

/// A merchant's name for comparison, whatever the case of its ASCII letters.
#[must_use]
pub fn merchant_hash(name: &str) -> u32 {
    // FNV-1a: it breaks ties among one user's own holds, and every decision pays for it.
    let bytes = name.as_bytes().trim_ascii();
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193))
}

impl User {
    /// Keeps what late movements without a reference are matched by.
    pub(super) fn keep_ended(&mut self, root: &AuthorizationId, now: UnixSeconds) {
        let Some(first) = self.holds().iter().find(|hold| hold.root == *root) else { return };
        let held = self.holds().iter().filter(|hold| hold.root == *root).map(|hold| hold.paid.amount).sum();
        let paid = Money { amount: held, ..first.paid };
        let ended = EndedHold { root: root.clone(), paid, at: first.at, mcc: first.mcc, merchant: first.merchant };
        let kept = &mut self.rare_mut().ended;
        kept.retain(|ended| !ended.is_forgotten(now));
        kept.push(ended);
        if kept.len() > ENDED_MAX {
            kept.remove(0);
        }
    }

    pub(super) fn change_hold(
        &mut self,
        made_by: Sequence,
        at: UnixMillis,
        root: &AuthorizationId,
        change: &Difference,
        layer: &LayerChange,
    ) {
        if let Some(own) = &mut self.funds {
            own.held += layer.funds + layer.upcharge.funds;
        }
        let holds = &mut self.rest_mut().holds;
        if let Some(hold) = holds.iter_mut().find(|hold| hold.sequence == made_by && hold.root == *root) {
            hold.paid.amount += layer.held;
            hold.funds += layer.funds;
            return;
        }
        let twin = holds.iter().find(|hold| hold.root == *root);
        let (mcc, merchant) = twin.map_or((None, None), |twin| (twin.mcc, twin.merchant));
        let at = twin.map_or(at.seconds(), |twin| twin.at);
        holds.push(Hold {
            sequence: made_by,
            id: debit_id(root, layer.number),
            root: root.clone(),
            source: change.source.unwrap_or(Source::Crypto),
            paid: Money { amount: layer.held, currency: change.currency },
            funds: layer.funds,
            at,
            mcc,
            merchant,
        });
    }

    /// Keeps whether an authorization has an open question.
    pub(super) fn ask(&mut self, root: &AuthorizationId, is_asked: bool) {
        if is_asked == self.asked().contains(root) {
            return;
        }
        let asked = &mut self.rare_mut().asked;
        if is_asked {
            asked.push(root.clone());
            if asked.len() > ASKED_MAX {
                asked.remove(0);
            }
        } else {
            asked.retain(|own| own != root);
        }
    }
}
