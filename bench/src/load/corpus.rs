//! The callbacks that are sent: what each asks, what must be answered, and its signature.

use std::collections::VecDeque;
use std::io::Write as _;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tapgate::signature::SigningKey;

/// What each authorization asks, in cents: 12.50 EUR.
const AMOUNT: u64 = 1_250;

/// What an authorization asks that must be declined, in cents: more than any user's funds, within limit and pool, so
/// that the ladder is climbed nearly to its end.
const AMOUNT_DECLINED: u64 = 2 * FUNDS;

/// A user's funds in cents. A million approvals of one user take a hundredth of them: no run comes near their end.
pub(crate) const FUNDS: u64 = 100_000_000_000;

/// What the pool holds, in cents, and each user's limit in centimes: a hundred times what must be declined for want of
/// funds, so that neither is ever the reason.
pub(crate) const AMPLE: u64 = 100 * AMOUNT_DECLINED;

/// The engine's largest amount (`tapgate_engine::money::AMOUNT_MAX`).
const _: () = assert!(AMPLE <= 1_000_000_000_000_000);

/// Answered callbacks that wait for their duplicate or reversal; older ones are forgotten.
const ANSWERED_MAX: usize = 4_096;

/// Parts of the traffic, as weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    pub(crate) approve: u32,
    pub(crate) decline: u32,
    pub(crate) duplicate: u32,
    pub(crate) reversal: u32,
}

impl FromStr for Mix {
    type Err = String;

    /// Reads `approve=80,decline=10,duplicate=5,reversal=5`; what is left out is 0.
    fn from_str(text: &str) -> Result<Mix, String> {
        let mut mix = Mix { approve: 0, decline: 0, duplicate: 0, reversal: 0 };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(|| format!("{part}: expected name=weight"))?;
            let place = match name {
                "approve" => &mut mix.approve,
                "decline" => &mut mix.decline,
                "duplicate" => &mut mix.duplicate,
                "reversal" => &mut mix.reversal,
                _ => return Err(format!("{name}: the parts are approve, decline, duplicate and reversal")),
            };
            *place = weight
                .parse()
                .ok()
                .filter(|weight| *weight <= 1_000_000)
                .ok_or_else(|| format!("{weight}: a weight is a number up to 1000000"))?;
        }
        if mix.approve == 0 && (mix.decline == 0 || mix.duplicate + mix.reversal > 0) {
            return Err("without approve there is nothing to repeat or reverse".to_owned());
        }
        Ok(mix)
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mix { approve, decline, duplicate, reversal } = self;
        write!(f, "approve={approve},decline={decline},duplicate={duplicate},reversal={reversal}")
    }
}

/// What a callback asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Approve,
    Decline,
    /// An approved one again: the answer must have the same bytes.
    Duplicate,
    /// Gives the approved callback of that number back.
    Reversal(u64),
}

impl What {
    pub(crate) fn name(self) -> &'static str {
        match self {
            What::Approve => "approved",
            What::Decline => "declined",
            What::Duplicate => "duplicates",
            What::Reversal(_) => "reversals",
        }
    }
}

/// A callback before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Makes its id. A duplicate has the number of what it repeats.
    pub(crate) number: u64,
    pub(crate) user: u64,
    pub(crate) what: What,
}

/// A signed callback.
#[derive(Clone, Debug)]
pub(crate) struct Callback {
    pub(crate) draft: Draft,
    pub(crate) body: Bytes,
    pub(crate) signature: HeaderValue,
}

/// The urId at an index.
pub(crate) fn ur_id(user: u64) -> u64 {
    700_000_000 + user
}

/// The card of a user.
pub(crate) fn card_id(user: u64) -> String {
    format!("card_load_{user}")
}

/// Unix seconds by this machine's clock.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Draws callbacks: a function of the seed.
#[derive(Debug)]
pub(crate) struct Drafts {
    random: ChaCha8Rng,
    mix: Mix,
    users: u64,
    /// Callbacks between one and its duplicate or reversal, so that it is answered by then.
    lag: u64,
    drawn: u64,
    approved: VecDeque<(u64, Draft)>,
}

impl Drafts {
    pub(crate) fn new(mix: Mix, users: u64, lag: u64, seed: u64) -> Drafts {
        Drafts { random: ChaCha8Rng::seed_from_u64(seed), mix, users, lag, drawn: 0, approved: VecDeque::new() }
    }

    /// An approved callback that is answered by now, if there is one.
    fn answered(&mut self) -> Option<Draft> {
        let (drawn, _) = self.approved.front()?;
        if drawn + self.lag > self.drawn {
            return None;
        }
        self.approved.pop_front().map(|(_, draft)| draft)
    }

    fn remember(&mut self, draft: Draft) {
        if self.mix.duplicate + self.mix.reversal == 0 {
            return;
        }
        // Never among those that are not answered yet: only the oldest goes.
        if self.approved.len() as u64 > self.lag + ANSWERED_MAX as u64 {
            self.approved.pop_front();
        }
        self.approved.push_back((self.drawn, draft));
    }

    pub(crate) fn draw(&mut self) -> Draft {
        self.drawn += 1;
        let Mix { approve, decline, duplicate, reversal } = self.mix;
        let lot = self.random.random_range(0..approve + decline + duplicate + reversal);
        let fresh = Draft { number: self.drawn, user: self.random.random_range(0..self.users), what: What::Approve };
        if lot < decline {
            return Draft { what: What::Decline, ..fresh };
        }
        if lot < decline + duplicate + reversal
            && let Some(answered) = self.answered()
        {
            return if lot < decline + duplicate {
                Draft { what: What::Duplicate, ..answered }
            } else {
                Draft { what: What::Reversal(answered.number), user: answered.user, ..fresh }
            };
        }
        // Also in place of a duplicate or reversal while nothing is answered yet.
        self.remember(fresh);
        fresh
    }
}

/// Signs callbacks, and knows what must be answered to them.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    key: SigningKey,
    /// Keeps the ids of this run apart from those of every other.
    run: u64,
}

impl Signer {
    pub(crate) fn new(key: SigningKey) -> Signer {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Signer { key, run: u64::try_from(since.as_micros()).unwrap_or(u64::MAX) }
    }

    fn id(&self, number: u64) -> String {
        format!("ld{:x}_{number:09}", self.run)
    }

    /// The callback, sent at a time in unix seconds, signed as UR signs (V1, over the body).
    pub(crate) fn sign(&self, draft: Draft, at: u64) -> Callback {
        let Draft { number, user, what } = draft;
        let id = self.id(number);
        let (kind, original, amount) = match what {
            What::Approve | What::Duplicate => ("authorization", "null".to_owned(), AMOUNT),
            What::Decline => ("authorization", "null".to_owned(), AMOUNT_DECLINED),
            What::Reversal(root) => ("reversal", format!("\"{}\"", self.id(root)), AMOUNT),
        };
        let (ur_id, card) = (ur_id(user), card_id(user));
        let body = format!(
            "{{\"event\":\"card_authorization\",\"timestamp\":{at},\"data\":{{\"authorizationId\":\"{id}\",\
             \"type\":\"{kind}\",\"originalAuthorizationId\":{original},\"urId\":\"{ur_id}\",\"cardId\":\"{card}\",\
             \"transactionAmount\":\"{amount}\",\"transactionCurrency\":\"EUR\",\"settlementAmount\":\"{amount}\",\
             \"settlementCurrency\":\"EUR\",\"partialApprovalAllowed\":false,\"merchant\":{{\"id\":\"m_1\",\
             \"name\":\"Café\",\"mcc\":\"5812\",\"city\":\"Zürich\",\"country\":\"CHE\"}},\"channel\":\"contactless\"}}}}"
        );
        let signature = self.key.sign_hex(&[body.as_bytes()]);
        // Hexadecimal digits are a header's value.
        let signature = HeaderValue::from_str(&signature).unwrap_or(HeaderValue::from_static(""));
        Callback { draft, body: Bytes::from(body), signature }
    }

    /// The bytes that must be answered, into `bytes`.
    pub(crate) fn expect(&self, draft: Draft, bytes: &mut Vec<u8>) {
        bytes.clear();
        let id = self.id(draft.number);
        // A vector takes everything.
        let _ = match draft.what {
            What::Approve | What::Duplicate => write!(
                bytes,
                r#"{{"authorizationId":"{id}","approved":true,"source":"CRYPTO","approvedAmount":"{AMOUNT}","currency":"EUR","partnerRefId":"{id}"}}"#
            ),
            What::Decline => write!(
                bytes,
                r#"{{"authorizationId":"{id}","approved":false,"reason":"insufficient_user_funds","responseCode":"51","partnerRefId":"{id}"}}"#
            ),
            What::Reversal(root) => write!(
                bytes,
                r#"{{"authorizationId":"{id}","approved":true,"approvedAmount":"{AMOUNT}","currency":"EUR","partnerRefId":"{}"}}"#,
                self.id(root)
            ),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: Mix = Mix { approve: 80, decline: 10, duplicate: 5, reversal: 5 };

    #[test]
    fn a_mix_reads_what_it_shows() {
        assert_eq!(MIX.to_string().parse::<Mix>(), Ok(MIX));
        assert_eq!("decline=1".parse::<Mix>().unwrap().approve, 0);
        for bad in ["", "approve", "approve=x", "refund=1", "approve=0", "decline=1,reversal=1"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn duplicates_and_reversals_come_after_what_they_name_and_only_once() {
        let mut drafts = Drafts::new(MIX, 10, 64, 1);
        let mut drawn_at = std::collections::BTreeMap::new();
        let mut counts = std::collections::BTreeMap::new();
        for at in 1..=50_000_u64 {
            let draft = drafts.draw();
            *counts.entry(draft.what.name()).or_insert(0_u64) += 1;
            let named = match draft.what {
                What::Approve => {
                    drawn_at.insert(draft.number, (at, draft.user));
                    continue;
                }
                What::Decline => continue,
                What::Duplicate => draft.number,
                What::Reversal(root) => root,
            };
            let (before, user) = drawn_at.remove(&named).expect("approved, and named for the first time");
            assert!(before + 64 <= at);
            assert_eq!(user, draft.user);
        }
        assert!((2_000..3_000).contains(&counts["duplicates"]), "{counts:?}");
        assert!((2_000..3_000).contains(&counts["reversals"]), "{counts:?}");
        assert!((4_500..5_500).contains(&counts["declined"]), "{counts:?}");
    }
}
