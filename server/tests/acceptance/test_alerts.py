"""Alerts and prefunds from outside: who may do what, what a prefund goes through, and that it is never money."""

import json

import pytest

from tapgate import ROLES, TOKENS, command, error_code, fresh, now
from world import tap


@pytest.fixture
def pool(world):
    """A pool with 10,000 reported and nothing unreflected."""
    world.set_pool("GBP", 10_000, reflectedThrough="now")
    return "GBP"


def say_sent(world, pool, amount, reference, role="treasurer", key=None, **more):
    body = {"currency": pool, "amount": str(amount), "reference": reference, **more}
    headers = {"Idempotency-Key": key} if key else None
    return world.server.admin("POST", "/api/v1/prefunds", body, role=role, headers=headers)


def credit(world, pool, amount, reference):
    body = {"amount": str(amount), "reference": reference}
    return world.server.admin_ok("POST", f"/api/v1/pools/{pool}/credits", body, role="treasurer")


def listed(world, **filters):
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return world.server.admin_ok("GET", f"/api/v1/prefunds?{query}", role="viewer")


def prefund(world, id):
    return world.server.admin_ok("GET", f"/api/v1/prefunds/{id}", role="viewer")


# --- alerts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("query", ["", "?state=open", "?state=resolved", "?state=all", "?kind=pool_low&subject=EUR"])
def test_every_role_may_list_alerts(world, role, query):
    assert world.server.admin_ok("GET", f"/api/v1/alerts{query}", role=role) == {"items": [], "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "cursor=x", "colour=red"])
@pytest.mark.parametrize("list", ["alerts", "prefunds"])
def test_a_page_that_is_none_is_refused(world, list, query):
    answer = world.server.admin("GET", f"/api/v1/{list}?{query}")
    assert answer.status_code == 400, answer.text
    error_code(answer)


def test_a_state_that_is_none_is_refused(world):
    answer = world.server.admin("GET", "/api/v1/alerts?state=odd")
    assert (answer.status_code, error_code(answer)) == (400, "malformed")


@pytest.mark.parametrize("id", ["1", "999999", "0", "-1", "1-0", "007", "x"])
def test_an_alert_that_is_not_there_is_not_found(world, id):
    """Record 1 is there, and raised no alert."""
    answers = [
        world.server.admin("GET", f"/api/v1/alerts/{id}"),
        world.server.admin("POST", f"/api/v1/alerts/{id}/acknowledge", {"reason": "seen"}),
        world.server.admin("POST", f"/api/v1/alerts/{id}/acknowledge"),
        world.server.admin("POST", f"/api/v1/alerts/{id}/silence", {"seconds": 60}),
    ]
    assert [(answer.status_code, error_code(answer)) for answer in answers] == [(404, "not_found")] * 4


@pytest.mark.parametrize("body", [{}, {"until": 1, "seconds": 1}, {"seconds": -1}, {"until": now() * 1000}, {"for": 1}])
def test_a_silence_is_up_to_a_time_or_for_so_long(world, body):
    answer = world.server.admin("POST", "/api/v1/alerts/1/silence", body)
    assert (answer.status_code, error_code(answer)) == (400, "malformed"), answer.text


def test_open_alerts_are_counted_by_severity(world):
    text = world.server.metrics()
    for severity in ("notice", "warning", "urgent", "critical"):
        assert f'tapgate_alerts_open{{severity="{severity}"}} 0\n' in text


# --- prefunds ------------------------------------------------------------------------------------------------------


def test_what_was_sent_is_no_money_until_it_is_credited(world, pool):
    reference = fresh("wire")
    expected_at = now() + 3600
    sent = say_sent(world, pool, 2500, reference, expectedAt=expected_at)
    assert sent.status_code == 200, sent.text
    sent = sent.json()
    assert sent["sent"]["by"] == "treasurer" and abs(sent["sent"]["at"] - now()) < 60
    assert {name: sent[name] for name in sent if name not in ("id", "sent")} == {
        "currency": pool, "amount": "2500", "reference": reference, "requestId": None, "state": "sent",
        "proposed": None, "approved": None, "ordered": None, "expectedAt": expected_at, "credited": "0", "creditedAt": None,
        "cancelled": None,
    }  # fmt: skip
    assert world.pool(pool)["available"] == 10_000
    world.decline(tap(world.user(pool), 10_001), "pool_exhausted")
    credit(world, pool, 2500, reference)
    credited = prefund(world, sent["id"])
    assert (credited["state"], credited["credited"]) == ("credited", "2500")
    assert abs(credited["creditedAt"] - now()) < 60
    assert world.pool(pool)["available"] == 12_500


def test_less_than_was_sent_is_short_until_the_rest_comes(world, pool):
    reference = fresh("wire")
    id = say_sent(world, pool, 2500, reference).json()["id"]
    credit(world, pool, 2000, reference)
    assert (prefund(world, id)["state"], prefund(world, id)["credited"]) == ("short", "2000")
    assert id in [item["id"] for item in listed(world, state="short", currency=pool)["items"]]
    credit(world, pool, 500, reference)
    assert prefund(world, id)["state"] == "credited"


def test_what_was_expected_earlier_is_overdue(world, pool):
    sent = say_sent(world, pool, 2500, fresh("wire"), expectedAt=now() - 10).json()
    assert sent["state"] == "overdue"
    assert sent["id"] in [item["id"] for item in listed(world, state="overdue")["items"]]


def test_a_prefund_is_cancelled_once_and_its_credit_is_money_all_the_same(world, pool):
    reference = fresh("wire")
    id = say_sent(world, pool, 2500, reference).json()["id"]
    path = f"/api/v1/prefunds/{id}/cancel"
    cancelled = world.server.admin_ok("POST", path, {"reason": "sent to the wrong account"}, role="treasurer")
    assert cancelled["state"] == "cancelled"
    assert (cancelled["cancelled"]["by"], cancelled["cancelled"]["reason"]) == ("treasurer", "sent to the wrong account")
    assert world.server.admin("POST", path, {"reason": "again"}).status_code == 409
    credit(world, pool, 2500, reference)
    assert prefund(world, id)["state"] == "cancelled"
    assert world.pool(pool)["available"] == 12_500


def test_one_reference_names_one_prefund_of_a_pool(world, pool):
    reference = fresh("wire")
    say_sent(world, pool, 2500, reference)
    answer = say_sent(world, pool, 2500, reference)
    assert (answer.status_code, error_code(answer)) == (409, "conflict")
    assert say_sent(world, "EUR", 2500, reference).status_code == 200, "another pool's"


def test_a_repeated_request_with_one_key_is_one_prefund(world, pool):
    key, reference = fresh("key"), fresh("wire")
    answers = [say_sent(world, pool, 2500, reference, key=key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.json()["id"] for answer in answers}) == 1
    world.server.restart()
    assert say_sent(world, pool, 2500, reference, key=key).json()["id"] == answers[0].json()["id"]
    assert say_sent(world, pool, 2501, reference, key=key).status_code == 409


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"amount": "0"}, 400),
        ({"amount": "-1"}, 400),
        ({"amount": "1.5"}, 400),
        ({"reference": ""}, 400),
        ({"reference": "x" * 129}, 400),
        ({"currency": "euro"}, 400),
        ({"currency": "XAU"}, 404),
        ({"expectedAt": "soon"}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_what_is_no_transfer_is_refused(world, pool, change, status):
    body = {"currency": pool, "amount": "1", "reference": fresh("wire"), **change}
    answer = world.server.admin("POST", "/api/v1/prefunds", body)
    assert answer.status_code == status, answer.text
    error_code(answer)
    assert listed(world)["items"] == [] or listed(world)["items"][0]["reference"] != body["reference"]


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 200), ("treasurer", 200)])
def test_who_may_say_that_money_was_sent(world, pool, role, status):
    answer = say_sent(world, pool, 1, fresh("wire"), role=role)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 403), ("treasurer", 409)])
def test_only_a_treasurer_approves_and_only_what_is_proposed(world, pool, role, status):
    id = say_sent(world, pool, 1, fresh("wire")).json()["id"]
    answer = world.server.admin("POST", f"/api/v1/prefunds/{id}/approve", role=role)
    assert answer.status_code == status, answer.text
    error_code(answer)


@pytest.mark.parametrize("id", ["1", "999999", "x"])
def test_a_prefund_that_is_not_there_is_not_found(world, id):
    answers = [
        world.server.admin("GET", f"/api/v1/prefunds/{id}"),
        world.server.admin("POST", f"/api/v1/prefunds/{id}/cancel", {"reason": "none"}),
        world.server.admin("POST", f"/api/v1/prefunds/{id}/approve", role="treasurer"),
    ]
    assert [(answer.status_code, error_code(answer)) for answer in answers] == [(404, "not_found")] * 3


def test_pages_of_prefunds_hold_each_once_newest_first(world, pool):
    made = [say_sent(world, "USD", 1, fresh("wire")).json()["id"] for _ in range(5)]
    pages, cursor = [], {}
    while True:
        page = listed(world, currency="USD", limit=2, **cursor)
        pages.append([item["id"] for item in page["items"]])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sum(pages, []) == made[::-1]
    assert [len(page) for page in pages] == [2, 2, 1]


def test_prefunds_survive_a_kill_and_the_journal_tells_of_them(world, pool):
    reference = fresh("wire")
    before = say_sent(world, pool, 2500, reference).json()
    world.server.kill9()
    world.server.start()
    assert prefund(world, before["id"]) == before
    credit(world, pool, 2500, reference)
    assert prefund(world, before["id"])["state"] == "credited"
    sequence = int(before["id"])
    answer = world.server.admin("GET", f"/api/v1/journal?from={sequence - 1}&limit=1", role="viewer")
    record = json.loads(answer.text)
    assert (record["author"], record["fact"]["kind"]) == ("treasurer", "prefund_sent")
    assert record["fact"]["prefund"]["reference"] == reference


def test_the_journal_still_verifies(world, pool):
    """Rows of prefunds, with and without an idempotency key, are what the journal folds to."""
    server = world.server
    reference = fresh("wire")
    id = say_sent(world, pool, 2500, reference, key=fresh("key")).json()["id"]
    credit(world, pool, 2000, reference)
    headers = {"Idempotency-Key": fresh("key")}
    server.admin_ok("POST", f"/api/v1/prefunds/{id}/cancel", {"reason": "a fee"}, headers=headers)
    server.terminate()
    verified = command("journal", "verify", server.data_dir)
    server.start()
    assert verified.returncode == 0, (verified.stdout + verified.stderr).decode()


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def run(world):
    def run(*arguments, role="treasurer", code=0):
        done = command(*arguments, env={"TAPGATE_URL": world.server.admin_url, "TAPGATE_TOKEN": TOKENS[role]})
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        return (done.stdout if code == 0 else done.stderr).decode()

    return run


def test_alerts_on_the_command_line(run):
    # What the tests before left behind may have been told at the start of a server.
    assert run("alerts", "--kind", "stand_in") == run("alerts", "list", "--kind", "stand_in") == "no such alerts\n"
    assert json.loads(run("alerts", "--kind", "stand_in", "--state", "all", "--json")) == {"items": [], "next": None}
    for arguments in (["show", "1"], ["acknowledge", "1", "--reason", "seen"], ["silence", "1", "--for", "2h"]):
        assert "there is no alert 1" in run("alerts", *arguments, code=1)
    run("alerts", "--kind", "odd", code=2)
    run("alerts", "silence", "1", code=2)


def test_prefunds_on_the_command_line(world, pool, run):
    reference = fresh("wire")
    sent = json.loads(run("prefunds", "sent", pool, "--amount", "2500", "--reference", reference, "--json"))
    shown = run("prefunds", "show", sent["id"])
    assert f"prefund {sent['id']} {pool} sent" in shown and "25.00 GBP" in shown and reference in shown
    row = next(line for line in run("prefunds", "--currency", pool).splitlines() if reference in line)
    assert row.split()[:7] == [sent["id"], pool, "25.00", pool, "0.00", pool, "sent"]
    assert "forbidden" in run("prefunds", "approve", sent["id"], role="operator", code=1)
    assert "is sent, not proposed" in run("prefunds", "approve", sent["id"], code=1)
    assert "cancelled" in run("prefunds", "cancel", sent["id"], "--reason", "never left", role="operator")
    assert json.loads(run("prefunds", "--state", "cancelled", "--limit", "1", "--json"))["items"][0]["id"] == sent["id"]
    run("prefunds", "sent", pool, "--amount", "12.50", "--reference", reference, code=2)
