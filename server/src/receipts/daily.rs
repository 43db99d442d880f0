//! Signs a head each day, keeps it in the journal, and publishes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::fact::{Author, HeadSigned};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, CursorChange, Ledger};
use tapgate_engine::store::StoreError;
use tapgate_engine::time::Moment;

use super::{Signer, document};
use crate::clock::Clock;
use crate::health::Health;
use crate::stopping::Stopping;
use crate::wire::date::date;
use crate::wire::receipt::Head;

const DAY_MILLIS: u64 = 86_400_000;

/// A head that could not be signed or written is tried again after this time.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Writes a head, as JSON, to where others take it from: its name, and its bytes.
pub type Publish = Box<dyn Fn(&str, &[u8]) -> io::Result<()> + Send + Sync>;

/// The job that signs.
pub struct Daily {
    pub signer: Signer,
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    pub health: Arc<Health>,
    /// `None`: the journal and the log alone have it.
    pub publish: Option<Publish>,
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
    #[error("it cannot be written to receipts.heads_dir: {0}")]
    Publish(#[from] io::Error),
}

impl Daily {
    /// Signs until asked to stop. Blocks its thread while it waits for the disk.
    pub async fn run(self, mut stopping: Stopping) {
        let mut published = None;
        while !stopping.is_set() {
            let now = self.clock.now();
            if now.trusted {
                let late = self.turn(now, &mut published).err().map(|error| error.to_string());
                if let Some(error) = &late {
                    tracing::error!(error, "today's head of the journal was not signed and published: trying again");
                }
                self.health.head_late().set(late);
            }
            self.clock.rest(LOOK_INTERVAL, LOOK_INTERVAL, &mut stopping).await;
        }
    }

    /// Signs where none was signed today, and publishes what this process has not published yet.
    fn turn(&self, now: Moment, published: &mut Option<u64>) -> Result<(), Late> {
        let last = self.ledger.head_signed();
        let is_todays = |signed: &HeadSigned| {
            signed.signed_at.0 / DAY_MILLIS >= now.at.0 / DAY_MILLIS && signed.signer == self.signer.key.address().0
        };
        let signed = match last.filter(is_todays) {
            Some(signed) => signed,
            None => self.sign(now)?,
        };
        if *published != Some(signed.size) {
            if let Some(publish) = &self.publish {
                let (name, bytes) = file(&document(&self.ledger, &signed)?);
                publish(&name, &bytes)?;
            }
            *published = Some(signed.size);
        }
        Ok(())
    }

    fn sign(&self, now: Moment) -> Result<HeadSigned, Late> {
        let last = self.ledger.head_signed();
        let signed = self.signer.sign(&self.ledger, now.at)?;
        let change = Change::Cursor(CursorChange::Sign(Box::new(signed.clone())));
        let receipt = self.ledger.change(&Author::Engine, change, now)?;
        if receipt.ticket.is_some_and(|ticket| ticket.block() != Durability::Durable) {
            return Err(Late::NotDurable);
        }
        tracing::info!(
            size = signed.size,
            root = hex::encode(signed.root),
            key = %self.signer.key.address(),
            signature = hex::encode(&signed.signature),
            "the journal's head is signed"
        );
        if signed.introduction.is_none() && last.is_some_and(|last| last.signer != signed.signer) {
            tracing::warn!(
                "the key of heads is new, and receipts.previous_key does not introduce it: tell whoever checks receipts"
            );
        }
        Ok(signed)
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

    use super::super::tests::{NOON, key, ledger};
    use super::*;

    type Published = Arc<Mutex<Vec<(String, Head)>>>;

    /// The job; the first head cannot be written.
    fn daily() -> (Daily, Published) {
        let (published, kept): (Published, Mutex<_>) = (Arc::default(), Mutex::new(true));
        let into = Arc::clone(&published);
        let publish: Publish = Box::new(move |name, bytes| {
            if std::mem::take(&mut *kept.lock().unwrap()) {
                return Err(io::Error::other("the volume is not mounted"));
            }
            into.lock().unwrap().push((name.to_owned(), serde_json::from_slice(bytes)?));
            Ok(())
        });
        let signer = Signer { key: key(1), previous: None };
        let (ledger, clock) = (Arc::new(ledger(3)), Arc::new(Clock::start()));
        (Daily { signer, ledger, clock, health: Arc::default(), publish: Some(publish) }, published)
    }

    #[test]
    fn a_day_has_one_head_and_what_was_not_written_is_written_later() {
        let (daily, published) = daily();
        let mut done = None;
        let mut at = |hours: u64| {
            let now = Moment { at: UnixMillis(NOON.0 + hours * 3_600_000), trusted: true };
            let turned = daily.turn(now, &mut done).is_ok();
            (turned, daily.ledger.journal().durable().0, published.lock().unwrap().len())
        };
        assert_eq!(at(0), (false, 4, 0), "signed and kept, and not written");
        assert_eq!([at(0), at(1)], [(true, 4, 1), (true, 4, 1)]);
        assert_eq!(at(24), (true, 5, 2));
        let published = published.lock().unwrap();
        let names: Vec<_> = published.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["head-2025-11-30-3.json", "head-2025-12-01-4.json"]);
        assert_eq!(published[1].1.older.as_ref().unwrap().size, 3);
    }
}
