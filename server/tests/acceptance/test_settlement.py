"""What stands after the decision: crashes between UR's messages, links, returns that do not come, accounts that UR refuses."""

import itertools
import json
import re
import shlex

import pytest

from tapgate import REPOSITORY, TOKENS, Server, command, eventually, now, sign_v1
from ur import OPS, Ur
from world import World, follow_up, tap, user_line, user_of

# A category that no other test uses.
TIPPED = "7230"

# So often that a test need not wait. Nobody resolves a missing return for a minute: it is asked about at once.
QUICK = {
    "ur": {"feeds": True, "calls_per_minute": 60_000, "pools_interval_seconds": 1, "users_interval_seconds": 2},
    "reconcile": {"first_look_seconds": 1, "return_after_seconds": 1},
    "decision": {"hold_upcharge": [{"mcc": TIPPED, "percent": 20}]},
}


@pytest.fixture(scope="module")
def ur():
    ur = Ur()
    ur.balances[OPS] = {"EUR": 100_000_000}
    yield ur
    ur.close()


@pytest.fixture(scope="module")
def server(new_server, ur) -> Server:
    return new_server(config={**QUICK, "ur": {**QUICK["ur"], "base_url": ur.url}})


@pytest.fixture(scope="module")
def world(server) -> World:
    assert eventually(lambda: server.admin("GET", "/api/v1/pools/EUR").status_code == 200)
    assert eventually(lambda: server.admin_ok("GET", "/api/v1/rates")["pairs"])
    return World(server)


@pytest.fixture
def user(world, ur):
    line = user_line(client_limit=100_000)
    ur.open(line["urId"])
    world.import_lines(line)
    return user_of(line)


def notify(server, row):
    body = json.dumps({"event": "transaction", "timestamp": now(), "data": row}).encode()
    answer = server.post(body, sign_v1(body))
    assert (answer.status_code, answer.json()) == (200, {"received": True}), answer.text


def breaks_of(server, subject):
    return [found for found in server.admin_ok("GET", "/api/v1/breaks")["items"] if found["subject"] == subject]


def the_break(server, subject, kind):
    """The one open break of this kind, once it is there."""
    found = eventually(lambda: [found for found in breaks_of(server, subject) if found["kind"] == kind], 30)
    assert len(found) == 1, breaks_of(server, subject)
    return found[0]


def figures(shown, *names):
    return {name: int(shown["standing"][name]) for name in names}


def debits(shown):
    return [(debit["debitId"], int(debit["requested"]), int(debit["returned"])) for debit in shown["debits"]]


def resolution(found):
    return found["resolution"]["by"], found["resolution"]["reason"]


def tapgate(server, *arguments):
    env = {"TAPGATE_URL": server.admin_url, "TAPGATE_TOKEN": TOKENS["operator"]}
    done = command(*arguments, env=env)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


# --- a crash after every message ----------------------------------------------------------------------------------

# UR's messages after an authorization of 10.00 and an increment of 4.00: a callback's amount, or a row's hash, status and
# amount. Two sets, each in a dozen of its orders.
REVERSED = [("reversal", 300), ("h1", "pending", -1000), ("h1", "completed", -1100), ("h2", "completed", 300)]
REFUSED = [("h3", "rejected", -400), ("h4", "completed", -700), ("h5", "completed", -300), ("h4", "settling", -700)]
ORDERS = 12


def play(world, root, step):
    if step[0] == "reversal":
        world.decide(follow_up("reversal", root, step[1]))
        return
    name, status, amount = step
    hash = f"0x{name}{root['authorizationId'][5:]}"
    notify(world.server, Ur.row(root["urId"], amount, status=status, tx_hash=hash, partnerRefId=root["authorizationId"]))


def ending(world, user, root):
    shown = world.authorization(root["authorizationId"])
    net = sum(requested - returned for _, requested, returned in debits(shown))
    assert net == int(shown["standing"]["debit"]), shown
    profile = world.profile(user)
    breaks = [(found["kind"], found["field"], found["ours"], found["theirs"]) for found in breaks_of(world.server, root["authorizationId"])]
    return json.dumps([shown["state"], shown["standing"], net, profile["funds"], profile["limit"], sorted(breaks)])


def test_a_crash_after_every_message_changes_no_ending(new_server):
    world = World(new_server()).furnished()
    orders = [list(order) for steps in (REVERSED, REFUSED) for order in list(itertools.permutations(steps))[::2]][: 2 * ORDERS]
    # The last two are never interrupted.
    lines = [user_line(limit_started=now() - 1000) for _ in range(len(orders) + 2)]
    world.import_lines(*lines)
    users = [user_of(line) for line in lines]
    roots = [tap(user, 1000) for user in users]
    crashing = list(zip(roots, orders, strict=False))

    def decide(roots):
        for root in roots:
            world.approve(root)
            world.approve(follow_up("incremental", root, 400), root=root["authorizationId"])

    decide(roots[:-2])
    for number in range(len(REVERSED)):
        world.server.kill9()
        world.server.start()
        for root, order in crashing:
            play(world, root, order[number])
    world.server.kill9()
    world.server.start()
    decide(roots[-2:])
    for root, steps in zip(roots[-2:], (REVERSED, REFUSED), strict=True):
        for step in steps:
            play(world, root, step)
    endings = [ending(world, user, root) for user, root in zip(users, roots, strict=True)]
    assert set(endings[:ORDERS]) == {endings[-2]}
    assert set(endings[ORDERS:-2]) == {endings[-1]}


# --- what a person does ---------------------------------------------------------------------------------------------


def runbook(section) -> list:
    """The commands of a section of the page on breaks, in order."""
    page = (REPOSITORY / "docs" / "runbook" / "breaks.md").read_text()
    text = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", page, re.M | re.S).group(1)
    return re.findall(r"`tapgate ([^`]+)`", text)


def as_written(server, line, **named):
    """Runs a command of the runbook with the reader's own ids; what it prints."""
    return tapgate(server, *(named.get(word, word) for word in shlex.split(line)))


def test_the_standing_and_the_debits_are_shown_to_people(server, world, ur, user):
    root = world.approve(tap(user, 5_000))
    name = root["authorizationId"]
    world.approve(follow_up("incremental", root, 2_000), root=name)
    notify(server, ur.transaction(user.ur_id, -8_000, partnerRefId=name))
    notify(server, Ur.row(user.ur_id, -500, status="pending", partnerRefId=name))
    world.acknowledge(follow_up("reversal", root, 1_000), 1_000)
    shown = world.authorization(name)
    assert shown["standing"] == {
        "currency": "EUR", "approved": "7000", "announced": "1000", "taken": "8000", "pending": "500",
        "returned": "0", "awaited": "1000", "held": "0", "upcharge": "0", "debit": "7000",
    }  # fmt: skip
    increment = shown["debits"][1]["debitId"]
    assert debits(shown) == [(name, 5_000, 0), (increment, 2_000, 0), (f"{name}#2", 1_000, 1_000)]
    assert world.authorization(increment)["standing"] == shown["standing"], "an increment is its root's"
    told = tapgate(server, "authorizations", "show", name)
    assert "awaited    10.00 EUR  announced, taken, not shown as returned" in told, told
    assert re.search(rf"^  {name}#2 +10.00 EUR +10.00 EUR$", told, re.M), told


def test_a_tip_is_held_before_it_is_taken(server, world, ur, user):
    upcharged = lambda: int(server.admin_ok("GET", "/api/v1/pools/EUR")["upcharged"])  # noqa: E731
    before = upcharged()
    data = tap(user, 1_000, mcc=TIPPED)
    name = data["authorizationId"]
    world.approve(data)
    assert upcharged() == before + 200
    assert world.authorization(name)["standing"]["upcharge"] == "200"
    told = tapgate(server, "authorizations", "show", name)
    assert "upcharge    2.00 EUR  held above that, for a tip or fuel" in told, told
    notify(server, ur.transaction(user.ur_id, -1_150, partnerRefId=name))
    shown = world.authorization(name)
    assert (shown["state"], shown["standing"]["upcharge"], upcharged()) == ("cleared", "0", before)
    assert debits(shown) == [(name, 1_000, 0), (f"{name}#2", 150, 0)]
    assert breaks_of(server, name) == []


def test_an_event_names_the_currency_of_its_amount(server, world, ur, user):
    name = world.approve(tap(user, 1_000, "USD"))["authorizationId"]
    paid, currency = world.held(name)
    assert currency == "EUR" and paid != 1_000
    notify(server, ur.transaction(user.ur_id, -paid, partnerRefId=name))
    events = [(event["type"], event["amount"], event["currency"]) for event in world.authorization(name)["events"]]
    assert events == [("authorization", "1000", "USD"), ("cleared", str(paid), "EUR")]
    told = tapgate(server, "authorizations", "show", name)
    assert re.search(rf" authorization .* 10.00 USD .*\n.* cleared .* {paid / 100:.2f} EUR ", told), told


def test_a_link_moves_a_movement_in_one_record(server, world, ur, user):
    root = world.approve(tap(user, 5_000))["authorizationId"]
    row = ur.transaction(user.ur_id, -7_777)
    notify(server, row)
    found = the_break(server, row["txHash"], "orphan_at_provider")
    assert figures(world.authorization(root), "taken", "held", "debit") == {"taken": 0, "held": 5_000, "debit": 5_000}
    linked = server.admin_ok("POST", f"/api/v1/breaks/{found['id']}/link", {"authorizationId": root})
    assert linked["state"] == "resolved" and resolution(linked) == ("operator", f"linked with {root}")
    shown = world.authorization(root)
    assert figures(shown, "taken", "held", "debit") == {"taken": 7_777, "held": 0, "debit": 7_777}
    assert debits(shown) == [(root, 5_000, 0), (f"{root}#2", 2_777, 0)]
    record = shown["events"][-1]
    assert (record["type"], record["author"], record["amount"]) == ("linked", "operator", "7777")
    alone = world.authorization(record["reason"])
    assert {figure for name, figure in alone["standing"].items() if name != "currency"} == {"0"}
    line = server.admin("GET", f"/api/v1/journal?from={record['sequence'] - 1}").text.splitlines()[0]
    fact = json.loads(line)["fact"]
    assert (fact["rootId"], fact["linkedFrom"]["rootId"]) == (root, alone["authorizationId"]), "one record, both roots"
    assert fact["linkedFrom"]["change"]["taken"] == "-7777"
    again = server.admin("POST", f"/api/v1/breaks/{found['id']}/link", {"authorizationId": root})
    assert again.status_code == 409, "there is nothing left to link"


def test_a_link_is_of_one_user_and_one_movement_only(server, world, ur, user):
    other = user_line()
    ur.open(other["urId"])
    world.import_lines(other)
    theirs = world.approve(tap(user_of(other), 5_000))["authorizationId"]
    own = world.approve(tap(user, 5_000))["authorizationId"]
    row = ur.transaction(user.ur_id, -7_777)
    notify(server, row)
    found = the_break(server, row["txHash"], "orphan_at_provider")
    for to, status in {theirs: 400, "auth_of_nobody": 404}.items():
        answer = server.admin("POST", f"/api/v1/breaks/{found['id']}/link", {"authorizationId": to})
        assert answer.status_code == status, answer.text
    assert figures(world.authorization(theirs), "taken", "held") == {"taken": 0, "held": 5_000}
    assert server.admin_ok("GET", f"/api/v1/breaks/{found['id']}")["state"] == "open"
    # A break about an authorization of ours names no movement that stands alone.
    notify(server, ur.transaction(user.ur_id, -9_000, partnerRefId=own))
    mismatch = the_break(server, own, "amount_mismatch")
    answer = server.admin("POST", f"/api/v1/breaks/{mismatch['id']}/link", {"authorizationId": own})
    assert answer.status_code == 409, answer.text


def test_the_runbooks_commands_for_a_movement_without_an_authorization(server, world, ur, user):
    link, charge, resolve = runbook("orphan_at_provider")
    root = world.approve(tap(user, 5_000))["authorizationId"]
    rows = [ur.transaction(user.ur_id, amount) for amount in (-7_777, -8_888, -9_999)]
    for row in rows:
        notify(server, row)
    world.approve(tap(user, 1_000))
    first, second, third = (the_break(server, row["txHash"], "orphan_at_provider") for row in rows)
    told = as_written(server, link, BREAK=first["id"], AUTHORIZATION=root)
    assert "resolved" in told and figures(world.authorization(root), "taken") == {"taken": 7_777}
    told = as_written(server, charge, BREAK=second["id"])
    assert re.search(r"resolved by +operator\n.*outcome +charged\n.*reason +UR: ticket 12\n", told), told
    told = as_written(server, resolve, BREAK=third["id"])
    assert "resolved by  operator" in told, told
    assert breaks_of(server, rows[1]["txHash"]) == breaks_of(server, rows[2]["txHash"]) == []


def closed_by(server, name):
    """The record of a person's outcome: as the journal has it, and as `authorizations show` prints it."""
    record = world_event(server, name)
    line = server.admin("GET", f"/api/v1/journal?from={record['sequence'] - 1}").text.splitlines()[0]
    fact = json.loads(line)["fact"]
    told = tapgate(server, "authorizations", "show", name)
    assert re.search(rf"^ .* {record['type']} .* {record['reason']} +operator +{record['sequence']}$", told, re.M), told
    return record["type"], record["author"], record["reason"], fact["evidence"], fact["reason"], fact["break"]


def world_event(server, name):
    events = server.admin_ok("GET", f"/api/v1/authorizations/{name}")["events"]
    return next(event for event in events if event["type"] in ("will_come", "written_off", "charged"))


def funds_held(world, user):
    return int(world.profile(user)["funds"]["held"])


def test_a_movement_without_an_authorization_is_charged_at_a_persons_word(server, world, ur, user):
    own = world.approve(tap(user, 5_000))["authorizationId"]
    row = ur.transaction(user.ur_id, -7_777)
    notify(server, row)
    found = the_break(server, row["txHash"], "orphan_at_provider")
    assert funds_held(world, user) == 5_000, "it may belong to the open hold"
    path = f"/api/v1/breaks/{found['id']}/resolve"
    said = server.admin_ok("POST", path, {"reason": "UR: ticket 12", "outcome": "charged"})
    assert said["state"] == "resolved" and resolution(said) == ("operator", "UR: ticket 12")
    assert said["resolution"]["outcome"] == "charged"
    alone = alone_of(server, row["txHash"])
    shown = world.authorization(alone)
    assert figures(shown, "taken", "held", "debit") == {"taken": 7_777, "held": 0, "debit": 7_777}
    assert [(requested, returned) for _, requested, returned in debits(shown)] == [(7_777, 0)]
    assert funds_held(world, user) == 5_000 + 7_777
    assert figures(world.authorization(own), "held", "debit") == {"held": 5_000, "debit": 5_000}
    assert closed_by(server, alone) == ("charged", "operator", "UR: ticket 12", "charged", "UR: ticket 12", found["id"])
    again = server.admin("POST", path, {"reason": "again", "outcome": "charged"})
    assert again.status_code in (404, 409), again.text
    notify(server, row)
    assert breaks_of(server, row["txHash"]) == [] and funds_held(world, user) == 5_000 + 7_777


def alone_of(server, hash):
    """The authorization of a movement that stands alone."""
    facts = (json.loads(line)["fact"] for line in server.admin("GET", "/api/v1/journal?from=0").text.splitlines())
    return next(fact["rootId"] for fact in facts if (fact.get("movement") or {}).get("hash") == hash)


def test_a_movement_that_a_rule_charged_is_not_charged_again(server, world, ur, user):
    row = ur.transaction(user.ur_id, -7_777)
    notify(server, row)
    assert eventually(lambda: funds_held(world, user) == 7_777, 30), "no open hold remains"
    found = the_break(server, row["txHash"], "orphan_at_provider")
    answer = server.admin("POST", f"/api/v1/breaks/{found['id']}/resolve", {"reason": "a fee", "outcome": "charged"})
    assert answer.status_code == 409 and "charged already" in answer.text, answer.text
    assert funds_held(world, user) == 7_777
    assert server.admin_ok("GET", f"/api/v1/breaks/{found['id']}")["state"] == "open"


def missing_return(server, world, ur, user):
    """An authorization whose reversal UR announced, whose money it took, and whose return it does not show; and its break."""
    root = world.approve(tap(user, 5_000))
    name = root["authorizationId"]
    notify(server, ur.transaction(user.ur_id, -5_000, partnerRefId=name))
    world.acknowledge(follow_up("reversal", root, 5_000), 5_000)
    shown = world.authorization(name)
    assert figures(shown, "taken", "awaited", "debit") == {"taken": 5_000, "awaited": 5_000, "debit": 0}
    assert debits(shown) == [(name, 5_000, 5_000)]
    return name, the_break(server, name, "return_missing")


def test_a_missing_return_that_will_come_stays_awaited(server, world, ur, user):
    will_come, _ = runbook("return_missing")
    name, found = missing_return(server, world, ur, user)
    assert (found["ours"], found["theirs"]) == ("5000 EUR", "0 EUR")
    told = as_written(server, will_come, BREAK=found["id"])
    assert re.search(r"resolved by +operator\n.*outcome +will_come\n.*reason +UR: ticket 12\n", told), told
    assert closed_by(server, name) == ("will_come", "operator", "UR: ticket 12", "will_come", "UR: ticket 12", found["id"])
    shown = world.authorization(name)
    assert figures(shown, "awaited", "debit") == {"awaited": 5_000, "debit": 0}
    assert "will_come" in [event["type"] for event in shown["events"]]
    notify(server, ur.transaction(user.ur_id, 5_000, partnerRefId=name))
    shown = world.authorization(name)
    assert (shown["state"], debits(shown)) == ("reversed", [(name, 5_000, 5_000)])
    assert figures(shown, "returned", "awaited", "debit") == {"returned": 5_000, "awaited": 0, "debit": 0}
    assert breaks_of(server, name) == []


def test_a_missing_return_that_is_written_off_is_debited_again(server, world, ur, user):
    _, written_off = runbook("return_missing")
    name, found = missing_return(server, world, ur, user)
    told = as_written(server, written_off, BREAK=found["id"])
    assert re.search(r"resolved by +operator\n.*outcome +written_off\n.*reason +UR: ticket 12\n", told), told
    assert closed_by(server, name)[:3] == ("written_off", "operator", "UR: ticket 12")
    shown = world.authorization(name)
    assert (shown["state"], figures(shown, "taken", "awaited", "debit")) == ("cleared", {"taken": 5_000, "awaited": 0, "debit": 5_000})
    assert debits(shown) == [(name, 5_000, 5_000), (f"{name}#2", 5_000, 0)]
    # It comes after all.
    notify(server, ur.transaction(user.ur_id, 5_000, partnerRefId=name))
    assert debits(world.authorization(name)) == [(name, 5_000, 5_000), (f"{name}#2", 5_000, 5_000)]
    assert breaks_of(server, name) == []


def test_an_outcome_belongs_to_its_kind_of_break_only(server, world, ur, user):
    row = ur.transaction(user.ur_id, -7_777)
    notify(server, row)
    found = the_break(server, row["txHash"], "orphan_at_provider")
    path = f"/api/v1/breaks/{found['id']}/resolve"
    assert server.admin("POST", path, {"reason": "a fee", "outcome": "written_off"}).status_code == 400
    assert server.admin("POST", path, {"reason": "a fee", "outcome": "lost"}).status_code == 400
    assert server.admin("POST", path, {"outcome": "will_come"}).status_code == 400
    assert server.admin_ok("GET", f"/api/v1/breaks/{found['id']}")["state"] == "open"
    _, missing = missing_return(server, world, ur, user)
    answer = server.admin("POST", f"/api/v1/breaks/{missing['id']}/resolve", {"reason": "a fee", "outcome": "charged"})
    assert answer.status_code == 400, answer.text
    assert "outcome charged answers orphan_at_provider; this break is return_missing" in answer.text


@pytest.fixture
def refused(ur, user):
    """UR refuses to list this user's transactions until the test says otherwise."""
    refusing = {user.ur_id}

    def listed(asked):
        if str(asked["urId"]) in refusing:
            return 200, {"code": 10_999, "message": "the account is blocked"}
        return 200, ur._page(asked)

    ur.faults = {"/v1/transactions": listed}
    yield refusing
    ur.faults = {}


def test_a_hold_that_cannot_be_asked_for_is_a_break_and_stays(server, world, ur, user, refused):
    (release,) = runbook("unsweepable")
    name = world.approve(tap(user, 5_000))["authorizationId"]
    found = the_break(server, name, "unsweepable")
    assert (found["field"], found["ours"], found["theirs"]) == ("account", "listed", "refused")
    assert figures(world.authorization(name), "held") == {"held": 5_000}
    as_written(server, release, AUTHORIZATION=name)
    shown = world.authorization(name)
    assert (shown["state"], figures(shown, "held", "debit")) == ("released", {"held": 0, "debit": 0})
    closed = server.admin_ok("GET", f"/api/v1/breaks/{found['id']}")
    assert (breaks_of(server, name), resolution(closed)) == ([], ("operator", "UR: ticket 12"))


def test_an_account_that_ur_lists_again_has_no_unsweepable_holds(server, world, ur, user, refused):
    name = world.approve(tap(user, 5_000))["authorizationId"]
    the_break(server, name, "unsweepable")
    refused.clear()
    assert eventually(lambda: breaks_of(server, name) == [], 30)
    assert figures(world.authorization(name), "held") == {"held": 5_000}
