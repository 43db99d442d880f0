"""Where a callback's time goes: tapgate and the bare server with a bare group commit, both built with the feature `trace`,
one after the other under the load of the tail. `make trace` prints it, and `make compare` beside its tail.

Environment: TRACE_SECONDS (60) of each, TRACE_USERS (1,000,000), TRACE_RATE (half of what 64 connections reach), and the
binaries as bench/servers.py takes them.
"""

import os
import tempfile
from pathlib import Path

from company import console, receiver
from servers import MIX, bare_serving, load, serving, set_up, traced
from slices import Side, shown, shown_threads
from stages import EXPLAINED_MIN, bursts, stages
from targets import say
from verdicts import Target

SECONDS = int(os.environ.get("TRACE_SECONDS", "60"))
USERS = int(os.environ.get("TRACE_USERS", "1000000"))
RATE = float(os.environ.get("TRACE_RATE", "0"))
CONNECTIONS = 256


def half_of_capacity(ours: Path, public: int, admin) -> float:
    said = load(ours, public, 64, *MIX, *admin, "--ready", "--users", USERS, "--warmup", 1, seconds=3)
    return said["per_second"] / 2


def trace(ours: Path, theirs: Path, rate: float = RATE) -> tuple[Side, Side]:
    """A slice of each at this rate, 0 for half of the capacity."""
    binaries = traced()
    with (
        receiver() as received,
        serving(ours, "fsync", binaries, received) as (public, server, admin),
        bare_serving(theirs, "fsync", binaries) as (port, bare),
    ):
        set_up(ours, public, admin, "--users", USERS)
        rate = rate or half_of_capacity(ours, public, admin)
        say(f"the trace: {rate:,.0f} a second, {SECONDS} s each, of {USERS:,} users")
        open_loop = ("--rate", rate, "--trace")

        def drive_tapgate():
            with console(admin[1]):
                return load(ours, public, CONNECTIONS, *admin, "--ready", "--users", USERS, *open_loop, seconds=SECONDS)

        def drive_bare():
            return load(theirs, port, CONNECTIONS, "--bare", *open_loop, seconds=SECONDS)

        sides = (
            Side("tapgate", server.pid, ours / "data", drive_tapgate),
            Side("bare", bare.pid, theirs / "data", drive_bare),
        )
        for side in sides:
            side.run()
    return sides


def target(side: Side) -> Target:
    explained = side.slices[-1].trace["explained_percent"]
    return Target(f"0. trace: percent of the slowest 1 % explained, {side.name}", explained, ">=", EXPLAINED_MIN)


def told(sides: tuple[Side, Side]) -> str:
    """Everything that a trace says."""
    last = [(side.name, side.slices[-1]) for side in sides]
    tables = [f"{stages(name, one.trace)}\n\n{bursts(one.trace, one.jobs)}" for name, one in last]
    return "\n\n".join([*tables, shown(list(sides)), shown_threads(list(sides))])


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-trace-") as root:
        directories = [Path(root) / name for name in ("tapgate", "bare")]
        for directory in directories:
            directory.mkdir()
        print(told(trace(*directories)))


if __name__ == "__main__":
    main()
