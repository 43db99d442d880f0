//! Signs a head each day, keeps it in the journal, and publishes it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::fact::{Author, HeadSigned};
use tapgate_engine::ids::Sequence;
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, CursorChange, Ledger};
use tapgate_engine::store::StoreError;
use tapgate_engine::time::Moment;
use tokio::sync::oneshot;

use super::{Signer, document};
use crate::beside::Beside;
use crate::clock::Clock;
use crate::health::Health;
use crate::stopping::Stopping;
use crate::wire::date::date;
use crate::wire::receipt::Head;

const DAY_MILLIS: u64 = 86_400_000;

/// A head that could not be signed or written is tried again after this time.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The longest wait for the place where heads are published: a network's volume may hang.
const PUBLISH_MAX: Duration = Duration::from_secs(30);

/// Heads that are still to be published; older ones are in the journal.
const UNPUBLISHED_MAX: usize = 32;

/// Writes a head, as JSON, to where others take it from: its name, and its bytes. What is there already is never replaced
/// by something else.
pub type Publish = Arc<dyn Fn(&str, &[u8]) -> io::Result<()> + Send + Sync>;

/// The job that signs.
pub struct Daily {
    pub signer: Signer,
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    pub health: Arc<Health>,
    /// `None`: the journal and the log alone have it.
    pub publish: Option<Publish>,
    /// Where they are written.
    pub beside: Beside,
}

/// Why a day's head is late.
#[derive(Debug, thiserror::Error)]
enum Late {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("it is not durable")]
    NotDurable,
    #[error(
        "the journal no longer has what was signed as the head of {0} records: it was changed, and nothing is signed"
    )]
    Changed(u64),
    #[error("it cannot be written to receipts.heads_dir: {0}")]
    Publish(#[from] io::Error),
    #[error("receipts.heads_dir does not answer")]
    Hangs,
}

/// What this process is still to publish.
#[derive(Debug, Default)]
struct Published {
    has_begun: bool,
    /// The oldest first.
    left: VecDeque<HeadSigned>,
    /// The write that a volume holds up: no second one is begun beside it.
    hanging: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Daily {
    /// Signs until asked to stop. Blocks its thread while it waits for the journal.
    pub async fn run(self, stopping: Stopping) {
        let mut published = Published::default();
        while !stopping.is_set() {
            let now = self.clock.now();
            if now.trusted {
                let turned = tokio::select! {
                    biased;
                    () = stopping.set() => return,
                    turned = self.turn(now, &mut published) => turned,
                };
                self.tell(turned.err());
            }
            self.clock.rest(LOOK_INTERVAL, LOOK_INTERVAL, &stopping).await;
        }
    }

    fn tell(&self, late: Option<Late>) {
        let is_changed = matches!(late, Some(Late::Changed(_)));
        let reason = late.map(|error| error.to_string());
        if let Some(error) = &reason {
            tracing::error!(error, "today's head of the journal was not signed and published: trying again");
        }
        self.health.head_changed().set(reason.clone().filter(|_| is_changed));
        self.health.head_late().set(reason.filter(|_| !is_changed));
    }

    /// Signs where none was signed today, and publishes what this process has not published yet.
    async fn turn(&self, now: Moment, published: &mut Published) -> Result<(), Late> {
        let last = self.ledger.head_signed()?;
        if let Some(last) = &last {
            let is_same = match self.ledger.head_at(Sequence(last.size)) {
                // That cannot be told, and what was signed stays so.
                Err(StoreError::Quarantined(_)) => true,
                head => head?.is_some_and(|head| head == last.head()),
            };
            if !is_same {
                return Err(Late::Changed(last.size));
            }
        }
        if !std::mem::replace(&mut published.has_begun, true) {
            // The process before this one may have ended before it had published it.
            published.left.extend(last.clone());
        }
        let is_todays = |signed: &HeadSigned| {
            signed.signed_at.0 / DAY_MILLIS == now.at.0 / DAY_MILLIS && signed.signer == self.signer.key.address().0
        };
        if !last.as_ref().is_some_and(is_todays) {
            published.left.push_back(self.sign(now, last)?);
            if published.left.len() > UNPUBLISHED_MAX {
                published.left.pop_front();
            }
        }
        self.publish(published).await
    }

    /// Publishes each head that is left; one that cannot be does not keep the others from it.
    async fn publish(&self, published: &mut Published) -> Result<(), Late> {
        let Some(publish) = &self.publish else {
            published.left.clear();
            return Ok(());
        };
        let mut late = None;
        for signed in std::mem::take(&mut published.left) {
            let (name, bytes) = file(&document(&self.ledger, &signed)?);
            if let Err(error) = write((publish, &self.beside), name, bytes, &mut published.hanging).await {
                late.get_or_insert(error);
                published.left.push_back(signed);
            }
        }
        late.map_or(Ok(()), Err)
    }

    fn sign(&self, now: Moment, last: Option<HeadSigned>) -> Result<HeadSigned, Late> {
        let durable = self.ledger.journal().durable();
        let signed = self.signer.sign(&self.ledger, now.at, Some(durable), None)?.ok_or(Late::NotDurable)?;
        let change = Change::Cursor(CursorChange::Sign(Box::new(signed.clone())));
        let receipt = self.ledger.change(&Author::Engine, change, now)?;
        let journal = self.ledger.journal();
        if receipt.ticket.is_some_and(|ticket| journal.block_on(&ticket) != Durability::Durable) {
            return Err(Late::NotDurable);
        }
        tracing::info!(
            journal = %self.ledger.journal_id(),
            size = signed.size,
            root = hex::encode(signed.root),
            time = signed.signed_at.0,
            key = %self.signer.key.address(),
            signature = format!("0x{}", hex::encode(&signed.signature)),
            "the journal's head is signed"
        );
        let is_introduced = signed.introductions.last().is_some_and(|introduced| introduced.key == signed.signer);
        if !is_introduced && last.is_some_and(|last| last.signer != signed.signer) {
            tracing::warn!(
                "the key of heads is new, and receipts.previous_key_file does not introduce it: tell whoever checks receipts"
            );
        }
        Ok(signed)
    }
}

async fn write(
    (publish, beside): (&Publish, &Beside),
    name: String,
    bytes: Vec<u8>,
    hanging: &mut Option<oneshot::Receiver<io::Result<()>>>,
) -> Result<(), Late> {
    if let Some(before) = hanging {
        // Its own head is published again, and then is there already.
        let _ = tokio::time::timeout(PUBLISH_MAX, before).await.map_err(|_| Late::Hangs)?;
        *hanging = None;
    }
    let publish = Arc::clone(publish);
    let mut writing = beside.run(move || publish(&name, &bytes));
    match tokio::time::timeout(PUBLISH_MAX, &mut writing).await {
        Ok(Ok(written)) => Ok(written?),
        Ok(Err(ended)) => Err(io::Error::other(ended).into()),
        Err(_) => {
            *hanging = Some(writing);
            Err(Late::Hangs)
        }
    }
}

/// A head's file: named by its day and size, in lines for people.
fn file(head: &Head) -> (String, Vec<u8>) {
    let (year, month, day) = date(i64::try_from(head.time / DAY_MILLIS).unwrap_or_default());
    let mut bytes = serde_json::to_vec_pretty(head).unwrap_or_default();
    bytes.push(b'\n');
    (format!("head-{year}-{month:02}-{day:02}-{}.json", head.size), bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tapgate_engine::time::UnixMillis;

    use tapgate_engine::store::{Entry, Original, StandIn};
    use tapgate_engine::testing::MemoryStore;

    use super::super::tests::{NOON, decide, key, ledger, ledger_on};
    use super::*;

    type Written = Arc<Mutex<Vec<(String, Head)>>>;

    /// The job; the first two heads cannot be written.
    fn daily() -> (Daily, Written) {
        let (written, failures): (Written, Mutex<u8>) = (Arc::default(), Mutex::new(2));
        let into = Arc::clone(&written);
        let publish: Publish = Arc::new(move |name, bytes| {
            let mut failures = failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(io::Error::other("the volume is not mounted"));
            }
            into.lock().unwrap().push((name.to_owned(), serde_json::from_slice(bytes)?));
            Ok(())
        });
        let signer = Signer { key: key(1), previous: None };
        let (ledger, clock) = (Arc::new(ledger(3)), Arc::new(Clock::start()));
        let beside = Beside::on_threads();
        (Daily { signer, ledger, clock, health: Arc::default(), publish: Some(publish), beside }, written)
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_has_one_head_and_what_was_not_written_is_written_later() {
        let (daily, written) = daily();
        let mut published = Published::default();
        let mut looks = Vec::new();
        for hours in [0, 24, 24, 25, 48, 24] {
            let now = Moment { at: UnixMillis(NOON.0 + hours * 3_600_000), trusted: true };
            let is_done = daily.turn(now, &mut published).await.is_ok();
            looks.push((is_done, daily.ledger.journal().durable().0, written.lock().unwrap().len()));
        }
        // One that cannot be written keeps no other from it. The last look is on a day before, as after a clock that was
        // set right.
        let expected = [(false, 4, 0), (false, 5, 1), (true, 5, 2), (true, 5, 2), (true, 6, 3), (true, 7, 4)];
        assert_eq!(looks, expected);
        let written = written.lock().unwrap();
        let names: Vec<_> = written.iter().map(|(name, _)| name.as_str()).collect();
        let days = ["12-01-4", "11-30-3", "12-02-5", "12-01-6"].map(|day| format!("head-2025-{day}.json"));
        assert_eq!(names, days);
        assert_eq!(written[0].1.older.as_ref().unwrap().size, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_a_record_in_quarantine_hides_is_no_change_and_the_next_is_signed() {
        let store = MemoryStore::new();
        let ledger = Arc::new(ledger_on(store.clone()));
        (0..3).for_each(|number| decide(&ledger, &format!("tap{number}")));
        let daily = Daily { ledger, ..daily().0 };
        let mut published = Published::default();
        let look = |days: u64| Moment { at: UnixMillis(NOON.0 + days * DAY_MILLIS), trusted: true };
        let _ = daily.turn(look(0), &mut published).await;
        decide(&daily.ledger, "later");
        daily.ledger.write_rows().unwrap();
        let stand_in = StandIn { at: NOON, original: Original::Hashed };
        store.alter(Sequence(2), |entry| *entry = Entry::stand_in(Sequence(2), &stand_in));
        assert_eq!(daily.ledger.head_at(Sequence(3)), Err(StoreError::Quarantined(Sequence(2))));
        for day in [1, 1, 2] {
            let _ = daily.turn(look(day), &mut published).await;
        }
        assert_eq!(daily.ledger.head_signed().unwrap().map(|signed| signed.size), Some(6));
        assert!(published.left.is_empty());

        // What was written over is a change.
        store.alter(Sequence(6), |entry| *entry = Entry::new(Sequence(6), b"another".to_vec()).0);
        assert!(matches!(daily.turn(look(3), &mut published).await, Err(Late::Changed(6))));
    }
}
