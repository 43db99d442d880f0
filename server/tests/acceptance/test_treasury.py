"""Treasury from outside: statements that add up, closures that survive, and alerts that begin and end by themselves.

What needs weeks is tested in Rust, on an injected clock.
"""

import datetime
import json
import math

import pytest

from tapgate import ROLES, TOKENS, command, error_code, eventually, fresh
from world import World, follow_up, tap

LINES = ("approvals", "givenBack", "overCaptures", "refunds", "credits", "reports", "floors")


@pytest.fixture(scope="module")
def watched(new_server) -> World:
    """A server that looks every second."""
    return World(new_server(config={"treasury": {"watch_interval_seconds": 1}})).furnished()


def get(world, path, role="viewer"):
    return world.server.admin_ok("GET", f"/api/v1{path}", role=role)


def refused(world, path, role="viewer"):
    answer = world.server.admin("GET", f"/api/v1{path}", role=role)
    return answer.status_code, error_code(answer), answer.json()["error"]["message"]


def credit(world, pool, amount, reference=None):
    body = {"amount": str(amount), "reference": reference or fresh("credit")}
    return world.server.admin_ok("POST", f"/api/v1/pools/{pool}/credits", body, role="treasurer")


def statement(world, pool, day=None):
    """A day's statement as integers; opening and all lines must be closing."""
    shown = get(world, f"/pools/{pool}/statement" + (f"?day={day}" if day else ""))
    assert set(shown["lines"]) == set(LINES), shown
    lines = {name: int(change) for name, change in shown["lines"].items()}
    opening, closing = int(shown["opening"]), int(shown["closing"])
    assert opening + sum(lines.values()) == closing, shown
    return {"day": shown["day"], "opening": opening, "closing": closing, "over": shown["over"], **lines}


def available(world, pool):
    return int(get(world, f"/pools/{pool}")["available"])


def run(world, *arguments, role="treasurer", code=0):
    result = command(*arguments, env={"TAPGATE_URL": world.server.admin_url, "TAPGATE_TOKEN": TOKENS[role]})
    assert result.returncode == code, (result.stdout + result.stderr).decode()
    return (result.stdout if code == 0 else result.stderr).decode()


# --- forecasts -----------------------------------------------------------------------------------------------------


def test_a_pool_without_history_has_no_forecast_and_says_why(world):
    status, code, message = refused(world, "/pools/EUR/forecast")
    assert (status, code) == (409, "conflict")
    assert "less than a week" in message
    assert "less than a week" in run(world, "pools", "forecast", "EUR", code=1)


@pytest.mark.parametrize("path", ["/pools/JPY/forecast", "/pools/JPY/statement", "/pools/euro/forecast"])
def test_a_pool_that_is_not_there_is_not_found(world, path):
    assert refused(world, path)[:2] == (404, "not_found")


# --- statements ----------------------------------------------------------------------------------------------------


def test_a_statement_shows_what_moved_the_pool_and_adds_up(world):
    world.set_pool("GBP", 100_000, reflectedThrough="now")
    user = world.user("GBP")
    before = statement(world, "GBP")
    spent = tap(user, 1_250)
    world.approve(spent)
    world.approve(tap(user, 500))
    world.acknowledge(follow_up("reversal", spent, 250), 250)
    credit(world, "GBP", 7_000)
    world.set_pool("GBP", 120_000, floor=1_000, reflectedThrough="now")
    after = statement(world, "GBP")
    moved = {name: after[name] - before[name] for name in LINES}
    expected_before_report = 100_000 - 1_250 - 500 + 250 + 7_000
    assert moved == {
        "approvals": -1_750,
        "givenBack": 250,
        "overCaptures": 0,
        "refunds": 0,
        "credits": 7_000,
        "reports": 119_000 - expected_before_report,
        "floors": 0,
    }
    assert after["closing"] == available(world, "GBP") == 119_000
    assert (after["opening"], after["over"]) == (before["opening"], False)


def test_a_statement_is_of_a_day_of_the_calendar(world):
    today = statement(world, "EUR")["day"]
    assert statement(world, "EUR", today)["day"] == today
    for days in (-30, 1):
        other = datetime.date.fromisoformat(today) + datetime.timedelta(days)
        assert refused(world, f"/pools/EUR/statement?day={other}")[:2] == (404, "not_found")
    for bad in ("today", "2026-02-30", "20261224", "1969-12-31", ""):
        assert refused(world, f"/pools/EUR/statement?day={bad}")[:2] == (400, "malformed"), bad
    assert refused(world, "/pools/EUR/statement?from=x")[0] == 400


def test_statements_are_the_same_after_a_stop_and_after_a_kill(new_server):
    world = World(new_server()).furnished()
    user = world.user()
    for amount in (100, 250, 1_000):
        world.approve(tap(user, amount))
    shown = statement(world, "EUR")
    assert shown["approvals"] == -1_350
    # With what was kept of it, and without.
    world.server.terminate()
    cache = world.server.data_dir / "treasury.cache"
    assert cache.is_file()
    world.server.start()
    assert eventually(lambda: settled(world)) == shown
    world.approve(tap(user, 5))
    shown = statement(world, "EUR")
    world.server.kill9()
    world.server.start()
    assert eventually(lambda: settled(world)) == shown
    world.server.terminate()
    cache.write_bytes(b"not a cache")
    world.server.start()
    assert eventually(lambda: settled(world)) == shown
    world.server.terminate()
    verified = command("journal", "verify", world.server.data_dir)
    assert verified.returncode == 0, verified.stderr


def settled(world):
    """The statement, once the journal is read."""
    answer = world.server.admin("GET", "/api/v1/pools/EUR/statement", role="viewer")
    assert answer.status_code in (200, 409), answer.text
    return statement(world, "EUR") if answer.status_code == 200 else None


def test_the_command_shows_a_statement_to_people_and_programs(world):
    table = run(world, "pools", "statement", "EUR")
    assert "opening" in table and "over-captures" in table and "pool EUR, " in table
    shown = json.loads(run(world, "pools", "statement", "EUR", "--day", statement(world, "EUR")["day"], "--json"))
    assert shown["currency"] == "EUR" and shown["lines"].keys() == set(LINES)


# --- the calendar --------------------------------------------------------------------------------------------------


def close(world, role="treasurer", **body):
    return world.server.admin("POST", "/api/v1/calendar", body, role=role)


def closures(world):
    return get(world, "/calendar")["closures"]


def next_open_day(world) -> str:
    """The day of the cut-off after the coming one: closing it moves that."""
    cut_off = get(world, "/calendar")["cutOffs"][1]["cutOff"]
    return datetime.datetime.fromtimestamp(cut_off, datetime.timezone.utc).date().isoformat()


def test_a_closure_moves_the_next_cut_offs_and_survives_kill_9(new_server):
    world = World(new_server()).furnished()
    before = get(world, "/calendar")
    assert (before["timeZone"], before["cutOff"], before["leadHours"]) == ("Europe/Zurich", "14:00", 4)
    assert before["pools"] == ["CHF", "EUR", "USD"]
    assert len(before["cutOffs"]) == 5 and all(each["creditedAt"] > each["cutOff"] for each in before["cutOffs"])
    day = next_open_day(world)
    answer = close(world, **{"from": day, "reason": "UR moves"})
    assert answer.status_code == 200, answer.text
    after = answer.json()
    [closure] = after["closures"]
    assert (closure["from"], closure["through"], closure["reason"]) == (day, day, "UR moves")
    assert after["cutOffs"][0]["cutOff"] == before["cutOffs"][0]["cutOff"]
    assert after["cutOffs"][1]["cutOff"] == before["cutOffs"][2]["cutOff"]
    assert {"day": day, "name": "UR moves"} in after["closedDays"]
    world.server.kill9()
    world.server.start()
    assert closures(world) == [closure]
    world.server.restart()
    assert closures(world) == [closure]
    removed = world.server.admin("DELETE", f"/api/v1/calendar/{closure['id']}", role="treasurer")
    assert removed.status_code == 200 and removed.json()["closures"] == []
    assert get(world, "/calendar")["cutOffs"][1:4] == before["cutOffs"][1:4]
    again = world.server.admin("DELETE", f"/api/v1/calendar/{closure['id']}", role="treasurer")
    assert (again.status_code, error_code(again)) == (404, "not_found")
    world.server.kill9()
    world.server.start()
    assert closures(world) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"from": "2030-01-02"}, 400),
        ({"from": "2030-01-02", "reason": ""}, 400),
        ({"from": "2030-01-02", "through": "2030-01-01", "reason": "x"}, 400),
        ({"from": "2030-01-02", "through": "2032-01-01", "reason": "x"}, 400),
        ({"from": "2 January", "reason": "x"}, 400),
        ({"from": "2030-01-02", "reason": "x", "colour": "red"}, 400),
    ],
)
def test_what_is_no_closure_is_refused(world, body, status):
    answer = close(world, **body)
    assert answer.status_code == status, answer.text
    error_code(answer)
    assert closures(world) == []


@pytest.mark.parametrize("role", ROLES)
def test_treasurer_and_operator_may_close_days(world, role):
    answer = close(world, role=role, **{"from": "2031-03-03", "reason": "x"})
    assert answer.status_code == (403 if role == "viewer" else 200), answer.text
    for closure in closures(world):
        path = f"/api/v1/calendar/{closure['id']}"
        assert world.server.admin("DELETE", path, role="viewer").status_code == 403
        assert world.server.admin("DELETE", path, role=role).status_code == 200


def test_the_command_closes_and_opens_days(world):
    shown = run(world, "calendar", "close", "2031-12-24", "--through", "2031-12-26", "--reason", "UR rests")
    assert "2031-12-26" in shown and "UR rests" in shown and "Europe/Zurich" in shown
    [closure] = json.loads(run(world, "calendar", "--json"))["closures"]
    assert "UR rests" not in run(world, "calendar", "open", closure["id"])
    assert "there is no closure" in run(world, "calendar", "open", closure["id"], code=1)


# --- alerts --------------------------------------------------------------------------------------------------------


def alerts(world, **filters):
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return get(world, f"/alerts?{query}")["items"]


def test_a_floor_that_is_breached_is_told_and_over_once_it_is_not(watched):
    watched.set_pool("GBP", 500, floor=1_000)
    found = eventually(lambda: alerts(watched, kind="floor_breached", subject="GBP"))
    [alert] = found
    assert (alert["severity"], alert["state"], alert["notified"]) == ("critical", "open", 1)
    facts = {fact["name"]: fact["value"] for fact in alert["facts"]}
    assert facts["available"] == "-500 GBP" and facts["floor"] == "1000 GBP"
    [low] = eventually(lambda: alerts(watched, kind="pool_low", subject="GBP"))
    assert low["severity"] == "critical" and "empty" in low["title"]
    watched.set_pool("GBP", 5_000, floor=1_000)
    assert eventually(lambda: not alerts(watched, subject="GBP"))
    over = get(watched, f"/alerts/{alert['id']}")
    assert over["state"] == "resolved" and over["resolved"]["by"] == "engine"


def test_an_alert_outlives_a_kill(new_server):
    world = World(new_server(config={"treasury": {"watch_interval_seconds": 1}})).furnished()
    world.set_pool("EUR", 0, floor=10)
    [alert] = eventually(lambda: alerts(world, kind="floor_breached"))
    world.server.kill9()
    world.server.start()
    [same] = alerts(world, kind="floor_breached")
    assert (same["id"], same["notified"]) == (alert["id"], 1)
    world.set_pool("EUR", 1_000_000, floor=10)
    assert eventually(lambda: not alerts(world))


def test_a_prefund_that_does_not_arrive_is_told(watched):
    reference = fresh("PF")
    body = {"currency": "USD", "amount": "5000", "reference": reference, "expectedAt": 1_700_000_000}
    prefund = watched.server.admin_ok("POST", "/api/v1/prefunds", body, role="treasurer")
    [alert] = eventually(lambda: alerts(watched, kind="prefund_overdue", subject=prefund["id"]))
    assert alert["severity"] == "urgent" and reference in alert["text"]
    credit(watched, "USD", 4_000, reference)
    assert eventually(lambda: alerts(watched, kind="prefund_short", subject=prefund["id"]))
    assert not alerts(watched, kind="prefund_overdue")
    credit(watched, "USD", 1_000, reference)
    assert eventually(lambda: not alerts(watched, kind="prefund_short"))


def test_a_prefund_that_nobody_expects_is_expected_when_the_calendar_says(new_server):
    world = World(new_server()).furnished()
    sent = {"currency": "USD", "amount": "5000"}

    def say_sent(**more):
        return world.server.admin("POST", "/api/v1/prefunds", {**sent, "reference": fresh("PF"), **more}, role="treasurer")

    credited_at = get(world, "/calendar")["cutOffs"][0]["creditedAt"]
    assert say_sent().json()["expectedAt"] == credited_at
    today = datetime.date.fromisoformat(statement(world, "USD")["day"])
    for days in (0, 365):
        ends = [(today + datetime.timedelta(days + end)).isoformat() for end in (0, 364)]
        answer = close(world, **{"from": ends[0], "through": ends[1], "reason": "UR is gone"})
        assert answer.status_code == 200, answer.text
    refused = say_sent()
    assert (refused.status_code, error_code(refused)) == (409, "conflict")
    assert "give expectedAt" in refused.json()["error"]["message"]
    assert say_sent(expectedAt=4_102_444_800).json()["expectedAt"] == 4_102_444_800


def test_the_hourly_cap_suspends_the_program_until_a_person_knows_better_and_again(new_server):
    settings = {"watch_interval_seconds": 1, "hourly_cap_chf": 10, "hourly_cap_suspends": True}
    world = World(new_server(config={"treasury": settings})).furnished()
    user = world.user()
    world.approve(tap(user, 1_000))
    world.approve(tap(user, 100))
    [alert] = eventually(lambda: alerts(world, kind="hourly_cap"))
    assert alert["severity"] == "critical"
    program = get(world, "/program")
    assert program["suspended"] and program["reason"] == alert["title"]
    world.server.admin_ok("POST", "/api/v1/program", {"suspended": False, "reason": "known"}, role="operator")
    world.approve(tap(user, 100))
    assert not get(world, "/program")["suspended"]
    world.approve(tap(user, 1_000))
    assert eventually(lambda: get(world, "/program")["suspended"])
    [again] = eventually(lambda: [each for each in alerts(world, kind="hourly_cap") if each["id"] != alert["id"]])
    assert (again["state"], get(world, f"/alerts/{alert['id']}")["state"]) == ("open", "resolved")


# --- metrics -------------------------------------------------------------------------------------------------------


def test_what_is_not_known_is_no_number(watched):
    def figures():
        text = watched.server.metrics()
        lines = [line for line in text.splitlines() if line.startswith("tapgate_pool_") and 'currency="EUR"' in line]
        return {line.split("{")[0]: float(line.split()[-1]) for line in lines}

    names = ("runs_dry_seconds", "probability_empty", "burn_per_hour", "suggested")
    found = eventually(lambda: (lambda seen: seen if "tapgate_pool_runs_dry_seconds" in seen else None)(figures()))
    assert all(math.isnan(found[f"tapgate_pool_{name}"]) for name in names), found
