//! Runs one receiver's tail: reads messages, has them sent, stores the position.
//!
//! One loop waits for the next event and applies it to the tail; only the attempts run beside it.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::fact::Author;
use tapgate_engine::time::UnixMillis;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};

use super::meters::Meters;
use super::tail::{Failure, Limits, NotRejected, Position, Rejected, State, Tail};
use super::{Order, Outbox, Outcome, Place, Receiver};
use crate::beside::Beside;
use crate::clock::Clock;
use crate::randomness::Randomness;

/// Interval of polling the journal, in real time even under a virtual clock.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);
/// Interval of storing the position; a crash repeats the deliveries of one interval.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// Records without a message after which the position alone is stored: reading them again takes tens of milliseconds. A
/// stored position is a record itself; below this number it causes no other receiver to store its own.
const PASSED_RECORDS_MAX: u64 = 10_000;
/// Longest stored reason, in bytes: it is part of the position.
pub const REASON_BYTES_MAX: usize = 512;
/// Grace for running attempts when the process stops; the restart repeats those that do not end in time.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait of a skip for a running attempt at its message: the whole loop waits, and the caller may ask again.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
/// Messages per read.
const READ_MAX: usize = 256;
/// Waiting orders: only people give them.
const ORDERS_MAX: usize = 16;

/// Messages held for a receiver that is down: a few megabytes of events.
pub const WINDOW: usize = 1_024;
/// Concurrent attempts: a receiver that needs 100 ms for each takes 160 a second.
const CONCURRENCY: usize = 16;

/// The bounds of every receiver, except the time until it is parked.
#[must_use]
pub fn limits(park_after: Duration) -> Limits {
    Limits { window: WINDOW, concurrency: CONCURRENCY, park_after }
}

/// An order, its author, and the caller that waits for it.
#[derive(Debug)]
struct Ordered<E> {
    order: Order,
    by: Author,
    done: oneshot::Sender<Result<(), OrderError<E>>>,
}

/// A receiver's health, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    /// Every message up to here is accepted.
    pub through: Place,
    /// The oldest message that is not accepted, and the time of its record.
    pub oldest: Option<(Place, UnixMillis)>,
    /// The message that the receiver rejects, if any; of several, the most urgent one.
    pub rejected: Option<Rejected>,
    /// Whether the receiver has rejected that message for long enough, while accepting others, to raise an alert.
    pub is_stuck: bool,
    /// Messages accepted since the process started.
    pub accepted: u64,
}

/// Reasons why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError<E> {
    /// The worker has stopped.
    #[error("deliveries have stopped: tapgate is ending")]
    Stopped,
    /// The message cannot be skipped.
    #[error(transparent)]
    NotRejected(NotRejected),
    /// The outbox did not store the order.
    #[error(transparent)]
    Outbox(#[from] E),
}

/// Watches and steers a worker from outside. `E` is the outbox's error.
#[derive(Debug)]
pub struct Handle<E> {
    name: Arc<str>,
    orders: mpsc::Sender<Ordered<E>>,
    status: watch::Receiver<Status>,
}

impl<E> Handle<E> {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The receiver's current health.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The receiver's health, on every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Carries out an order. On return it is durable, and [`Handle::status`] shows it. A repetition with the same
    /// idempotency key is not carried out again.
    ///
    /// # Errors
    /// The order was not stored and nothing changed, or the worker has stopped.
    pub async fn order(&self, order: Order, by: Author) -> Result<(), OrderError<E>> {
        let (done, is_done) = oneshot::channel();
        self.orders.send(Ordered { order, by, done }).await.map_err(|_| OrderError::Stopped)?;
        is_done.await.map_err(|_| OrderError::Stopped)?
    }
}

/// A worker's parameters.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The receiver's name, for its position and its metrics.
    pub name: String,
    pub limits: Limits,
    pub clock: Arc<Clock>,
    /// Spreads attempts that failed together.
    pub randomness: Randomness,
    /// Where the outbox waits for the disk.
    pub beside: Beside,
}

/// One receiver's deliveries.
pub struct Worker<O: Outbox, R> {
    name: Arc<str>,
    clock: Arc<Clock>,
    randomness: Randomness,
    beside: Beside,
    outbox: Arc<O>,
    receiver: Arc<R>,
    meters: Meters,
    orders: mpsc::Receiver<Ordered<O::Error>>,
    status: watch::Sender<Status>,
    tail: Tail<O::Content>,
    attempts: JoinSet<(Place, Outcome)>,
    stored: Position,
    stored_at: Duration,
    /// Messages accepted since the process started, and how many of them the stored position covers.
    accepted: u64,
    accepted_stored: u64,
    /// Whether the outbox has more messages to read at once.
    more: bool,
    /// The receiver's health as last logged, and whether the outbox's failure was logged.
    said: Said,
    outbox_fails: bool,
}

/// A worker and its handle.
pub type WithHandle<O, R> = (Worker<O, R>, Handle<<O as Outbox>::Error>);

/// A receiver's health, as far as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Well,
    Down,
    Parked,
}

/// The loop's events.
enum Event<E> {
    Ended(Result<(Place, Outcome), JoinError>),
    Ordered(Ordered<E>),
    Due,
    Stop,
}

impl<O, R> Worker<O, R>
where
    O: Outbox,
    R: Receiver<Content = O::Content>,
{
    /// A worker that continues from its receiver's stored position, with its handle. A new receiver starts with the
    /// next record; [`Order::Replay`] sends older ones.
    ///
    /// # Errors
    /// The position could not be read, or a new one could not be stored.
    pub fn new(setup: Setup, outbox: Arc<O>, receiver: R) -> Result<WithHandle<O, R>, O::Error> {
        let Setup { name, limits, clock, randomness, beside } = setup;
        let stored = match outbox.position(&name)? {
            Some(position) => position,
            None => {
                let position = Position { through: Place::end_of(outbox.newest()), ..Position::default() };
                outbox.store_position(&name, &position)?;
                position
            }
        };
        let tail = Tail::new(limits, stored.clone());
        let (orders_in, orders) = mpsc::channel(ORDERS_MAX);
        let (status, status_out) = watch::channel(status_of(&tail, 0, clock.steady()));
        let meters = Meters::new(&name);
        let name: Arc<str> = name.into();
        let handle = Handle { name: Arc::clone(&name), orders: orders_in, status: status_out };
        let worker = Worker {
            name,
            stored_at: clock.running(),
            clock,
            randomness,
            beside,
            outbox,
            receiver: Arc::new(receiver),
            meters,
            orders,
            status,
            tail,
            attempts: JoinSet::new(),
            stored,
            accepted: 0,
            accepted_stored: 0,
            more: false,
            said: Said::Well,
            outbox_fails: false,
        };
        Ok((worker, handle))
    }

    /// Delivers until `stop` is done, then lets attempts end and stores the position.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = Box::pin(stop);
        loop {
            self.read();
            self.attempt();
            self.store_when_due();
            self.tell();
            let event = self.next_event(stop.as_mut()).await;
            if self.apply(event).await.is_break() {
                break;
            }
        }
        self.wind_down().await;
    }

    /// A jump of wall time must neither park a receiver nor put off what is sent again.
    fn now(&self) -> UnixMillis {
        self.clock.steady()
    }

    /// Fills the tail up to its window.
    fn read(&mut self) {
        let room = self.tail.room().min(READ_MAX);
        self.more = false;
        if room == 0 {
            return;
        }
        let from = self.tail.read();
        match self.outbox.after(from, room) {
            Ok(batch) => {
                let now = self.now();
                batch.messages.into_iter().for_each(|message| self.tail.offer(message, now));
                self.tail.read_through(batch.through);
                self.more = batch.more;
                self.outbox_fails = false;
            }
            Err(error) => self.outbox_failed("read", &error),
        }
    }

    /// Starts every attempt that is due.
    fn attempt(&mut self) {
        // What is signed has wall time, which the receiver compares with its own.
        let (now, signed) = (self.now(), self.clock.now().at.seconds());
        while let Some(message) = self.tail.next(now) {
            let receiver = Arc::clone(&self.receiver);
            self.attempts.spawn(async move { (message.place, receiver.send(&message.content, signed).await) });
        }
    }

    fn store_when_due(&mut self) {
        if self.clock.running() - self.stored_at >= STORE_INTERVAL {
            self.store();
        }
    }

    /// Stores the position if a restart could not derive it from the journal.
    fn store(&mut self) {
        let position = self.tail.position();
        if !self.is_news(&position) {
            return;
        }
        // A failed store is not retried more often than a successful one is repeated.
        self.stored_at = self.clock.running();
        match self.outbox.store_position(&self.name, &position) {
            Ok(()) => self.has_stored(position),
            Err(error) => self.outbox_failed("store its position in", &error),
        }
    }

    fn has_stored(&mut self, position: Position) {
        self.stored = position;
        self.stored_at = self.clock.running();
        self.accepted_stored = self.accepted;
        self.outbox_fails = false;
    }

    /// Whether to store the position. Records passed without a message count only from [`PASSED_RECORDS_MAX`] on.
    fn is_news(&self, position: &Position) -> bool {
        let only_passed = Position { through: self.stored.through, ..position.clone() } == self.stored
            && self.accepted == self.accepted_stored;
        let passed = position.through.record.0.checked_sub(self.stored.through.record.0);
        *position != self.stored && !(only_passed && passed.is_some_and(|passed| passed < PASSED_RECORDS_MAX))
    }

    /// Logs an outbox failure once until it recovers: reads run several times a second.
    fn outbox_failed(&mut self, what: &str, error: &O::Error) {
        if !self.outbox_fails {
            tracing::warn!(receiver = &*self.name, %error, "deliveries cannot {what} the journal; tried again");
        }
        self.outbox_fails = true;
    }

    async fn next_event(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Event<O::Error> {
        let wait = match self.tail.next_at() {
            _ if self.more => Duration::ZERO,
            Some(at) => Duration::from_millis(at.0.saturating_sub(self.now().0)),
            None => Duration::MAX,
        };
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            Some(order) = self.orders.recv() => Event::Ordered(order),
            Some(ended) = self.attempts.join_next() => Event::Ended(ended),
            () = self.clock.sleep(wait) => Event::Due,
            () = tokio::time::sleep(FOLLOW_INTERVAL) => Event::Due,
        }
    }

    async fn apply(&mut self, event: Event<O::Error>) -> ControlFlow<()> {
        match event {
            Event::Ended(ended) => self.ended(ended),
            Event::Ordered(Ordered { order, by, done }) => {
                let carried_out = self.carry_out(order, by).await;
                self.tell();
                // The caller may have left.
                let _ = done.send(carried_out);
            }
            Event::Due => {}
            Event::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Carries out an order once it is durable, or not at all. Running attempts continue meanwhile; the loop waits.
    async fn carry_out(&mut self, order: Order, by: Author) -> Result<(), OrderError<O::Error>> {
        let author = by.clone();
        if self.behind(move |outbox| outbox.is_repeated(&author)).await? {
            return Ok(());
        }
        if let Order::Skip { place, .. } = order {
            self.settle(place).await;
        }
        let mut tail = self.tail.clone();
        match order {
            Order::Resume => tail.resume(self.now()),
            Order::Replay(from) => tail.replay(from),
            Order::Skip { place, .. } => tail.skip(place, self.now()).map_err(OrderError::NotRejected)?,
        }
        let position = tail.position();
        let (name, asked, kept, author) = (Arc::clone(&self.name), order.clone(), position.clone(), by.clone());
        self.behind(move |outbox| outbox.store_order(&name, &asked, &kept, &author)).await?;
        if let Order::Replay(_) = order {
            // Their outcomes would be mistaken for those of the repetition.
            self.attempts.shutdown().await;
        }
        self.tail = tail;
        self.has_stored(position);
        let (receiver, by) = (&*self.name, by.name());
        match order {
            Order::Resume | Order::Replay(_) => {
                tracing::info!(receiver, ?order, by, "deliveries are ordered otherwise");
            }
            Order::Skip { place, reason } => {
                let message = place.message_id();
                tracing::warn!(receiver, message, reason, by, "a message is given up: only a replay sends it again");
            }
        }
        Ok(())
    }

    /// Has the outbox do what waits for the disk beside the threads that serve.
    async fn behind<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&O) -> Result<T, O::Error> + Send + 'static,
    ) -> Result<T, OrderError<O::Error>> {
        let outbox = Arc::clone(&self.outbox);
        let answer = self.beside.run(move || ask(&outbox)).await;
        Ok(answer.map_err(|_| OrderError::Stopped)??)
    }

    /// Waits briefly for a running attempt at the message: the receiver may yet accept it.
    async fn settle(&mut self, place: Place) {
        let patience = tokio::time::sleep(SETTLE_PATIENCE);
        tokio::pin!(patience);
        while self.tail.is_under_way(place) {
            let ended = tokio::select! {
                biased;
                ended = self.attempts.join_next() => ended,
                () = &mut patience => None,
            };
            let Some(ended) = ended else { return };
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(Place, Outcome), JoinError>) {
        let now = self.now();
        match ended {
            Ok((place, Outcome::Accepted)) => {
                self.meters.accepted.increment(1);
                self.accepted = self.accepted.saturating_add(1);
                self.tail.done(place, now);
            }
            Ok((place, Outcome::Failed { reason, retry_after })) => {
                self.meters.failed.increment(1);
                self.tail.failed(
                    place,
                    now,
                    Failure { reason: bounded(reason), retry_after, draw: self.randomness.draw() },
                );
            }
            Ok((place, Outcome::Refused { reason })) => {
                self.meters.refused.increment(1);
                self.tail.refused(place, now, bounded(reason));
            }
            // Only this worker ends an attempt.
            Err(error) => pass_on_panic(error),
        }
    }

    /// Publishes the receiver's health: always to watchers, to the log on a change.
    fn tell(&mut self) {
        self.meters.tell(&self.tail, self.outbox.newest(), self.now());
        let status = status_of(&self.tail, self.accepted, self.now());
        let receiver = &*self.name;
        let say = match &status.state {
            State::Parked(_) => Said::Parked,
            State::Failing(_) if self.tail.is_down() => Said::Down,
            // One message that fails while others pass does not mean that the receiver is down.
            State::Failing(_) => self.said,
            State::Delivering => Said::Well,
        };
        if say != self.said {
            match &status.state {
                State::Parked(parked) => tracing::error!(
                    receiver,
                    reason = parked.reason,
                    "deliveries are parked: nothing is sent and nothing is lost; see to the receiver, then resume it"
                ),
                State::Failing(failing) => {
                    tracing::warn!(
                        receiver,
                        reason = failing.reason,
                        "the receiver is down; deliveries are tried again"
                    );
                }
                State::Delivering => tracing::info!(receiver, "the receiver accepts deliveries again"),
            }
            self.said = say;
        }
        self.status.send_if_modified(|shown| {
            let is_news = *shown != status;
            *shown = status;
            is_news
        });
    }

    async fn wind_down(mut self) {
        let patience = tokio::time::sleep(STOP_PATIENCE);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                ended = self.attempts.join_next() => match ended {
                    Some(ended) => self.ended(ended),
                    None => break,
                },
                () = &mut patience => break,
            }
        }
        self.store();
    }
}

/// Propagates a panic: it is a bug.
fn pass_on_panic(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Cuts a reason to its bound, on a character boundary.
fn bounded(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

fn status_of<C>(tail: &Tail<C>, accepted: u64, now: UnixMillis) -> Status {
    let oldest = tail.oldest().map(|message| (message.place, message.at));
    Status {
        state: tail.state(),
        through: tail.through(),
        oldest,
        rejected: tail.rejected(),
        is_stuck: tail.is_stuck(now),
        accepted,
    }
}
