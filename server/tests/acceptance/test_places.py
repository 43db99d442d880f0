"""Strangers hold connections, in every way that costs them little: UR's callbacks are answered all the same."""

import socket
from contextlib import ExitStack

import pytest

from tapgate import Server, eventually, raw_callback, sign_v1
from world import World, envelope, tap

pytestmark = pytest.mark.usefixtures("room_for_a_flood")

# With so many files the public listener has few places, so that a test can take them all.
FILES = 1_024
PLACES = 324
FLOOD = 800

NOT_THERE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WAYS = {
    "say nothing": b"",
    "begin a header": b"POST /webhooks/ur HTTP/1.1\r\nX: ",
    "begin a body": b"POST /webhooks/ur HTTP/1.1\r\nHost: x\r\nX-Api-Signature: 0x00\r\nContent-Length: 60000\r\n\r\n{",
    "ask for what is not there": NOT_THERE * 600,
}


@pytest.fixture(scope="module")
def world(new_server):
    return World(new_server(files=(FILES, FILES))).furnished()


def stranger(server: Server, address: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    connection.bind((address, 0))
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", server.ports[0]))
    return connection


def push(connection: socket.socket, says: bytes):
    try:
        connection.send(says)
    except OSError:
        pass  # Its place was taken, or the system takes no more.


def figure(server: Server, name: str) -> float:
    lines = server.metrics().splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def ended(server: Server) -> float:
    name = 'tapgate_connections_ended_total{listener="public"'
    lines = server.metrics().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


# Of a network that is neither UR's, and of UR's own address, as where both come through one proxy.
@pytest.mark.parametrize("address", ["127.0.1.2", "127.0.0.1"])
@pytest.mark.parametrize("way", WAYS)
def test_strangers_do_not_keep_ur_out(world, way, address):
    server, user = world.server, world.user()
    world.approve(tap(user))
    server.session().close()
    before = ended(server)
    with ExitStack() as flood:
        for number in range(FLOOD):
            connection = flood.enter_context(stranger(server, address))
            push(connection, WAYS[way])
            if number % 40 == 39:
                # UR connects anew, and the next callback comes over the same connection; then strangers take its place.
                world.approve(tap(user))
                world.approve(tap(user))
                server.session().close()
        assert server.admin("GET", "/readyz").status_code == 200
        if way == "ask for what is not there":
            # Each is refused once, and then gone.
            assert eventually(lambda: figure(server, 'tapgate_connections{listener="public",who="all"}') <= 1)
        else:
            # For newer ones, or because they were too slow.
            assert eventually(lambda: ended(server) > before + FLOOD - PLACES - 50)


def test_who_is_refused_is_refused_once_a_connection(world):
    """As many requests as one writes at once cost no more than one."""
    with stranger(world.server, "127.0.1.2") as connection:
        connection.setblocking(True)
        connection.settimeout(30)
        connection.sendall(NOT_THERE * 100)
        answers = b""
        while part := received(connection):
            answers += part
    assert answers.count(b"HTTP/1.1 404 ") == 1, answers
    assert b"\r\nconnection: close\r\n" in answers.lower()


def received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""  # What was not read is thrown away.


def test_a_connection_is_kept_between_callbacks(world):
    """Longer than a header may take."""
    session = world.server.session()
    world.approve(tap(world.user()))
    ended = figure(world.server, 'tapgate_connections_ended_total{listener="public",why="overdue"}')
    with stranger(world.server, "127.0.1.2") as silent:
        silent.setblocking(True)
        silent.settimeout(30)
        assert silent.recv(1) == b"", "it never said a word"
    assert eventually(
        lambda: figure(world.server, 'tapgate_connections_ended_total{listener="public",why="overdue"}') > ended
    )
    proven = figure(world.server, 'tapgate_connections{listener="public",who="proven"}')
    assert proven >= 1 and session is world.server.session()


def test_a_wrong_signature_proves_nothing(new_server):
    server = new_server(files=(FILES, FILES))
    world = World(server).furnished()
    proven = 'tapgate_connections{listener="public",who="proven"}'
    body = envelope(tap(world.user()))
    with stranger(server, "127.0.1.2") as connection:
        connection.setblocking(True)
        connection.sendall(raw_callback(body, sign_v1(b"another body")))
        assert b" 401 " in connection.recv(65_536).split(b"\r\n")[0]
        assert connection.recv(1) == b"", "who is refused connects again"
        assert figure(server, proven) == 0
        world.approve(tap(world.user()))
        assert eventually(lambda: figure(server, proven) == 1)
