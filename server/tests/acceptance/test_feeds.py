"""The figures that UR owns, read from UR: a simulated one with books of its own, over real HTTP."""

import json
import socket

import pytest

from tapgate import PARTNER_KEY, TOKENS, Server, command, error_code, eventually, fresh, now, sign_v1
from ur import OPS, Ur
from world import World, envelope, tap, user_line, user_of

# So often that a test need not wait, and far more calls than it makes.
QUICK = {
    "feeds": True,
    "calls_per_minute": 60_000,
    "pools_interval_seconds": 1,
    "rates_interval_seconds": 1,
    "users_interval_seconds": 2,
}


@pytest.fixture(scope="module")
def ur():
    ur = Ur()
    # Tests of strange answers take the CHF pool: other tests look for drift of the other two.
    ur.balances[OPS] = {"EUR": 100_000_000, "USD": 50_000_000, "CHF": 30_000_000}
    yield ur
    ur.close()


@pytest.fixture(scope="module")
def server(new_server, ur) -> Server:
    quick = {"reconcile": {"first_look_seconds": 1, "silence_seconds": 3}, "treasury": {"watch_interval_seconds": 1}}
    return new_server(config={"ur": {**QUICK, "base_url": ur.url}, **quick})


@pytest.fixture(scope="module")
def world(server) -> World:
    """Nothing is furnished: pools and rates are UR's."""
    world = World(server)
    assert eventually(lambda: server.admin("GET", "/api/v1/pools/EUR").status_code == 200)
    assert eventually(lambda: server.admin_ok("GET", "/api/v1/rates")["pairs"])
    return world


@pytest.fixture
def user(world, ur):
    """A user whom UR and tapgate know, with 1,000.00 of limit."""
    line = user_line(client_limit=100_000)
    ur.open(line["urId"], client=100_000)
    world.import_lines(line)
    return user_of(line)


def shown(server, event, data):
    body = json.dumps({"event": event, "timestamp": now(), "data": data}).encode()
    answer = server.post(body, sign_v1(body))
    assert (answer.status_code, answer.json()) == (200, {"received": True}), answer.text


def authorization(server, data):
    return server.admin_ok("GET", f"/api/v1/authorizations/{data['authorizationId']}")


def breaks_of(server, subject):
    return [found["kind"] for found in server.admin_ok("GET", "/api/v1/breaks")["items"] if found["subject"] == subject]


def test_every_call_is_signed_by_the_partner_and_in_time(server, world, ur):
    """eth-account recovers the signer of `{body} {deadline}`; a call that fails it would have been refused."""
    assert ur.refused == []
    paths = {path for path, _ in ur.calls}
    assert {"/v1/balance", "/v1/tokens", "/v1/exchangeRate"} <= paths
    assert PARTNER_KEY.address


def test_pools_and_rates_are_urs(server, world, ur):
    assert eventually(lambda: world.pool("EUR")["reported"] == ur.balances[OPS]["EUR"])
    rates = server.admin_ok("GET", "/api/v1/rates")
    assert rates["chf"] == {"EUR": "945.3", "USD": "863"}
    assert {"from": "USD", "to": "EUR", "rate": "9168", "spread": "10150"} in rates["pairs"]


def alerts_of(server, kind):
    """The facts of the open alerts of a kind, by subject."""
    found = server.admin_ok("GET", "/api/v1/alerts")["items"]
    facts = lambda alert: {fact["name"]: fact["value"] for fact in alert["facts"]}  # noqa: E731
    return {alert["subject"]: facts(alert) for alert in found if (alert["kind"], alert["state"]) == (kind, "open")}


def rows_of(ur, *codes):
    return [{"symbol": code, "amount": f"{ur.balances[OPS][code] / 100:.2f}"} for code in codes]


def test_a_balance_that_cannot_be_read_spoils_no_other_and_is_told_without_its_value(server, world, ur):
    assert eventually(lambda: world.pool("CHF")["reported"] == ur.balances[OPS]["CHF"])
    before = world.pool("EUR")["reported"]
    strange = [{"symbol": "EUR24", "amount": "12345.678"}, {"symbol": "CHF", "amount": "-7.50"}, {"symbol": "ETH", "amount": "1e18"}]
    ur.faults = {"/v1/balance": lambda _: (200, {"code": 0, "data": [*rows_of(ur, "USD"), *strange]})}
    try:
        assert eventually(lambda: world.pool("CHF")["reported"] == -750)
        assert eventually(lambda: "/v1/balance amount" in alerts_of(server, "feed_unreadable"))
        told = alerts_of(server, "feed_unreadable")["/v1/balance amount"]
        assert '"99999.999"' in told["sample"] and "12345" not in str(told)
        assert world.pool("EUR")["reported"] == before
    finally:
        ur.faults = {}
    assert eventually(lambda: world.pool("CHF")["reported"] == ur.balances[OPS]["CHF"])


def omitted(server):
    lines = server.admin("GET", "/api/v1/journal?from=1").text.splitlines()
    facts = [json.loads(line)["fact"] for line in lines]
    return [(fact["account"], fact["currency"]) for fact in facts if fact["kind"] == "balance_omitted"]


def test_a_balance_that_is_left_out_once_stays_and_twice_is_nothing(server, world, ur, user):
    chf, answers = ur.balances[OPS]["CHF"], []
    assert eventually(lambda: world.pool("CHF")["reported"] == chf)

    def once(asked):
        answers.append(asked)
        return 200, {"code": 0, "data": rows_of(ur, "EUR", "USD") if len(answers) == 1 else rows_of(ur, "EUR", "USD", "CHF")}

    try:
        ur.faults = {"/v1/balance": once}
        assert eventually(lambda: len(answers) > 2)
        assert world.pool("CHF")["reported"] == chf and omitted(server).count((OPS, "CHF")) == 1
        ur.faults = {"/v1/balance": lambda _: (200, {"code": 0, "data": rows_of(ur, "EUR", "USD")})}
        assert eventually(lambda: world.pool("CHF")["reported"] == 0)
        assert omitted(server).count((OPS, "CHF")) == 2
        assert eventually(lambda: "/v1/balance CHF" in alerts_of(server, "feed_unreadable"))
    finally:
        ur.faults = {}
    assert eventually(lambda: world.pool("CHF")["reported"] == chf)


def test_a_users_balance_that_is_left_out_twice_is_nothing(server, world, ur):
    line = user_line(funding="fiat", fiat=[{"currency": "EUR", "amount": "100000", "allowance": True}])
    user = user_of(line)
    ur.open(user.ur_id, client=10**9, fiat={"EUR": 100_000, "USD": 50})
    world.import_lines(line)
    world.approve(tap(user, 100), source="FIAT")
    del ur.balances[user.ur_id]["EUR"]
    shown(server, "allowance", {"urId": user.ur_id})
    amounts = lambda: {row["currency"]: row["amount"] for row in world.profile(user)["fiat"]}  # noqa: E731
    assert eventually(lambda: amounts()["EUR"] == "0"), amounts()
    assert omitted(server).count((user.ur_id, "EUR")) == 1, "the first omission is a record"
    world.decline(tap(user, 100), "insufficient_user_funds")


def test_a_rate_that_is_not_plausible_is_not_used_and_told(server, world, ur):
    rates = lambda: {(pair["from"], pair["to"]): pair["rate"] for pair in server.admin_ok("GET", "/api/v1/rates")["pairs"]}  # noqa: E731
    ur.rates["USD", "EUR"] = ("1", "1.0150")
    try:
        assert eventually(lambda: "USD/EUR" in alerts_of(server, "rates_implausible"))
        assert alerts_of(server, "rates_implausible")["USD/EUR"] == {"rate": "1", "spread": "10150", "inverse": "10907", "last": "9168"}
        assert rates()["USD", "EUR"] == "9168"
    finally:
        ur.rates["USD", "EUR"] = ("0.9168", "1.0150")
    assert eventually(lambda: not alerts_of(server, "rates_implausible"))


def test_a_users_limit_and_status_follow_ur(server, world, ur, user):
    ur.profiles[user.ur_id].update(usedLimit=40_000, chainStatus=3)
    seen = lambda: server.admin_ok("GET", f"/api/v1/users/{user.ur_id}")  # noqa: E731
    assert eventually(lambda: seen()["limit"]["usedLimit"] == "40000" and seen()["status"] == "blocked")
    world.decline(tap(user, 100), "account_blocked")
    ur.profiles[user.ur_id].update(chainStatus=5)
    shown(server, "kyc_status", {"urId": user.ur_id})
    assert eventually(lambda: seen()["status"] == "live")
    world.approve(tap(user, 100))


def test_a_debit_counts_once_from_approval_to_the_report_that_holds_it(server, world, ur, user):
    before = eventually(lambda: world.pool("EUR")["unreflected"] == 0 and world.pool("EUR"))
    data = world.approve(tap(user, 5_000))
    assert world.pool("EUR")["available"] == before["available"] - 5_000
    row = ur.transaction(user.ur_id, -5_000, partnerRefId=data["authorizationId"])
    ur.profiles[user.ur_id]["usedLimit"] += 4_725
    shown(server, "transaction", row)
    assert authorization(server, data)["state"] == "cleared"
    assert eventually(lambda: world.pool("EUR")["unreflected"] == 0)
    pool = world.pool("EUR")
    assert (pool["available"], pool["reported"], pool["held"]) == (before["available"] - 5_000, ur.balances[OPS]["EUR"], before["held"])
    limit = lambda: server.admin_ok("GET", f"/api/v1/users/{user.ur_id}")["limit"]  # noqa: E731
    assert eventually(lambda: (limit()["usedLimit"], limit()["unreflected"]) == ("4725", "0"))
    assert limit()["headroom"] == str(100_000 - 4_725)


def test_notifications_may_come_twice_late_and_in_any_order(server, world, ur, user):
    data = world.approve(tap(user, 1_000))
    row = ur.transaction(user.ur_id, -1_000, partnerRefId=data["authorizationId"])
    pending = {**row, "status": "pending"}
    for told in (row, pending, row, pending):
        shown(server, "transaction", told)
    events = [event["type"] for event in authorization(server, data)["events"]]
    assert events == ["authorization", "cleared"] or events == ["authorization", "cleared", "noted"], events
    assert authorization(server, data)["state"] == "cleared"


def test_what_no_notification_told_is_found_by_a_sweep(server, world, ur, user):
    data = world.approve(tap(user, 2_000))
    ur.transaction(user.ur_id, -2_000, partnerRefId=data["authorizationId"])
    assert eventually(lambda: authorization(server, data)["state"] == "cleared")
    asked = [asked for path, asked in ur.calls if path == "/v1/transactions" and str(asked["urId"]) == user.ur_id]
    assert asked and all(asked["type"] == "CRD" for asked in asked)


def test_a_sweep_reads_every_page_and_matches_without_a_reference(server, world, ur, user):
    ur.page_size_max = 2
    try:
        taps = [world.approve(tap(user, 1_000 + 100 * number)) for number in range(5)]
        for number in range(5):
            ur.transaction(user.ur_id, -(1_000 + 100 * number))
        assert eventually(lambda: all(authorization(server, data)["state"] == "cleared" for data in taps))
    finally:
        ur.page_size_max = 100


def test_what_ur_never_shows_is_given_back_and_told(server, world, ur, user):
    data = world.approve(tap(user, 3_000))
    assert eventually(lambda: authorization(server, data)["state"] == "expired", 30)
    assert breaks_of(server, data["authorizationId"]) == ["missing_at_provider"]
    assert authorization(server, data)["held"]["amount"] == "0"
    # A late clearing takes it after all.
    shown(server, "transaction", ur.transaction(user.ur_id, -3_000, partnerRefId=data["authorizationId"]))
    assert authorization(server, data)["state"] == "cleared"


def test_a_settlement_that_nobody_asked_for_is_a_break_until_somebody_explains_it(server, world, ur, user):
    row = ur.transaction(user.ur_id, -7_777)
    shown(server, "transaction", row)
    assert breaks_of(server, row["txHash"]) == ["orphan_at_provider"]
    found = next(item for item in server.admin_ok("GET", "/api/v1/breaks?kind=orphan_at_provider")["items"] if item["subject"] == row["txHash"])
    assert (found["state"], found["theirs"], found["age"]) == ("open", "7777 EUR", "0-1")
    solved = server.admin_ok("POST", f"/api/v1/breaks/{found['id']}/resolve", {"reason": "a fee"})
    assert (solved["state"], solved["resolution"]["reason"]) == ("resolved", "a fee")
    again = server.admin("POST", f"/api/v1/breaks/{found['id']}/resolve", {"reason": "a fee"})
    assert again.status_code in (404, 409)
    assert breaks_of(server, row["txHash"]) == []


def test_a_stand_in_takes_from_the_pool_and_is_a_break(server, world, ur, user):
    data = tap(user, 10**9)
    world.decline(data, "limit_exceeded")
    row = ur.transaction(user.ur_id, -4_000, partnerRefId=data["authorizationId"])
    shown(server, "transaction", row)
    assert authorization(server, data)["state"] == "force_posted"
    kinds = [item["kind"] for item in server.admin_ok("GET", "/api/v1/breaks")["items"]]
    assert "stand_in" in kinds


def test_ur_being_away_changes_no_decision_and_is_caught_up_with(server, world, ur, user):
    away = lambda _: (503, {"error_code": 50002, "error_msg": "away"})  # noqa: E731
    ur.faults = {path: away for path in ("/v1/balance", "/v1/profile", "/v1/transactions", "/v1/tokens", "/v1/exchangeRate")}
    try:
        data = world.approve(tap(user, 1_500))
        ur.transaction(user.ur_id, -1_500, partnerRefId=data["authorizationId"])
        calls = len(ur.calls)
        assert eventually(lambda: len(ur.calls) > calls + 5), "it goes on asking"
        assert authorization(server, data)["state"] == "approved"
    finally:
        ur.faults = {}
    assert eventually(lambda: authorization(server, data)["state"] == "cleared", 60)


def test_a_rate_limit_makes_it_slower_not_wrong(server, world, ur, user):
    slow = lambda _: (200, {"code": 10016, "message": "too many requests"})  # noqa: E731
    ur.faults = {"/v1/transactions": slow}
    data = world.approve(tap(user, 1_600))
    ur.transaction(user.ur_id, -1_600, partnerRefId=data["authorizationId"])
    assert eventually(lambda: sum(path == "/v1/transactions" for path, _ in ur.calls) > 0)
    assert authorization(server, data)["state"] == "approved"
    ur.faults = {}
    assert eventually(lambda: authorization(server, data)["state"] == "cleared", 60)


def test_signed_answers_are_verified(server, world, ur, user):
    ur.sign_answers = True
    try:
        ur.profiles[user.ur_id]["usedLimit"] = 12_345
        limit = lambda: server.admin_ok("GET", f"/api/v1/users/{user.ur_id}")["limit"]["usedLimit"]  # noqa: E731
        assert eventually(lambda: limit() == "12345")
    finally:
        ur.sign_answers = False


def test_ur_is_asked_about_an_answer_that_it_did_not_hear(server, world, ur, user):
    """It may have approved what tapgate declined: nothing of the account is open, and it is asked all the same."""
    data = tap(user, 500_000)
    body = envelope(data)
    head = "".join(f"{name}: {value}\r\n" for name, value in {**sign_v1(body), "Content-Length": len(body), "Host": "x"}.items())
    with socket.create_connection(("127.0.0.1", server.ports[0])) as impatient:
        # What is kept back leaves with the end of the connection, in one segment: no answer can be in between.
        impatient.sendall(f"POST /webhooks/ur HTTP/1.1\r\n{head}\r\n".encode() + body, socket.MSG_MORE)
    assert eventually(lambda: not world.is_unknown(data["authorizationId"]))
    assert authorization(server, data)["reason"] == "limit_exceeded"
    asked = lambda: [body for path, body in ur.calls if path == "/v1/transactions" and user.ur_id in json.dumps(body)]  # noqa: E731
    assert eventually(asked)


def test_an_answer_without_a_signature_is_refused_where_one_is_required(new_server, ur):
    server = new_server(config={"ur": {**QUICK, "base_url": ur.url, "require_signed_answers": True}})
    assert eventually(lambda: "has no signature" in server.log_file.read_text(), 30)
    pairs = lambda: server.admin_ok("GET", "/api/v1/rates")["pairs"]  # noqa: E731
    assert pairs() == []
    ur.sign_answers = True
    try:
        assert eventually(pairs, 60)
    finally:
        ur.sign_answers = False


def test_events_of_others_and_unknown_events_are_acknowledged(server, world, ur):
    shown(server, "transaction", ur.transaction("777777", -100))
    shown(server, "a_new_thing", {"urId": "1"})
    shown(server, "allowance", {"urId": fresh("u")})


def test_nothing_is_lost_when_the_process_is_killed(server, world, ur, user):
    def opened():
        """The breaks of this test's own authorizations: other tests may run on another server."""
        subjects = {silent["authorizationId"], refused["authorizationId"], stand_in["txHash"]}
        found = server.admin_ok("GET", "/api/v1/breaks")["items"]
        return {item["kind"]: item["id"] for item in found if item["subject"] in subjects}

    silent = world.approve(tap(user, 3_000))
    refused = world.decline(tap(user, 10**9), "limit_exceeded")
    stand_in = ur.transaction(user.ur_id, -4_000, partnerRefId=refused["authorizationId"])
    shown(server, "transaction", stand_in)
    assert eventually(lambda: set(opened()) == {"stand_in", "missing_at_provider"}, 30), opened()
    before = opened()
    data = world.approve(tap(user, 2_500))
    row = ur.transaction(user.ur_id, -2_500, partnerRefId=data["authorizationId"])
    shown(server, "transaction", row)
    server.kill9()
    server.start()
    assert authorization(server, data)["state"] == "cleared"
    shown(server, "transaction", row)
    events = [event["type"] for event in authorization(server, data)["events"]]
    assert events == ["authorization", "cleared"]
    assert opened() == before, "breaks survive, too"


def test_breaks_on_the_command_line(server, world, ur, user):
    row = ur.transaction(user.ur_id, -6_666)
    shown(server, "transaction", row)
    env = {"TAPGATE_URL": server.admin_url, "TAPGATE_TOKEN": TOKENS["operator"]}
    listed = command("breaks", "--kind", "orphan_at_provider", "--json", env=env)
    found = next(item for item in json.loads(listed.stdout)["items"] if item["subject"] == row["txHash"])
    table = command("breaks", env=env).stdout.decode()
    assert row["txHash"] in table and "6666 EUR" in table
    solved = command("breaks", "resolve", found["id"], "--reason", "a fee", env=env)
    assert solved.returncode == 0 and b"resolved" in solved.stdout and b"a fee" in solved.stdout
    assert command("breaks", "show", found["id"], env=env).returncode == 0
    assert command("breaks", "show", "1-99", env=env).returncode == 1


def test_a_dry_run_shows_what_a_sweep_would_change_and_changes_nothing(new_server):
    ur = Ur()
    ur.balances[OPS] = {"EUR": 100_000_000}
    try:
        # Its own first sweeps are a day away: what changes, the dry run would have changed.
        patient = {"first_look_seconds": 86_400, "silence_seconds": 1}
        server = new_server(config={"ur": {**QUICK, "base_url": ur.url}, "reconcile": patient})
        world = World(server)
        assert eventually(lambda: server.admin("GET", "/api/v1/pools/EUR").status_code == 200)
        assert eventually(lambda: server.admin_ok("GET", "/api/v1/rates")["pairs"])
        line = user_line(client_limit=100_000)
        ur.open(line["urId"], client=100_000)
        world.import_lines(line)
        user = user_of(line)
        settled, silent = world.approve(tap(user, 1_000)), world.approve(tap(user, 30_000))
        ur.transaction(user.ur_id, -1_500, partnerRefId=settled["authorizationId"])
        assert eventually(lambda: now() > server.admin_ok("GET", f"/api/v1/authorizations/{silent['authorizationId']}")["at"])

        def dry_run(*more):
            return command("sweep", "--dry-run", "--config", server.config_file, *more, cwd=server.directory)

        told = dry_run()
        assert told.returncode == 0, told.stderr
        text = told.stdout.decode()
        assert settled["authorizationId"] in text and "amount_mismatch" in text and "1000 EUR" in text and "1500 EUR" in text
        assert silent["authorizationId"] in text and "expired" in text and "missing_at_provider" in text
        records = [json.loads(line)["fact"] for line in dry_run("--user", user.ur_id, "--json").stdout.splitlines()]
        assert [fact["kind"] for fact in records] == ["settled", "settled"]
        assert dry_run("--user", "nobody").stdout == b"1 accounts swept, 0 transactions shown, nothing would change\n"
        assert command("sweep", "--config", server.config_file).returncode == 2, "there is nothing but the dry run"
        for data in (settled, silent):
            assert authorization(server, data)["state"] == "approved"
        assert server.admin_ok("GET", "/api/v1/breaks")["items"] == []
    finally:
        ur.close()


def test_a_limit_that_ur_did_not_use_is_a_break(server, world, ur, user):
    started = ur.profiles[user.ur_id]["startLimitDate"]
    assert eventually(lambda: world.profile(user)["limit"]["startLimitDate"] == started), "one period for both"
    data = world.approve(tap(user, 5_000))
    shown(server, "transaction", ur.transaction(user.ur_id, -5_000, partnerRefId=data["authorizationId"]))
    assert eventually(lambda: "limit_drift" in breaks_of(server, user.ur_id)), "usedLimit never rose"


def test_a_rise_is_the_money_on_its_way_or_a_break(server, world, ur):
    """UR's balance shows a top-up before anybody has recorded its credit."""
    sent = {"currency": "USD", "amount": "5000000", "reference": "wire in the balance"}
    server.admin_ok("POST", "/api/v1/prefunds", sent, role="treasurer")

    def risen():
        ur.balances[OPS]["USD"] += 5_000_000
        assert eventually(lambda: world.pool("USD")["reported"] == ur.balances[OPS]["USD"])

    risen()
    assert "pool_drift" not in breaks_of(server, "USD")
    server.admin_ok("POST", "/api/v1/pools/USD/credits", {"amount": "5000000", "reference": sent["reference"]}, role="treasurer")
    risen()
    assert eventually(lambda: "pool_drift" in breaks_of(server, "USD")), "nothing is on its way any more"


def test_ur_being_away_for_long_gates_decisions_until_it_is_back(new_server):
    ur = Ur()
    ur.balances[OPS] = {"EUR": 100_000_000}
    server = new_server(config={"ur": {**QUICK, "base_url": ur.url}, "decision": {"state_max_age_seconds": 4}})
    world = World(server)
    assert eventually(lambda: server.admin("GET", "/api/v1/pools/EUR").status_code == 200)
    assert eventually(lambda: server.admin_ok("GET", "/api/v1/rates")["pairs"])
    line = user_line()
    ur.open(line["urId"], client=10**12)
    world.import_lines(line)

    def decided():
        """Of a new tap: the outcome of one that the disk stalled is not known."""
        answer = world.send(tap(user_of(line), 100))
        if answer.status_code == 503 and error_code(answer) == "outcome_unknown":
            return None
        assert answer.status_code == 200, answer.text
        return answer.json().get("reason", "approved")

    assert eventually(lambda: decided() == "approved")
    ur.faults = {path: lambda _: (503, {}) for path in ("/v1/balance", "/v1/profile", "/v1/tokens", "/v1/exchangeRate")}
    assert eventually(lambda: decided() == "state_stale", 30), "figures that nobody refreshes are not decided on"
    ur.faults = {}
    assert eventually(lambda: decided() == "approved", 60), "and it catches up by itself"
    ur.close()
