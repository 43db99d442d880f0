"""What UR owns and the partner knows of it: pools, credits and rates."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tapgate import error_code, eventually, fresh, now
from world import RATE_ONE, changes, follow_up, spent, tap


def pool_is(world, currency, **expected):
    assert {name: world.pool(currency)[name] for name in expected} == expected


@pytest.fixture
def pool(world):
    """A pool with 10,000 reported, a floor of 1,000, a reserve of 500 and nothing unreflected."""
    world.set_pool("GBP", 10_000, floor=1000, reserve=500, reflectedThrough="now")
    pool_is(world, "GBP", reported=10_000, unreflected=0, floor=1000, reserve=500, available=9000)
    return "GBP"


def test_a_pool_shows_what_was_reported_and_when(world, pool):
    seen = world.server.admin_ok("GET", f"/api/v1/pools/{pool}", role="viewer")
    names = {"currency", "reported", "reported_at", "held", "unreflected", "floor", "reserve", "available"}
    assert names <= set(seen)
    assert seen["currency"] == pool
    assert all(isinstance(seen[name], str) for name in names - {"reported_at"})


def test_what_is_kept_back_is_no_report(world, pool):
    before = world.server.admin_ok("GET", f"/api/v1/pools/{pool}")
    assert eventually(lambda: now() > before["reported_at"]), "a second later"
    after = world.server.admin_ok("PUT", f"/api/v1/pools/{pool}", {"floor": "2000", "reserve": "0"}, role="treasurer")
    assert (after["floor"], after["reserve"], after["available"]) == ("2000", "0", "8000")
    assert after["reported_at"] == before["reported_at"], "the balance is as old as it was"


def test_available_is_reported_less_floor_less_unreflected(world, pool):
    held_before = world.pool(pool)["held"]
    world.approve(tap(world.user(pool), 1200))
    pool_is(world, pool, reported=10_000, unreflected=1200, available=7800, held=held_before + 1200)


def test_a_report_alone_proves_nothing_about_open_approvals(world, pool):
    world.approve(tap(world.user(pool), 1200))
    world.set_pool(pool, 20_000, floor=1000, reserve=500)
    pool_is(world, pool, reported=20_000, unreflected=1200, available=17_800)


def test_a_report_that_reflects_everything_counts_nothing_twice(world, pool):
    world.approve(tap(world.user(pool), 1200))
    held = world.pool(pool)["held"]
    world.set_pool(pool, 8800, floor=1000, reserve=500, reflectedThrough="now")
    pool_is(world, pool, reported=8800, unreflected=0, available=7800, held=held)


def test_a_reversal_of_what_the_report_holds_already_waits_for_the_next_report(world, pool):
    user = world.user(pool)
    data = world.approve(tap(user, 1200))
    world.set_pool(pool, 8800, floor=1000, reserve=500, reflectedThrough="now")
    held = world.pool(pool)["held"]
    world.acknowledge(follow_up("reversal", data, 1200), 1200)
    pool_is(world, pool, reported=8800, unreflected=0, available=7800, held=held - 1200)


def test_a_reversal_of_what_no_report_holds_frees_the_pool_at_once(world, pool):
    data = world.approve(tap(world.user(pool), 1200))
    world.acknowledge(follow_up("reversal", data, 700), 700)
    pool_is(world, pool, unreflected=500, available=8500)


def test_a_pool_that_is_reported_below_its_floor_approves_nothing(world, pool):
    user = world.user(pool)
    world.set_pool(pool, 900, floor=1000, reflectedThrough="now")
    pool_is(world, pool, available=-100)
    world.decline(tap(user, 1), "pool_exhausted")


def test_many_at_once_never_overdraw_a_pool(world, pool):
    """20 users with 1,000 each for an available 8,500 above the reserve: eight fit."""
    world.set_pool(pool, 10_000, floor=1000, reserve=500, reflectedThrough="now")
    taps = [tap(world.user(pool), 1000) for _ in range(20)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(world.decide, taps))
    assert [answer["approved"] for answer in answers].count(True) == 8
    assert {answer["reason"] for answer in answers if not answer["approved"]} <= {"pool_reserve_held", "pool_exhausted"}
    pool_is(world, pool, unreflected=8000, available=1000)


# --- credits -------------------------------------------------------------------------------------------------------


def credit(world, pool, amount, reference, key=None):
    body = {"amount": str(amount), "reference": reference}
    headers = {"Idempotency-Key": key} if key else None
    return world.server.admin("POST", f"/api/v1/pools/{pool}/credits", body, role="treasurer", headers=headers)


def test_a_credit_raises_what_is_reported(world, pool):
    """With the feeds off no report of UR would ever prove it."""
    assert credit(world, pool, 2500, fresh("wire")).status_code == 200
    pool_is(world, pool, reported=12_500, available=11_500, unreflected=0)


def test_a_credit_with_the_same_key_and_body_counts_once(world, pool):
    key, reference = fresh("key"), fresh("wire")
    answers = [credit(world, pool, 2500, reference, key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    pool_is(world, pool, reported=12_500)


def test_a_credit_with_the_same_key_and_another_body_is_a_conflict(world, pool):
    key, reference = fresh("key"), fresh("wire")
    assert credit(world, pool, 2500, reference, key).status_code == 200
    answer = credit(world, pool, 2501, reference, key)
    assert answer.status_code == 409
    error_code(answer)
    pool_is(world, pool, reported=12_500)


def test_an_idempotency_key_survives_a_restart(world, pool):
    key, reference = fresh("key"), fresh("wire")
    assert credit(world, pool, 2500, reference, key).status_code == 200
    world.server.restart()
    assert credit(world, pool, 2500, reference, key).status_code == 200
    pool_is(world, pool, reported=12_500)


def test_credits_at_once_with_one_key_count_once(world, pool):
    key, reference = fresh("key"), fresh("wire")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: credit(world, pool, 2500, reference, key).status_code, range(8)))
    # A repeat that arrives while the first is still under way may be told so, but must not count.
    assert 200 in answers and set(answers) <= {200, 409}
    pool_is(world, pool, reported=12_500)


@pytest.mark.parametrize("amount", ["-1", "1.5", "x", ""])
def test_a_credit_of_a_bad_amount_is_refused(world, pool, amount):
    assert credit(world, pool, amount, fresh("wire")).status_code == 400
    pool_is(world, pool, reported=10_000)


def test_pool_figures_survive_a_restart(world, pool):
    user = world.user(pool)
    world.approve(tap(user, 1200))
    before, pool_before = world.figures(user), world.pool(pool)
    world.server.restart()
    assert changes(before, world.figures(user)) == {}
    assert world.pool(pool) == pool_before


def test_rates_survive_a_restart(world):
    user = world.user("CHF")
    before = world.figures(user)
    world.server.restart()
    world.approve(tap(user, RATE_ONE))
    assert changes(before, world.figures(user)) == spent(pool=RATE_ONE, funds=RATE_ONE, chf=RATE_ONE)


def test_what_a_balance_reflects_is_only_taken_with_the_balance(world):
    """A balance reported earlier cannot hold what was approved since: freeing that would approve it twice."""
    before = world.pool("EUR")
    answer = world.server.admin("PUT", "/api/v1/pools/EUR", {"reserve": "0", "reflectedThrough": "now"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")
    assert world.pool("EUR") == before
