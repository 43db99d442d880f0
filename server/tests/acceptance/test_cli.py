"""The command line: exit codes (0 ok, 1 failed, 2 wrong usage), data on stdout, logs on stderr."""

import json
import re
import shutil

import pytest

from tapgate import (
    PARTNER_KEY,
    TOKENS,
    UR_KEY,
    command,
    default_config,
    now,
    sign,
    signer_of,
    to_toml,
)
from world import World, tap

SIGNATURE = re.compile(rb"0x[0-9a-fA-F]{130}(?![0-9a-fA-F])")


def output(result) -> str:
    return (result.stdout + result.stderr).decode(errors="replace")


def assert_exit(result, code):
    assert result.returncode == code, output(result)


# --- configuration -------------------------------------------------------------------------------------------------


def test_the_default_configuration_passes_its_own_check(tmp_path):
    default = command("config", "default")
    assert_exit(default, 0)
    file = tmp_path / "default.toml"
    file.write_bytes(default.stdout)
    assert_exit(command("config", "check", file), 0)


def test_the_default_configuration_explains_itself():
    text = command("config", "default").stdout.decode()
    assert "#" in text
    for key in ("data_dir", "durability", "[listen]", "[ur]", "signers", "[decision]", "limit_weight", "[admin]"):
        assert key in text


def test_a_good_configuration_passes(tmp_path):
    file = tmp_path / "good.toml"
    file.write_text(to_toml(default_config(tmp_path / "data")))
    assert_exit(command("config", "check", file), 0)
    assert not (tmp_path / "data").exists(), "a check touches nothing"


def bad_configuration(tmp_path):
    """A configuration with three mistakes far apart; the numbers of their lines."""
    lines = to_toml(default_config(tmp_path / "data")).splitlines()
    mistakes = {"durability": '"sometimes"', "timestamp_window_seconds": '"long"', "funding": '"gold"'}
    text, bad_lines = [], []
    for line in lines:
        key = line.split(" = ")[0]
        if key in mistakes:
            # Far down, so that no other number of the output can be mistaken for the line's.
            text += ["# far down"] * 211
            line = f"{key} = {mistakes[key]}"
            bad_lines.append(len(text) + 1)
        text.append(line)
    file = tmp_path / "bad.toml"
    file.write_text("\n".join(text) + "\n")
    assert len(bad_lines) == 3
    return file, bad_lines


def test_every_bad_line_of_a_configuration_is_named_at_once(tmp_path):
    file, bad_lines = bad_configuration(tmp_path)
    result = command("config", "check", file)
    assert_exit(result, 1)
    assert "bad.toml" in output(result)
    for line in bad_lines:
        assert re.search(rf"(?<!\d){line}(?!\d)", output(result)), f"line {line} is not named:\n{output(result)}"


def test_a_server_does_not_start_with_a_bad_configuration(tmp_path):
    file, _ = bad_configuration(tmp_path)
    assert_exit(command("serve", "--config", file, seconds=30), 1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["durability = ", "[listen", "no_such_key = 1", "[no_such_section]\nkey = 1", "\x00"])
def test_broken_toml_and_unknown_keys_are_refused(tmp_path, text):
    file = tmp_path / "broken.toml"
    file.write_text(to_toml({"durability": "fsync"}) + text + "\n")
    assert_exit(command("config", "check", file), 1)


def test_a_configuration_that_is_not_there_fails(tmp_path):
    assert_exit(command("config", "check", tmp_path / "none.toml"), 1)


def test_every_key_can_be_overridden_by_the_environment(tmp_path):
    file = tmp_path / "good.toml"
    file.write_text(to_toml(default_config(tmp_path / "data")))
    assert_exit(command("config", "check", file, env={"TAPGATE__DECISION__FUNDING": "fiat"}), 0)
    assert_exit(command("config", "check", file, env={"TAPGATE__DECISION__FUNDING": "gold"}), 1)


# --- usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["serve", "--no-such-flag"],
        ["serve"],
        ["config"],
        ["config", "check"],
        ["journal", "verify"],
        ["explain"],
        ["sign", "--as", "nobody"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_says_so_on_stderr(arguments):
    result = command(*arguments)
    assert_exit(result, 2)
    assert result.stderr and not result.stdout


def test_help_exits_0():
    result = command("--help")
    assert_exit(result, 0)
    for name in ("serve", "config", "journal", "sign", "verify"):
        assert name in result.stdout.decode()


# --- sign and verify -----------------------------------------------------------------------------------------------

BODIES = {
    "empty object": b"{}",
    "ordinary": b'{"event":"card_authorization","timestamp":1768659501,"data":{}}',
    "not ASCII": '{"name":"Café Zürich 東京 ☕"}'.encode(),
    "final newline": b'{"a":1}\n',
    "nothing": b"",
}


def key_file(tmp_path, key):
    file = tmp_path / "key"
    file.write_text("0x" + bytes(key.key).hex() + "\n")
    file.chmod(0o600)
    return file


def signature_in(stdout: bytes) -> str:
    found = SIGNATURE.search(stdout)
    assert found, stdout
    return found.group().decode()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_signature_as_ur_is_of_the_raw_body(tmp_path, body):
    result = command("sign", "--as", "ur", "--key-file", key_file(tmp_path, UR_KEY), stdin=body)
    assert_exit(result, 0)
    assert signer_of(body, signature_in(result.stdout)) == UR_KEY.address


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_signature_as_the_partner_is_of_body_and_deadline(tmp_path, body):
    deadline = str(now() + 200)
    file = key_file(tmp_path, PARTNER_KEY)
    result = command("sign", "--as", "partner", "--key-file", file, "--deadline", deadline, stdin=body)
    assert_exit(result, 0)
    assert signer_of(body + b" " + deadline.encode(), signature_in(result.stdout)) == PARTNER_KEY.address


def test_a_key_file_without_a_key_fails(tmp_path):
    file = tmp_path / "key"
    file.write_text("this is not a key\n")
    result = command("sign", "--as", "ur", "--key-file", file, stdin=b"{}")
    assert_exit(result, 1)
    assert not SIGNATURE.search(result.stdout)


def verify_arguments(signature: str) -> list[str]:
    """docs/interface.md fixes no arguments of `tapgate verify`: take those that its help offers."""
    text = output(command("verify", "--help"))
    offered = set(re.findall(r"--[a-z0-9-]+", text))
    arguments = ["--as", "ur"] if "--as" in offered else []
    for name in ("--signature", "--sig"):
        if name in offered:
            arguments += [name, signature]
            break
    else:
        pytest.skip("`tapgate verify --help` offers no --signature")
    for name in ("--signer", "--address", "--expect", "--public-key"):
        if name in offered:
            return [*arguments, name, UR_KEY.address]
    pytest.skip("`tapgate verify --help` offers no --signer")


def test_verify_accepts_what_eth_account_signed_and_nothing_else():
    body = BODIES["ordinary"]
    assert_exit(command("verify", *verify_arguments(sign(body)), stdin=body), 0)
    assert_exit(command("verify", *verify_arguments(sign(body)), stdin=body + b" "), 1)
    assert_exit(command("verify", *verify_arguments(sign(body, PARTNER_KEY)), stdin=body), 1)


# --- the journal, offline ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(new_server):
    """The data directory of a server that decided a little and was stopped."""
    server = new_server()
    world = World(server).furnished()
    users = [world.user() for _ in range(20)]
    for user in users:
        for amount in (100, 200, 300):
            world.approve(tap(user, amount))
    server.terminate()
    return server.data_dir


@pytest.fixture
def copy(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "data")


def test_an_untouched_journal_verifies(copy):
    result = command("journal", "verify", copy)
    assert_exit(result, 0)
    assert "equal" in result.stdout.decode()
    # Verifying is reading: it can be done again.
    assert_exit(command("journal", "verify", copy), 0)


def test_a_directory_without_a_journal_does_not_verify(tmp_path):
    assert_exit(command("journal", "verify", tmp_path / "nothing"), 1)
    assert not (tmp_path / "nothing").exists(), "verifying creates nothing"


def journal_files(directory):
    """What holds records: logs and tables of the storage engine, without its own text log."""
    files = [file for file in directory.rglob("*") if file.suffix in (".log", ".sst", ".ldb") and file.is_file()]
    files = [file for file in files if file.read_bytes().strip(b"\x00")]
    assert files, f"no data files under {directory}"
    return files


def test_flipped_bytes_in_the_middle_are_found(copy):
    for file in journal_files(copy):
        content = bytearray(file.read_bytes())
        # Logs may be preallocated: the middle of what was written, not of the file.
        written = len(bytes(content).rstrip(b"\x00"))
        for place in range(written // 2, min(written // 2 + 64, written)):
            content[place] ^= 0xFF
        file.write_bytes(content)
    assert_exit(command("journal", "verify", copy), 1)


def test_a_journal_cut_in_half_is_judged_without_a_crash(copy):
    """A log without its end may look like one that lost its unsynced tail, so 0 is possible where rows agree."""
    for file in journal_files(copy):
        content = file.read_bytes()
        written = len(content.rstrip(b"\x00"))
        file.write_bytes(content[: written // 2])
    result = command("journal", "verify", copy)
    assert result.returncode in (0, 1), output(result)


def test_a_server_refuses_a_corrupted_journal(copy, tmp_path):
    for file in journal_files(copy):
        content = bytearray(file.read_bytes())
        middle = len(bytes(content).rstrip(b"\x00")) // 2
        content[middle : middle + 64] = b"\xa5" * 64
        file.write_bytes(content)
    config = default_config(copy)
    file = tmp_path / "tapgate.toml"
    file.write_text(to_toml(config))
    result = command("serve", "--config", file, cwd=tmp_path, seconds=60)
    assert result.returncode not in (0, 2), output(result)


def test_a_dump_shows_every_decision_as_a_line_of_json(copy):
    dump = command("journal", "dump", copy)
    assert_exit(dump, 0)
    records = [json.loads(line) for line in dump.stdout.decode().splitlines()]
    decided = [record for record in records if record["fact"]["kind"] == "decided"]
    assert len(decided) == 60, "sixty approvals were journaled"
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
