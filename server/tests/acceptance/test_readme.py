"""The commands of the README are run as they stand."""

import re
import subprocess
from pathlib import Path

from tapgate import BINARY, free_ports

ROOT = Path(__file__).resolve().parents[3]


def test_the_first_signed_webhook_by_hand(tmp_path):
    readme = (ROOT / "README.md").read_text()
    script = re.search(r"test_readme\.py -->\n```sh\n(.*?)```", readme, re.S).group(1)
    binaries = tmp_path / "target" / "release"
    binaries.mkdir(parents=True)
    (binaries / "tapgate").symlink_to(BINARY)
    # The documented ports may be taken on the machine that runs the tests.
    for name, documented, port in zip(("PUBLIC", "ADMIN"), ("8480", "8481"), free_ports(2)):
        script = f"export TAPGATE__LISTEN__{name}=127.0.0.1:{port}\n" + script.replace(f":{documented}", f":{port}")
    shell = ["bash", "-euo", "pipefail", "-m", "-c", script]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"authorizationId":"auth_1","approved":true,"source":"CRYPTO","approvedAmount":"1250"' in done.stdout
    assert '"authorizationId":"auth_2","approved":false,"reason":"insufficient_user_funds"' in done.stdout
    assert '"approvedUpTo":"48750"' in done.stdout, "what the funds still cover"
    assert "verdict: equal" in done.stdout
