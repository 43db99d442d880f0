"""The commands over the admin API: tables for people, JSON for programs, and what is said when it goes wrong."""

import json
import os
import pty
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tapgate import BINARY, TOKENS, clean_environment, command, free_ports, fresh
from world import follow_up, tap, user_line, user_of

# What moves a cursor, paints, or reorders a line.
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def run(server):
    """Runs a command against the module's server as a role (None: without a token)."""

    def run(*arguments, role="operator", code=0, stdin=b"", env=None):
        settings = {"TAPGATE_URL": server.admin_url, **({"TAPGATE_TOKEN": TOKENS[role]} if role else {}), **(env or {})}
        result = command(*arguments, stdin=stdin, env=settings)
        assert result.returncode == code, (result.stdout + result.stderr).decode()
        return result

    return run


@pytest.fixture(scope="module")
def shown(run):
    """What a command that must succeed writes to stdout; nothing may be on stderr."""

    def shown(*arguments, **options) -> str:
        result = run(*arguments, **options)
        assert result.stderr == b""
        return result.stdout.decode()

    return shown


@pytest.fixture(scope="module")
def complaint(run):
    """What a command that must fail writes to stderr; nothing may be on stdout."""

    def complaint(*arguments, code=1, **options) -> str:
        result = run(*arguments, code=code, **options)
        assert result.stdout == b""
        return result.stderr.decode()

    return complaint


def columns(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def table(text: str) -> list[dict]:
    header, *rows = text.strip("\n").splitlines()
    return [dict(zip(columns(header), columns(row), strict=True)) for row in rows]


# --- pools ---------------------------------------------------------------------------------------------------------


def test_pools_are_a_table_in_major_units(world, shown):
    world.set_pool("GBP", 123_456, floor=1_000, reserve=2_000)
    pool = next(row for row in table(shown("pools")) if row["POOL"] == "GBP")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", pool.pop("REPORTED AT"))
    assert re.fullmatch(r"\d+ s", pool.pop("AGE"))
    assert pool == {
        "POOL": "GBP",
        "AVAILABLE": "1224.56 GBP",
        "REPORTED": "1234.56 GBP",
        "UNREFLECTED": "0.00 GBP",
        "UPCHARGED": "0.00 GBP",
        "FLOOR": "10.00 GBP",
        "RESERVE": "20.00 GBP",
        "HELD": "0.00 GBP",
    }


def test_json_is_what_the_api_answers(world, server, shown):
    world.set_pool("GBP", 5_000)
    assert json.loads(shown("pools", "--json")) == server.admin_ok("GET", "/api/v1/pools")
    assert json.loads(shown("program", "--json")) == {"suspended": False, "reason": ""}
    assert json.loads(shown("pools", "show", "GBP", "--json")) == server.admin_ok("GET", "/api/v1/pools/GBP")


def test_a_report_changes_only_what_is_given(world, shown):
    world.set_pool("SGD", 5_000, floor=100)
    shown("pools", "report", "SGD", "--reserve", "250", role="treasurer")
    shown("pools", "report", "SGD", "--reported", "9000", "--reflected-through", "now", role="treasurer")
    pool = world.pool("SGD")
    assert (pool["reported"], pool["floor"], pool["reserve"]) == (9_000, 100, 250)


def test_a_credit_raises_the_pool_once_for_one_key(world, shown):
    world.set_pool("SGD", 5_000)
    credit = ("pools", "credit", "SGD", "--amount", "700", "--reference", "T1", "--idempotency-key", fresh("key"))
    for _ in range(2):
        assert table(shown(*credit, role="treasurer"))[0]["REPORTED"] == "57.00 SGD"


# --- users and cards -----------------------------------------------------------------------------------------------


def test_an_import_names_every_bad_line_by_its_number_in_the_file(world, run, tmp_path):
    lines = [user_line() for _ in range(2300)]
    texts = [json.dumps(line) for line in lines]
    bad = {3: "{", 1001: '{"urId":"1"}', 1500: '"' + "x" * 70_000 + '"', 2300: "\x1b[2Jbad"}
    for number, text in bad.items():
        texts[number - 1] = text
    texts[9] = ""
    file = tmp_path / "users.ndjson"
    file.write_text("\n".join(texts))
    result = run("users", "import", file, code=1)
    assert result.stdout.decode() == f"{2300 - len(bad) - 1} imported, {len(bad)} rejected\n"
    told = result.stderr.decode().splitlines()
    assert [int(line.split(":")[1]) for line in told[:-1]] == sorted(bad)
    assert told[-1] == f"tapgate: {file}: {len(bad)} lines were rejected; the others are imported"
    assert world.profile(user_of(lines[2298]))["status"] == "live", "a line of the last part"


def test_an_import_from_stdin_answers_in_json(world, run):
    line = user_line()
    text = json.dumps(line) + "\n\nnonsense\n"
    result = run("users", "import", "-", "--json", stdin=text.encode(), code=1)
    answer = json.loads(result.stdout)
    assert (answer["imported"], [bad["line"] for bad in answer["rejected"]]) == (1, [3])
    good = run("users", "import", "-", "--json", stdin=json.dumps(line).encode())
    assert json.loads(good.stdout) == {"imported": 1, "rejected": []}
    assert world.profile(user_of(line))["status"] == "live"


def test_a_user_is_shown_in_sections(world, shown):
    user = world.user(client_limit=100_000, funds=50_000)
    world.controls(user, velocity=[{"window_seconds": 3600, "count_max": 5}], country_block=["PRK"])
    data = world.approve(tap(user, 1250))
    text = shown("users", "show", user.ur_id)
    for part in (
        f"user {user.ur_id}\n  status   live\n",
        "\nLimit\n  headroom      988.19 CHF\n  client limit  1000.00 CHF in 30 days\n",
        "\nFunds\n  available  487.50 EUR\n  given      500.00 EUR (version 0)\n  held       12.50 EUR\n",
        "\nControls\n  at most 5 approvals in 1 h\n  blocked countries: PRK\n",
    ):
        assert part in text, f"{part!r} is not in\n{text}"
    hold = text.split("\nOpen holds\n")[1].splitlines()[1]
    assert columns(hold) == [data["authorizationId"]] * 2 + ["CRYPTO", "12.50 EUR", "12.50 EUR"]


def test_a_user_is_named_until_it_is_erased(world, shown, complaint):
    line = {**user_line(), "externalId": "c-7", "label": "Ann Meier"}
    world.import_lines(line)
    user = line["urId"]
    assert f"user {user}\n  external id  c-7\n  label        Ann Meier\n" in shown("users", "show", user)
    erased = f"user {user}: external id and label are erased here; backups made before keep them\n"
    assert shown("erase", user) == erased
    assert "Ann" not in shown("users", "show", user)
    assert json.loads(shown("erase", user, "--json")) == {"urId": user, "externalId": None, "label": None}
    assert complaint("erase", fresh("nobody")).startswith("tapgate: not_found: there is no user nobody")
    assert complaint("erase", user, role="treasurer").startswith("tapgate: forbidden: ")


def test_a_user_is_suspended_and_resumed(world, shown):
    user = world.user()
    assert "live, suspended by the partner" in shown("users", "suspend", user.ur_id)
    world.decline(tap(user), "user_suspended")
    assert "suspended" not in shown("users", "resume", user.ur_id)
    world.approve(tap(user))


def test_funds_are_replaced_and_end_the_holds_they_show(world, shown, complaint):
    user = world.user(funds=50_000)
    data = world.approve(tap(user, 1250))
    funds = ("users", "funds", user.ur_id, "--amount", "48750", "--currency", "EUR", "--version", "1")
    text = shown(*funds, "--debited", data["authorizationId"])
    assert "  available  487.50 EUR\n  given      487.50 EUR (version 1)\n  held       0.00 EUR\n" in text
    assert complaint(*funds).startswith("tapgate: conflict: ")


def test_controls_come_from_a_file_or_stdin(world, shown, complaint, tmp_path):
    user = world.user()
    file = tmp_path / "controls.json"
    file.write_text('{"mcc_block": ["7995"]}')
    assert "blocked categories: 7995" in shown("users", "controls", user.ur_id, file)
    world.decline(tap(user, mcc="7995"), "mcc_blocked")
    assert "blocked channels: pos" in shown("cards", "controls", user.card, "-", stdin=b'{"channel_block": ["pos"]}')
    world.decline(tap(user), "channel_blocked")
    assert complaint("users", "controls", user.ur_id, "-", stdin=b'{"no_such": 1}').startswith("tapgate: malformed: ")
    assert str(tmp_path / "none") in complaint("users", "controls", user.ur_id, tmp_path / "none")


def test_a_card_is_frozen_activated_and_deleted_for_good(world, shown, run):
    user = world.user()
    assert f"card {user.card}\n  status    frozen\n" in shown("cards", "freeze", user.card)
    world.decline(tap(user), "card_frozen")
    assert json.loads(shown("cards", "activate", user.card, "--json"))["status"] == "active"
    world.approve(tap(user))
    assert f"card {user.card}\n  status    deleted\n" in shown("cards", "delete", user.card)
    world.decline(tap(user), "card_deleted")
    assert b"deleted, for good" in run("cards", "activate", user.card, code=1).stderr


# --- authorizations ------------------------------------------------------------------------------------------------


def test_authorizations_are_listed_newest_first_with_filters(world, shown):
    user = world.user(cards=2, funds=50_000)
    first = world.approve(tap(user, 1250))
    second = world.decline(tap(user, 60_000), "insufficient_user_funds")
    third = world.approve(tap(user, 300, cardId=user.cards[1]))

    def ids(*filters):
        rows = table(shown("authorizations", "--user", user.ur_id, *filters))
        return [row["AUTHORIZATION"] for row in rows]

    assert ids() == [data["authorizationId"] for data in (third, second, first)]
    assert ids("--card", user.cards[1]) == [third["authorizationId"]]
    assert ids("--state", "declined") == [second["authorizationId"]]
    assert ids("--reason", "insufficient_user_funds", "--from", "1h") == [second["authorizationId"]]
    row = table(shown("authorizations", "--user", user.ur_id, "--state", "declined"))[0]
    assert (row["ASKED"], row["REASON OR SOURCE"]) == ("600.00 EUR", "insufficient_user_funds")
    assert shown("authorizations", "--user", user.ur_id, "--to", "2020-01-01") == "there are no such authorizations\n"


def test_a_list_follows_its_pages_up_to_the_limit(world, server, run):
    user = world.user()
    sent = [world.approve(tap(user, 100 + number))["authorizationId"] for number in range(5)]
    listed = ("authorizations", "--user", user.ur_id, "--json", "--limit")
    whole = json.loads(run(*listed, "1500").stdout)
    assert ([item["authorizationId"] for item in whole["items"]], whole["next"]) == (sent[::-1], None)
    assert whole == server.admin_ok("GET", f"/api/v1/authorizations?urId={user.ur_id}")
    part = json.loads(run(*listed, "2").stdout)
    rest = json.loads(run(*listed, "2", "--cursor", part["next"]).stdout)
    assert [item["authorizationId"] for item in part["items"] + rest["items"]] == sent[:0:-1]
    assert b"there are more" in run("authorizations", "--user", user.ur_id, "--limit", "2").stderr


def test_pages_are_joined():
    """Pages with few items or none, as a list over a long journal has them."""
    pages = {"": (["c", "b"], "7"), "7": ([], "5"), "5": (["a"], None)}

    def page(path):
        cursor = (re.findall(r"cursor=(\w+)", path) or [""])[0]
        items, following = pages[cursor]
        return {"items": [{"authorizationId": name} for name in items], "next": following}

    with answering(page) as url:
        joined = json.loads(command("authorizations", "--json", "--url", url).stdout)
    assert joined == {"items": [{"authorizationId": name} for name in "cba"], "next": None}


def test_an_authorization_is_shown_with_its_events_and_released(world, shown):
    data = world.approve(tap(world.user(), 1250))
    world.approve(follow_up("incremental", data, 300), root=data["authorizationId"])
    text = shown("authorizations", "show", data["authorizationId"])
    assert "  held now      15.50 EUR\n" in text
    assert [columns(line)[1:3] for line in text.split("\nEvents\n")[1].splitlines()[1:2]] == [
        ["authorization", data["authorizationId"]]
    ]
    text = shown("authorizations", "release", data["authorizationId"], "--reason", "asked by phone")
    assert "  state         released\n" in text and "asked by phone" in text
    assert world.held(data["authorizationId"]) == (0, "EUR")


# --- explain -------------------------------------------------------------------------------------------------------


def test_a_decline_is_explained_check_by_check(world, shown):
    user = world.user(funds=50_000)
    world.approve(tap(user, 1250))
    data = world.decline(tap(user, 60_000), "insufficient_user_funds")
    text = shown("explain", data["authorizationId"])
    assert text.startswith(f"{data['authorizationId']} DECLINED: insufficient_user_funds (response code 51)\n")
    assert "  ✓ limit_exceeded            567.00 CHF needed, " in text
    failed = "  ✗ insufficient_user_funds   600.00 EUR needed, 487.50 EUR available: 112.50 EUR short\n"
    assert failed in text
    assert "  · pool_exhausted            not reached\n" in text
    assert "\nIt would have been approved up to 487.50 EUR.\n" in text
    trace = world.authorization(data["authorizationId"])["trace"]
    marked = [line.split()[1] for line in text.splitlines() if line[2:3] in "✓✗" and line.startswith("  ")]
    assert marked == [step["check"] for step in trace], "every check in order"
    assert json.loads(shown("explain", data["authorizationId"], "--json"))["trace"] == trace


def test_a_limit_is_explained_with_the_time_of_its_end(world, shown):
    user = world.user("CHF", client_limit=1000, used_limit=400)
    data = world.decline(tap(user, 700), "limit_exceeded")
    text = shown("explain", data["authorizationId"])
    assert "  ✗ limit_exceeded            7.00 CHF needed, 6.00 CHF headroom: 1.00 CHF short\n" in text
    assert re.search(r"up to 6\.00 CHF, or in full after \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, when the limit's", text)


def test_every_velocity_rule_is_explained(world, shown):
    user = world.user()
    by_count = {"window_seconds": 3600, "count_max": 1}
    by_amount = {"window_seconds": 86400, "amount_max_chf": "50000"}
    world.controls(user, velocity=[by_count, by_amount])
    world.approve(tap(user, 1250))
    text = shown("explain", world.decline(tap(user, 1250), "velocity_count")["authorizationId"])
    assert "  ✓ velocity_amount           11.81 CHF on top of 11.81 CHF in 1 d, at most 500.00 CHF\n" in text
    assert "  ✗ velocity_count            1 approved before it in 1 h, at most 1\n" in text


def test_both_sources_are_explained(world, shown):
    fiat = [{"currency": "EUR", "amount": "100000", "allowance": True}]
    user = world.user(funds=1000, funding="crypto_then_fiat", fiat=fiat)
    text = shown("explain", world.approve(tap(user, 1250), source="FIAT")["authorizationId"])
    assert " APPROVED from FIAT\n" in text
    crypto, then = text.split("\nThen, for source FIAT\n")
    assert "✗ insufficient_user_funds   12.50 EUR needed, 10.00 EUR available: 2.50 EUR short" in crypto
    assert "✓ insufficient_user_funds   12.50 EUR needed, 1000.00 EUR available on the fiat balance" in then
    assert "✗" not in then


def test_what_comes_from_outside_never_acts_on_the_terminal(world, shown):
    hostile = "\x1b]0;owned\x07\x9b31m\u202e"
    data = world.approve(tap(world.user(), merchant_id=hostile))
    text = shown("explain", data["authorizationId"])
    assert "\\u{1b}]0;owned\\u{7}\\u{9b}31m\\u{202e}" in text
    raw = shown("explain", data["authorizationId"], "--json")
    assert not ACTS.search(text + raw)
    assert any(step["values"].get("merchant") == hostile for step in json.loads(raw)["trace"]), "the value is the same"
    release = ("authorizations", "release", data["authorizationId"], "--reason", hostile)
    assert not ACTS.search(shown(*release) + shown("authorizations", "show", data["authorizationId"]))


# --- the program ---------------------------------------------------------------------------------------------------


def test_the_program_is_suspended_and_resumed(world, shown):
    user = world.user()
    try:
        assert shown("program", "suspend", "--reason", "drill") == "program suspended (drill)\n"
        assert shown("program") == "program suspended (drill)\n"
        data = world.decline(tap(user), "program_suspended")
    finally:
        assert shown("program", "resume") == "program running\n"
    assert shown("explain", data["authorizationId"]).endswith("\nSee also: tapgate program resume\n")


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_no_server_is_said_with_where_and_how_to_change_it(complaint):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    expected = f"tapgate: no server answers at {url} – is `tapgate serve` running? Set --url or TAPGATE_URL\n"
    assert complaint("pools", "--url", url) == expected
    assert complaint("explain", "auth_1", env={"TAPGATE_URL": url}) == expected


def test_a_token_that_is_missing_or_wrong_is_said_with_how_to_set_it(complaint):
    for options in ({"role": None}, {"env": {"TAPGATE_TOKEN": ""}}, {"env": {"TAPGATE_TOKEN": "wrong"}}):
        text = complaint("pools", **options)
        assert "--token" in text and "TAPGATE_TOKEN" in text
        assert "wrong" not in text, "a token is never repeated"


def test_a_role_that_may_not_is_named(complaint):
    text = complaint("pools", "report", "EUR", "--floor", "0", role="viewer")
    assert text.startswith("tapgate: forbidden: the role viewer may not do this")


def test_what_the_api_refuses_is_said_with_its_code(complaint):
    for arguments in (
        ("explain", "auth_nobody_sent"),
        ("users", "show", "1/../../2"),
        ("users", "show", ".."),
        ("pools", "show", "XXX"),
        ("cards", "freeze", "card_nobody_has"),
    ):
        assert complaint(*arguments).startswith("tapgate: not_found: there is no "), arguments


def test_another_server_is_not_taken_for_the_admin_api():
    with answering(lambda path: "hello") as url:
        result = command("pools", "--url", url)
    assert result.returncode == 1
    assert "is not tapgate's admin API" in result.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["users"],
        ["users", "show"],
        ["users", "show", "a b"],
        ["users", "funds", "1", "--amount", "12.50", "--currency", "EUR", "--version", "1"],
        ["pools", "show", "eur"],
        ["pools", "report", "EUR"],
        ["pools", "report", "EUR", "--reported", "-5"],
        ["pools", "report", "EUR", "--reflected-through", "then"],
        ["pools", "credit", "EUR", "--amount", "1"],
        ["cards", "melt", "card_1"],
        ["authorizations", "--state", "no_such"],
        ["authorizations", "--reason", "no_such"],
        ["authorizations", "--limit", "0"],
        ["authorizations", "--from", "yesterday"],
        ["authorizations", "release", "auth_1"],
        ["program", "suspend"],
        ["explain"],
        ["explain", "auth_1", "auth_2"],
        ["pools", "--url", "ftp://127.0.0.1"],
        ["pools", "--url", "127.0.0.1:8481"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments):
    result = command(*arguments)
    assert (result.returncode, result.stdout) == (2, b""), result.stderr.decode()


def test_help_never_shows_the_token(shown):
    for arguments in (("pools", "--help"), ("explain", "--help"), ("users", "import", "--help")):
        text = shown(*arguments, env={"TAPGATE_TOKEN": "very-secret"})
        assert "TAPGATE_TOKEN" in text and "very-secret" not in text


# --- terminals -----------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments, env) -> str:
    """What a command writes to stdout where that is a terminal."""
    ours, theirs = pty.openpty()
    line = [str(BINARY), *map(str, arguments)]
    settings = {**clean_environment(env), "TERM": "xterm"}
    settings = {name: value for name, value in settings.items() if value is not None}
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=settings)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            part = b""
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(30) == 0, written.decode()
    return written.decode()


def test_colours_are_for_terminals_that_want_them(world, server):
    data = world.approve(tap(world.user()))
    env = {"TAPGATE_URL": server.admin_url, "TAPGATE_TOKEN": TOKENS["viewer"]}
    explain = ("explain", data["authorizationId"])
    assert "\x1b[32m✓" in on_a_terminal(*explain, env={**env, "NO_COLOR": None})
    assert "\x1b[" not in on_a_terminal(*explain, env=env)
    assert "\x1b[1m" in on_a_terminal("pools", env={**env, "NO_COLOR": None})
    assert "\x1b[" not in on_a_terminal("pools", env=env)
    assert b"\x1b[" not in command(*explain, env={**env, "NO_COLOR": ""}).stdout


def test_an_import_shows_progress_on_a_terminal(world, server, tmp_path):
    file = tmp_path / "users.ndjson"
    file.write_text("".join(json.dumps(user_line()) + "\n" for _ in range(3000)))
    env = {"TAPGATE_URL": server.admin_url, "TAPGATE_TOKEN": TOKENS["operator"]}
    written = on_a_terminal("users", "import", file, env=env)
    assert "left" in written, "the live line"
    assert written.rstrip().endswith("3000 imported, 0 rejected")


# --- a server of another kind --------------------------------------------------------------------------------------


class answering:
    """A server that answers every GET with what `answer(path)` gives: JSON, or text as it is."""

    def __init__(self, answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = answer(self.path)
                body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
