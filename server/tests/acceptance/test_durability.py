"""What was answered is there after `kill -9`, at once and to the unit; what was not answered counts at most once.

TAPGATE_KILL_ROUNDS (default 15, and a third of it without syncs) sets how often the server is killed on the same data
directory, TAPGATE_SEED at which answer each time.
"""

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import requests

from tapgate import command, error_code, in_parallel, now, sign_v1
from world import PLENTY, World, approval, chf_of, envelope, tap

ROUNDS = int(os.environ.get("TAPGATE_KILL_ROUNDS", "15"))
SEED = int(os.environ.get("TAPGATE_SEED", str(now())))
THREADS = 8
REQUESTS_PER_ROUND = 240
CURRENCY = "EUR"


@dataclass(frozen=True)
class Signed:
    data: dict
    body: bytes
    headers: dict

    @property
    def name(self) -> str:
        return self.data["authorizationId"]

    @property
    def amount(self) -> int:
        return int(self.data["transactionAmount"])


def signed_tap(user, amount) -> Signed:
    data = tap(user, amount)
    body = envelope(data)
    return Signed(data, body, sign_v1(body))


@dataclass
class Load:
    """Sends requests from several threads and does something to the server in the middle: after so many answers."""

    world: World
    interrupt_after: int
    interrupt: callable
    answers: dict = field(default_factory=dict)
    unheard: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, requests_to_send: list) -> "Load":
        waiting = iter(requests_to_send)

        def worker():
            while True:
                with self._lock:
                    request = next(waiting, None)
                if request is None or not self._send(request):
                    return

        with ThreadPoolExecutor(THREADS) as pool:
            for job in [pool.submit(worker) for _ in range(THREADS)]:
                job.result()
        return self

    def _send(self, request: Signed) -> bool:
        """False where the server is gone."""
        try:
            response = self.world.server.post(request.body, request.headers)
        except requests.RequestException:
            with self._lock:
                self.unheard.append(request)
            return False
        with self._lock:
            if response.status_code != 200 or not response.json()["approved"]:
                self.refused.append((request, response))
                return True
            self.answers[request.name] = (request, response.content)
            middle = len(self.answers) == self.interrupt_after
        if middle:
            self.interrupt()
        return True


def assert_answer_stands(world: World, request: Signed, content: bytes):
    """Its hold is there, and the repeat gets the same bytes."""
    seen = world.authorization(request.name)
    assert (seen["state"], seen["approved"]) == ("approved", True), seen
    assert seen["held"] == {"amount": str(request.amount), "currency": CURRENCY}, seen
    repeat = world.server.post(request.body, request.headers)
    assert (repeat.status_code, repeat.content) == (200, content)


def assert_books_balance(world: World, held_by_user: dict):
    """Pool and users show exactly the sum of the holds."""
    total = sum(sum(amounts) for amounts in held_by_user.values())
    pool = world.pool(CURRENCY)
    assert (pool["unreflected"], pool["held"], pool["available"]) == (total, total, PLENTY - total)
    for user, amounts in held_by_user.items():
        profile = world.profile(user)
        assert int(profile["funds"]["held"]) == sum(amounts)
        assert int(profile["limit"]["unreflected"]) == sum(chf_of(amount, CURRENCY) for amount in amounts)


def held_now(world: World, request: Signed) -> int:
    return 0 if world.is_unknown(request.name) else world.held(request.name)[0]


def assert_journal_verifies(server):
    result = command("journal", "verify", server.data_dir)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    assert "equal" in result.stdout.decode()


class Books:
    """The test's own books of one server over all rounds."""

    def __init__(self, world: World, declined_as=("deadline_exceeded",)):
        """`declined_as`: why users with plenty may be declined."""
        self.world = world
        self.declined_as = declined_as
        self.users = [world.user(CURRENCY) for _ in range(THREADS)]
        self.by_ur_id = {user.ur_id: user for user in self.users}
        self.held = {user: [] for user in self.users}
        self.all_answers = {}

    def requests(self) -> list:
        return [signed_tap(self.users[n % THREADS], 1 + n) for n in range(REQUESTS_PER_ROUND)]

    def book(self, request: Signed, amount: int):
        if amount:
            self.held[self.by_ur_id[request.data["urId"]]].append(amount)

    def check_after_restart(self, load: Load):
        """Every answer stands; the unheard hold all or nothing; the rest holds nothing; the sums agree."""
        for request, _ in load.answers.values():
            self.book(request, request.amount)
        self.all_answers |= load.answers
        in_parallel(lambda answer: assert_answer_stands(self.world, *answer), load.answers.values())
        for request in load.unheard:
            held = held_now(self.world, request)
            assert held in (0, request.amount)
            self.book(request, held)
        for request, response in load.refused:
            self.check_refused(request, response)
        assert_books_balance(self.world, self.held)

    def check_refused(self, request, response):
        """An error or a late decline holds nothing, except that after `outcome_unknown` a hold may stand."""
        held = held_now(self.world, request)
        if response.status_code == 200:
            # A slow disk may stop a decision at its deadline; any other decline is wrong for users with plenty.
            assert (response.json()["reason"] in self.declined_as, held) == (True, 0), response.text
            return
        assert response.status_code == 503, response.text
        assert held == 0 or error_code(response) == "outcome_unknown"
        self.book(request, held)

    def send_the_unheard_again(self, load: Load):
        """UR asks again: each must now be approved, whether or not the first attempt was decided."""
        for request in load.unheard:
            known = held_now(self.world, request)
            response = self.world.server.post(request.body, request.headers)
            assert (response.status_code, response.json()) == (200, approval(request.data))
            self.book(request, request.amount - known)
            self.all_answers[request.name] = (request, response.content)
        assert_books_balance(self.world, self.held)


def furnished(server) -> World:
    world = World(server)
    world.set_rates()
    world.set_pool(CURRENCY, PLENTY)
    return world


@pytest.mark.parametrize(("durability", "rounds"), [("fsync", ROUNDS), ("os", max(1, ROUNDS // 3))])
def test_every_answered_approval_survives_kill_9(new_server, durability, rounds):
    print(f"TAPGATE_SEED={SEED}")
    dice = random.Random(SEED)
    server = new_server(durability=durability)
    books = Books(furnished(server))
    for _ in range(rounds):
        after = dice.randrange(REQUESTS_PER_ROUND // 10, REQUESTS_PER_ROUND * 9 // 10)
        load = Load(books.world, after, server.kill9).run(books.requests())
        assert len(load.answers) >= after, f"not killed: {len(load.answers)} approvals, {len(load.refused)} refusals"
        server.start()
        books.check_after_restart(load)
        books.send_the_unheard_again(load)
    server.kill9()
    server.start()
    in_parallel(lambda answer: assert_answer_stands(books.world, *answer), books.all_answers.values())
    assert_books_balance(books.world, books.held)
    server.terminate()
    assert_journal_verifies(server)


def test_sigterm_under_load_ends_with_exit_code_0_and_loses_nothing(new_server):
    server = new_server()
    books = Books(furnished(server))

    def ask_to_stop():
        server.process.send_signal(signal.SIGTERM)

    load = Load(books.world, REQUESTS_PER_ROUND // 3, ask_to_stop).run(books.requests())
    server.wait_for_exit_0()
    assert_journal_verifies(server)
    server.start()
    books.check_after_restart(load)
    books.send_the_unheard_again(load)


def test_a_kill_right_after_the_first_answer_loses_nothing(new_server):
    """No time for any lazy row to follow: the journal alone must carry the answer, the user and the pool."""
    server = new_server()
    world = furnished(server)
    user = world.user(CURRENCY)
    request = signed_tap(user, 1250)
    content = world.server.post(request.body, request.headers).content
    server.kill9()
    server.start()
    assert_answer_stands(world, request, content)
    assert_books_balance(world, {user: [1250]})


def test_a_data_directory_serves_one_process_only(new_server):
    server = new_server()
    result = command("serve", "--config", server.config_file, cwd=server.directory, seconds=30)
    assert result.returncode == 1, result.stderr.decode(errors="replace")
    furnished(server)
    World(server).approve(tap(World(server).user(CURRENCY)))
