"""Automatic prefunds from outside: tapgate orders top-ups from UR, and the money leaves once, whatever is lost on the way.

What forecasts suggest needs weeks and is tested in Rust, on an injected clock, and in the sandbox. Here people propose.
"""

import json

import pytest

from tapgate import ROLES, TOKENS, command, error_code, eventually, fresh
from test_feeds import QUICK
from test_sandbox import Running
from ur import OPS, Ur
from world import World

BOUNDS = {"mode": "approval", "daily_max_usdc": 5_000, "single_max_usdc": 2_000}


@pytest.fixture
def ur():
    ur = Ur()
    ur.balances[OPS] = {"EUR": 1_000_000, "USD": 1_000_000}
    yield ur
    ur.close()


@pytest.fixture
def started(new_server, ur):
    """Makes a server that looks every second, whose pools and rates UR has told."""

    def start(**settings) -> World:
        treasury = {"watch_interval_seconds": 1, "auto_prefund": {**BOUNDS, **settings}}
        world = World(new_server(config={"ur": {**QUICK, "base_url": ur.url}, "treasury": treasury}))
        assert eventually(lambda: world.server.admin("GET", "/api/v1/pools/EUR").status_code == 200)
        assert eventually(lambda: world.server.admin_ok("GET", "/api/v1/rates")["pairs"])
        return world

    return start


def run(world, *arguments, role="treasurer", code=0):
    result = command(*arguments, env={"TAPGATE_URL": world.server.admin_url, "TAPGATE_TOKEN": TOKENS[role]})
    assert result.returncode == code, (result.stdout + result.stderr).decode()
    return (result.stdout if code == 0 else result.stderr).decode()


def propose(world, amount, role="operator", **options):
    return world.server.admin("POST", "/api/v1/prefunds/automatic", {"currency": "EUR", "amount": str(amount)}, role=role, **options)


def approved(world, amount=100_000):
    """A proposal that a treasurer has approved; its id and requestId."""
    proposed = propose(world, amount).json()
    assert proposed["state"] == "proposed", proposed
    shown = world.server.admin_ok("POST", f"/api/v1/prefunds/{proposed['id']}/approve", role="treasurer")
    return shown["id"], shown["requestId"]


def prefund(world, id):
    return world.server.admin_ok("GET", f"/api/v1/prefunds/{id}", role="viewer")


def reaches(world, id, state, seconds=15):
    assert eventually(lambda: prefund(world, id)["state"] == state, seconds), prefund(world, id)
    return prefund(world, id)


def automatic(world):
    return world.server.admin_ok("GET", "/api/v1/prefunds/automatic", role="viewer")


def planned(world, words, seconds=15):
    """A step whose reason holds these words."""
    found = lambda: next((pool for pool in automatic(world)["pools"] if words in pool["why"]), None)  # noqa: E731
    assert eventually(found, seconds), automatic(world)
    return found()


def alerts(world):
    return [(alert["kind"], alert["subject"]) for alert in world.server.admin_ok("GET", "/api/v1/alerts?state=open")["items"]]


def deposits_asked(ur):
    return [asked for path, asked in ur.calls if path == "/v1/deposit"]


def test_a_treasurer_approves_and_one_deposit_is_made_and_credited(started, ur):
    world = started()
    proposed = propose(world, 100_000).json()
    assert planned(world, "waits for a treasurer")["prefund"] == proposed["id"]
    assert deposits_asked(ur) == [], "nobody has approved it"
    denied = world.server.admin("POST", f"/api/v1/prefunds/{proposed['id']}/approve", role="operator")
    assert denied.status_code == 403
    run(world, "prefunds", "approve", proposed["id"])
    sent = reaches(world, proposed["id"], "sent")
    (request, (account, token, paid, tx_hash)) = next(iter(ur.deposits.items()))
    assert (request, account, token) == (proposed["requestId"], OPS, "EUR")
    assert (sent["reference"], sent["ordered"]["paidUsdc"]) == (tx_hash, str(paid))
    # 1,000.00 EUR at 0.9168 cost 1,090.76 USDC, with 2 % of fees 1,113.02.
    assert 1_113_000_000 <= paid <= 1_113_100_000 and 100_000 <= int(sent["amount"]) <= 100_010
    assert sent["expectedAt"] > sent["sent"]["at"]
    assert automatic(world)["orderedTodayUsdc"] == str(paid)
    before = world.pool("EUR")["available"]
    credited = ur.arrive(tx_hash)
    assert reaches(world, proposed["id"], "credited")["credited"] == str(credited)
    assert eventually(lambda: world.pool("EUR")["available"] == before + credited)
    assert len(deposits_asked(ur)) == 1
    assert world.server.admin_ok("GET", "/api/v1/breaks")["items"] == [], "the rise explains itself"
    facts = [json.loads(line)["fact"] for line in world.server.admin("GET", "/api/v1/journal?from=0").text.splitlines()]
    kinds = [fact["kind"] for fact in facts]
    steps = [kinds.index(f"prefund_{step}") for step in ("proposed", "approved", "ordered", "sent")]
    assert steps == sorted(steps) and kinds.count("pool_credited") == 1
    assert f"tapgate_prefund_ordered_micro_usdc_total {paid}" in world.server.metrics()


def test_an_answer_that_is_lost_is_asked_for_again_and_the_deposit_is_made_once(started, ur):
    world = started()
    ur.lost_answers = {"/v1/deposit"}
    id, request = approved(world)
    reaches(world, id, "ordered")
    assert eventually(lambda: len(deposits_asked(ur)) == 1)
    held = world.server.admin("POST", f"/api/v1/prefunds/{id}/cancel", {"reason": "no"}, role="treasurer")
    assert (held.status_code, error_code(held)) == (409, "conflict")
    assert "may have left" in held.json()["error"]["message"]
    world.server.kill9()
    ur.lost_answers = set()
    world.server.start()
    reaches(world, id, "sent")
    asked = deposits_asked(ur)
    assert list(ur.deposits) == [request] and all(call == asked[0] for call in asked), "the very same call"
    assert sum(row["type"] == "CDP" for row in ur.rows) == 1
    verified(world)


def test_a_refusal_of_a_repeated_call_is_no_proof_that_nothing_has_left(started, ur):
    world = started()
    ur.lost_answers = {"/v1/deposit"}
    id, request = approved(world)
    assert eventually(lambda: len(deposits_asked(ur)) == 1)
    ur.lost_answers, ur.faults = set(), {"/v1/deposit": lambda _: (200, {"code": 20003, "message": "used already"})}
    shown = planned(world, "may have been carried out")
    assert (shown["prefund"], shown["refused"]) == (id, True)
    assert prefund(world, id)["state"] == "ordered" and list(ur.deposits) == [request]


def test_an_order_that_ur_did_not_carry_out_is_given_up_by_a_treasurer_who_says_so(started, ur):
    world = started()
    ur.faults = {"/v1/deposit": lambda _: (503, {"code": 50001, "message": "away"})}
    id, request = approved(world)
    planned(world, "tried again")
    assert len(deposits_asked(ur)) == 1, "one attempt, and the next one seconds later"
    reaches(world, id, "ordered")
    cancel = lambda role, **said: world.server.admin("POST", f"/api/v1/prefunds/{id}/cancel", {"reason": "no", **said}, role=role)  # noqa: E731
    assert cancel("operator").status_code == 403
    assert cancel("operator", notExecuted=True).status_code == 403
    held = cancel("treasurer")
    assert (held.status_code, error_code(held)) == (409, "conflict")
    assert "--not-executed" in held.json()["error"]["message"] and request in held.json()["error"]["message"]
    assert "--not-executed" in run(world, "prefunds", "cancel", id, "--reason", "no", code=1)
    assert "cancelled" in run(world, "prefunds", "cancel", id, "--not-executed", "--reason", "UR's ticket 4711")
    assert prefund(world, id)["cancelled"]["reason"] == "UR's ticket 4711"
    assert ur.deposits == {}
    # What is only proposed sends nothing: an operator may take it back, unless it is said that UR was asked.
    id = propose(world, 1_000).json()["id"]
    assert cancel("operator", notExecuted=True).status_code == 403
    assert cancel("operator").status_code == 200
    ur.faults = {}
    id, _ = approved(world)
    reaches(world, id, "sent")
    assert cancel("operator").status_code == 403
    assert cancel("treasurer").status_code == 200


def test_killed_between_the_order_and_the_answer_it_orders_the_same(started, ur):
    world = started()
    # UR is away: whether it has heard of the order nobody knows.
    ur.faults = {"/v1/deposit": lambda _: (503, {"code": 50001, "message": "away"})}
    id, request = approved(world)
    ordered = reaches(world, id, "ordered")["ordered"]
    world.server.kill9()
    # What UR would quote now is another price: what was ordered stays.
    ur.faults, ur.fee = {}, ur.fee / 2
    world.server.start()
    sent = reaches(world, id, "sent")
    assert sent["ordered"] == ordered
    assert [(key, paid) for key, (_, _, paid, _) in ur.deposits.items()] == [(request, int(ordered["paidUsdc"]))]
    verified(world)


def verified(world):
    world.server.terminate()
    result = command("journal", "verify", world.server.data_dir)
    assert result.returncode == 0, result.stderr


def test_bounds_hold_an_order_back_and_say_so(started, ur):
    world = started(daily_max_usdc=1_500, single_max_usdc=1_200)
    first, _ = approved(world, 100_000)
    reaches(world, first, "sent")
    second, _ = approved(world, 50_000)
    shown = planned(world, "of daily_max_usdc (1500.00 USDC)")
    assert (shown["prefund"], shown["refused"], shown["next"]) == (second, True, "wait")
    third, _ = approved(world, 150_000)
    assert planned(world, "single_max_usdc allows 1200.00 USDC")["prefund"] == third
    assert eventually(lambda: ("prefund_refused", "EUR") in alerts(world))
    # Memory knows nothing of it after a crash: the ledger does.
    world.server.kill9()
    world.server.start()
    planned(world, "of daily_max_usdc (1500.00 USDC)")
    assert len(ur.deposits) == 1
    for id in (second, third):
        world.server.admin_ok("POST", f"/api/v1/prefunds/{id}/cancel", {"reason": "too much"}, role="treasurer")
    assert eventually(lambda: ("prefund_refused", "EUR") not in alerts(world))


def test_a_bad_quote_is_refused_with_words(started, ur):
    ur.fee = ur.fee * 2
    world = started()
    id, _ = approved(world)
    shown = planned(world, "less than tapgate's own rate")
    assert shown["refused"] and "quote_tolerance_bps allows 2.50 %" in shown["why"]
    assert prefund(world, id)["state"] == "approved" and ur.deposits == {}
    assert eventually(lambda: ("prefund_refused", "EUR") in alerts(world))
    [alert] = world.server.admin_ok("GET", "/api/v1/alerts?state=open")["items"]
    assert f"cancel prefund {id} first" in alert["text"]
    assert "refused" in run(world, "prefunds", "automatic", role="viewer")


def test_urs_refusal_ends_an_order_and_is_told(started, ur):
    ur.faults = {"/v1/deposit": lambda _: (200, {"code": 20003, "message": "not enough USDC"})}
    world = started()
    id, _ = approved(world)
    cancelled = reaches(world, id, "cancelled")["cancelled"]
    assert cancelled["by"] == "engine" and "not enough USDC" in cancelled["reason"]
    assert len(deposits_asked(ur)) == 1


@pytest.mark.parametrize("mode", ["off", "dry_run"])
def test_nothing_is_ordered_unless_it_is_configured(started, ur, mode):
    world = started(mode=mode)
    refused = propose(world, 100_000)
    assert (refused.status_code, error_code(refused)) == (409, "conflict")
    assert f"mode is {mode}" in refused.json()["error"]["message"]
    assert eventually(lambda: automatic(world)["at"])
    assert automatic(world)["mode"] == mode
    assert deposits_asked(ur) == []


def test_who_may_propose(started):
    world = started()
    assert propose(world, 100_000, role="viewer").status_code == 403
    assert propose(world, 0).status_code == 400
    nowhere = world.server.admin("POST", "/api/v1/prefunds/automatic", {"currency": "XAU", "amount": "1"})
    assert nowhere.status_code == 404
    key = {"Idempotency-Key": fresh("key")}
    first, again = (propose(world, 7_000, headers=key).json() for _ in range(2))
    assert first["id"] == again["id"] and first["requestId"] == again["requestId"]
    shown = json.loads(run(world, "prefunds", "propose", "EUR", "--amount", "7000", "--json"))
    assert shown["requestId"] not in (None, first["requestId"])
    own = propose(world, 8_000, role="treasurer").json()["id"]
    refused = world.server.admin("POST", f"/api/v1/prefunds/{own}/approve", role="treasurer")
    assert (refused.status_code, error_code(refused)) == (409, "conflict")
    assert "another treasurer" in refused.json()["error"]["message"]
    for role in ROLES:
        assert "automatic prefunds approval" in run(world, "prefunds", "automatic", role=role)


def test_what_forecasts_suggest_is_ordered_and_the_books_agree(tmp_path):
    # Days in seconds: after a week the small pool's forecast suggests a top-up, and UR's operations credit it.
    automatic = '{ mode = "automatic", daily_max_usdc = 1000000 }'
    running = Running(
        "--users", 150, "--rate", 100, "--speed", 14_000, "--seed", 7, "--data", tmp_path / "data",
        environment={"TAPGATE__TREASURY__AUTO_PREFUND": automatic},
    )  # fmt: skip
    try:
        of_engine = lambda item: item["state"] == "credited" and item["proposed"] and item["proposed"]["by"] == "engine"  # noqa: E731
        assert eventually(lambda: any(map(of_engine, running.admin("/prefunds")["items"])), 240)
        said = running.interrupt()
    finally:
        running.kill()
    assert (said["books"], said["breaks_open"]) == ("equal", "0")
    dumped = command("journal", "dump", tmp_path / "data").stdout.splitlines()
    facts = [(record["author"], record["fact"]) for record in map(json.loads, dumped)]
    own = lambda kind: [fact for author, fact in facts if author == "engine" and fact["kind"] == kind]  # noqa: E731
    sent, credited = own("prefund_sent"), own("pool_credited")
    assert len(own("prefund_proposed")) >= len(own("prefund_ordered")) >= len(sent) >= len(credited) >= 1
    assert {fact["reference"] for fact in credited} <= {fact["prefund"]["reference"] for fact in sent}
