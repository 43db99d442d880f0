"""Every example of docs/integration.md is run as it stands, against a running sandbox."""

import re
import subprocess
from pathlib import Path

from tapgate import BINARY
from test_sandbox import Running

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "integration.md").read_text()

# A marked block of commands, and the block of what they print, where there is one.
EXAMPLE = re.compile(r"<!-- run -->\n```sh\n(.*?)```(?:\n```text\n(.*?)```)?", re.S)
BETWEEN = "----- the next example -----"


def as_pattern(expected: str) -> str:
    return re.escape(expected.strip()).replace("…", ".*")


def test_the_examples_print_what_the_page_says(tmp_path):
    examples = EXAMPLE.findall(PAGE)
    assert len(examples) >= 10
    (tmp_path / "tapgate").symlink_to(BINARY)
    sandbox = Running("--rate", 0.01, "--users", 1)
    try:
        started = sandbox.started
        script = f'export PATH="{tmp_path}:$PATH" TAPGATE_URL={started["admin"]} TAPGATE_TOKEN={started["admin_token"]}\n'
        script += f"public={started['public']} admin={started['admin']}\n"
        script += f"token={started['admin_token']} ur_key={started['ur_signer_key']}\n"
        script += f"echo '{BETWEEN}'\n".join(commands for commands, _ in examples)
        shell = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    finally:
        sandbox.process.kill()
        sandbox.process.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    for (commands, expected), printed in zip(examples, done.stdout.split(BETWEEN + "\n"), strict=True):
        assert re.fullmatch(as_pattern(expected), printed.strip()), f"{commands}\nprinted\n{printed}\nexpected\n{expected}"


def test_the_reasons_are_those_of_the_engine():
    source = (ROOT / "engine" / "src" / "authorization" / "reason.rs").read_text()
    engine = re.findall(r'\w+ = "(\w+)", "(\d+)";', source)
    page = re.findall(r"^\| `(\w+)` \| (\d\d) \|", PAGE, re.M)
    assert page == engine
