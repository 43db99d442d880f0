"""What happens is told to whom it was promised: at least once, in order per user, in the same bytes, whatever the
receiver does and however the process ends.

TAPGATE_KILL_ROUNDS (default 3) sets how often the server is killed while it delivers, TAPGATE_SEED after how long.
"""

import json
import os
import random
import threading
import time

import pytest

from receivers import FORGET, OTHER_SECRET, ROUTING_KEY, SECRET, MailServer, Receiver, now_and_then, slow
from tapgate import TOKENS, Server, command, error_code, eventually, fresh, in_parallel, now
from world import World, follow_up, funds_of, tap

ROUNDS = int(os.environ.get("TAPGATE_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("TAPGATE_SEED", str(now())))
APPROVED = ["authorization.approved", "debit.requested"]


@pytest.fixture
def receiver():
    """Receivers end with their test."""
    made = []

    def make(*arguments, **options) -> Receiver:
        made.append(Receiver(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        if each._server is not None:
            each.stop()


@pytest.fixture
def delivering(tmp_path_factory):
    """Starts a server with receivers; they are not told of how the world was furnished."""
    made = []

    def make(env=None, **deliver) -> World:
        config = {"deliver": {"allow_private": True, **deliver}}
        server = Server(tmp_path_factory.mktemp("tapgate"), config=config, env=env)
        made.append(server)
        return World(server.start()).furnished()

    yield make
    for server in made:
        server.close()


def deliveries(world) -> dict:
    listed = world.server.admin_ok("GET", "/api/v1/deliveries", role="viewer")
    assert listed["next"] is None
    return {item["name"]: item for item in listed["items"]}


def state(world, name="webhook") -> str:
    return deliveries(world)[name]["state"]


def resume(world, name="webhook") -> dict:
    return world.server.admin_ok("POST", f"/api/v1/deliveries/{name}/resume", {})


def replay(world, sequence, name="webhook") -> dict:
    return world.server.admin_ok("POST", f"/api/v1/deliveries/{name}/replay", {"from": sequence})


def durable(world) -> int:
    return world.server.admin_ok("GET", "/api/v1/stats")["journal"]["durable"]


def records(world, after=0) -> list:
    text = world.server.admin("GET", f"/api/v1/journal?from={after}").text
    return [json.loads(line) for line in text.splitlines()]


def records_of(world) -> list:
    """The journal of a server that is not running."""
    dumped = command("journal", "dump", world.server.data_dir)
    assert dumped.returncode == 0, dumped.stderr.decode()
    return [json.loads(line) for line in dumped.stdout.splitlines()]


def caught_up(world) -> bool:
    return all(item["oldest"] is None and item["lagRecords"] == 0 for item in deliveries(world).values())


# --- what is told --------------------------------------------------------------------------------------------------


def test_an_approval_is_told_as_the_admin_api_shows_it_with_the_debit_it_asks_for(delivering, receiver):
    partner = receiver().start()
    world = delivering(webhook=[partner.webhook()])
    user = world.user(funds_currency="USD")
    data = world.approve(tap(user, 1250))
    approved, requested = partner.wait_for(user, APPROVED)
    partner.assert_honest()
    assert approved.data == world.authorization(data["authorizationId"])
    assert approved.json["timestamp"].startswith(time.strftime("%Y-%m-", time.gmtime()))
    assert requested.data == {
        "debitId": data["authorizationId"],
        "authorizationId": data["authorizationId"],
        "urId": user.ur_id,
        "cardId": user.card,
        "amount": str(funds_of(1250, 10907, 10150)),
        "currency": "USD",
        "approved": {"amount": "1250", "currency": "EUR"},
        "paid": {"amount": "1250", "currency": "EUR"},
    }
    assert [approved.id, requested.id] == [f"msg_{approved.place[0]}_{part}" for part in (0, 1)]


def test_what_follows_an_approval_is_told_in_order_and_gives_the_debit_back(delivering, receiver):
    partner = receiver().start()
    world = delivering(webhook=[partner.webhook()])
    user = world.user()
    root = world.approve(tap(user, 1000))
    increment = follow_up("incremental", root, 500)
    world.approve(increment, root=root["authorizationId"])
    world.acknowledge(follow_up("reversal", root, 1200), 1200)
    funds = {"amount": "5000", "currency": "EUR", "version": 1, "debited": [increment["authorizationId"]]}
    world.server.admin_ok("PUT", f"/api/v1/users/{user.ur_id}/funds", funds)
    path = f"/api/v1/authorizations/{root['authorizationId']}/release"
    world.server.admin_ok("POST", path, {"reason": "the hotel is closed"})
    world.decline(tap(user, 10**9), "insufficient_user_funds")
    seen = partner.wait_for(
        user,
        [
            *APPROVED,
            *["authorization.incremented", "debit.requested"],
            *["authorization.reversed", "debit.returned", "debit.returned"],
            *["authorization.released", "debit.returned"],
            "authorization.declined",
        ],
    )
    partner.assert_honest()
    back = [each.data for each in seen if each.type == "debit.returned"]
    assert [(debit["debitId"], debit["amount"], debit["reason"]) for debit in back] == [
        (root["authorizationId"], "1000", "reversed"),
        (increment["authorizationId"], "200", "reversed"),
        (increment["authorizationId"], "300", "released"),
    ]
    states = [each.data["state"] for each in seen if each.type.startswith("authorization")]
    assert states == ["approved", "approved", "approved", "released", "declined"]


def test_pools_breaks_and_the_program_are_told(delivering, receiver):
    partner = receiver().start()
    world = delivering(webhook=[partner.webhook()])
    world.server.admin_ok("POST", "/api/v1/pools/EUR/credits", {"amount": "700", "reference": "wire 7"})
    world.suspend_program(True)
    world.suspend_program(False)
    expected = {"pool.credited", "program.suspended", "program.resumed"}
    eventually(lambda: {each.type for each in partner.accepted()} == expected)
    told = {each.type: each.data for each in partner.accepted()}
    assert set(told) == expected
    credit = told["pool.credited"]
    assert (credit["author"], credit["fact"]["amount"], credit["fact"]["reference"]) == ("operator", "700", "wire 7")
    assert told["program.suspended"] == {"suspended": True, "reason": "acceptance test"}
    assert told["program.resumed"] == {"suspended": False, "reason": "acceptance test"}
    partner.assert_honest()


def test_a_receiver_is_told_only_what_it_wants(delivering, receiver):
    all_of_it, some = receiver().start(), receiver().start()
    wanted = some.webhook(name="debits", events=["debit.requested", "debit.returned"])
    world = delivering(webhook=[all_of_it.webhook(name="all"), wanted])
    user = world.user()
    root = world.approve(tap(user, 100))
    world.acknowledge(follow_up("reversal", root, 100), 100)
    everything = all_of_it.wait_for(user, [*APPROVED, "authorization.reversed", "debit.returned"])
    debits = some.wait_for(user, ["debit.requested", "debit.returned"])
    same = [each for each in everything if each.type.startswith("debit")]
    assert [(each.id, each.body) for each in debits] == [(each.id, each.body) for each in same]


def test_while_a_secret_changes_both_sign(delivering, receiver):
    partner = receiver(secrets=(SECRET, OTHER_SECRET)).start()
    world = delivering(webhook=[partner.webhook(previous_secret=OTHER_SECRET)])
    user = world.user()
    world.approve(tap(user))
    partner.wait_for(user, APPROVED)
    partner.assert_honest()
    assert len(partner.seen()[0].headers["webhook-signature"].split(" ")) == 2


# --- receivers that misbehave --------------------------------------------------------------------------------------


def test_what_fails_is_sent_again_in_order_with_the_same_bytes(delivering, receiver):
    misbehave = {"fails": now_and_then(500, 500), "forgets": now_and_then(FORGET), "slow": slow(now_and_then(302))}
    partners = {name: receiver(behave).start() for name, behave in misbehave.items()}
    world = delivering(webhook=[partner.webhook(name=name) for name, partner in partners.items()])
    users = [world.user() for _ in range(3)]
    for user in users * 2:
        world.approve(tap(user))
    for name, partner in partners.items():
        for user in users:
            partner.wait_for(user, APPROVED * 2, seconds=60)
        partner.assert_honest()
        partner.assert_ordered_by_user()
        assert len(partner.seen()) > len(partner.accepted_ids()), f"{name}: nothing was sent again"
    assert {each["state"] for each in deliveries(world).values()} == {"delivering"}


def test_a_receiver_that_is_down_is_waited_for_and_a_person_hurries_it(delivering, receiver):
    partner = receiver()
    world = delivering(webhook=[partner.webhook()])
    user = world.user()
    data = world.approve(tap(user))
    assert eventually(lambda: state(world) == "failing")
    shown = deliveries(world)["webhook"]
    assert "refused" in shown["reason"] and shown["lagRecords"] > 0
    decided = next(each for each in records(world) if each["fact"]["kind"] == "decided")
    assert decided["fact"]["request"]["authorizationId"] == data["authorizationId"]
    assert shown["oldest"] == {"sequence": decided["sequence"], "at": decided["at_millis"] // 1000}
    partner.start()
    assert resume(world)["name"] == "webhook"
    partner.wait_for(user, APPROVED)
    assert eventually(lambda: caught_up(world))


def test_a_parked_receiver_is_an_alert_that_the_others_tell_and_loses_nothing(delivering, receiver, tmp_path):
    gone, chat, pager = receiver(lambda _: 410).start(), receiver().start(), receiver().start()
    mail = MailServer(tmp_path)
    try:
        world = delivering(
            webhook=[gone.webhook(name="core")],
            slack=[{"url": chat.url("/services/T0KEN")}],
            pagerduty=[{"url": pager.url("/"), "routing_key": ROUTING_KEY}],
            smtp=mail.settings(),
        )
        user = world.user()
        world.approve(tap(user))
        assert eventually(lambda: state(world, "core") == "parked")
        assert eventually(lambda: chat.accepted() and pager.accepted() and mail.mails(), 20)
        [alert] = world.server.admin_ok("GET", "/api/v1/alerts?kind=delivery_parked")["items"]
        assert (alert["subject"], alert["severity"]) == ("core", "urgent")

        [said] = chat.accepted()
        assert said.path == "/services/T0KEN" and said.json["text"] == "[urgent, raised] Deliveries to core are parked"
        [paged] = pager.accepted()
        assert paged.path == "/v2/enqueue" and paged.json["routing_key"] == ROUTING_KEY
        assert (paged.json["event_action"], paged.json["dedup_key"]) == ("trigger", f"alert-{alert['id']}")
        [mailed] = mail.mails()
        assert mailed["Subject"] == "[urgent, raised] Deliveries to core are parked"
        assert mailed["To"] == "Treasury <treasury@example.org>, ops@example.org"
        assert "tapgate deliveries resume core" in mailed.get_payload() and "410 Gone" in mailed.get_payload()

        # A person takes it on: whoever is on call is told under the same key.
        world.server.admin_ok("POST", f"/api/v1/alerts/{alert['id']}/acknowledge", {"reason": "on it"})
        assert eventually(lambda: len(pager.accepted()) == 2)
        # It stays parked over a restart, and what happens meanwhile waits for it.
        world.server.restart()
        world.approve(tap(user))
        assert state(world, "core") == "parked" and gone.accepted() == []
        gone.behave = lambda _: 200
        assert resume(world, "core")["state"] == "delivering"
        gone.wait_for(user, APPROVED * 2)
        gone.assert_honest()
        assert eventually(lambda: len(pager.accepted()) == 3 and len(mail.mails()) == 3, 20)
        actions = [(each.json["event_action"], each.json["dedup_key"]) for each in pager.accepted()]
        key = f"alert-{alert['id']}"
        assert actions == [("trigger", key), ("acknowledge", key), ("resolve", key)]
        assert {each["References"] for each in mail.mails()} == {f"<{key}@example.org>"}
        assert world.server.admin_ok("GET", "/api/v1/alerts?kind=delivery_parked")["items"] == []
        moved = [each["author"] for each in records(world) if each["fact"]["kind"] == "cursor_moved"]
        assert moved.count("operator") == 1, "who had it resumed is in the journal"
    finally:
        mail.stop()


def test_the_alert_of_a_receiver_that_is_not_configured_any_more_is_over(delivering, receiver):
    gone = receiver(lambda _: 410).start()
    world = delivering(webhook=[gone.webhook(name="core")])
    world.approve(tap(world.user()))
    path = "/api/v1/alerts?kind=delivery_parked"
    assert eventually(lambda: world.server.admin_ok("GET", path)["items"])
    world.server.config["deliver"]["webhook"] = []
    world.server.restart()
    assert eventually(lambda: not world.server.admin_ok("GET", path)["items"])
    assert deliveries(world) == {}


def test_a_message_that_is_rejected_holds_its_user_until_a_person_skips_it(delivering, receiver):
    poison = fresh("poison")
    partner = receiver(lambda request: 422 if poison in request.body.decode() else 204).start()
    world = delivering(webhook=[partner.webhook(name="core")])
    held, others = world.user(), world.user()
    world.approve({**tap(held), "authorizationId": poison})
    world.approve(tap(held))
    world.approve(tap(others))
    partner.wait_for(others, APPROVED)
    assert eventually(lambda: (deliveries(world)["core"]["rejected"] or {}).get("othersPass"), 30)
    rejected = deliveries(world)["core"]["rejected"]
    message = next(each.id for each in partner.seen() if poison in each.body.decode())
    assert (rejected["messageId"], rejected["kind"]) == (message, "authorization.approved")
    assert rejected["reason"] == "HTTP 422 Unprocessable Entity"
    assert partner.types(held) == [], "the user's other messages wait"

    def skip(name, body=None, key=None, role="operator"):
        body = {"messageId": name, "reason": "the account is closed"} if body is None else body
        headers = {"Idempotency-Key": key} if key else None
        return world.server.admin("POST", "/api/v1/deliveries/core/skip", body, headers=headers, role=role)

    assert skip(message, role="viewer").status_code == 403
    accepted, waiting = partner.accepted()[0].id, message.replace("_0", "_1")
    for never in (accepted, waiting, "msg_999999_0"):
        refused = skip(never)
        assert (refused.status_code, error_code(refused)) == (409, "conflict") and message in refused.text
    for wrong in ({"messageId": message}, {"messageId": message, "reason": ""}, {"messageId": "1", "reason": "x"}):
        assert (skip("", wrong).status_code, error_code(skip("", wrong))) == (400, "malformed"), wrong
    settings = {"TAPGATE_URL": world.server.admin_url, "TAPGATE_TOKEN": TOKENS["viewer"]}
    shown = command("deliveries", "show", "core", env=settings).stdout.decode()
    assert f"rejects  {message} (authorization.approved)" in shown and "others pass: HTTP 422" in shown

    # The process may end at any time; what is rejected is known, and given up once.
    world.server.restart()
    assert eventually(lambda: skip(message, key="skip-1").status_code == 200, 30)
    world.server.kill9()
    skipped = [each for each in records_of(world) if each["fact"]["kind"] == "message_skipped"]
    assert [(each["author"], each["fact"]["name"], each["fact"]["message"], each["fact"]["reason"]) for each in skipped] == [
        ("operator", "core", message, "the account is closed")
    ]
    world.server.start()
    assert skip(message, key="skip-1").status_code == 200, "a repetition"
    # The debit of the same approval is another message; the operator gives it up, too, from the command line.
    assert eventually(lambda: (deliveries(world)["core"]["rejected"] or {}).get("messageId") == waiting, 30)
    settings["TAPGATE_TOKEN"] = TOKENS["operator"]
    given_up = command("deliveries", "skip", "core", waiting, "--reason", "debited by hand", env=settings)
    assert given_up.returncode == 0, given_up.stderr.decode()
    partner.wait_for(held, APPROVED)
    assert eventually(lambda: caught_up(world))
    assert deliveries(world)["core"]["rejected"] is None
    assert "a message is given up" in world.server.log_tail(10_000)
    world.server.terminate()
    verified = command("journal", "verify", world.server.data_dir)
    assert verified.returncode == 0, (verified.stdout + verified.stderr).decode()


def test_without_allow_private_nothing_goes_to_the_own_network(delivering, receiver, tmp_path):
    partner = receiver().start()
    webhook = {"url": partner.url(), "secret": SECRET}
    refused = Server(tmp_path / "plain", config={"deliver": {"webhook": [webhook]}})
    with pytest.raises(AssertionError, match="allow_private"):
        refused.start()
    refused.close()
    # A name is judged when it is resolved, every time.
    world = delivering(allow_private=False, webhook=[{**webhook, "url": f"https://localhost:{partner.port}/hooks"}])
    world.approve(tap(world.user()))
    assert eventually(lambda: state(world) == "failing")
    assert "not public" in deliveries(world)["webhook"]["reason"]
    assert partner.seen() == []


# --- restarts ------------------------------------------------------------------------------------------------------


def test_an_orderly_stop_repeats_nothing(delivering, receiver):
    partner = receiver().start()
    world = delivering(webhook=[partner.webhook()])
    user = world.user()
    for _ in range(5):
        world.approve(tap(user))
    partner.wait_for(user, APPROVED * 5)
    world.server.restart()
    world.approve(tap(user))
    partner.wait_for(user, APPROVED * 6)
    assert len(partner.seen()) == len(partner.accepted_ids()) == 12


def test_kill_9_loses_nothing_and_repeats_the_same(delivering, receiver):
    chance = random.Random(SEED)
    partner = receiver(lambda _: FORGET if chance.random() < 0.02 else 204).start()
    world = delivering(webhook=[partner.webhook()])
    users = [world.user() for _ in range(12)]
    answered = []

    def one(user):
        try:
            data = tap(user, 10)
            world.approve(data)
            answered.append(data["authorizationId"])
        except OSError:
            return

    for _ in range(ROUNDS):
        load = threading.Thread(target=in_parallel, args=(one, users * 20))
        load.start()
        time.sleep(chance.uniform(0.1, 1.5))
        world.server.kill9()
        load.join()
        world.server.start()
    for user in users:
        one(user)
    assert len(answered) > len(users), f"TAPGATE_SEED={SEED}: nothing was answered before a kill"
    assert eventually(lambda: caught_up(world), 90), deliveries(world)
    partner.assert_honest()
    partner.assert_ordered_by_user()
    approved = {each.data["authorizationId"] for each in partner.accepted() if each.type == "authorization.approved"}
    debited = {each.data["debitId"] for each in partner.accepted() if each.type == "debit.requested"}
    decided = {
        each["fact"]["request"]["authorizationId"]
        for each in records(world)
        if each["fact"]["kind"] == "decided" and each["fact"]["verdict"]["approved"]
    }
    assert set(answered) <= decided, f"TAPGATE_SEED={SEED}"
    assert approved == debited == decided, f"TAPGATE_SEED={SEED}"
    world.server.terminate()
    verified = command("journal", "verify", world.server.data_dir)
    assert verified.returncode == 0, (verified.stdout + verified.stderr).decode()


def test_who_is_new_is_told_what_happens_from_now_on_and_the_rest_by_a_replay(delivering, receiver):
    first, second = receiver().start(), receiver().start()
    world = delivering(webhook=[first.webhook(name="first")])
    user = world.user()
    world.approve(tap(user))
    before = first.wait_for(user, APPROVED)
    world.server.config["deliver"]["webhook"].append(second.webhook(name="second"))
    world.server.restart()
    world.approve(tap(user))
    second.wait_for(user, APPROVED)
    assert deliveries(world)["second"]["through"] > 0
    replay(world, 1, "second")
    assert eventually(lambda: len(second.accepted_ids()) == 4)
    repeated = {each.id: each.body for each in second.accepted()}
    assert all(repeated[each.id] == each.body for each in before)
    assert len(first.seen()) == 4, "the other receiver has nothing to do with it"


def test_an_order_is_on_the_disk_when_it_is_answered_and_a_repetition_is_not_carried_out(delivering, receiver):
    partner = receiver().start()
    world = delivering(webhook=[partner.webhook()])
    user = world.user()
    world.approve(tap(user))
    partner.wait_for(user, APPROVED)

    def order(what, body, key="order-1"):
        path, headers = f"/api/v1/deliveries/webhook/{what}", {"Idempotency-Key": key}
        return world.server.admin("POST", path, body, headers=headers)

    assert order("replay", {"from": 1}).status_code == 200
    world.server.kill9()
    ordered = [each for each in records_of(world) if each["author"] == "operator"]
    assert ordered[-1]["fact"]["kind"] == "cursor_moved"
    world.server.start()
    assert eventually(lambda: caught_up(world))
    seen = len(partner.seen())
    assert seen >= 4, "it is sent again, by whichever process"
    assert order("replay", {"from": 1}).status_code == 200
    for other in (order("replay", {"from": 2}), order("resume", {})):
        assert (other.status_code, error_code(other)) == (409, "conflict")
    world.approve(tap(user))
    partner.wait_for(user, APPROVED * 2)
    assert len(partner.seen()) == seen + 2, "nothing was sent again"
    assert order("resume", {}, key="order-2").status_code == 200
    partner.assert_honest()


def test_an_idle_process_writes_nothing(delivering, receiver):
    partners = [receiver().start() for _ in range(3)]
    webhooks = [each.webhook(name=f"webhook-{number}") for number, each in enumerate(partners)]
    world = delivering(webhook=webhooks, slack=[{"url": partners[0].url("/chat")}])
    user = world.user()
    world.approve(tap(user))
    for partner in partners:
        partner.wait_for(user, APPROVED)
    # Positions follow within a second; then nothing does, though each of them is a record that the others pass.
    time.sleep(2)
    before = durable(world)
    time.sleep(3)
    assert durable(world) == before
    assert caught_up(world)
    kinds = [each["fact"]["kind"] for each in records(world)]
    assert kinds.count("cursor_moved") <= 8, kinds


# --- people --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A world with a receiver that never answers well, for those who only look."""
    partner = Receiver(lambda _: 500).start()
    webhook = partner.webhook(name="core", url=partner.url("/hooks/T0KEN?key=T0KEN"))
    config = {"deliver": {"allow_private": True, "webhook": [webhook]}}
    server = Server(tmp_path_factory.mktemp("tapgate"), config=config)
    yield World(server.start()).furnished()
    server.close()
    partner.stop()


def test_a_receiver_is_shown_without_its_secrets(idle):
    idle.approve(tap(idle.user()))
    assert eventually(lambda: state(idle, "core") == "failing")
    answer = idle.server.admin("GET", "/api/v1/deliveries", role="viewer")
    [shown] = answer.json()["items"]
    names = ["name", "kind", "url", "state", "since", "reason", "through", "lagRecords", "lagSeconds", "oldest", "rejected"]
    assert sorted(shown) == sorted(names)
    assert shown["url"].startswith("http://127.0.0.1:") and shown["reason"] == "HTTP 500 Internal Server Error"
    assert idle.server.admin_ok("GET", "/api/v1/deliveries/core", role="viewer")["name"] == "core"
    metrics = idle.server.metrics()
    assert 'tapgate_delivery_parked{receiver="core"} 0' in metrics
    for text in (answer.text, metrics, idle.server.log_tail(10_000)):
        assert "T0KEN" not in text and SECRET[6:] not in text


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("treasurer", 403), ("operator", 200)])
@pytest.mark.parametrize("order", ["resume", "replay"])
def test_who_may_have_a_receiver_go_on_or_back(idle, role, status, order):
    body = {"from": durable(idle)} if order == "replay" else {}
    answer = idle.server.admin("POST", f"/api/v1/deliveries/core/{order}", body, role=role)
    assert answer.status_code == status, answer.text


def test_a_receiver_that_is_not_there_and_a_record_that_is_not(idle):
    def post(path, body):
        return idle.server.admin("POST", f"/api/v1/deliveries/{path}", body)

    nobody = idle.server.admin("GET", "/api/v1/deliveries/nobody")
    missing = [nobody, post("nobody/resume", {}), post("nobody/replay", {"from": 1})]
    assert [(each.status_code, error_code(each)) for each in missing] == [(404, "not_found")] * 3
    for wrong in ({"from": 0}, {"from": 10**9}, {"from": "x"}, {}, {"from": 1, "to": 2}):
        answer = post("core/replay", wrong)
        assert (answer.status_code, error_code(answer)) == (400, "malformed"), wrong


def test_deliveries_on_the_command_line(idle):
    def run(*arguments, role="operator", code=0):
        env = {"TAPGATE_URL": idle.server.admin_url, "TAPGATE_TOKEN": TOKENS[role]}
        done = command("deliveries", *arguments, env=env)
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        return (done.stdout if code == 0 else done.stderr).decode()

    idle.approve(tap(idle.user()))
    assert eventually(lambda: state(idle, "core") == "failing")
    assert run() == run("list", role="viewer")
    assert run().splitlines()[1].split()[:3] == ["core", "webhook", "failing"]
    assert "HTTP 500" in run("show", "core")
    assert json.loads(run("--json"))["items"][0]["name"] == "core"
    assert run("resume", "core").startswith("webhook core ")
    assert run("replay", "core", "--from", "1").startswith("webhook core ")
    assert "there is no receiver nobody" in run("resume", "nobody", code=1)
    assert "forbidden" in run("resume", "core", role="viewer", code=1)
    run("replay", "core", code=2)


def test_the_sandbox_delivers_too(receiver, tmp_path):
    partner = receiver().start()
    env = {
        "TAPGATE__DELIVER__ALLOW_PRIVATE": "true",
        "TAPGATE__DELIVER__WEBHOOK": f'[{{ url = "{partner.url()}", secret = "{SECRET}" }}]',
    }
    done = command("sandbox", "--for", "4", "--rate", "20", "--users", "20", "--data", tmp_path / "data", env=env)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    types = {each.type for each in partner.accepted()}
    assert {"authorization.approved", "debit.requested"} <= types
    partner.assert_honest()
    partner.assert_ordered_by_user()
