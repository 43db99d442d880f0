"""The commands of the README are run as they stand."""

import re
import subprocess
from pathlib import Path

from tapgate import BINARY, free_ports
from test_sandbox import Running

ROOT = Path(__file__).resolve().parents[3]


README = (ROOT / "README.md").read_text()


def block(marker: str) -> str:
    """The first block of text or commands after a marker."""
    return re.search(re.escape(marker) + r".*?```\w+\n(.*?)```", README, re.S).group(1)


def run(script: str, directory: Path) -> str:
    """Runs commands as a person's shell would, with the program where a release build puts it."""
    binaries = directory / "target" / "release"
    binaries.mkdir(parents=True)
    (binaries / "tapgate").symlink_to(BINARY)
    # A command that fails must not leave the server behind, which would hold the output open.
    script = "trap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n" + script
    shell = ["bash", "-euo", "pipefail", "-m", "-c", script]
    done = subprocess.run(shell, cwd=directory, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ten_minutes_with_the_sandbox(tmp_path):
    sandbox = Running("--rate", 10, "--users", 20)
    try:
        first = subprocess.run(["bash", "-c", sandbox.started["try"]], capture_output=True, text=True, timeout=20)
        assert '"approved":true' in first.stdout, first.stdout + first.stderr
        script = block("against a running sandbox -->").replace("http://127.0.0.1:8480", sandbox.started["public"])
        said = run(f"export TAPGATE_URL={sandbox.started['admin']}\n" + script, tmp_path)
    finally:
        summary = sandbox.interrupt()
    assert said.count('"authorizationId":"mine_1","approved":true,"source":"CRYPTO","approvedAmount":"4200"') == 2
    assert '"authorizationId":"mine_2","approved":false,"reason":"insufficient_user_funds","responseCode":"51"' in said
    assert '"authorizationId":"mine_3","approved":false,"reason":"card_frozen"' in said
    # The recorded explanation is what is really said; only how old the rates are may differ.
    for line in block("the values that the decision saw:").splitlines():
        if line.strip() not in ("", "…") and "rates were" not in line:
            assert line in said.splitlines(), f"{line!r} is not in\n{said}"
    # Taps by hand, and a card frozen by hand, do not disturb the sandbox's own books.
    assert summary["books"] == "equal"


def test_the_first_signed_webhook_by_hand(tmp_path):
    script = block("test_readme.py -->")
    # The documented ports may be taken on the machine that runs the tests.
    for name, documented, port in zip(("PUBLIC", "ADMIN"), ("8480", "8481"), free_ports(2)):
        script = f"export TAPGATE__LISTEN__{name}=127.0.0.1:{port}\n" + script.replace(f":{documented}", f":{port}")
    script = f"export TAPGATE_URL=http://127.0.0.1:{port}\n" + script
    said = run(script, tmp_path)
    assert '"authorizationId":"auth_1","approved":true,"source":"CRYPTO","approvedAmount":"1250"' in said
    assert '"authorizationId":"auth_2","approved":false,"reason":"insufficient_user_funds"' in said
    assert "It would have been approved up to 487.50 EUR" in said, "what the funds still cover"
    assert "verdict: equal" in said
