"""A journal that has lost its end is refused before anything of it is changed, and goes on only where a person says so."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tapgate import bytes_of, command, refused, sign_v1
from world import World, envelope, tap

TAPS = 40


def cut_in_half(log: Path):
    os.truncate(log, log.stat().st_size // 2)


def emptied(log: Path):
    os.truncate(log, 0)


@pytest.fixture
def killed(new_server):
    """A server that was killed after it approved some taps of one user, and these taps as (request, answer)."""
    server = new_server()
    world = World(server).furnished()
    user = world.user("EUR")
    # Rows are written by the first turn after a start: what follows is in the log alone.
    server.restart()
    answered = []
    for _ in range(TAPS):
        body = envelope(tap(user, 1250))
        answer = server.post(body, sign_v1(body))
        assert answer.json()["approved"], answer.content
        answered.append((body, answer.content))
    server.kill9()
    return server, world, answered


def newest_log(data_dir: Path) -> Path:
    return max((log for log in (data_dir / "journal").glob("*.log") if log.stat().st_size), key=lambda log: log.name)


def records(data_dir: Path) -> list[dict]:
    dump = command("journal", "dump", data_dir)
    assert dump.returncode == 0, dump.stderr
    return [json.loads(line) for line in dump.stdout.splitlines()]


@pytest.mark.parametrize("damage", [cut_in_half, emptied, os.remove])
def test_a_log_that_lost_its_end_is_refused_and_left_as_it_is(killed, damage):
    server, _, _ = killed
    damage(newest_log(server.data_dir))
    before = bytes_of(server.data_dir)
    said = [refused("journal", "verify", server.data_dir), refused("journal", "dump", server.data_dir)]
    said.append(refused("serve", "--config", server.config_file, cwd=server.directory))
    assert all("answers were given up to record" in text for text in said), said
    assert bytes_of(server.data_dir) == before


def test_the_head_of_another_directory_and_none_are_refused(killed, new_server):
    server, _, _ = killed
    other = new_server()
    World(other).furnished()
    other.kill9()
    own = (server.data_dir / "head").read_bytes()
    shutil.copy(other.data_dir / "head", server.data_dir / "head")
    assert "is not what was answered" in refused("journal", "verify", server.data_dir)
    (server.data_dir / "head").unlink()
    assert "--at-least" in refused("serve", "--config", server.config_file, cwd=server.directory)
    (server.data_dir / "head").write_bytes(own)
    server.start()


def test_a_person_accepts_the_loss_and_the_journal_names_it(killed):
    server, world, answered = killed
    whole = records(server.data_dir)
    head = whole[-1]["sequence"]
    cut_in_half(newest_log(server.data_dir))
    assert "nothing of it" not in refused("journal", "accept-loss", server.data_dir, "--reason", "")
    accepted = command("journal", "accept-loss", server.data_dir, "--reason", "the disk of host 7 burnt; ticket 4711")
    assert accepted.returncode == 0, accepted.stderr
    said = dict(line.split(": ") for line in accepted.stdout.decode().splitlines())
    lost = int(said["lost"])
    assert (int(said["last_lost"]), int(said["records"]), lost > 0) == (head, head + 1, True)
    left = records(server.data_dir)
    first = int(said["first_lost"])
    assert left[: first - 1] == whole[: first - 1]
    assert {entry["fact"]["kind"] for entry in left[first - 1 : head]} == {"record_lost"}
    accepted = left[head]["fact"]
    assert accepted == {
        "kind": "loss_accepted",
        "first": first,
        "last": head,
        "reason": "the disk of host 7 burnt; ticket 4711",
    }
    assert "verdict: equal" in command("journal", "verify", server.data_dir).stdout.decode()
    server.start()
    # What is left is known, and its answer is the old one; what was lost is decided anew.
    kept = [server.post(body, sign_v1(body)).content == content for body, content in answered]
    assert kept[0]
    world.approve(tap(world.user("EUR")))
    server.terminate()
    assert "verdict: equal" in command("journal", "verify", server.data_dir).stdout.decode()
    assert "nothing of it is known to be missing" in refused(
        "journal", "accept-loss", server.data_dir, "--reason", "once more"
    )
