"""Who may do what on the admin listener, and what it shows without a token."""

import re
import socket

import pytest
import requests

from tapgate import ROLES, TOKENS, error_code, eventually
from world import PLENTY, tap, user_line


@pytest.fixture(scope="module")
def bystander(world):
    return world.user()


def pool_body():
    return {"reported": str(PLENTY), "floor": "0", "reserve": "0"}


# Method, path, body, and who may (besides: everybody may GET). {user} stands for an existing urId.
WRITES = [
    ("PUT", "/api/v1/pools/EUR", pool_body(), {"operator", "treasurer"}),
    ("POST", "/api/v1/pools/EUR/credits", {"amount": "1", "reference": "access"}, {"operator", "treasurer"}),
    ("PUT", "/api/v1/users/{user}/status", {"suspended": False}, {"operator"}),
    ("PUT", "/api/v1/users/{user}/controls", {"channel_block": []}, {"operator"}),
    ("PUT", "/api/v1/cards/card_{user}_1", {"status": "active"}, {"operator"}),
    ("POST", "/api/v1/program", {"suspended": False, "reason": "access"}, {"operator"}),
    ("POST", "/api/v1/authorizations/auth_never_sent/release", {"reason": "access"}, {"operator"}),
]
READS = ["/users/{user}", "/pools/EUR", "/authorizations", "/rates", "/program", "/stats"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path", "body", "may"), WRITES, ids=[f"{write[0]}{write[1]}" for write in WRITES])
def test_roles_may_write_what_is_theirs(world, bystander, role, method, path, body, may):
    answer = world.server.admin(method, path.replace("{user}", bystander.ur_id), body, role=role)
    if role in may:
        assert answer.status_code == (404 if "never_sent" in path else 200), answer.text
    else:
        assert answer.status_code == 403, answer.text
        error_code(answer)


@pytest.mark.parametrize("role", ["viewer", "treasurer"])
def test_only_an_operator_may_import_users_and_set_funds(world, bystander, role):
    raw = str(user_line()).encode()
    assert world.server.admin("POST", "/api/v1/users/import", raw=raw, role=role).status_code == 403
    body = {"amount": "1", "currency": "EUR", "version": 1, "debited": []}
    path = f"/api/v1/users/{bystander.ur_id}/funds"
    assert world.server.admin("PUT", path, body, role=role).status_code == 403
    assert world.profile(bystander)["funds"]["amount"] == str(PLENTY)


def test_rates_are_the_treasurers_and_not_the_viewers(world):
    assert world.server.admin("PUT", "/api/v1/rates", {}, role="viewer").status_code == 403
    world.set_rates()


def test_a_connection_ends_visibly_where_a_body_is_not_read(world):
    """Or its client sends the next request over it, and hears nothing."""
    head = f"PUT /api/v1/rates HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['viewer']}\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.server.ports[1]), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65_536).lower()
    assert answer.startswith(b"http/1.1 403 ") and b"\r\nconnection: close\r\n" in answer, answer


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", READS)
def test_every_role_may_read(world, bystander, role, path):
    answer = world.server.admin("GET", "/api/v1" + path.replace("{user}", bystander.ur_id), role=role)
    assert answer.status_code == 200, answer.text
    answer.json()


@pytest.mark.parametrize("method_and_path", ["GET /api/v1/pools/EUR", "PUT /api/v1/pools/EUR", "POST /api/v1/program"])
def test_without_a_token_nothing_is_allowed(world, method_and_path):
    method, path = method_and_path.split()
    answer = world.server.admin(method, path, None if method == "GET" else {}, role=None)
    assert answer.status_code == 401
    error_code(answer)


def test_a_wrong_token_is_refused(world):
    """Once only: repeated failures lock the address out (429)."""
    answer = world.server.admin("GET", "/api/v1/pools/EUR", role=None, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    error_code(answer)


def test_whoever_guesses_is_refused_even_with_the_right_token(new_server):
    server = new_server()

    def asked(token: str) -> requests.Response:
        return server.admin("GET", "/api/v1/pools", role=None, headers={"Authorization": f"Bearer {token}"})

    old = [asked("a token of last year").status_code for _ in range(30)]
    none = [server.admin("GET", "/api/v1/pools", role=None).status_code for _ in range(30)]
    assert set(old + none) == {401}, "neither guesses"
    assert [asked(f"guess {number}").status_code for number in range(19)] == [401] * 19
    refused = asked(TOKENS["operator"])
    assert refused.status_code == 429 and 0 < int(refused.headers["Retry-After"]) <= 60
    assert server.admin("GET", "/healthz").status_code == 200, "who has no token to show is not asked for one"
    log = server.log_file.read_text()
    assert log.count("wrong admin token") == 2 and "guess" not in log and "from=127.0.0.1" in log


@pytest.mark.parametrize(
    "path",
    ["/users/999999999999", "/authorizations/auth_never_sent", "/pools/XAU", "/nowhere"],
)
def test_what_is_not_there_is_not_found(world, path):
    answer = world.server.admin("GET", "/api/v1" + path)
    assert (answer.status_code, error_code(answer)) == (404, "not_found")


def test_changes_of_unknown_users_and_cards_are_not_found(world):
    for path, body in (("/users/999999999999/status", {"suspended": True}), ("/cards/card_none", {"status": "frozen"})):
        answer = world.server.admin("PUT", "/api/v1" + path, body)
        assert (answer.status_code, error_code(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/pools/EUR", b"{"),
        ("/pools/EUR", b'{"reported":"-"}'),
        ("/pools/EUR", b'{"reported":"1.5","floor":"0","reserve":"0"}'),
        ("/pools/euro", b'{"reported":"1","floor":"0","reserve":"0"}'),
        ("/rates", b'{"chf":{"EUR":"much"}}'),
    ],
)
def test_a_bad_body_is_refused_without_effect(world, path, raw):
    before = world.pool("EUR")
    headers = {"Content-Type": "application/json"}
    answer = world.server.admin("PUT", "/api/v1" + path, raw=raw, headers=headers)
    assert answer.status_code == 400, answer.text
    error_code(answer)
    assert world.pool("EUR") == before


def test_the_webhook_is_not_on_the_admin_listener(world):
    assert world.server.admin("POST", "/webhooks/ur", {}).status_code in (404, 405)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_need_no_token(world, path):
    assert world.server.admin("GET", path, role=None).status_code == 200


METRIC = re.compile(r"^tapgate_decisions_total\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)


def decisions_counted(world, outcome: str, reason: str) -> float:
    text = world.server.metrics()
    total = 0.0
    for labels, value in METRIC.findall(text):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        assert {"outcome", "reason", "source"} <= set(found), labels
        if (found["outcome"], found["reason"]) == (outcome, reason):
            total += float(value)
    return total


def test_metrics_count_decisions_by_outcome_reason_and_source(world):
    user = world.user(card_status="frozen")
    before = decisions_counted(world, "declined", "card_frozen")
    for _ in range(3):
        world.decline(tap(user), "card_frozen")
    assert eventually(lambda: decisions_counted(world, "declined", "card_frozen") == before + 3)


def test_metrics_are_of_prometheus_form_and_named_after_the_program(world):
    world.approve(tap(world.user()))
    text = world.server.metrics()
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"^[a-zA-Z_:][\w:]*(\{.*\})? [^ ]+( \d+)?$", line) for line in samples)
    assert all(line.startswith(("tapgate_", "process_")) for line in samples)
    assert "tapgate_decision_seconds_bucket{" in text and "tapgate_decision_seconds_count" in text


def test_a_body_over_a_mebibyte_is_too_large(server):
    answer = server.admin("POST", "/api/v1/program", {"suspended": False, "reason": "x" * (1 << 20)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_asking_for_what_comes_after_the_last_sequence_there_is_does_no_harm(server):
    answer = server.admin("GET", f"/api/v1/journal?from={2**64 - 1}", role="viewer")
    assert (answer.status_code, answer.text) == (200, "")
    assert server.admin("GET", "/healthz", role=None).status_code == 200
