"""`tapgate sandbox`: engine, simulated UR and traffic in one process, whose own books must agree with the engine's."""

import json
import os
import signal
import subprocess
import threading

import pytest
import requests
from eth_account import Account

from tapgate import BINARY, PARTNER_KEY, now, sign

LINES_BEFORE_THE_FIRST_TAP = [
    "public", "admin", "ur", "ur_signer", "ur_signer_key", "partner_key", "admin_token", "sample_user", "sample_card", "try",
]  # fmt: skip

# Ports are the system's choice: other tests run beside.
ENVIRONMENT = {**os.environ, "TAPGATE__LISTEN__PUBLIC": "127.0.0.1:0", "TAPGATE__LISTEN__ADMIN": "127.0.0.1:0"}


def sandbox(*arguments, **options) -> subprocess.CompletedProcess:
    command = [BINARY, "sandbox", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, **options)


def values(stdout: str) -> dict:
    return dict(line.split(": ", 1) for line in stdout.splitlines() if ": " in line)


class Running:
    """A sandbox that runs until it is interrupted."""

    def __init__(self, *arguments):
        command = [BINARY, "sandbox", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started = {}
        while "try" not in self.started:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            name, value = line.rstrip("\n").split(": ", 1)
            self.started[name] = value
        # A full pipe would stop the sandbox.
        self.errors = []
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self.reader.start()

    def tap(self, data: dict) -> dict:
        body = json.dumps({"event": "card_authorization", "timestamp": now(), "data": data}).encode()
        headers = {"X-Api-Signature": sign(body, Account.from_key(self.started["ur_signer_key"]))}
        answer = requests.post(f"{self.started['public']}/webhooks/ur", data=body, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def admin(self, path: str) -> dict:
        headers = {"Authorization": f"Bearer {self.started['admin_token']}"}
        answer = requests.get(f"{self.started['admin']}/api/v1{path}", headers=headers, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def ask_ur(self, path: str, question: dict, key=None, deadline=None) -> requests.Response:
        key = key or Account.from_key(self.started["partner_key"])
        deadline = now() + 60 if deadline is None else deadline
        body = json.dumps(question).encode()
        headers = {"X-Api-Signature": sign(body + f" {deadline}".encode(), key), "X-Api-Deadline": str(deadline)}
        return requests.post(self.started["ur"] + path, data=body, headers=headers, timeout=10)

    def interrupt(self) -> dict:
        self.process.send_signal(signal.SIGINT)
        stdout = self.process.stdout.read()
        assert self.process.wait(timeout=60) == 0, stdout + "".join(self.errors)
        self.reader.join()
        return values(stdout)


@pytest.fixture(scope="module")
def running():
    sandbox = Running("--users", 20, "--rate", 20)
    yield sandbox
    if sandbox.process.poll() is None:
        sandbox.process.kill()
        sandbox.process.wait()


def test_it_says_how_to_reach_it_before_the_first_tap():
    done = sandbox("--for", 1, "--users", 10, "--rate", 10)
    assert done.returncode == 0, done.stderr
    names = [line.split(": ", 1)[0] for line in done.stdout.splitlines()]
    assert names[: len(LINES_BEFORE_THE_FIRST_TAP)] == LINES_BEFORE_THE_FIRST_TAP
    assert values(done.stdout)["books"] == "equal"


@pytest.mark.parametrize("profile", ["none", "lossy", "duplicate", "late", "reorder", "all"])
def test_the_books_agree_under_every_fault(profile):
    # Half a day in four seconds, with so few users that limits and funds run out and follow-ups come due.
    done = sandbox("--for", 4, "--users", 40, "--rate", 150, "--speed", 10_000, "--faults", profile, "--seed", 5)
    assert done.returncode == 0, done.stdout + done.stderr
    said = values(done.stdout)
    assert (said["books"], said["journal"], said["disagreements"]) == ("equal", "equal", "0")
    for what in ("approved_crypto", "approved_fiat", "declined_limit_exceeded", "declined_insufficient_user_funds",
                 "given_back", "forged_refused", "repeated_same_bytes"):  # fmt: skip
        assert int(said[what]) > 0, f"{what} never happened: {done.stdout}"
    assert said["users_compared"] == "40"


def test_one_seed_makes_one_world():
    first, again = (values(sandbox("--for", 1, "--users", 5, "--rate", 5, "--seed", 9).stdout) for _ in range(2))
    other = values(sandbox("--for", 1, "--users", 5, "--rate", 5, "--seed", 10).stdout)
    for secret in ("ur_signer_key", "partner_key", "admin_token"):
        assert first[secret] == again[secret] != other[secret]


def test_a_person_taps_the_sample_user_and_the_books_still_agree(running):
    user, card = running.started["sample_user"], running.started["sample_card"]
    tap = {"authorizationId": "by_hand", "urId": user, "cardId": card, "transactionAmount": "1250",
           "transactionCurrency": "EUR"}  # fmt: skip
    assert running.tap(tap)["approved"] is True
    assert running.tap(tap | {"authorizationId": "too_much", "transactionAmount": "999999999"})["approved"] is False
    explained = running.admin("/authorizations/too_much")
    assert explained["reason"] == "limit_exceeded"
    assert explained["counterfactual"]["approvedUpTo"] != "0"
    # The command it prints is signed and works as it is.
    curl = subprocess.run(["bash", "-c", running.started["try"]], capture_output=True, text=True, timeout=20)
    assert json.loads(curl.stdout)["approved"] is True, curl.stdout + curl.stderr


def test_ur_answers_the_partner_and_nobody_else(running):
    user = int(running.started["sample_user"])
    profile = running.ask_ur("/v1/profile", {"urId": user}).json()["data"]
    assert profile["chainStatus"] == 5 and profile["clientLimit"] > 0
    assert {row["symbol"] for row in running.ask_ur("/v1/balance", {"urId": 9999}).json()["data"]} >= {"EUR", "USD"}
    assert running.ask_ur("/v1/profile", {"urId": user}, key=PARTNER_KEY).status_code == 401
    assert running.ask_ur("/v1/profile", {"urId": user}, deadline=now() - 1).status_code == 401
    assert running.ask_ur("/v1/profile", {"urId": 1}).status_code == 404


def test_an_interrupt_ends_it_with_a_summary(running):
    said = running.interrupt()
    assert (said["books"], said["journal"]) == ("equal", "equal")


def test_its_data_can_be_kept_and_verified(tmp_path):
    kept = tmp_path / "kept"
    done = sandbox("--for", 1, "--users", 10, "--rate", 50, "--data", kept)
    assert done.returncode == 0, done.stderr
    verified = subprocess.run([BINARY, "journal", "verify", kept], capture_output=True, text=True, timeout=60)
    assert "verdict: equal" in verified.stdout
    refused = sandbox("--for", 1, "--data", kept)
    assert refused.returncode == 1 and "is not empty" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--users", 0], ["--rate", 0], ["--rate", "many"], ["--speed", 0], ["--for", 0], ["--faults", "some"], ["--seed", -1]],
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert sandbox(*arguments).returncode == 2
