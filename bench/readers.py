"""Decisions while people read, as hard as they can: taps to tapgate, and to a bare server beside it, in turn, under one flood of
its admin listener.

Environment: READERS_PAIRS (6), READERS_SECONDS (20), and TAPGATE_BIN and TAPGATE_LOAD_BIN as `make readers` sets them.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from servers import MIX, TOKEN, bare_serving, figures, load, serving, set_up
from targets import say
from verdicts import Target, ratio, table

PAIRS = int(os.environ.get("READERS_PAIRS", "6"))
SECONDS = int(os.environ.get("READERS_SECONDS", "20"))
# A second: 5,000 and more in a slice.
TAPS = 260
USERS = 10_000
# Decisions that the readers have to look through.
HISTORY_SECONDS = 15

# Readers at the admin listener.
CONNECTED = 'tapgate_connections{listener="admin",who="all"}'

# What is read, by how many connections, and whether with a token.
FLOODS = [
    ("/metrics", 500, False),
    ("/api/v1/authorizations?reason=nothing_such", 600, True),
    ("/api/v1/journal?from=0", 64, True),
    ("/api/v1/pools/EUR/forecast", 64, True),
]


@contextmanager
def flood(admin: str, path: str, connections: int, with_token: bool):
    """Readers that ask again at once."""
    token = ["-H", f"Authorization: Bearer {TOKEN}"] if with_token else []
    forever = str(24 * 3_600)
    readers = subprocess.Popen(["nice", "-n", "5", "wrk", "-t1", f"-c{connections}", f"-d{forever}s", *token, admin + path],
                               stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        while figures(admin)[CONNECTED] < connections / 2:
            if readers.poll() is not None:
                sys.exit("readers: wrk has ended")
            time.sleep(0.1)
        yield readers
    finally:
        readers.kill()
        readers.wait()


def taps(directory: Path, port: int, *more) -> dict:
    said = load(directory, port, 64, "--rate", TAPS, "--late", "--users", USERS, *more, "--warmup", 1, seconds=SECONDS)
    return {**said["latency"], "failed": sum(said["errors"].values()) + said["wrong"], "answered": said["answered_in_all"]}


def main():
    rows, own, bare = [], [], []
    with tempfile.TemporaryDirectory(prefix="tapgate-readers-") as root:
        [one, other] = [Path(root) / name for name in ("tapgate", "bare")]
        for directory in (Path(root), one, other):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
        with serving(one, "fsync") as (public, server, admin), bare_serving(other, "fsync") as (bare_public, _):
            set_up(one, public, admin, "--users", USERS)
            load(one, public, 64, *admin, "--ready", "--users", USERS, *MIX, "--warmup", 0, seconds=HISTORY_SECONDS)
            for pair in range(PAIRS):
                path, connections, with_token = FLOODS[pair % len(FLOODS)]
                with flood(admin[1], path, connections, with_token) as readers:
                    own.append(taps(one, public, *admin, "--ready", *MIX))
                    bare.append(taps(other, bare_public, "--bare"))
                    if readers.poll() is not None:
                        sys.exit("readers: wrk ended before the taps")
                say(f"{path}, {connections} readers: {own[-1]}; bare: {bare[-1]}")
                rows.append((f"{path} x {connections}", own[-1], bare[-1]))
            with flood(admin[1], *FLOODS[1]):
                began = time.monotonic()
                server.terminate()
                server.wait()
                stopped = time.monotonic() - began
    print("| read by | taps | p50, ms | p99, ms | latest, ms | failed | bare: p50 | p99 | latest |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, ours, theirs in rows:
        shown = [f"{each[key] / 1000:.1f}" for each in (ours, theirs) for key in ("p50_us", "p99_us", "max_us")]
        print(f"| `{name}` | {ours['answered']:,} | {' | '.join(shown[:3])} | {ours['failed']} | {' | '.join(shown[3:])} |")
    print()
    latest = max(each["max_us"] for each in own) / 1000
    print(table([
        Target("taps that failed under readers", sum(each["failed"] for each in own), "<=", 0),
        Target("the latest answer under readers, ms", latest, "<=", 400, bare=max(each["max_us"] for each in bare) / 1000),
        Target("the end of the process under readers, s", stopped, "<=", 10),
    ]))  # fmt: skip
    print(f"p99 / a bare server's: {ratio([each['p99_us'] for each in own], [each['p99_us'] for each in bare])}")


if __name__ == "__main__":
    main()
