//! Runs one receiver's tail: reads messages, has them sent, keeps the position.
//!
//! One loop waits for what happens next and applies it to the tail; only the attempts themselves run beside it.

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
use crate::clock::Clock;
use crate::randomness::Randomness;

/// How often the journal is looked at for new messages, in real time, as all that spares the machine is.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);
/// How often the position is stored: what a crash makes us send again.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// Records without a message that are passed before that alone is stored: reading them again takes tens of milliseconds.
/// So a stored position, which is a record itself, makes nobody store another one.
const PASSED_RECORDS_MAX: u64 = 10_000;
/// What is kept of a reason, in bytes: it is stored with the position.
pub const REASON_BYTES_MAX: usize = 512;
/// How long attempts may take to end when the process stops; those that do not are made again after its start.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a skip waits for an attempt at its message: everything else waits with it, and who asked may ask again.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
/// Messages read in one go.
const READ_MAX: usize = 256;
/// Orders waiting: people are few.
const ORDERS_MAX: usize = 16;

/// What is held of a receiver that is away: a few megabytes of events.
pub const WINDOW: usize = 1_024;
/// Attempts at once: a receiver that takes 100 ms for one takes 160 a second.
const CONCURRENCY: usize = 16;

/// The bounds of every receiver, but for when it is parked.
#[must_use]
pub fn limits(park_after: Duration) -> Limits {
    Limits { window: WINDOW, concurrency: CONCURRENCY, park_after }
}

/// An order, who gave it, and who waits until it is carried out.
#[derive(Debug)]
struct Ordered<E> {
    order: Order,
    by: Author,
    done: oneshot::Sender<Result<(), OrderError<E>>>,
}

/// How a receiver does, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Delivering, failing or parked.
    pub state: State,
    /// Everything up to here is accepted.
    pub through: Place,
    /// The oldest message that is not, and when what it tells of happened.
    pub oldest: Option<(Place, UnixMillis)>,
    /// The message that it rejects, if any; of several the one that people must see to first.
    pub rejected: Option<Rejected>,
    /// Whether it was rejected for so long, while others passed, that people must be told.
    pub is_stuck: bool,
    /// Messages accepted since the process began.
    pub accepted: u64,
}

/// An order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError<E> {
    /// The worker has stopped.
    #[error("deliveries have stopped: tapgate is ending")]
    Stopped,
    /// What was to be skipped cannot be.
    #[error(transparent)]
    NotRejected(NotRejected),
    /// The outbox did not keep it.
    #[error(transparent)]
    Outbox(#[from] E),
}

/// Watches and steers a worker from outside. `E` is why its outbox may not keep an order.
#[derive(Debug)]
pub struct Handle<E> {
    name: Arc<str>,
    orders: mpsc::Sender<Ordered<E>>,
    status: watch::Receiver<Status>,
}

impl<E> Handle<E> {
    /// The receiver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it does now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// How it does, whenever that changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Has an order carried out. When this returns it is durable, and [`Handle::status`] shows it. A repetition, by its
    /// idempotency key, is not carried out again.
    ///
    /// # Errors
    /// It was not kept, and nothing is otherwise; or the worker has stopped.
    pub async fn order(&self, order: Order, by: Author) -> Result<(), OrderError<E>> {
        let (done, is_done) = oneshot::channel();
        self.orders.send(Ordered { order, by, done }).await.map_err(|_| OrderError::Stopped)?;
        is_done.await.map_err(|_| OrderError::Stopped)?
    }
}

/// What a worker is told once.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The receiver's name: under it its position is kept and its metrics are shown.
    pub name: String,
    /// The tail's bounds.
    pub limits: Limits,
    /// Whose time it lives in.
    pub clock: Arc<Clock>,
    /// Spreads attempts that failed together.
    pub randomness: Randomness,
}

/// One receiver's deliveries.
pub struct Worker<O: Outbox, R> {
    name: Arc<str>,
    clock: Arc<Clock>,
    randomness: Randomness,
    outbox: Arc<O>,
    receiver: Arc<R>,
    meters: Meters,
    orders: mpsc::Receiver<Ordered<O::Error>>,
    status: watch::Sender<Status>,
    tail: Tail<O::Content>,
    attempts: JoinSet<(Place, Outcome)>,
    stored: Position,
    stored_at: Duration,
    /// Messages accepted since the process began, and how many of them the stored position knows of.
    accepted: u64,
    accepted_stored: u64,
    /// Whether more can be read at once.
    more: bool,
    /// What the log said last of the receiver, and whether it said that the outbox fails.
    said: Said,
    outbox_fails: bool,
}

/// A worker, and the handle to it.
pub type WithHandle<O, R> = (Worker<O, R>, Handle<<O as Outbox>::Error>);

/// What the operator knows of a receiver from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Well,
    Down,
    Parked,
}

/// What happens next.
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
    /// A worker that continues where its receiver stands, with a handle to it. A receiver that is new is told what
    /// happens from now on; what happened before it gets by [`Order::Replay`].
    ///
    /// # Errors
    /// The position could not be read, or a new one not be stored.
    pub fn new(setup: Setup, outbox: Arc<O>, receiver: R) -> Result<WithHandle<O, R>, O::Error> {
        let Setup { name, limits, clock, randomness } = setup;
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
        let (status, status_out) = watch::channel(status_of(&tail, 0, clock.now().at));
        let meters = Meters::new(&name);
        let name: Arc<str> = name.into();
        let handle = Handle { name: Arc::clone(&name), orders: orders_in, status: status_out };
        let worker = Worker {
            name,
            stored_at: clock.running(),
            clock,
            randomness,
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

    fn now(&self) -> UnixMillis {
        self.clock.now().at
    }

    /// Offers the tail what it has room for.
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

    /// Starts every attempt whose time has come.
    fn attempt(&mut self) {
        let now = self.now();
        while let Some(message) = self.tail.next(now) {
            let receiver = Arc::clone(&self.receiver);
            self.attempts.spawn(async move { (message.place, receiver.send(&message.content, now.seconds()).await) });
        }
    }

    fn store_when_due(&mut self) {
        if self.clock.running() - self.stored_at >= STORE_INTERVAL {
            self.store();
        }
    }

    /// Stores the position if it says something that reading the journal again would not.
    fn store(&mut self) {
        let position = self.tail.position();
        if !self.is_news(&position) {
            return;
        }
        // One that fails is not tried more often than one that succeeds.
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

    /// Records passed that held no message are none, unless they are many.
    fn is_news(&self, position: &Position) -> bool {
        let only_passed = Position { through: self.stored.through, ..position.clone() } == self.stored
            && self.accepted == self.accepted_stored;
        let passed = position.through.record.0.checked_sub(self.stored.through.record.0);
        *position != self.stored && !(only_passed && passed.is_some_and(|passed| passed < PASSED_RECORDS_MAX))
    }

    /// Said once until it works again: it is tried several times a second.
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
                // Who asked may have left.
                let _ = done.send(carried_out);
            }
            Event::Due => {}
            Event::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Carries an order out once it is durable, or not at all. Attempts go on meanwhile; nothing else does.
    async fn carry_out(&mut self, order: Order, by: Author) -> Result<(), OrderError<O::Error>> {
        let author = by.clone();
        if behind(&self.outbox, move |outbox| outbox.is_repeated(&author)).await? {
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
        behind(&self.outbox, move |outbox| outbox.store_order(&name, &asked, &kept, &author)).await?;
        if let Order::Replay(_) = order {
            // Their outcomes would be taken for those of the repetition.
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

    /// Waits a moment for an attempt at a message that is under way: it may yet be accepted.
    async fn settle(&mut self, place: Place) {
        let patience = tokio::time::sleep(SETTLE_PATIENCE);
        tokio::pin!(patience);
        while self.tail.is_under_way(place) {
            let ended = tokio::select! {
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
            // Nothing else ends an attempt but ourselves.
            Err(error) => pass_on_panic(error),
        }
    }

    /// Shows how the receiver does: always to those who look, to the log when it changes.
    fn tell(&mut self) {
        self.meters.tell(&self.tail, self.outbox.newest(), self.now());
        let status = status_of(&self.tail, self.accepted, self.now());
        let receiver = &*self.name;
        let say = match &status.state {
            State::Parked(_) => Said::Parked,
            State::Failing(_) if self.tail.is_down() => Said::Down,
            // One message that fails among others that pass says nothing of the receiver.
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

/// Asks the outbox for what waits for the disk, on a thread that may.
async fn behind<O: Outbox, T: Send + 'static>(
    outbox: &Arc<O>,
    ask: impl FnOnce(&O) -> Result<T, O::Error> + Send + 'static,
) -> Result<T, OrderError<O::Error>> {
    let outbox = Arc::clone(outbox);
    match tokio::task::spawn_blocking(move || ask(&outbox)).await {
        Ok(answer) => Ok(answer?),
        Err(error) => {
            pass_on_panic(error);
            Err(OrderError::Stopped)
        }
    }
}

/// A panic is a bug, here as there.
fn pass_on_panic(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// A reason of whole characters within its bound.
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
