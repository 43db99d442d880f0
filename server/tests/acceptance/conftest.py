"""Fixtures: one server per module, so that the suite is fast, and a factory for tests that need one of their own."""

import itertools
import resource

import pytest

import tapgate
from tapgate import Server
from world import World


@pytest.fixture(scope="session", autouse=True)
def binary():
    """Without the program every test would fail in the same way: say so once."""
    if not tapgate.BINARY.is_file():
        pytest.exit(f"no tapgate binary at {tapgate.BINARY}: build it or set TAPGATE_BIN", returncode=2)
    return tapgate.BINARY


@pytest.fixture(scope="module")
def new_server(tmp_path_factory):
    """Makes started servers and stops them at the end of the module."""
    made = []

    def make(**options) -> Server:
        server = Server(tmp_path_factory.mktemp("tapgate"), **options)
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="module")
def server(new_server) -> Server:
    return new_server()


@pytest.fixture(scope="module")
def world(server) -> World:
    """The module's server with rates, and pools that never run dry in EUR, USD and CHF."""
    return World(server).furnished()


@pytest.fixture
def room_for_a_flood():
    """As many files as this process may open, for a test that opens very many connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for number, server in zip(itertools.count(1), Server.running):
            report.sections.append((f"log of tapgate {number} ({server.directory})", server.log_tail()))
