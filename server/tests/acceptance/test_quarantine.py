"""A journal with a record that the disk has changed goes on without it where a person says so, by name."""

import json
import re
from pathlib import Path

import pytest

from tapgate import bytes_of, command, refused, sign_v1
from world import World, envelope, tap

TAPS = 120


def change_a_bit(data_dir: Path):
    """In the middle of the journal's largest table."""
    table = max((data_dir / "journal").glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)


@pytest.fixture
def stopped(new_server):
    """A server that was stopped after some taps of one user, whose rows hold them all; and (request, answer) of each."""
    server = new_server()
    world = World(server).furnished()
    user = world.user("EUR")
    answered = []
    for _ in range(TAPS):
        body = envelope(tap(user, 125))
        answer = server.post(body, sign_v1(body))
        assert answer.json()["approved"], answer.content
        answered.append((body, answer.content))
    server.terminate()
    # What was in the log is in tables now.
    server.start()
    server.terminate()
    return server, world, answered


def test_a_record_that_the_disk_has_changed_is_named_and_left_out_by_a_person(stopped):
    server, world, answered = stopped
    verified = dict(line.split(": ") for line in command("journal", "verify", server.data_dir).stdout.decode().splitlines())
    change_a_bit(server.data_dir)
    before = bytes_of(server.data_dir)
    named = int(re.search(r"record (\d+) cannot be read", refused("journal", "verify", server.data_dir))[1])
    with_reason = ("--reason", "bad sectors on host 7; ticket 4712")
    assert "1 to 1024 bytes" in refused("journal", "quarantine", server.data_dir, named, "--reason", "")
    assert f"record {named} is in the way" in refused("journal", "quarantine", server.data_dir, 1, *with_reason)
    assert "there is no record" in refused("journal", "quarantine", server.data_dir, 10**6, *with_reason)
    assert command("journal", "quarantine", server.data_dir, *with_reason).returncode == 2
    assert bytes_of(server.data_dir) == before

    done = command("journal", "quarantine", server.data_dir, named, *with_reason)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ") for line in done.stdout.decode().splitlines())
    first, last = (int(sequence) for sequence in re.findall(r"\d+", said["quarantined"]))
    assert said["quarantined"].endswith("(all rows hold what they said)")
    assert first == named
    assert int(said["records"]) == int(verified["records"]) + 1
    assert Path(said["damaged_journal"]).is_dir()
    found = dict(line.split(": ") for line in command("journal", "verify", server.data_dir).stdout.decode().splitlines())
    assert (found["verdict"], int(found["quarantined"])) == ("quarantined", last - first + 1)
    assert found["state_of_rows"] == verified["state_of_rows"]
    dump = [json.loads(line) for line in command("journal", "dump", server.data_dir).stdout.splitlines()]
    assert {entry["fact"]["kind"] for entry in dump[first - 1 : last]} == {"record_quarantined"}
    assert dump[-1]["fact"] == {
        "kind": "quarantined",
        "first": first,
        "last": last,
        "rows": "all",
        "reason": "bad sectors on host 7; ticket 4712",
    }
    assert "rows alone hold" in refused("journal", "reindex", server.data_dir)

    # What rows hold is as it was. A repeat gets its answer, or none, and never another one.
    server.start()
    answers = [server.post(body, sign_v1(body)) for body, _ in answered]
    lost = [answer.status_code for answer in answers if answer.status_code != 200]
    assert 0 < len(lost) < TAPS and set(lost) == {409}
    told = [(answer.content, content) for answer, (_, content) in zip(answers, answered) if answer.status_code == 200]
    assert all(answer == content for answer, content in told)
    world.approve(tap(world.user("EUR")))
    listed = server.admin_ok("GET", "/api/v1/authorizations?limit=200")
    assert len(listed["items"]) == TAPS - len(lost) + 1
    server.terminate()
    assert "verdict: quarantined" in command("journal", "verify", server.data_dir).stdout.decode()


def test_a_journal_that_is_served_is_left_alone(stopped):
    server, _, _ = stopped
    change_a_bit(server.data_dir)
    named = int(re.search(r"record (\d+) cannot be read", refused("journal", "verify", server.data_dir))[1])
    server.start()
    said = refused("journal", "quarantine", server.data_dir, named, "--reason", "bad sectors")
    assert "stop tapgate first" in said
    server.terminate()
