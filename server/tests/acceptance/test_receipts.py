"""A receipt proves, without the server that made it, that a decision is in its journal."""

import json
import re
from pathlib import Path

import pytest
from eth_account import Account

from tapgate import TOKENS, command, error_code, eventually
from world import World, tap

KEY, OLD_KEY = "0x" + "11" * 32, "0x" + "22" * 32
ADDRESS, OLD_ADDRESS = (Account.from_key(key).address for key in (KEY, OLD_KEY))


@pytest.fixture
def signing(new_server, tmp_path):
    """A server that signs its heads, and where it publishes them."""
    key_file, heads = tmp_path / "receipts.key", tmp_path / "heads"
    key_file.write_text(OLD_KEY)
    server = new_server(config={"receipts": {"key_file": str(key_file), "heads_dir": str(heads)}})
    return server, heads, key_file


def asked(server, *arguments) -> bytes:
    result = command("receipt", *arguments, env={"TAPGATE_URL": server.admin_url, "TAPGATE_TOKEN": TOKENS["viewer"]})
    assert result.returncode == 0, result.stderr
    return result.stdout


def verified(file: Path, *known):
    result = command("receipt", "verify", file, *known, cwd="/")
    return result.returncode, (result.stdout or result.stderr).decode()


def published(heads: Path, count: int) -> list[Path]:
    def found():
        files = sorted(heads.glob("head-*.json"), key=lambda file: json.loads(file.read_text())["size"])
        return files if len(files) >= count else None

    files = eventually(found)
    assert files is not None and len(files) == count, list(heads.iterdir())
    return files


def test_a_receipt_is_verified_without_its_server_by_a_key_or_a_head(signing, tmp_path):
    server, heads, _ = signing
    [first] = published(heads, 1)
    world = World(server).furnished()
    data = tap(world.user("EUR"))
    world.approve(data)
    receipt, fresh = tmp_path / "receipt.json", tmp_path / "fresh.json"
    receipt.write_bytes(asked(server, data["authorizationId"]))
    assert len(receipt.read_bytes()) < 2_048
    fresh.write_bytes(asked(server, "head", "--fresh"))
    assert json.loads(asked(server, "head")) == json.loads(first.read_text())
    # As an auditor who kept the head of so many records asks, however many were signed since.
    size = json.loads(fresh.read_text())["size"]
    world.approve(tap(world.user("EUR")))
    under, since = tmp_path / "under.json", tmp_path / "since.json"
    under.write_bytes(asked(server, data["authorizationId"], "--under", str(size)))
    since.write_bytes(asked(server, "head", "--since", str(size)))
    server.terminate()
    code, said = verified(receipt, "--key", OLD_ADDRESS)
    assert code == 0 and "the record is in the journal, signed by the key that you trust" in said, said
    assert "What stands now may differ" in said and data["authorizationId"] in said
    own = tmp_path / "own.json"
    own.write_text(json.dumps(json.loads(receipt.read_text())["head"]))
    assert verified(receipt, "--head", own)[0] == 0
    code, said = verified(fresh, "--key", OLD_ADDRESS, "--head", first)
    assert code == 0 and "it extends the head that you keep" in said, said
    for file in (under, since):
        code, said = verified(file, "--head", fresh)
        assert code == 0 and "its signature was not checked" in said, said
    code, said = verified(receipt, "--key", ADDRESS)
    assert code == 1 and "no signature of yours" in said, said
    code, said = verified(receipt, "--head", first)
    assert code == 1 and "says nothing of it" in said, said
    assert verified(receipt)[0] == 2, "a key inside the receipt proves nothing"


@pytest.mark.parametrize("field", ["authorizationId", "sequence", "record", "path", "size", "root", "time", "journal"])
def test_whatever_was_changed_in_a_receipt_is_seen(signing, tmp_path, field):
    server, _, _ = signing
    world = World(server).furnished()
    data = tap(world.user("EUR"))
    world.approve(data)
    receipt = json.loads(asked(server, data["authorizationId"]))
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(receipt["head"]))
    of = receipt if field in receipt else receipt["head"]
    value = of[field]
    of[field] = value + 1 if isinstance(value, int) else re.sub("^.", lambda first: "b" if first[0] == "a" else "a", value)
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(receipt))
    code, said = verified(changed, "--key", OLD_ADDRESS)
    assert code == 1, said
    code, said = verified(changed, "--head", kept)
    # Nothing but a key tells when a head was signed, and then nothing is said of it.
    assert (code, "signed_at" in said) == (0 if field == "time" else 1, False), said


def test_a_new_key_is_introduced_by_the_old_one(signing, tmp_path):
    server, heads, key_file = signing
    [first] = published(heads, 1)
    server.terminate()
    key_file.write_text(KEY)
    (tmp_path / "old.key").write_text(OLD_KEY)
    server.config["receipts"]["previous_key_file"] = str(tmp_path / "old.key")
    server.start()
    [_, second] = published(heads, 2)
    for address in (ADDRESS, OLD_ADDRESS):
        code, said = verified(second, "--key", address, "--head", first)
        assert code == 0, said
    records = [json.loads(line) for line in server.admin("GET", "/api/v1/journal?from=0").text.splitlines()]
    signers = [record["fact"]["signer"] for record in records if record["fact"]["kind"] == "head_signed"]
    assert signers == [OLD_ADDRESS.lower(), ADDRESS.lower()]


def test_without_a_key_there_are_no_receipts(world):
    data = tap(world.user("EUR"))
    world.approve(data)
    for path in (f"/api/v1/authorizations/{data['authorizationId']}/receipt", "/api/v1/journal/head"):
        answer = world.server.admin("GET", path)
        assert (answer.status_code, error_code(answer)) == (409, "conflict")
        assert "receipts.key_file" in answer.text


def test_of_what_was_never_decided_there_is_no_receipt(signing):
    answer = signing[0].admin("GET", "/api/v1/authorizations/never/receipt")
    assert (answer.status_code, error_code(answer)) == (404, "not_found")


def test_the_key_lies_outside_of_what_it_guards(tmp_path):
    config = tmp_path / "tapgate.toml"
    (tmp_path / "data").mkdir()
    (tmp_path / "data/receipts.key").write_text(KEY)
    for data_dir in ("data", "./data", "other/../data"):
        config.write_text(f'data_dir = "{data_dir}"\n[receipts]\nkey_file = "data/receipts.key"\n')
        result = command("config", "check", config, cwd=tmp_path)
        assert result.returncode == 1 and b"must lie outside of data_dir" in result.stdout + result.stderr


def test_no_link_leads_to_the_key_in_what_it_guards(new_server, tmp_path):
    server = new_server()
    server.terminate()
    (server.data_dir / "receipts.key").write_text(KEY)
    (tmp_path / "linked").symlink_to(server.data_dir)
    server.config["receipts"] = {"key_file": str(tmp_path / "linked/receipts.key")}
    with pytest.raises(AssertionError, match="which it is to guard"):
        server.start()
