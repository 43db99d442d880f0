"""Whoever only reads delays neither callbacks nor changes."""

import threading
import time
from contextlib import contextmanager

import pytest
import requests

from tapgate import TOKENS, in_parallel
from world import World, tap

HEAVY = ("/api/v1/authorizations?reason=nothing_such", "/api/v1/journal", "/api/v1/pools/EUR/statement", "/metrics")
READERS = 40


@pytest.fixture(scope="module")
def world(new_server):
    world = World(new_server()).furnished()
    user = world.user()
    in_parallel(lambda _: world.approve(tap(user, 1)), range(400))
    return world


@contextmanager
def readers(world, path: str):
    """Read the same path all the time, and note the answers' status codes."""
    stop, seen = threading.Event(), []

    def read():
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {TOKENS['viewer']}"
            while not stop.is_set():
                seen.append(session.get(world.server.admin_url + path, timeout=60).status_code)

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("path", HEAVY)
def test_readers_delay_nobody(world, path):
    user = world.user()
    with readers(world, path) as seen:
        for _ in range(30):
            world.approve(tap(user))
            answer = world.server.admin("PUT", f"/api/v1/cards/{user.card}", {"status": "active"})
            assert answer.status_code == 200, answer.text
            assert world.server.admin("GET", "/healthz", role=None).status_code == 200
    assert seen and set(seen) <= {200, 503}, "too many at once are refused"


def test_whoever_scrapes_the_text_is_rendered_once_a_second(world):
    began = time.monotonic()
    tags = in_parallel(lambda _: world.server.session().get(world.server.admin_url + "/metrics").headers["ETag"], range(200))
    assert len(set(tags)) <= 2 + (time.monotonic() - began)
