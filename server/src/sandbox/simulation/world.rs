//! The simulated world: UR and the partner, who live on while the server dies and starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tapgate_engine::fact::{Author, BreakKind, CardStatus, Discrepancy, Record};
use tapgate_engine::ids::{Sequence, UrId};
use tapgate_engine::ledger::{Change, ChangeError, Reflected};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::store::Entry;
use tapgate_engine::time::UnixMillis;
use tokio::time::Instant;

use super::chance::Chance;
use super::disk::{Disk, Faults};
use super::judge::{Finding, Invariant, Judge};
use super::life::{Answered, Life, RECEIVERS, Under, config};
use super::network::{Line, Network};
use super::partner::Partner;
use super::scenario::{Asking, Scenario, Step, Telling, USERS};
use super::wall::Wall;
use crate::clock::Clock;
use crate::delivery::outbox::LedgerOutbox;
use crate::delivery::outbox::events::Events;
use crate::delivery::tail::State;
use crate::delivery::{EventKind, Order, Outbox, Place};
use crate::sandbox::play::payment;
use crate::sandbox::sender::Sender;
use crate::sandbox::tap::{Kind, Tap};
use crate::sandbox::ur::account::{Balance, CRYPTO};
use crate::sandbox::ur::bank::Wire;
use crate::sandbox::ur::books::Books;
use crate::sandbox::ur::{Api, OPS_UR_ID};
use crate::sandbox::{Keys, world};
use crate::signature::SigningKey;
use crate::wire::admin::controls::ControlsForm;
use crate::wire::admin::pools::RatesForm;
use crate::wire::admin::users::ImportLine;

/// A Monday, 2026-01-05 08:00:00 UTC.
const BEGIN: UnixMillis = UnixMillis(1_767_600_000_000);

/// How fast time passes in a life.
const SPEEDS: [u32; 2] = [3_600, 36_000];

/// How fast it passes at the end, and how many days.
pub(super) const SPEED_AT_THE_END: u32 = 144_000;
const DAYS_AT_THE_END: u32 = 5;

/// How soon a receiver without faults has a message.
const DELIVERED_WITHIN: Duration = Duration::from_secs(2);

/// Time without an accepted message before a receiver is parked, as the settings have it, less what was under way.
const PARKED_AFTER: Duration = Duration::from_secs(71 * 3_600);

/// The longest way to UR, to receivers and back, in milliseconds of tokio's.
const WAY: u64 = 20;

/// How often UR asks for an answer, and the pause in between.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    approved: bool,
    approved_amount: Option<String>,
    reason: Option<String>,
}

/// What people change, again until it is done: after a crash nobody knows whether it was.
#[derive(Clone, Debug)]
struct Ordered {
    change: Change,
    /// It was asked for before, so that a conflict says that it is done.
    is_repeated: bool,
}

pub(super) struct World {
    chance: Chance,
    server: Chance,
    keys: Keys,
    sender: Sender,
    wall: Arc<Wall>,
    disk: Arc<Disk>,
    network: Arc<Network>,
    books: Arc<Mutex<Books>>,
    partner: Partner,
    judge: Judge,
    life: Option<Life>,
    /// When it began.
    alive_since: UnixMillis,
    /// The receivers that are parked.
    parked: BTreeSet<&'static str>,
    /// By id.
    taps: BTreeMap<String, Tap>,
    /// What UR was answered, by id.
    answers: BTreeMap<String, Answered>,
    /// What UR declined by itself, because it had no answer: tapgate may have approved it.
    given_up: BTreeSet<String>,
    /// Returns that were never acknowledged, and increments that were never answered: UR asks again later.
    owed: Vec<Tap>,
    /// Movements that were never acknowledged.
    untold: Vec<(usize, Value)>,
    wires: Vec<Wire>,
    ordered: Vec<Ordered>,
    /// The steps are over: days pass.
    is_over: bool,
    /// Where deliveries began.
    began: Place,
    pub(super) trace: Vec<String>,
    crashes: u64,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) finding: Option<Finding>,
    pub(super) trace: Vec<String>,
    pub(super) writes: u64,
    pub(super) crashes: u64,
    pub(super) records: u64,
}

type Checked<T = ()> = Result<T, Finding>;

fn unset(error: impl std::fmt::Display) -> Finding {
    Finding::of(Invariant::Starts, format!("the world was not set up: {error}"))
}

fn person() -> Author {
    Author::Person { name: "simulated".into(), idempotency: None }
}

impl World {
    async fn begin(seed: u64, ends_at: Option<u64>) -> Checked<World> {
        let keys = Keys::of(seed).map_err(unset)?;
        let chance = |part| Chance::new(seed, part);
        let wall = Arc::new(Wall::at(BEGIN));
        let books = books(seed, wall.seconds());
        let partner = Partner::new(&books).map_err(unset)?;
        let books = Arc::new(Mutex::new(books));
        let of_ur = Arc::clone(&wall);
        let api = Api {
            books: Arc::clone(&books),
            clock: Arc::new(Clock::simulated(1, move || of_ur.now())),
            on_the_way_seconds: u64::from(SPEED_AT_THE_END),
            // Nobody else asks here, and verifying takes longer than answering: a fifth of a run.
            partner: None,
            catch_up: Arc::default(),
        };
        let disk = Disk::new(chance(11));
        let process = disk.mount();
        if let Some(write) = ends_at {
            disk.end_at(write);
        }
        let judge = Judge::new(&*process.as_it_is());
        let mut world = World {
            chance: chance(13),
            server: chance(17),
            sender: Sender::Ur(SigningKey::from_bytes(keys.ur).map_err(unset)?),
            keys,
            network: Network::new(api.router(), chance(19), Arc::clone(&wall)),
            wall,
            disk,
            books,
            partner,
            judge,
            life: None,
            alive_since: BEGIN,
            parked: BTreeSet::new(),
            taps: BTreeMap::new(),
            answers: BTreeMap::new(),
            given_up: BTreeSet::new(),
            owed: Vec::new(),
            untold: Vec::new(),
            wires: Vec::new(),
            ordered: Vec::new(),
            is_over: false,
            began: Place::default(),
            trace: Vec::new(),
            crashes: 0,
        };
        world.live(process, SPEEDS[0])?;
        world.began = world.life()?.app.deliveries.first().map(|one| one.handle.status().through).unwrap_or_default();
        let changes = set_up(&world.books()).map_err(unset)?;
        for change in changes {
            world.order(change).await?;
        }
        Ok(world)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> Checked<&Life> {
        self.life.as_ref().ok_or_else(|| Finding::of(Invariant::Starts, "no process runs"))
    }

    fn live(&mut self, mut process: Arc<super::disk::Mounted>, speed: u32) -> Checked {
        self.wall.set_speed(speed);
        loop {
            let line = Line {
                network: Arc::clone(&self.network),
                process: Arc::clone(&process),
                way: WAY.min(WAY * u64::from(SPEEDS[1]) / u64::from(speed)),
            };
            let under = Under {
                process: Arc::clone(&process),
                disk: Arc::clone(&self.disk),
                line,
                wall: Arc::clone(&self.wall),
                speed,
                chances: [self.chance.clone(), self.server.clone()],
                hash_seed: 7,
            };
            match Life::begin(&config(&self.keys, speed).map_err(unset)?, under) {
                Ok(life) => {
                    self.life = Some(life);
                    self.alive_since = self.wall.now();
                    self.network.process_begins();
                    return Ok(());
                }
                Err(_) if process.is_dead() => {
                    self.judge.verify(&process)?;
                    process = self.disk.remount(&process).map_err(unset)?;
                }
                Err(error) => return Err(Finding::of(Invariant::Starts, error).at(self.judge.read())),
            }
        }
    }

    /// Reads what the journal and the receivers have got.
    fn look(&mut self) -> Checked {
        if let Some(life) = &self.life {
            let trace = &mut self.trace;
            self.judge.read_on(&life.process, |entry, record| trace.push(line_of(entry, record)))?;
        }
        for received in self.network.take_received() {
            self.trace.push(format!("  received {} {}", received.receiver, received.id));
            if received.receiver == RECEIVERS[0] {
                self.partner.take(&received).map_err(|what| Finding::of(Invariant::Delivered, what))?;
            }
            self.judge.received(received)?;
        }
        self.assert_no_park_without_reason()?;
        self.assert_asked()
    }

    /// A receiver that is parked now, and was not, has taken nothing for long enough.
    fn assert_no_park_without_reason(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        for delivery in life.app.deliveries.iter() {
            let Some(host) = RECEIVERS.into_iter().find(|host| delivery.url.contains(host)) else { continue };
            if !matches!(delivery.handle.status().state, State::Parked(_)) {
                self.parked.remove(host);
            } else if self.parked.insert(host) && self.network.ill_for(host) < PARKED_AFTER {
                let ill = self.network.ill_for(host).as_secs();
                let what = format!("{host} is parked, and has taken nothing for {ill} s");
                return Err(Finding::of(Invariant::Parks, what).at(self.judge.read()));
            }
        }
        Ok(())
    }

    /// While a process lives and UR answers, UR is asked for what the feeds read.
    fn assert_asked(&self) -> Checked {
        match self.network.unasked(self.alive_since).filter(|_| self.life.is_some()) {
            Some((path, since)) => {
                let what = format!("UR answers, and was not asked for {path} for {} s", since.as_secs());
                Err(Finding::of(Invariant::Asks, what).at(self.judge.read()))
            }
            None => Ok(()),
        }
    }

    /// Time passes, of tokio's; a process that ends meanwhile is started again at once.
    async fn rest(&mut self, time: Duration) -> Checked {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(life) = &self.life {
                tokio::select! {
                    biased;
                    () = life.process.died.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                }
            }
            self.look()?;
            self.revive().await?;
        }
        Ok(())
    }

    /// Starts a process again that has ended.
    async fn revive(&mut self) -> Checked {
        loop {
            let Some(mut life) = self.life.take() else { return Ok(()) };
            let why = match (life.process.is_dead(), life.has_failed()) {
                (false, false) => {
                    self.life = Some(life);
                    return Ok(());
                }
                (true, _) => "crashed",
                (false, true) => "failed",
            };
            self.ended(life, why).await?;
        }
    }

    async fn ended(&mut self, life: Life, why: &str) -> Checked {
        self.trace.push(format!("  process {why} after {} writes", self.disk.writes()));
        self.crashes += 1;
        let process = Arc::clone(&life.process);
        let panics = life.end().await;
        self.again(&process, panics).await
    }

    /// The next process, once one has ended.
    async fn again(&mut self, before: &super::disk::Mounted, panics: Vec<String>) -> Checked {
        if let Some(panic) = panics.into_iter().next() {
            return Err(Finding::of(Invariant::Panics, panic));
        }
        let trace = &mut self.trace;
        self.judge.read_on(before, |entry, record| trace.push(line_of(entry, record)))?;
        // Whoever starts it has made room, and set the clock right.
        self.disk.set_faults(|faults| faults.fails = false);
        self.wall.set_right();
        let process = self.disk.remount(before).map_err(unset)?;
        self.judge.verify(&process)?;
        let drawn = SPEEDS[self.chance.index(SPEEDS.len())];
        self.live(process, if self.is_over { SPEED_AT_THE_END } else { drawn })?;
        self.compare()?;
        self.ask_again().await
    }

    /// Everything that was decided is written, and memory is the fold of it.
    fn compare(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        let journal = life.app.ledger.journal();
        while journal.turn() {}
        if life.process.is_dead() || journal.has_failed() {
            return Ok(());
        }
        let (ledger, process) = (Arc::clone(&life.app.ledger), Arc::clone(&life.process));
        self.look()?;
        self.judge.compare(&ledger, &process)
    }

    /// What was answered before is answered alike.
    async fn ask_again(&mut self) -> Checked {
        let known: Vec<_> = self.answers.iter().map(|(id, answer)| (id.clone(), answer.clone())).collect();
        for _ in 0..known.len().min(2) {
            let (id, before) = &known[self.chance.index(known.len())];
            let Some(tap) = self.taps.get(id).cloned() else { continue };
            let Some(again) = self.ask_once(&tap).await else { continue };
            if again.status == 200 && again != *before {
                let [before, again] = [before, &again].map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
                let finding = Finding::of(Invariant::Kept, format!("{id} was answered {before} and now {again}"));
                return Err(match self.judge.decision(id) {
                    Some(record) => finding.at(record),
                    None => finding,
                });
            }
        }
        Ok(())
    }

    /// UR sends what it writes at a time, and signs it; `None` where it has no answer.
    async fn send(&self, written: impl FnOnce(&Sender, u64) -> Vec<u8>) -> Option<Answered> {
        let now = self.wall.seconds();
        let body = written(&self.sender, now);
        let proof = self.sender.prove(&body, now);
        self.life.as_ref()?.ask(body, proof).await
    }

    async fn ask_once(&self, tap: &Tap) -> Option<Answered> {
        self.send(|sender, now| sender.tap(tap, now)).await
    }

    /// UR asks until it has an answer, or gives up.
    async fn ask(&mut self, tap: &Tap, tries: u32) -> Checked<Option<Answered>> {
        for _ in 0..tries {
            let answered = self.ask_once(tap).await;
            self.look()?;
            self.revive().await?;
            match answered {
                Some(answer) if answer.status == 200 => return Ok(Some(answer)),
                Some(answer) if answer.status == 500 => {
                    let what = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(Finding::of(Invariant::Starts, format!("{} was answered 500: {what}", tap.id)));
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(None)
    }

    async fn tap(&mut self, tap: Tap, asking: Asking) -> Checked {
        self.taps.insert(tap.id.clone(), tap.clone());
        let answer = match asking {
            Asking::Insists => self.ask(&tap, TRIES).await?,
            Asking::Once => self.ask(&tap, 1).await?,
            Asking::Twice => {
                let both = tokio::join!(self.ask_once(&tap), self.ask_once(&tap));
                self.look()?;
                self.revive().await?;
                let is_same = match &both {
                    (Some(one), Some(other)) if one.status == 200 && other.status == 200 => one == other,
                    _ => true,
                };
                if !is_same {
                    return Err(Finding::of(Invariant::Kept, format!("{} was answered {both:?}", tap.id)));
                }
                self.ask(&tap, TRIES).await?
            }
        };
        let Some(answer) = answer else {
            self.trace.push(format!("  {} unanswered", tap.id));
            // An increment that UR did not know would keep its part of a settled authorization until it expires.
            if tap.kind == Kind::Authorization {
                self.books().decline(&tap);
                self.given_up.insert(tap.root().to_owned());
            } else {
                self.owed.push(tap);
            }
            return Ok(());
        };
        self.take(&tap, answer)
    }

    /// UR books what it was answered.
    fn take(&mut self, tap: &Tap, answer: Answered) -> Checked {
        self.trace.push(format!("  {} answered {}", tap.id, String::from_utf8_lossy(&answer.body)));
        let wrong = |what: String| Finding::of(Invariant::Covered, format!("{}: {what}", tap.id));
        let said: Said = serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
        let is_stored = said.reason.as_deref() != Some("duplicate_mismatch");
        let process = Arc::clone(&self.life()?.process);
        if tap.kind.asks() && is_stored && !process.is_dead() {
            self.judge.answered(&process, &tap.id, said.approved)?;
        }
        self.answers.insert(tap.id.clone(), answer);
        let now = self.wall.seconds();
        let booked = if !tap.kind.asks() {
            let amount = said.approved_amount.and_then(|amount| amount.parse().ok()).unwrap_or(0);
            self.books().give_back(tap, amount, now)
        } else if said.approved {
            let ledger = Arc::clone(&self.life()?.app.ledger);
            let mut books = self.books();
            match payment(&ledger, &books, &tap.id) {
                Ok(Some(payment)) => books.approve(tap, payment, now),
                Ok(None) => Err("it is approved, and no record says how it is paid".to_owned()),
                Err(error) => Err(error),
            }
        } else {
            self.books().decline(tap);
            Ok(())
        };
        booked.map_err(wrong)
    }

    fn new_tap(&self, id: String, user: u8, place: u8, amount: u32) -> Option<Tap> {
        let ur_id = world::ur_id(usize::from(user));
        let merchant = &world::PLACES.get(usize::from(place))?.merchant;
        let card = self.books().accounts.get(&ur_id)?.cards.first()?.id.clone();
        let amount = u64::from(amount);
        let settlement = world::settlement(amount, merchant.currency);
        Some(Tap {
            id,
            kind: Kind::Authorization,
            original: None,
            user: usize::from(user),
            ur_id,
            card,
            amount,
            settlement,
            merchant,
        })
    }

    /// Something that follows an authorization, known or not.
    fn following(&self, id: String, root: u16, kind: Kind, amount: u32) -> Option<Tap> {
        let original = format!("a{root}");
        let (user, place) = (0, 2);
        let root = self.taps.get(&original).cloned().or_else(|| self.new_tap(original.clone(), user, place, 1))?;
        if kind.asks() && self.given_up.contains(&original) {
            // UR raises nothing that it declined by itself.
            return None;
        }
        let books = self.books();
        if books.statement.of_root(&original).any(|row| row.is_settled) {
            // What follows a settlement is a refund, which UR does not announce.
            return None;
        }
        // What it has announced and nobody has acknowledged yet is given back, too.
        let owed: u64 = self.owed.iter().filter(|tap| tap.root() == original).map(|tap| tap.amount).sum();
        let left = books.bookings.get(&original).map(|booking| booking.remaining().saturating_sub(owed));
        let amount = u64::from(amount).min(left.filter(|_| !kind.asks()).unwrap_or(u64::MAX));
        let settlement = world::settlement(amount, root.merchant.currency);
        Some(Tap { id, kind, original: Some(original), amount, settlement, ..root })
    }

    async fn settle(&mut self, telling: Telling) -> Checked {
        let now = self.wall.seconds();
        let due = self.books().statement.take_due(now, |_| false);
        let shown = |number: &usize| Some((*number, self.books().statement.settle(*number)?.data));
        let mut told: Vec<_> = due.iter().filter_map(shown).collect();
        match telling {
            Telling::Well => {}
            Telling::Twice => told = told.iter().flat_map(|one| [one.clone(), one.clone()]).collect(),
            Telling::Backwards => told.reverse(),
            Telling::Lost => told.clear(),
        }
        for (number, data) in told {
            self.tell(number, data).await?;
        }
        // UR's operations credit by hand what was sent before.
        for wire in std::mem::take(&mut self.wires) {
            self.books().arrive(&wire);
        }
        let sent = std::mem::take(&mut self.books().deposits);
        self.wires = sent;
        Ok(())
    }

    async fn tell(&mut self, number: usize, data: Value) -> Checked {
        for _ in 0..TRIES {
            let answered = self.send(|sender, now| sender.transaction(&data, now)).await;
            self.look()?;
            self.revive().await?;
            if answered.is_some_and(|answer| answer.status == 200) {
                let now = self.wall.seconds();
                self.books().statement.note_shown(&[number], now);
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.untold.push((number, data));
        Ok(())
    }

    /// Has people change something, until it is certain.
    async fn order(&mut self, change: Change) -> Checked {
        let mut ordered = Ordered { change, is_repeated: false };
        for _ in 0..TRIES {
            if self.try_order(&ordered).await? {
                return Ok(());
            }
            ordered.is_repeated = true;
            self.revive().await?;
            tokio::time::sleep(PAUSE).await;
        }
        self.ordered.push(ordered);
        Ok(())
    }

    async fn try_order(&mut self, ordered: &Ordered) -> Checked<bool> {
        let (ledger, now) = {
            let app = &self.life()?.app;
            (Arc::clone(&app.ledger), app.clock.now())
        };
        let made = ledger.change(&person(), ordered.change.clone(), now);
        let done = match made {
            Ok(receipt) => match receipt.ticket {
                Some(ticket) => tokio::time::timeout(Duration::from_secs(2), ticket.wait())
                    .await
                    .is_ok_and(|durability| durability == tapgate_engine::journal::Durability::Durable),
                None => true,
            },
            Err(ChangeError::Conflict(_)) if ordered.is_repeated => true,
            Err(ChangeError::NoPlace(_) | ChangeError::Store(_)) => false,
            // Another change came first; people look again.
            Err(ChangeError::Conflict(_) | ChangeError::NotFound { .. } | ChangeError::Invalid(_)) => true,
        };
        self.look()?;
        Ok(done)
    }

    async fn debit(&mut self, user: u8) -> Checked {
        match self.partner.debit(&world::ur_id(usize::from(user))) {
            Some(change) => self.order(change).await,
            None => Ok(()),
        }
    }

    async fn step(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Tap { id, user, place, amount, asking } => {
                let Some(tap) = self.new_tap(format!("a{id}"), user, place, amount) else { return Ok(()) };
                self.tap(tap, asking).await?;
            }
            Step::Increment { id, root, amount } => {
                let Some(tap) = self.following(format!("i{id}"), root, Kind::Incremental, amount) else {
                    return Ok(());
                };
                self.tap(tap, Asking::Insists).await?;
            }
            Step::Reverse { id, root, amount, is_advice } => {
                let kind = if is_advice { Kind::Advice } else { Kind::Reversal };
                let Some(tap) = self.following(format!("r{id}"), root, kind, amount) else { return Ok(()) };
                self.tap(tap, Asking::Insists).await?;
            }
            Step::Settle(telling) => self.settle(telling).await?,
            Step::Wait { minutes } => {
                let real = self.wall.real(Duration::from_secs(60) * minutes);
                self.rest(real).await?;
            }
            Step::Crash { after: 0 } => {
                if let Some(life) = self.life.take() {
                    self.ended(life, "killed").await?;
                }
            }
            Step::Crash { after } => self.disk.end_after(u64::from(after) - 1),
            Step::Restart => {
                if let Some(life) = self.life.take() {
                    self.stop(life).await?;
                }
            }
            Step::DiskFails => self.disk.set_faults(|faults| faults.fails = true),
            Step::DiskSlow { millis } => {
                self.disk.set_faults(|faults| faults.slow = Duration::from_millis(u64::from(millis)));
            }
            Step::DiskLeft { megabytes } => {
                self.disk.set_faults(|faults| faults.left = Some(u64::from(megabytes) << 20));
            }
            Step::Clock { seconds } => self.wall.jump(i64::from(seconds) * 1_000),
            Step::Ur(manners) => self.network.set_ur(manners),
            Step::Receiver(which, taking) => {
                let host = RECEIVERS[usize::from(which) % RECEIVERS.len()];
                self.network.set_receiver(host, taking);
            }
            Step::Freeze { user, frozen } => {
                let ur_id = world::ur_id(usize::from(user));
                let card =
                    self.books().accounts.get(&ur_id).and_then(|account| Some(account.cards.first()?.id.clone()));
                let Some(card) = card.and_then(|card| card.parse().ok()) else { return Ok(()) };
                let status = if frozen { CardStatus::Frozen } else { CardStatus::Active };
                self.order(Change::ChangeCard { card, status }).await?;
            }
            Step::Suspend { user, suspended } => {
                let user = world::ur_id(usize::from(user)).parse().map_err(unset)?;
                self.order(Change::SuspendUser { user, suspended }).await?;
            }
            Step::Debit { user } => self.debit(user).await?,
            Step::Mend => self.mend(),
        }
        self.look()?;
        self.revive().await?;
        if self.chance.one_in(4) {
            self.compare()?;
            self.revive().await?;
        }
        Ok(())
    }

    async fn stop(&mut self, life: Life) -> Checked {
        self.trace.push("  process stops".to_owned());
        let process = Arc::clone(&life.process);
        let stopping = tokio::time::timeout(Duration::from_secs(60), life.stop()).await;
        let stopped = stopping.map_err(|_| Finding::of(Invariant::Stops, "it does not end"))?;
        let panics = stopped.map_err(|error| Finding::of(Invariant::Stops, error))?;
        self.again(&process, panics).await
    }

    /// A person resumes what was parked.
    async fn resume_parked(&self) -> Checked {
        for delivery in self.life()?.app.deliveries.iter() {
            if matches!(delivery.handle.status().state, State::Parked(_)) {
                let resumed = delivery.handle.order(Order::Resume, person());
                let _ = tokio::time::timeout(Duration::from_secs(2), resumed).await;
            }
        }
        Ok(())
    }

    fn mend(&mut self) {
        self.disk.set_faults(|faults| *faults = Faults::default());
        self.network.all_is_well();
        self.wall.set_right();
    }

    /// Faults end, UR settles everything, and days pass.
    async fn converge(&mut self) -> Checked {
        self.trace.push("at the end".to_owned());
        self.mend();
        self.revive().await?;
        self.is_over = true;
        // Most days pass fast, in a life of their own; the others show what the last one would have gone on with.
        if !self.chance.one_in(8)
            && let Some(life) = self.life.take()
        {
            self.stop(life).await?;
        }
        for tap in std::mem::take(&mut self.owed) {
            self.tap(tap, Asking::Insists).await?;
        }
        for ordered in std::mem::take(&mut self.ordered) {
            self.try_order(&ordered).await?;
        }
        for quarter in 0..4 * DAYS_AT_THE_END {
            for (number, data) in std::mem::take(&mut self.untold) {
                self.tell(number, data).await?;
            }
            self.settle(Telling::Well).await?;
            self.resume_parked().await?;
            let time = self.wall.real(Duration::from_secs(21_600));
            self.rest(time).await?;
            self.trace.push(format!("quarter {quarter}"));
        }
        for user in 0..USERS {
            self.debit(user).await?;
        }
        self.compare()?;
        let newest = self.judge.read();
        // Whoever ends even now starts again, and goes on.
        let mut ended = None;
        while ended != Some(self.crashes) {
            self.revive().await?;
            ended = Some(self.crashes);
            self.rest(DELIVERED_WITHIN).await?;
        }
        self.assert_debited()?;
        self.assert_money_left_once()?;
        self.assert_delivered(newest)?;
        self.assert_converged()
    }

    /// Every deposit that UR carried out is one order of the journal's.
    fn assert_money_left_once(&self) -> Checked {
        let ledger = &self.life()?.app.ledger;
        let all = tapgate_engine::ledger::Page { before: Sequence(u64::MAX), limit: usize::MAX };
        let prefunds = ledger.prefunds(all, &|_| true).map_err(unset)?;
        let books = self.books();
        let mut seen = BTreeSet::new();
        for row in books.statement.of_user(OPS_UR_ID).filter(|row| row.kind == "CDP") {
            let of = prefunds.iter().filter(|prefund| prefund.request_id.as_deref() == Some(&*row.reference)).count();
            if of != 1 || !seen.insert(row.reference.clone()) {
                let what =
                    format!("UR was paid {} {} as {}, which is {of} orders", row.amount, row.code, row.reference);
                return Err(Finding::of(Invariant::MoneyLeaves, what));
            }
        }
        Ok(())
    }

    /// Every event of the journal up to a record has reached the webhook.
    fn assert_delivered(&self, newest: Sequence) -> Checked {
        let app = &self.life()?.app;
        let events = Events { wanted: EventKind::ALL.to_vec(), tolerance: app.ledger.policy().tolerance };
        let outbox = LedgerOutbox::new(Arc::clone(&app.ledger), Arc::clone(&app.clock), events);
        let mut place = self.began;
        loop {
            let batch = outbox.after(place, 1_000).map_err(unset)?;
            for message in batch.messages.iter().filter(|message| message.place.record <= newest) {
                let id = message.place.message_id();
                if !self.judge.has_received(RECEIVERS[0], &id) {
                    let finding = Finding::of(Invariant::Delivered, format!("{id} ({}) has not arrived", message.kind));
                    return Err(finding.at(message.place.record));
                }
            }
            if !batch.more {
                return Ok(());
            }
            place = batch.through;
        }
    }

    /// Users were debited what UR took of the pools.
    fn assert_debited(&self) -> Checked {
        let books = self.books();
        for (root, booking) in &books.bookings {
            let is_paid_by_pool = books.approval(root, root).is_some_and(|(source, ..)| source == CRYPTO);
            let rows = books.statement.of_root(root).filter(|_| is_paid_by_pool);
            let took = rows.map(|row| if row.is_out { 1 } else { -1 } * row.amount.cast_signed()).sum::<i64>();
            let debited = self.partner.net_of(root);
            let (owed, differs) = booking.owed_for(took);
            if debited.abs_diff(owed) > differs && self.partner.has_funds(&booking.ur_id) {
                let what = format!("{root}: UR took {took}, so {owed} is owed, and {debited} was debited");
                return Err(Finding::of(Invariant::Debited, what));
            }
        }
        match self.partner.roots().into_iter().find(|root| !books.bookings.contains_key(*root)) {
            Some(root) => Err(Finding::of(Invariant::Debited, format!("{root} was debited, and UR knows of nothing"))),
            None => Ok(()),
        }
    }

    fn assert_converged(&self) -> Checked {
        let wrong = |what: String| Finding::of(Invariant::Converges, what);
        let ledger = &self.life()?.app.ledger;
        let books = self.books();
        for ur_id in books.accounts.keys() {
            let user: UrId = ur_id.parse().map_err(unset)?;
            let Some(row) = ledger.user(&user) else { continue };
            if let Some(hold) = row.holds().first() {
                return Err(wrong(format!("{ur_id} still holds {hold:?}")));
            }
        }
        let is_expected = |one: &Discrepancy| {
            one.kind == BreakKind::MissingAtProvider && self.given_up.contains(one.subject.as_str())
        };
        if let Some(open) = ledger.open_breaks().iter().find(|one| !is_expected(&one.discrepancy)) {
            return Err(wrong(format!("a break is open: {open:?}")));
        }
        for (code, pool) in &books.pools {
            let currency: Currency = code.parse().map_err(unset)?;
            let available = ledger.pool(currency).map_or(0, |pool| pool.available.0);
            let theirs = (pool.balance - pool.floor.min(pool.balance)).cast_signed();
            if available != theirs {
                return Err(wrong(format!("pool {code}: {available} is available, by UR's balance {theirs}")));
            }
        }
        Ok(())
    }
}

/// A record in the trace.
fn line_of(entry: &Entry, record: &Record) -> String {
    format!("  record {} at {} {:?} {}", entry.sequence, record.at.0, record.fact, hex::encode(entry.leaf))
}

/// UR's books of a small world, whose pools can run dry.
fn books(seed: u64, now: u64) -> Books {
    let mut books = world::books(usize::from(USERS), seed, now);
    books.accounts.remove(world::SAMPLE_USER);
    books.pools =
        [("EUR", Balance::of(90_000, 5_000)), ("USD", Balance::of(40_000, 2_000)), ("GBP", Balance::of(9_000, 0))]
            .into();
    // Every rate is a signed call of its own.
    let is_held = |code: &str| ["USD", "EUR", "CHF", "GBP"].contains(&code);
    books.rates.usd.retain(|code, _| is_held(code));
    books.rates.chf.retain(|code, _| is_held(code));
    Books { is_fed: true, speed: u64::from(SPEED_AT_THE_END), ..books }
}

/// What people set at first.
fn set_up(books: &Books) -> Result<Vec<Change>, String> {
    let read = |error: serde_json::Error| error.to_string();
    let rates: RatesForm = serde_json::from_value(crate::sandbox::partner::rates(books)).map_err(read)?;
    let mut changes = vec![Change::ReplaceRates(Box::new(rates.rates().map_err(|error| error.to_string())?))];
    for (code, pool) in &books.pools {
        let currency: Currency = code.parse().map_err(|error| format!("{code}: {error:?}"))?;
        let minor = |amount: u64| Some(Minor(amount.cast_signed()));
        changes.push(Change::ReportPool {
            currency,
            reported: minor(pool.balance),
            floor: minor(pool.floor),
            reserve: minor(0),
            reflected: Some(Reflected::Now),
        });
    }
    for (ur_id, account) in &books.accounts {
        let user: UrId = ur_id.parse().map_err(|error| format!("{ur_id}: {error:?}"))?;
        let line = crate::sandbox::partner::user(ur_id, account, crate::sandbox::Provider::Ur);
        let line: ImportLine = serde_json::from_value(line).map_err(read)?;
        let import = line.import(Currency::EUR).map_err(|error| error.to_string())?;
        changes.push(Change::ImportUser(Box::new(import)));
        if account.suspended {
            changes.push(Change::SuspendUser { user: user.clone(), suspended: true });
        }
        if !account.blocks.is_empty() {
            let form: ControlsForm =
                serde_json::from_value(crate::sandbox::partner::controls(&account.blocks)).map_err(read)?;
            let controls = form.controls().map_err(|error| error.to_string())?;
            changes.push(Change::ControlUser { user, controls });
        }
    }
    Ok(changes)
}

/// Runs a scenario to its end, or to what it finds.
pub(super) async fn run(scenario: &Scenario) -> Ended {
    let mut world = match World::begin(scenario.seed, scenario.ends_at).await {
        Ok(world) => world,
        Err(finding) => {
            return Ended { finding: Some(finding), trace: Vec::new(), writes: 0, crashes: 0, records: 0 };
        }
    };
    let finding = world.play(&scenario.steps).await.err();
    let panics = match world.life.take() {
        Some(life) => life.end().await,
        None => Vec::new(),
    };
    let panicked = panics.into_iter().next().map(|panic| Finding::of(Invariant::Panics, panic));
    for (path, calls) in world.network.calls() {
        world.trace.push(format!("{path} {calls}"));
    }
    Ended {
        finding: panicked.or(finding),
        writes: world.disk.writes(),
        crashes: world.crashes,
        records: world.judge.read().0,
        trace: world.trace,
    }
}

impl World {
    async fn play(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.trace.push(step.to_string());
            self.step(step).await?;
        }
        self.converge().await
    }
}
