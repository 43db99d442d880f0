"""tapgate and the bare server as processes of their own, and the load that is sent to them.

Environment: TAPGATE_BIN and TAPGATE_LOAD_BIN, and TRACED_BIN, a directory with both as the feature `trace` makes them.
"""

import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from targets import LOAD, SECONDS, run

TAPGATE = os.environ["TAPGATE_BIN"]
# What the peers do, too: every one is approved.
MIX = ("--mix", "approve=100")
KEY = "0x" + "a1" * 32
TOKEN = "compare"
DELIVERED = """
[deliver]
allow_private = true
[[deliver.webhook]]
url = "http://127.0.0.1:{port}/hooks"
secret = "whsec_YSBzZWNyZXQgZm9yIHRoZSBjb21wYXJpc29uIG9ubHk="
events = ["authorization.declined"]
"""


@dataclass(frozen=True)
class Binaries:
    tapgate: Path
    load: Path


PLAIN = Binaries(Path(TAPGATE), Path(LOAD))


def traced() -> Binaries:
    """Those that tell where their time goes."""
    directory = Path(os.environ["TRACED_BIN"])
    return Binaries(directory / "tapgate", directory / "tapgate-load")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, process):
    for _ in range(3_000):
        if process.poll() is not None:
            sys.exit(f"bench: {process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    sys.exit(f"bench: {process.args[0]} does not listen on {port}")


def load(directory: Path, public: int, clients: int, *more, seconds=SECONDS):
    said = json.loads(
        run(LOAD, "drive", "--public", f"http://127.0.0.1:{public}", "--ur-key-file", directory / "ur.key",
            "--connections", clients, "--seconds", seconds, "--seed", secrets.randbits(32), "--json", *more)
    )  # fmt: skip
    return said


def figures(admin: str) -> dict[str, float]:
    """What a tapgate's /metrics shows, by series."""
    shown = urllib.request.urlopen(admin + "/metrics").read().decode().splitlines()
    series = (line.rsplit(" ", 1) for line in shown if " " in line and not line.startswith("#"))
    return {name: float(value) for name, value in series}


@contextmanager
def bare_serving(directory: Path, durability: str | None, binaries: Binaries = PLAIN, refuses: bool = False):
    (directory / "ur.key").write_text(KEY)
    port = free_port()
    keeps = ("--durability", durability, "--dir", directory / "data") if durability else ()
    server = subprocess.Popen([binaries.load, "bare", "--listen", f"127.0.0.1:{port}", "--ur-key-file", directory / "ur.key", *keeps,
                               *(["--refuse"] if refuses else [])])  # fmt: skip
    try:
        wait_for(port, server)
        yield port, server
    finally:
        server.kill()
        server.wait()


@contextmanager
def serving(directory: Path, durability: str, binaries: Binaries = PLAIN, receiver: int | None = None):
    """A tapgate of its own, with a receiver of declines at that port: its public port, its process, and what a load needs
    to set it up."""
    (directory / "ur.key").write_text(KEY)
    public, admin = free_port(), free_port()
    address = run(TAPGATE, "sign", "--as", "ur", "--key-file", directory / "ur.key", input="").split("PublicKey: ")[1].strip()
    sha256 = hashlib.sha256(TOKEN.encode()).hexdigest()
    (directory / "tapgate.toml").write_text(
        f'data_dir = "{directory}/data"\ndurability = "{durability}"\n'
        f'[listen]\npublic = "127.0.0.1:{public}"\nadmin = "127.0.0.1:{admin}"\n'
        f'[ur]\nsigners = ["{address}"]\nfeeds = false\n'
        f'[admin]\ntokens = [{{ name = "compare", role = "operator", sha256 = "{sha256}" }}]\n'
        + (DELIVERED.format(port=receiver) if receiver else "")
    )
    environment = {**os.environ, "TAPGATE_LOG": "error"}
    server = subprocess.Popen([binaries.tapgate, "serve", "--config", directory / "tapgate.toml"], env=environment)
    try:
        wait_for(public, server)
        yield public, server, ("--admin", f"http://127.0.0.1:{admin}", "--token", TOKEN)
    finally:
        server.terminate()
        server.wait()


def set_up(directory: Path, public: int, admin, *users):
    """Gives a tapgate the rates, pool and users that the load needs: the slices after it do not."""
    load(directory, public, 1, *MIX, *admin, *users, "--warmup", 0, seconds=1)
