"""What deploy/ and docs/runbook/ say about the program, held against the program itself.

That they agree with each other is scripts/check-deploy.sh's work.
"""

import json
import re
import shlex
import subprocess

import pytest

import tapgate
from receivers import Receiver
from tapgate import PARTNER_KEY, REPOSITORY, TOKENS, command, eventually
from ur import Ur
from world import World, user_line

DEPLOY = REPOSITORY / "deploy"
RUNBOOK = REPOSITORY / "docs" / "runbook"

# What stands for the reader's own in the runbook.
USER, CARD, AUTHORIZATION = "12345", "card_9", "auth_7Q2"
PARTNER_SECRET = "a-secret-of-the-second-provider"
HISTOGRAM_SUFFIX = re.compile(r"_(bucket|sum|count)$")


@pytest.fixture(scope="module")
def server(new_server):
    """With slow feeds, which leave the tests' own figures alone, and a receiver, so that their metrics are there, too."""
    ur, receiver = Ur(), Receiver().start()
    deliver = {"allow_private": True, "webhook": [receiver.webhook(name="core")]}
    feeds = {"feeds": True, "base_url": ur.url, "rates_interval_seconds": 3600}
    second = {"enabled": True, "secret": PARTNER_SECRET, "authentication": "bearer"}
    yield new_server(config={"ur": feeds, "deliver": deliver, "partner_api": second})
    receiver.stop()
    ur.close()


@pytest.fixture(scope="module")
def used(server) -> World:
    """The module's server with everything the runbook's examples name, after an approval and a decline."""
    world = World(server).furnished()
    line = user_line(urId=USER, cards=1)
    line["cards"][0]["cardId"] = CARD
    server.admin_ok("POST", "/api/v1/users/import", raw=json.dumps(line).encode())
    taps = [(AUTHORIZATION, "1250"), ("auth_declined", str(10**14))]
    for authorization, amount in taps:
        data = {"authorizationId": authorization, "urId": USER, "cardId": CARD}
        data |= {"transactionAmount": amount, "transactionCurrency": "EUR"}
        body = {"event": "card_authorization", "timestamp": tapgate.now(), "data": data}
        assert server.post(json.dumps(body).encode()).status_code == 200
    assert server.post(b"{}", headers={}).status_code == 401
    # The second provider creates an account and books a transaction, and UR shows one of somebody else's: all are counted.
    headers = {"Authorization": f"Bearer {PARTNER_SECRET}", "Content-Type": "application/json"}
    at = tapgate.now()
    booked = {"id": "tx_9", "userId": "777", "cardId": "card_777", "kind": "clearing", "status": "completed"}
    booked |= {"amount": 100, "currency": "EUR", "occurredAt": at}
    for kind, data in [("user.created", {"userId": "777"}), ("card.transaction", booked)]:
        word = json.dumps({"type": kind, "occurredAt": at, "data": data}).encode()
        url = server.public_url + "/webhooks/partner-api"
        told = server.session().post(url, data=word, headers=headers, timeout=10)
        assert told.status_code == 200, told.text
    event = {"event": "transaction", "timestamp": tapgate.now(), "data": Ur.row("778", -100)}
    assert server.post(json.dumps(event).encode()).status_code == 200
    return world


def live_metrics(server) -> dict:
    """Name → the labels of all its series, as /metrics shows them now."""
    text = server.metrics()
    found = {}
    for name, labels in re.findall(r"^(tapgate_\w+)(\{.*\})? ", text, re.M):
        found.setdefault(HISTOGRAM_SUFFIX.sub("", name), set()).update(re.findall(r'(\w+)="', labels))
    return {name: labels - {"le"} for name, labels in found.items()}


def test_the_documented_metrics_are_those_of_the_program(server, used):
    rows = re.findall(
        r"^\| `(tapgate_\w+)` \| \w+ \| [^|]+ \| ([^|]+) \|", (REPOSITORY / "docs/metrics.md").read_text(), re.M
    )
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    # The admin listener counts an answer after it was given: the second look sees the first.
    live_metrics(server)
    assert eventually(lambda: documented == live_metrics(server)), (documented, live_metrics(server))


def code_blocks() -> list:
    """(page, block) of every shell block in the runbook."""
    pages = sorted(RUNBOOK.glob("*.md"))
    return [(page.name, block) for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S)]


def api_calls() -> list:
    """Every line of the runbook that asks the admin API, once."""
    lines = [line.strip() for _, block in code_blocks() for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("api ")})


@pytest.mark.parametrize("call", api_calls())
def test_the_runbooks_calls_of_the_api_work(server, used, call):
    preamble = re.search(r"^api\(\) .*$", (RUNBOOK / "README.md").read_text(), re.M).group(0)
    # Without `-f` curl ends well on an error too; the answer says which it was.
    script = f"{preamble}\nlast=0\n{call.split('| tail')[0].split('| grep')[0]}"
    env = tapgate.clean_environment({"TAPGATE_URL": server.admin_url, "TAPGATE_TOKEN": TOKENS["operator"]})
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, env=env, timeout=30
    )
    assert done.returncode == 0, done.stderr
    for line in filter(None, done.stdout.splitlines()):
        assert "error" not in json.loads(line), f"{call}\n{line}"


def commands() -> list:
    """The commands of tapgate that the runbook uses: `tapgate pools`, `tapgate journal verify`, …"""
    with_subcommand = ("journal", "config", "program")
    found = set()
    for _, block in code_blocks():
        for words in re.findall(r"(?:^ *|[;&|] *)tapgate ([a-z]+(?: [a-z]+)?)", block, re.M):
            first, *rest = words.split()
            found.add((first, *rest) if first in with_subcommand else (first,))
    return sorted(found)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_runbooks_commands_exist(words):
    done = command(*words, "--help")
    assert done.returncode == 0, done.stderr.decode()


def check_configuration(tmp_path, environment: dict):
    """The documented default configuration under this environment, with the key's file at a place of the test's."""
    key = tmp_path / "partner_key"
    key.write_text("0x" + bytes(PARTNER_KEY.key).hex() + "\n")
    named = {name: str(key) if name.endswith("_FILE") else value for name, value in environment.items()}
    config = tmp_path / "tapgate.toml"
    config.write_bytes(command("config", "default").stdout)
    done = command("config", "check", config, env=named)
    assert done.returncode == 0, done.stderr.decode()


def test_the_units_environment_is_a_configuration(tmp_path):
    unit = (DEPLOY / "tapgate.service").read_text()
    environment = dict(pair.split("=", 1) for pair in re.findall(r"^Environment=(.+)$", unit, re.M))
    credential = re.search(r"^LoadCredential=(\w+):", unit, re.M).group(1)
    assert environment["TAPGATE__UR__PARTNER_KEY_FILE"].endswith(f"/tapgate.service/{credential}")
    assert environment["TAPGATE__DATA_DIR"] == "/var/lib/tapgate"
    check_configuration(tmp_path, environment)


def test_the_images_environment_is_a_configuration(tmp_path):
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    environment = dict(re.findall(r"(TAPGATE__\w+)=(\S+)", dockerfile))
    compose = (DEPLOY / "compose.yaml").read_text()
    environment |= dict(re.findall(r"^ +(TAPGATE__\w+): (\S+)$", compose, re.M))
    assert {"TAPGATE__DATA_DIR", "TAPGATE__LISTEN__PUBLIC", "TAPGATE__UR__PARTNER_KEY_FILE"} <= set(environment)
    check_configuration(tmp_path, environment)


def test_the_images_health_check_sees_a_living_server_and_a_dead_one(new_server):
    server = new_server()
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    line = json.loads(re.search(r"^HEALTHCHECK .*\n +CMD (\[.*\])$", dockerfile, re.M).group(1))
    assert "/8481 " in line[-1]
    line[-1] = line[-1].replace("/8481 ", f"/{server.ports[1]} ")

    def healthy() -> bool:
        return subprocess.run(line, capture_output=True, timeout=10).returncode == 0

    assert healthy()
    server.terminate()
    assert not healthy()


def test_the_service_starts_in_the_units_and_images_way():
    """Both start `serve --config FILE` and end it with SIGTERM."""
    unit = (DEPLOY / "tapgate.service").read_text()
    started = re.search(r"^ExecStart=\S+/tapgate (.+)$", unit, re.M).group(1)
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert json.loads(re.search(r"^CMD (\[.*\])$", dockerfile, re.M).group(1)) == shlex.split(started)
    assert shlex.split(started)[:2] == ["serve", "--config"]
    assert "\nSTOPSIGNAL SIGTERM\n" in dockerfile and "\nKillSignal=SIGTERM\n" in unit
