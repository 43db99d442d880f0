"""The second provider: its events at POST /webhooks/partner-api, and what people change about its accounts and cards."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tapgate import TOKENS, Server, command, error_code, eventually, fresh, now
from world import World, tap

PATH = "/webhooks/partner-api"
SECRET = "a-secret-of-the-provider"
API_KEY = "the-key-of-our-calls"


class Provider:
    """The second provider's API: keeps what it is told, and fails as often as a test wants."""

    def __init__(self):
        self.told, self.failures = [], 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Authorization") != f"Bearer {API_KEY}":
                    return self.reply(401)
                if outer.failures > 0:
                    outer.failures -= 1
                    return self.reply(503)
                outer.told.append((self.command, self.path, json.loads(body)))
                return self.reply(200)

            def reply(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/api"


def config(**partner_api) -> dict:
    return {"partner_api": {"enabled": True, "secret": SECRET, **partner_api}, "deliver": {"allow_private": True}}


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def world(new_server, provider) -> World:
    settings = config(base_url=provider.url, api_key=API_KEY)
    return World(new_server(config=merged_watch(settings))).furnished()


def merged_watch(settings: dict) -> dict:
    """Alerts are raised at once."""
    return {**settings, "treasury": {"watch_interval_seconds": 1}}


def signed(body: bytes, secret=SECRET, at=None) -> dict:
    at = str(at or now())
    return {"X-Timestamp": at, "X-Signature": hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()}


def send(server: Server, body: bytes, headers: dict | None = None, content_type="application/json"):
    headers = dict(signed(body) if headers is None else headers)
    headers |= {"Content-Type": content_type} if content_type else {}
    return server.session().post(server.public_url + PATH, data=body, headers=headers, timeout=10)


def event(kind: str, data, at=None) -> bytes:
    return json.dumps({"type": kind, "occurredAt": at or now(), "data": data}).encode()


def tell(world: World, kind: str, data, at=None):
    answer = send(world.server, event(kind, data, at))
    assert (answer.status_code, answer.text) == (200, '{"received":true}'), (kind, data, answer.text)


def asked(user, amount=1250, **changed) -> dict:
    return {
        "id": fresh("tx"), "userId": user.ur_id, "cardId": user.card, "kind": "authorization", "status": "requested",
        "amount": amount, "currency": "EUR", "occurredAt": now(), **changed,
    }


def decide(world: World, data: dict) -> dict:
    answer = send(world.server, event("card.transaction", data))
    assert answer.status_code == 200, answer.text
    return answer.json()


def theirs(world: World, **overrides):
    return world.user(provider="partner_api", **overrides)


def counted(world: World, kind: str, outcome: str) -> int:
    name = f'tapgate_partner_api_events_total{{event="{kind}",outcome="{outcome}"}}'
    lines = world.server.metrics().splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_only_the_holder_of_the_secret_is_heard(world):
    user = theirs(world)
    body = event("user.suspended", {"userId": user.ur_id})
    refused = {
        "nothing": {},
        "another secret": signed(body, "the-secret-of-a-stranger"),
        "another body": signed(body + b" "),
        "no timestamp": {key: value for key, value in signed(body).items() if key == "X-Signature"},
        "a bearer": {"Authorization": f"Bearer {SECRET}"},
        "an empty signature": {**signed(body), "X-Signature": ""},
    }
    for what, headers in refused.items():
        answer = send(world.server, body, headers)
        assert (answer.status_code, error_code(answer)) == (401, "unauthorized"), what
        assert SECRET not in answer.text
    for at in (now() - 400, now() + 400):
        answer = send(world.server, body, signed(body, at=at))
        assert (answer.status_code, error_code(answer)) == (401, "stale_timestamp")
    assert world.profile(user)["status"] == "live"
    # UR's route does not take it, and UR's signature opens nothing here.
    assert world.server.post(body, signed(body)).status_code == 401
    assert SECRET not in world.server.log_file.read_text()


def test_the_order_of_checks_is_that_of_urs_webhook(world):
    body = event("user.suspended", {"userId": "1"})
    session, url = world.server.session(), world.server.public_url + PATH
    assert session.get(url, timeout=10).status_code == 405
    assert send(world.server, b"x" * (64 * 1024 + 1), {}).status_code == 413
    assert send(world.server, body, {}, content_type="text/plain").status_code == 415
    for bad in (b"", b"[]", b"{", b'{"data":{}}', b'{"type":"a","data":{"x":1,"x":2}}', b'{"type":' + b"[" * 40 + b"]" * 40 + b"}"):
        answer = send(world.server, bad)
        assert (answer.status_code, error_code(answer)) == (400, "malformed"), bad


def test_a_server_without_the_section_knows_no_such_route(new_server):
    server = new_server()
    answer = send(server, event("user.suspended", {"userId": "1"}))
    assert (answer.status_code, error_code(answer)) == (404, "not_found")


def test_a_bearer_and_a_rotation(new_server):
    previous = "the-secret-before-this-one"
    server = new_server(config=config(authentication="bearer", previous_secret=previous))
    body = event("user.created", {"userId": "77"})
    for secret in (SECRET, previous):
        assert send(server, body, {"Authorization": f"Bearer {secret}"}).status_code == 200
    for headers in ({}, signed(body), {"Authorization": f"Bearer {SECRET}x"}, {"Authorization": f"Basic {SECRET}"}):
        assert error_code(send(server, body, headers)) == "unauthorized"


def test_accounts_follow_the_provider(world):
    user = theirs(world)
    assert world.profile(user)["provider"] == "partner_api"
    assert decide(world, asked(user))["approved"] is True
    at = now() - 20
    tell(world, "user.suspended", {"userId": user.ur_id}, at)
    assert decide(world, asked(user))["reason"] == "account_soft_blocked"
    tell(world, "user.unsuspended", {"userId": user.ur_id}, at - 1)
    assert decide(world, asked(user))["reason"] == "account_soft_blocked", "an older event arrived later"
    tell(world, "user.unsuspended", {"userId": user.ur_id}, at + 1)
    before = counted(world, "user.suspended", "known")
    tell(world, "user.suspended", {"userId": user.ur_id}, at)
    assert counted(world, "user.suspended", "known") == before + 1, "a repetition"
    assert decide(world, asked(user))["approved"] is True
    tell(world, "user.deleted", {"userId": user.ur_id})
    assert decide(world, asked(user))["reason"] == "account_closed"
    created = fresh("8")
    tell(world, "user.created", {"userId": created})
    shown = world.server.admin_ok("GET", f"/api/v1/users/{created}")
    assert (shown["status"], shown["provider"], shown["funds"]) == ("tourist", "partner_api", None)


def test_cards_follow_the_provider(world):
    user = theirs(world)
    card, at = fresh("card"), now() - 20
    tell(world, "card.blocked", {"userId": user.ur_id, "cardId": card, "currency": "EUR"}, at + 1)
    tell(world, "card.created", {"userId": user.ur_id, "cardId": card, "currency": "EUR"}, at)
    assert decide(world, asked(user, cardId=card))["reason"] == "card_frozen", "its creation was overtaken"
    tell(world, "card.unblocked", {"userId": user.ur_id, "cardId": card}, at + 2)
    assert decide(world, asked(user, cardId=card))["approved"] is True
    limits = {"cardId": card, "currency": "EUR", "perTransaction": "500", "dailyChf": "10000"}
    tell(world, "card.limits_updated", limits, at + 3)
    assert decide(world, asked(user, 501, cardId=card))["reason"] == "transaction_amount_limit"
    early = fresh("card")
    tell(world, "card.limits_updated", {**limits, "userId": user.ur_id, "cardId": early})
    assert decide(world, asked(user, 501, cardId=early))["reason"] == "transaction_amount_limit", "before its creation"
    tell(world, "card.deleted", {"userId": user.ur_id, "cardId": card}, at + 4)
    assert decide(world, asked(user, 1, cardId=card))["reason"] == "card_deleted"


def test_the_provider_speaks_for_its_own_only(world):
    user = world.user()
    for kind in ("user.suspended", "user.deleted"):
        tell(world, kind, {"userId": user.ur_id})
    tell(world, "card.blocked", {"userId": user.ur_id, "cardId": user.card})
    tell(world, "card.limits_updated", {"cardId": user.card, "currency": "EUR", "perTransaction": "1"})
    booked = asked(user, kind="clearing", status="completed")
    tell(world, "card.transaction", booked)
    answer = send(world.server, event("card.transaction", asked(user)))
    assert (answer.status_code, error_code(answer)) == (404, "not_found")
    world.approve(tap(user, 100))
    assert counted(world, "card.transaction", "not_ours") >= 2


def test_ur_speaks_for_its_own_only(world):
    user = theirs(world)
    approved = asked(user)
    assert decide(world, approved)["approved"] is True
    for data in (tap(user, 100), tap(world.user(), 100, type="reversal", originalAuthorizationId=approved["id"])):
        answer = world.send(data)
        assert (answer.status_code, error_code(answer)) == (404, "not_found"), data
    told = {"event": "card_status", "timestamp": now(), "data": {"cardId": user.card, "status": "frozen"}}
    assert world.server.post(json.dumps(told).encode()).status_code == 200
    assert decide(world, asked(user))["approved"] is True
    assert world.authorization(approved["id"])["state"] == "approved"


def test_a_transaction_is_decided_booked_and_refunded(world):
    user = theirs(world)
    data = asked(user, 1000)
    first = decide(world, data)
    assert (first["approved"], first["approvedAmount"], first["source"]) == (True, "1000", "CRYPTO")
    assert decide(world, data) == first, "a known id gets the stored answer"
    assert decide(world, {**data, "amount": 1001})["reason"] == "duplicate_mismatch"
    more = decide(world, asked(user, 200, authorizationId=data["id"]))
    assert (more["approved"], more["partnerRefId"]) == (True, data["id"])
    back = decide(world, asked(user, 200, kind="reversal", authorizationId=data["id"]))
    assert (back["approved"], back["approvedAmount"]) == (True, "200")
    booked = asked(user, 1000, kind="clearing", status="completed", authorizationId=data["id"])
    for _ in range(2):
        tell(world, "card.transaction", booked)
    shown = world.authorization(data["id"])
    assert (shown["state"], shown["held"]["amount"]) == ("cleared", "0")
    assert counted(world, "card.transaction", "known") >= 1
    tell(world, "card.transaction", asked(user, 300, kind="refund", status="completed", authorizationId=data["id"]))
    assert world.authorization(data["id"])["state"] == "cleared"
    entry = world.server.admin("GET", "/api/v1/journal?from=0").text
    assert '"author":"partner_api"' in entry


def test_a_request_that_cannot_be_read_or_is_old_approves_nothing(world):
    user = theirs(world)
    odd = ({"kind": "preauth"}, {"kind": "clearing"})
    for changed in ({"amount": "1.50"}, {"currency": "euro"}, {"cardId": ""}, {"kind": "reversal"}, *odd):
        answer = send(world.server, event("card.transaction", asked(user, **changed)))
        assert (answer.status_code, error_code(answer)) == (400, "malformed"), changed
    data = asked(user)
    answer = send(world.server, event("card.transaction", data, now() - 400))
    assert (answer.status_code, error_code(answer)) == (401, "stale_timestamp")
    assert world.is_unknown(data["id"])


def test_an_event_of_an_unknown_form_is_acknowledged_and_logged_by_its_shape(world):
    before = counted(world, "unknown", "unknown")
    for _ in range(2):
        tell(world, "card.3ds_code", {"cardId": "card_s3cret", "code": "417263", "holder": "Ada Lovelace"})
        tell(world, "user.suspended", {"holder": "Ada Lovelace"})
    assert counted(world, "unknown", "unknown") == before + 2
    log = world.server.log_file.read_text()
    assert log.count("holder: string") == 2, "once for each form"
    assert "Lovelace" not in log and "417263" not in log


def test_a_suspended_service_stops_its_cards_and_no_others(world):
    user, of_ur = theirs(world), world.user()
    tell(world, "card_service.suspended", {"reason": "maintenance"})
    assert decide(world, asked(user))["reason"] == "provider_suspended"
    world.approve(tap(of_ur, 100))

    def alerts():
        items = world.server.admin_ok("GET", "/api/v1/alerts")["items"]
        return [item for item in items if item["kind"] == "provider_suspended" and item["state"] != "resolved"]

    assert eventually(alerts)
    shown = world.server.admin_ok("GET", "/api/v1/program")
    assert shown["providers"] == [{"provider": "partner_api", "suspended": True, "reason": "maintenance"}]
    assert shown["suspended"] is False
    environment = {"TAPGATE_URL": world.server.admin_url, "TAPGATE_TOKEN": TOKENS["operator"]}
    out = command("program", "resume", "--provider", "partner-api", "--reason", "it works", env=environment)
    assert out.returncode == 0 and "cards of partner_api running (it works)" in out.stdout.decode(), out
    assert decide(world, asked(user))["approved"] is True
    assert eventually(lambda: not alerts())


def test_what_a_person_changes_is_told_to_the_provider_and_never_lost(world, provider):
    user, of_ur = theirs(world), world.user()
    environment = {"TAPGATE_URL": world.server.admin_url, "TAPGATE_TOKEN": TOKENS["operator"]}
    provider.failures = 2
    told = len(provider.told)
    for line in (
        ("users", "suspend", of_ur.ur_id),
        ("users", "suspend", user.ur_id),
        ("users", "resume", user.ur_id),
        ("cards", "freeze", user.card),
        ("cards", "activate", user.card),
    ):
        assert command(*line, env=environment).returncode == 0, line
    limits = {"transaction_amount_max": {"amount": "5000", "currency": "EUR"}, "country_block": ["PRK"]}
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}/controls", limits)
    # Before the provider has accepted it, the change is in force here, and survives a crash.
    world.server.kill9()
    world.server.start()
    expected = [
        ("POST", f"/api/users/{user.ur_id}/suspend", {}),
        ("POST", f"/api/users/{user.ur_id}/unsuspend", {}),
        ("POST", f"/api/cards/{user.card}/block", {}),
        ("POST", f"/api/cards/{user.card}/unblock", {}),
        (
            "PUT",
            f"/api/cards/{user.card}/limits",
            {"currency": "EUR", "perTransaction": "5000", "dailyChf": None, "weeklyChf": None, "monthlyChf": None},
        ),
    ]

    def accepted():
        # At least once: a crash may repeat what was accepted, in order.
        seen = []
        for call in provider.told[told:]:
            if call not in seen:
                seen.append(call)
        return seen if len(seen) >= len(expected) else None

    assert eventually(accepted, 60) == expected
    listed = world.server.admin_ok("GET", "/api/v1/deliveries")["items"]
    assert [item["kind"] for item in listed] == ["partner-api"]
    assert API_KEY not in world.server.log_file.read_text()
    # The provider's own word is no news for it.
    told = len(provider.told)
    tell(world, "card.blocked", {"userId": user.ur_id, "cardId": user.card})
    world.server.admin_ok("PUT", f"/api/v1/users/{user.ur_id}/status", {"suspended": True})
    assert eventually(lambda: provider.told[told:] == [("POST", f"/api/users/{user.ur_id}/suspend", {})])


def test_a_deletion_is_told_too(world, provider):
    user = theirs(world)
    world.server.admin_ok("PUT", f"/api/v1/cards/{user.card}", {"status": "deleted"})
    assert eventually(lambda: ("DELETE", f"/api/cards/{user.card}", {}) in provider.told)
