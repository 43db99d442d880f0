"""Every example of docs/integration.md is run as it stands, in order, in one shell; its output is the documented one."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tapgate import BINARY, REPOSITORY, clean_environment, error_code, free_ports
from world import follow_up, tap

PAGE = (REPOSITORY / "docs" / "integration.md").read_text()

# A block of code with the comment that says what it is.
BLOCK = re.compile(r"^<!-- (run|output) -->\n```(\w+)\n(.*?)^```$", re.M | re.S)
# Printed between examples; it occurs in no answer.
SEPARATOR = "\x1e\n"
# All examples together; they take a few seconds.
EXAMPLES_SECONDS_MAX = 120


# --- the page ------------------------------------------------------------------------------------------------------


@dataclass
class Example:
    line: int
    language: str
    code: str
    output_form: str = "text"
    output: str = ""

    @property
    def script(self) -> str:
        return self.code if self.language == "sh" else f"python3 - <<'END_OF_EXAMPLE'\n{self.code}END_OF_EXAMPLE\n"


def examples_of(page: str) -> list[Example]:
    """An example without an output block must print nothing."""
    examples = []
    for block in BLOCK.finditer(page):
        what, language, text = block.groups()
        if what == "run":
            assert language in ("sh", "python"), language
            examples.append(Example(page[: block.start()].count("\n") + 3, language, text))
        else:
            assert language in ("json", "text"), language
            assert not examples[-1].output, f"two outputs of the example in line {examples[-1].line}"
            examples[-1].output_form, examples[-1].output = language, text
    return examples


EXAMPLES = examples_of(PAGE)


def table(heading: str, below: str) -> list[list[str]]:
    """The rows, as cells without backquotes, of the first table below a text whose first column is `heading`."""
    found = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE[PAGE.index(below) :], re.M)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].replace("`", "").splitlines()]


# --- comparing -----------------------------------------------------------------------------------------------------


def pattern(documented: str) -> str:
    """`…` where a value stands, or in a value, is one value; where an item or a line stands, any number of them."""
    expression, *rest = documented.split("…")
    parts, before = [re.escape(expression)], expression
    for text in rest:
        whole = before == "" or before[-1] in ",{[\n"
        parts += [".*?" if whole else r'"?[^\s",{}\[\]]+"?', re.escape(text)]
        before = text
    return "".join(parts)


def equal(form: str, documented: str, printed: str) -> bool:
    """JSON is wrapped on the page, so white space does not count there; in text it does, but for the ends of lines."""
    if form == "json":
        documented, printed = re.sub(r"\s+", "", documented), re.sub(r"\s+", "", printed)
    else:
        documented, printed = ("\n".join(map(str.rstrip, text.strip().splitlines())) for text in (documented, printed))
    return re.fullmatch(pattern(documented), printed, re.S) is not None


def test_the_comparison_is_strict():
    assert equal("json", '{"a":…,\n "b":"1"}', '{"a":5,"b":"1"}\n') and equal("json", '{…,"b":"1"}', '{"a":[5],"b":"1"}')
    assert equal("json", '{"a":"0x…"}', '{"a":"0x12"}') and equal("text", "one\n…\nthree", "one\n2\n2\nthree\n")
    assert not equal("json", '{"a":…,"b":"1"}', '{"a":5,"c":6,"b":"1"}'), "one value is not several fields"
    assert not equal("json", '{"a":"1"}', '{"a":"2"}') and not equal("json", '{"a":"1"}', '{"a":"1","b":"2"}')
    assert not equal("text", "one", "one two") and not equal("text", "one", "") and not equal("text", "", "one")


# --- running -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    """What each example printed; fewer than there are examples where one failed."""
    directory = tmp_path_factory.mktemp("integration")
    (directory / "bin").mkdir()
    (directory / "bin" / "tapgate").symlink_to(BINARY)
    # The documented ports may be taken on the machine that runs the tests.
    ports = dict(zip(("8480", "8481", "8490"), free_ports(3)))
    script = "".join(f"printf '\\x1e\\n'\n{example.script}" for example in EXAMPLES)
    script = re.sub(r"\b(8480|8481|8490)\b", lambda port: str(ports[port[0]]), script)
    # A command that fails must not leave the server behind, which would hold the output open.
    script = "trap 'kill -9 $(jobs -p) 2>/dev/null || :' EXIT\nexec 2>&1\n" + script
    environment = clean_environment(
        {
            "PATH": f"{directory / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "NO_PROXY": "127.0.0.1",
            "TAPGATE__LISTEN__PUBLIC": f"127.0.0.1:{ports['8480']}",
            "TAPGATE__LISTEN__ADMIN": f"127.0.0.1:{ports['8481']}",
        }
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-m", "-c", script],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Here bash only says that it has no terminal; from its first command on errors go to stdout.
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=EXAMPLES_SECONDS_MAX,
    )
    _, *outputs = done.stdout.split(SEPARATOR)
    assert outputs, "the shell ran no example"
    if done.returncode != 0:
        outputs[-1] += f"(exit code {done.returncode})\n"
    return outputs


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=[f"line_{example.line}" for example in EXAMPLES])
def test_an_example_prints_what_the_page_says(printed, number):
    example = EXAMPLES[number]
    assert number < len(printed), f"not reached: an example before it failed, and printed:\n{printed[-1]}"
    assert equal(example.output_form, example.output, printed[number]), (
        f"docs/integration.md, line {example.line}: documented is\n{example.output}\nbut printed was\n{printed[number]}"
    )


def test_no_code_on_the_page_is_left_out():
    assert len(re.findall(r"^```", PAGE, re.M)) == 2 * len(BLOCK.findall(PAGE))
    assert len(EXAMPLES) >= 25


# --- tables --------------------------------------------------------------------------------------------------------

LADDER = [tuple(row[:2]) for row in table("reason", "## Reasons to decline")]
FIELDS = [tuple(row[:2]) for row in table("field", "## The request")]
# What is no rung: it is found after the ladder was climbed.
AFTER_THE_LADDER = ["deadline_exceeded", "journal_unavailable"]


def test_the_reasons_are_the_engines_in_its_order():
    source = (REPOSITORY / "engine" / "src" / "fact" / "reason.rs").read_text()
    assert LADDER == re.findall(r'^    [A-Z]\w+ = "(\w+)", "(\w\w)";$', source, re.M)


def test_the_reasons_are_the_checks_that_the_program_makes(world):
    data = world.approve(tap(world.user()))
    checks = [step["check"] for step in world.authorization(data["authorizationId"])["trace"]]
    assert [*checks, *AFTER_THE_LADDER] == [reason for reason, _ in LADDER]


def test_the_errors_are_the_servers():
    """Both tables together name every code, and none that is not there."""
    rows = table("status", "## Errors") + table("status", "# 2. The admin API")
    documented = {code for row in rows for code in row[1].split(", ")}
    source = REPOSITORY / "server" / "src"
    codes = [re.findall(r'=> "([a-z_]+)",', (source / name).read_text()) for name in ("http/problem.rs", "signature/mod.rs")]
    assert documented == set(codes[0]) | set(codes[1])


@pytest.mark.parametrize(("field", "required"), FIELDS, ids=[field for field, _ in FIELDS])
def test_a_field_is_required_where_the_page_says_so(world, field, required):
    data = tap(world.user())
    if required.startswith("unless"):
        data = follow_up("reversal", world.approve(data), 1)
    del data[field]
    answer = world.send(data)
    if required == "no":
        assert answer.status_code == 200, answer.text
    else:
        assert (answer.status_code, error_code(answer)) == (400, "malformed")


def test_every_field_of_a_callback_is_in_the_table(world):
    assert {field for field, _ in FIELDS} == set(tap(world.user()))
