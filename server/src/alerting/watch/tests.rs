//! Weeks of a program on an injected clock: its alerts, and their ends.

use std::path::Path;
use std::sync::Arc;

use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::{AccountStatus, PrefundOrdered, PrefundProposed, PrefundSent};
use tapgate_engine::ids::PrefundId;
use tapgate_engine::ledger::{AlertChange, PrefundChange};
use tapgate_engine::money::{ChfMinor, Currency, Minor};

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::provider::findings::OpsAccount;
use crate::treasury::follow::tests::{HOUR_MS, MONDAY, World, moment};

/// Nine weeks of two taps of 10.00 an hour end here: Monday 2026-11-09 00:00 UTC.
const WEEKS: u32 = 9;

fn watching(world: &World, settings: &str) -> Watch {
    configured(world, &format!("ur.feeds = false\n[treasury]\n{settings}\n"))
}

fn configured(world: &World, settings: &str) -> Watch {
    let text = format!("ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\n{settings}");
    let no_files = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let config = Config::load(&text, "test.toml", [], no_files).unwrap();
    Watch {
        ledger: Arc::clone(&world.ledger),
        clock: Arc::new(Clock::start()),
        health: Arc::default(),
        treasury: Arc::new(Follower::new(config.treasury)),
        prefunding: Arc::default(),
        findings: Arc::default(),
        settings: config.watch,
    }
}

/// Hours after the weeks.
fn later(hours: u64) -> UnixMillis {
    UnixMillis(MONDAY.0 + (u64::from(WEEKS) * 168 + hours) * HOUR_MS)
}

fn weeks_of_taps() -> World {
    let world = World::new(20, true);
    world.report(MONDAY, 10_000_000, 0);
    for hour in 0..WEEKS * 168 {
        for tap in [2 * hour, 2 * hour + 1] {
            world.tap(UnixMillis(MONDAY.0 + u64::from(hour) * HOUR_MS), tap, tap % 20, 1_000);
        }
    }
    world.drained();
    world
}

/// Checks at `now`, and returns the open alerts: kind, subject, severity, number of notifications.
fn seen(watch: &Watch, now: UnixMillis) -> Vec<String> {
    seen_after(watch, &mut PreviousCheck::default(), now)
}

/// The same, after earlier checks.
fn seen_after(watch: &Watch, before: &mut PreviousCheck, now: UnixMillis) -> Vec<String> {
    turn(watch, before, moment(now));
    let told = |alert: &Alert| {
        let condition = &alert.condition;
        let (kind, severity) = (condition.kind.name(), condition.severity.name());
        format!("{kind} {} {severity} {}", condition.subject, alert.notified)
    };
    watch.ledger.open_alerts().iter().map(told).collect()
}

#[test]
fn a_pool_runs_low_notifies_and_is_topped_up() {
    let world = weeks_of_taps();
    let watch = watching(&world, "");
    // 820.00 are expected in the 41 hours until the credit of Tuesday's cut-off.
    world.report(later(0), 85_000, 0);
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new(), "the journal is not read yet: nothing is known");
    watch.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&watch, later(0)), ["pool_low EUR urgent 1"]);
    let condition = world.ledger.open_alerts().remove(0).condition;
    assert!(condition.text.contains("the next cut-off is Mon 9 Nov 14:00"), "{}", condition.text);
    assert!(condition.text.contains("820 EUR"), "{}", condition.text);
    assert_eq!(seen(&watch, later(0)).len(), 1, "told once");
    world.report(later(4), 77_000, 0);
    assert_eq!(seen(&watch, later(4)), ["pool_low EUR urgent 2"], "and again after four hours");
    let again = world.ledger.open_alerts().remove(0).condition;
    assert_ne!(again.text, condition.text, "in the words of now");
    world.report(later(5), 0, 0);
    assert_eq!(seen(&watch, later(5)), ["pool_low EUR critical 3"]);
    world.report(later(6), 1_000_000, 0);
    assert_eq!(seen(&watch, later(6)), Vec::<String>::new());
    world.ledger.journal().close();
}

#[test]
fn after_a_restart_nothing_is_over_before_the_journal_is_read() {
    let world = weeks_of_taps();
    world.report(later(0), 85_000, 0);
    let before = watching(&world, "");
    before.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&before, later(0)), ["pool_low EUR urgent 1"]);
    let restarted = watching(&world, "");
    assert_eq!(seen(&restarted, later(1)), ["pool_low EUR urgent 1"]);
    world.report(later(1), 0, 100);
    assert_eq!(seen(&restarted, later(1)), ["pool_low EUR critical 2", "floor_breached EUR critical 1"]);
    world.ledger.journal().close();
}

#[test]
fn an_empty_pool_notifies_once_it_has_been_funded() {
    let world = World::new(1, true);
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new());
    world.report(later(0), 10, 10);
    assert_eq!(seen(&watch, later(0)), ["pool_low EUR critical 1"]);
    world.ledger.journal().close();
}

#[test]
fn a_prefund_is_overdue_then_short_then_over() {
    let world = World::new(1, true);
    world.report(MONDAY, 1_000_000, 0);
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    let sent = PrefundSent {
        proposal: None,
        currency: Currency::EUR,
        amount: Minor(5_000),
        reference: "PF-1".into(),
        expected_at: Some(later(1)),
    };
    world.change(later(0), Change::Prefund(PrefundChange::Send(sent)));
    assert_eq!(seen(&watch, later(1)), Vec::<String>::new());
    let told = seen(&watch, later(2));
    assert!(matches!(told.as_slice(), [only] if only.starts_with("prefund_overdue ")), "{told:?}");
    let credit =
        |amount| Change::CreditPool { currency: Currency::EUR, amount: Minor(amount), reference: "PF-1".into() };
    world.change(later(3), credit(4_990));
    let told = seen(&watch, later(3));
    assert!(matches!(told.as_slice(), [only] if only.starts_with("prefund_short ")), "{told:?}");
    world.change(later(4), credit(10));
    assert_eq!(seen(&watch, later(4)), Vec::<String>::new());
    world.ledger.journal().close();
}

/// A prefund as a person proposes it.
fn proposed(world: &World, at: UnixMillis) -> PrefundId {
    let (currency, amount) = (Currency::EUR, Minor(5_000));
    let proposed =
        PrefundProposed { currency, amount, reference: "r".into(), request_id: "r".into(), expected_at: None };
    world.change(at, Change::Prefund(PrefundChange::Propose(proposed)));
    world.ledger.open_prefunds().remove(0).id
}

#[test]
fn an_order_without_an_answer_is_an_alert_from_the_ledger_alone() {
    let world = World::new(1, true);
    world.report(MONDAY, 1_000_000, 0);
    // Without feeds, key and account no job orders or checks.
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    let id = proposed(&world, later(0));
    let treasurer = Author::Person { name: "treasurer".into(), idempotency: None };
    world.ledger.change(&treasurer, Change::Prefund(PrefundChange::Approve { id }), moment(later(0))).unwrap();
    let ordered = PrefundOrdered {
        id,
        base_url: "https://ur.example".into(),
        partner: "0x1".into(),
        account: "9999".parse().unwrap(),
        token: "EUR".into(),
        paid: Minor(5_000_000),
        quoted: Minor(5_000),
    };
    world.change(later(0), Change::Prefund(PrefundChange::Order(ordered)));
    let seconds = |seconds: u64| UnixMillis(later(0).0 + seconds * 1_000);
    assert_eq!(seen(&watch, seconds(120)), Vec::<String>::new(), "UR's answer takes a while");
    assert_eq!(seen(&watch, seconds(121)), ["prefund_refused EUR urgent 1"]);
    let text = world.ledger.open_alerts().remove(0).condition.text;
    assert!(text.contains("its money may have left") && text.contains("--not-executed"), "{text}");
    assert_eq!(seen(&watch, later(1)), ["prefund_refused EUR urgent 1"], "it stands");
    let given_up = PrefundChange::Cancel { id, reason: "UR says so".into(), not_executed: true };
    world.change(later(1), Change::Prefund(given_up));
    assert_eq!(seen(&watch, later(1)), Vec::<String>::new());
    world.ledger.journal().close();
}

#[test]
fn an_unapproved_proposal_is_an_alert_after_an_hour() {
    let world = World::new(1, true);
    world.report(MONDAY, 1_000_000, 0);
    let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    let settings = format!(
        "ur.partner_key = \"{key}\"\nur.ops_ur_id = \"9999\"\n[treasury]\nreport_stale_seconds = 86400\n\
         [treasury.auto_prefund]\nmode = \"automatic\"\ndaily_max_usdc = 1\n"
    );
    let watch = configured(&world, &settings);
    watch.treasury.catch_up(&world.ledger).unwrap();
    world.report(later(0), 1_000_000, 0);
    proposed(&world, later(0));
    assert_eq!(seen(&watch, later(1)), Vec::<String>::new());
    assert_eq!(seen(&watch, UnixMillis(later(1).0 + 1)), ["prefund_refused EUR warning 1"]);
    // The pool's own need makes it urgent.
    world.report(later(2), 10, 10);
    seen(&watch, later(2));
    assert_eq!(seen(&watch, later(2)), ["prefund_refused EUR urgent 2", "pool_low EUR critical 1"]);
    world.ledger.journal().close();
}

#[test]
fn the_hourly_cap_suspends_once() {
    let world = World::new(1, true);
    world.report(MONDAY, 1_000_000, 0);
    let watch = watching(&world, "hourly_cap_chf = 100\nhourly_cap_suspends = true");
    world.tap(later(0), 1, 0, 10_500);
    world.drained();
    watch.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new(), "99.22 francs");
    world.tap(later(0), 2, 0, 100);
    world.drained();
    watch.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&watch, later(0)), ["hourly_cap  critical 1"]);
    assert!(world.ledger.program().suspended && world.ledger.program().reason.contains("100 CHF"));
    world.change(later(0), Change::SuspendProgram { suspended: false, reason: "looked at".into() });
    world.drained();
    assert_eq!(seen(&watch, later(0)), ["hourly_cap  critical 1"]);
    assert!(!world.ledger.program().suspended, "a person knows better");
    let restarted = watching(&world, "hourly_cap_chf = 100\nhourly_cap_suspends = true");
    restarted.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&restarted, later(0)).len(), 1);
    assert!(!world.ledger.program().suspended, "whoever has restarted since");
    assert_eq!(seen(&watch, later(1)), Vec::<String>::new(), "an hour later it is over");
    world.ledger.journal().close();
}

#[test]
fn approvals_after_a_resume_suspend_again_with_a_new_alert() {
    let world = World::new(1, true);
    world.report(MONDAY, 1_000_000, 0);
    let watch = watching(&world, "hourly_cap_chf = 100\nhourly_cap_suspends = true");
    watch.treasury.catch_up(&world.ledger).unwrap();
    world.tap(later(0), 1, 0, 15_000);
    world.drained();
    assert_eq!(seen(&watch, later(0)), ["hourly_cap  critical 1"]);
    let first = world.ledger.open_alerts().remove(0).id;
    world.change(later(0), Change::Alert(AlertChange::Acknowledge { id: first, reason: None }));
    world.change(later(0), Change::SuspendProgram { suspended: false, reason: "a campaign".into() });
    let soon = UnixMillis(later(0).0 + 1_000);
    world.tap(soon, 2, 0, 10_500);
    world.drained();
    assert_eq!(seen(&watch, soon), ["hourly_cap  critical 1"]);
    assert!(!world.ledger.program().suspended, "99.22 francs since");
    world.tap(soon, 3, 0, 100);
    world.drained();
    assert_eq!(seen(&watch, soon), ["hourly_cap  critical 1"]);
    assert!(world.ledger.program().suspended);
    let second = world.ledger.open_alerts().remove(0);
    assert!(second.id != first && second.acknowledged.is_none(), "{second:?}");
    assert_eq!(seen(&watch, soon).len(), 1);
    assert_eq!(world.ledger.open_alerts().remove(0).id, second.id, "once");
    world.ledger.journal().close();
}

#[test]
fn a_pool_without_history_around_zero_notifies_once() {
    let world = World::new(1, true);
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    let mut before = PreviousCheck::default();
    for (hour, balance) in [(0, 10), (1, 11), (2, 10), (3, 11)] {
        world.report(later(hour), balance, 10);
        assert_eq!(seen_after(&watch, &mut before, later(hour)), ["pool_low EUR critical 1"], "hour {hour}");
    }
    assert_eq!(seen_after(&watch, &mut before, later(3)), Vec::<String>::new(), "two looks were good");
    world.ledger.journal().close();
}

#[test]
fn a_pool_that_no_credit_can_reach_is_urgent() {
    let world = weeks_of_taps();
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    world.report(later(0), 5_000_000, 0);
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new(), "it lasts for months");
    let today = watch.treasury.calendar(&world.ledger).day(later(0)).0;
    for year in 0..2 {
        let from = tapgate_engine::fact::Day(today.0 + year * 365);
        let through = tapgate_engine::fact::Day(from.0 + 364);
        let closed = tapgate_engine::fact::Closed { from, through, reason: "UR is gone".into() };
        world.change(later(0), Change::Closure(tapgate_engine::ledger::ClosureChange::Add(closed)));
    }
    assert_eq!(seen(&watch, later(0)), ["pool_low EUR urgent 1"]);
    let text = world.ledger.open_alerts().remove(0).condition.text;
    assert!(text.contains("no day is open for credits"), "{text}");
    world.ledger.journal().close();
}

#[test]
fn a_slow_disk_notifies_once_until_two_good_checks() {
    let world = World::new(1, true);
    let watch = watching(&world, "");
    let mut before = PreviousCheck::default();
    for (is_stalled, was_stalled) in [(true, false), (false, true), (true, false), (false, true)] {
        before.journal = JournalObservation { is_stalled, was_stalled, ..JournalObservation::default() };
        assert_eq!(seen_after(&watch, &mut before, later(0)), ["journal_slow  critical 1"]);
    }
    before.journal = JournalObservation::default();
    assert_eq!(seen_after(&watch, &mut before, later(0)), Vec::<String>::new());
    world.ledger.journal().close();
}

#[test]
fn a_rise_of_declines_notifies_and_is_acknowledged() {
    let world = weeks_of_taps();
    world.report(later(0), 1_000_000, 0);
    for tap in 0..30 {
        world.tap(later(0), 1_000_000 + tap, 7_777, 1_000);
    }
    world.drained();
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&watch, later(0)), ["decline_spike  urgent 1"]);
    let alert = world.ledger.open_alerts().remove(0);
    assert!(alert.condition.facts.iter().any(|(name, value)| name == "unknown" && value == "30"), "{alert:?}");
    world.change(later(0), Change::Alert(AlertChange::Acknowledge { id: alert.id, reason: None }));
    assert_eq!(seen(&watch, UnixMillis(later(0).0 + 9 * 60_000)), ["decline_spike  urgent 1"]);
    assert_eq!(seen(&watch, UnixMillis(later(0).0 + 10 * 60_000)), Vec::<String>::new());
    world.ledger.journal().close();
}

#[test]
fn a_closure_moves_what_must_last() {
    let world = weeks_of_taps();
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    world.report(later(0), 120_000, 0);
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new());
    let tuesday = watch.treasury.calendar(&world.ledger).day(later(24)).0;
    let closed = tapgate_engine::fact::Closed { from: tuesday, through: tuesday, reason: "UR moves".into() };
    world.change(later(0), Change::Closure(tapgate_engine::ledger::ClosureChange::Add(closed)));
    // Now 65 hours of 20.00 must last.
    assert_eq!(seen(&watch, later(0)), ["pool_low EUR urgent 1"]);
    world.ledger.journal().close();
}

#[test]
fn the_ops_accounts_limit_is_an_alert_until_a_profile_shows_room() {
    let world = World::new(1, true);
    let watch = watching(&world, "");
    watch.treasury.catch_up(&world.ledger).unwrap();
    let shown = |used| {
        let limit = ClientLimit { used: ChfMinor(used), client: ChfMinor(100_000), start: later(0).seconds() };
        watch.findings.ops_account(OpsAccount { id: "9999".parse().unwrap(), status: AccountStatus::Live, limit });
    };
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new());
    shown(85_000);
    assert_eq!(seen(&watch, later(0)), ["ops_account_limited  urgent 1"]);
    let restarted = watching(&world, "");
    restarted.treasury.catch_up(&world.ledger).unwrap();
    assert_eq!(seen(&restarted, later(0)).len(), 1, "a restart ends no alert");
    shown(100_000);
    assert_eq!(seen(&watch, later(0)), ["ops_account_limited  critical 2"]);
    shown(1_000);
    assert_eq!(seen(&watch, later(0)), Vec::<String>::new());
    world.ledger.journal().close();
}
