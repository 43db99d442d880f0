"""Open files: connections never take the last one. The store opens files at any time, and ends the process where it cannot."""

import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tapgate import BINARY, Server, clean_environment, default_config, eventually, to_toml
from world import World, tap

pytestmark = pytest.mark.usefixtures("room_for_a_flood")

# The limits of a login shell, of which the soft one alone is too low to start with.
SOFT, HARD = 256, 1_024
# Of them, UR's connections; more than that wait to be accepted.
PLACES = 324
FLOOD = 1_000


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def open_sockets(server: Server) -> int:
    """The store's files come and go beside them."""
    found = 0
    for file in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            found += os.readlink(file).startswith("socket:")
        except FileNotFoundError:
            pass
    return found


def waiting(server: Server) -> socket.socket:
    """A connection that says nothing."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", server.ports[0]))
    return connection


def test_a_flood_of_connections_leaves_the_store_its_files(new_server):
    server = new_server(files=(SOFT, HARD))
    world = World(server).furnished()
    user = world.user()
    world.approve(tap(user))
    # Kept-alive connections, one to each listener, would count among the places.
    kept = open_sockets(server)
    server.session().close()
    assert eventually(lambda: open_sockets(server) <= kept - 2)
    quiet = open_sockets(server)
    with ExitStack() as flood:
        for _ in range(FLOOD):
            flood.enter_context(waiting(server))
        assert eventually(lambda: open_sockets(server) >= quiet + PLACES)
        # Each erasure flushes and compacts a table, which opens files; the admin side has places of its own.
        for _ in range(3):
            server.admin_ok("DELETE", f"/api/v1/users/{user.ur_id}/person")
        assert open_files(server) < HARD - 128, "what is kept for calls to UR and to receivers is not touched"
    assert eventually(lambda: open_sockets(server) < quiet + PLACES)
    world.approve(tap(user))


def test_too_few_files_are_refused_before_anything_is_made(tmp_path):
    config = tmp_path / "tapgate.toml"
    config.write_text(to_toml(default_config(tmp_path / "data")))
    command = ["prlimit", "--nofile=400:400", BINARY, "serve", "--config", config]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert ended.returncode == 1
    assert "may open 400 files and needs 480 at least: raise the hard limit" in ended.stderr
    assert not (tmp_path / "data").exists()
