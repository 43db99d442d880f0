//! The corpus of one run: signed before it begins, and the rest while it lasts where it is very long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Failed;
use super::corpus::{Callback, Draft, Drafts, Signer, unix_seconds};
use super::pace::after;

/// Callbacks signed ahead of their sending: ten minutes at 10,000 a second. At 850 bytes each they take 5 GB.
pub(crate) const AHEAD_MAX: u64 = 6_000_000;

/// Callbacks signed at once.
const CHUNK: u64 = 20_000;

/// What there is to send.
pub(crate) enum Taken {
    /// The callback of that index, from 0.
    Callback(u64, Callback),
    /// It is not signed yet: the signing does not keep up.
    NotYet,
    /// Everything was taken.
    Finished,
}

struct Queue {
    current: std::vec::IntoIter<Callback>,
    chunks: VecDeque<Vec<Callback>>,
    ahead: u64,
    taken: u64,
    finished: bool,
    stopped: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out signed callbacks in order, each once; or in a circle, for a server that decides nothing.
pub(crate) enum Feed {
    Once(Signing),
    Circle(Vec<Callback>, AtomicU64, u64),
}

/// Signs ahead in a thread of its own.
pub(crate) struct Signing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// How much is signed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Callbacks in all.
    pub(crate) total: u64,
    /// Signed ahead of their sending at most.
    pub(crate) ahead: u64,
    /// `None` where the time of sending is not known beforehand.
    pub(crate) schedule: Option<Schedule>,
}

/// When callbacks will be sent, as far as that is known before they are signed: UR's window for a timestamp is 300 s, and
/// minutes may pass between the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Unix seconds of the first.
    pub(crate) start: u64,
    /// A second.
    pub(crate) rate: f64,
}

impl Amount {
    /// The timestamp of the callback of that index. A closed loop takes seconds: what is signed now is fresh.
    fn at(&self, index: u64) -> u64 {
        let due = |schedule: Schedule| schedule.start + after(schedule.rate, index).as_secs();
        self.schedule.map_or_else(unix_seconds, due)
    }
}

impl Feed {
    /// A circle of so many callbacks, taken `total` times.
    pub(crate) fn circle(drafts: &mut Drafts, signer: &Signer, length: u64, total: u64) -> Feed {
        let drafts: Vec<_> = (0..length.max(1)).map(|_| drafts.draw()).collect();
        let at = unix_seconds();
        Feed::Circle(sign_all(signer, &drafts, |_| at), AtomicU64::new(0), total)
    }

    /// Returns once as much is signed as is signed ahead.
    pub(crate) fn start(
        mut drafts: Drafts,
        signer: Signer,
        amount: Amount,
        progress: impl Fn(u64),
    ) -> Result<Feed, Failed> {
        let queue = Queue {
            current: Vec::new().into_iter(),
            chunks: VecDeque::new(),
            ahead: 0,
            taken: 0,
            finished: false,
            stopped: false,
        };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let kept = Arc::clone(&shared);
        let chunk = CHUNK.min(amount.ahead).max(1);
        let ahead = amount.ahead.max(chunk);
        let thread = std::thread::Builder::new().name("signing".to_owned()).spawn(move || {
            let mut done = 0;
            while done < amount.total {
                let size = chunk.min(amount.total - done);
                let wanted: Vec<_> = (0..size).map(|_| drafts.draw()).collect();
                let signed = sign_all(&signer, &wanted, |place| amount.at(done + place));
                done += size;
                if !put(&kept, signed, ahead) {
                    return;
                }
            }
            kept.lock().finished = true;
            kept.changed.notify_all();
        })?;
        let mut queue = shared.lock();
        // A chunk that would not fit is signed, and waits.
        while !queue.finished && queue.ahead + chunk <= ahead {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            progress(queue.ahead);
        }
        drop(queue);
        Ok(Feed::Once(Signing { shared, thread: Some(thread) }))
    }

    pub(crate) fn take(&self) -> Taken {
        match self {
            Feed::Circle(callbacks, next, total) => {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let place = usize::try_from(index % callbacks.len() as u64).unwrap_or(0);
                match callbacks.get(place) {
                    Some(callback) if index < *total => Taken::Callback(index, callback.clone()),
                    _ => Taken::Finished,
                }
            }
            Feed::Once(signing) => signing.take(),
        }
    }
}

/// Puts a chunk into the queue once it has room. False: nobody wants it any more.
fn put(shared: &Shared, chunk: Vec<Callback>, ahead_max: u64) -> bool {
    let size = chunk.len() as u64;
    let mut queue = shared.lock();
    while queue.ahead + size > ahead_max && !queue.stopped {
        queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    queue.ahead += size;
    queue.chunks.push_back(chunk);
    shared.changed.notify_all();
    !queue.stopped
}

impl Signing {
    fn take(&self) -> Taken {
        let mut queue = self.shared.lock();
        if queue.current.as_slice().is_empty() {
            let Some(chunk) = queue.chunks.pop_front() else {
                return if queue.finished { Taken::Finished } else { Taken::NotYet };
            };
            queue.ahead -= chunk.len() as u64;
            queue.current = chunk.into_iter();
            self.shared.changed.notify_all();
        }
        match queue.current.next() {
            Some(callback) => {
                queue.taken += 1;
                Taken::Callback(queue.taken - 1, callback)
            }
            None => Taken::NotYet,
        }
    }
}

impl Drop for Signing {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It signs its chunk to the end, and stops.
            let _ = thread.join();
        }
    }
}

/// Cores that sign, and cores that the load and the server share.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Signs on all cores, each with the time `at` gives for its place; the order stays.
fn sign_all(signer: &Signer, drafts: &[Draft], at: impl Fn(u64) -> u64) -> Vec<Callback> {
    let part = drafts.len().div_ceil(cores()).max(1);
    let timed: Vec<_> = (0..).map(at).zip(drafts).collect();
    std::thread::scope(|scope| {
        let sign =
            |part: &[(u64, &Draft)]| part.iter().map(|(at, draft)| signer.sign(**draft, *at)).collect::<Vec<_>>();
        let threads: Vec<_> = timed.chunks(part).map(|part| scope.spawn(move || sign(part))).collect();
        // A panic has aborted the process already.
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Mix;
    use super::*;
    use tapgate::signature::SigningKey;

    #[test]
    fn everything_is_handed_out_once_in_order_however_little_is_signed_ahead() {
        let mix = Mix { approve: 1, decline: 0, duplicate: 0, reversal: 0 };
        let signer = Signer::new(SigningKey::from_bytes([7; 32]).unwrap());
        let amount = Amount { total: 95, ahead: 20, schedule: Some(Schedule { start: 1, rate: 1.0 }) };
        let feed = Feed::start(Drafts::new(mix, 10, 1, 1), signer, amount, |_| {}).unwrap();
        let mut expected = 0;
        loop {
            match feed.take() {
                Taken::Callback(index, callback) => {
                    assert_eq!((index, callback.draft.number), (expected, expected + 1));
                    expected += 1;
                }
                Taken::NotYet => std::thread::yield_now(),
                Taken::Finished => break,
            }
        }
        assert_eq!(expected, 95);
    }
}
