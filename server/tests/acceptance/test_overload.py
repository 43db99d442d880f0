"""What lay unread for too long is refused, wherever it lay; what can wait is taken, and what comes then is answered."""

import json
import signal
import socket
import time
from contextlib import ExitStack

import pytest

from tapgate import eventually, raw_callback, sign_v1
from world import World, acknowledgement, envelope, follow_up, tap

# More than any tap may lie unread, and than its deadline.
LAY_SECONDS = 0.5


@pytest.fixture
def world(new_server):
    return World(new_server()).furnished()


def connection(world: World) -> socket.socket:
    return socket.create_connection(("127.0.0.1", world.server.ports[0]), timeout=10)


def ask(connection: socket.socket, data: dict):
    body = envelope(data)
    connection.sendall(raw_callback(body, sign_v1(body)))


def answer(connection: socket.socket) -> tuple[str, dict, str]:
    """Status, body and head."""
    received = b""
    while b"}" not in received:
        part = connection.recv(65_536)
        assert part, received
        received += part
    head, body = received.decode().split("\r\n\r\n", 1)
    return head.split(" ")[1], json.loads(body), head.lower()


def test_what_lay_unread_is_refused_and_a_return_is_taken(world):
    server, user = world.server, world.user()
    approved = tap(user)
    world.approve(approved)
    with ExitStack() as connections:
        kept, giving_back = (connections.enter_context(connection(world)) for _ in range(2))
        ask(kept, tap(user))
        assert answer(kept)[1]["approved"]
        lay, lay_unaccepted, given_back = tap(user), tap(user), follow_up("reversal", approved, 1250)
        server.process.send_signal(signal.SIGSTOP)
        try:
            ask(kept, lay)
            # The system completes a connection that the process has yet to accept.
            new = connections.enter_context(connection(world))
            ask(new, lay_unaccepted)
            ask(giving_back, given_back)
            sent = time.monotonic()
            assert eventually(lambda: time.monotonic() > sent + LAY_SECONDS)
        finally:
            server.process.send_signal(signal.SIGCONT)
        for refused in (kept, new):
            status, body, head = answer(refused)
            assert (status, body["error"]["code"]) == ("503", "overloaded")
            assert "retry-after: 1" in head and "connection: close" not in head
        assert answer(giving_back)[:2] == ("200", acknowledgement(given_back, 1250))
        ask(kept, tap(user))
        assert answer(kept)[1]["approved"], "what comes now is young"
    assert world.is_unknown(lay["authorizationId"]) and world.is_unknown(lay_unaccepted["authorizationId"])
    assert eventually(lambda: 'tapgate_shed_total{why="late"} 2' in server.metrics())
