"""Three times what the server can do: how much of it is still answered in time, what a refusal costs, and how soon it is over.

The server has one core, the load the other. The sender gives a callback up 400 ms after it was due, with its connection.

Environment: OVERLOAD_SECONDS (8), and TAPGATE_BIN and TAPGATE_LOAD_BIN as `make overload` sets them.
"""

import os
import tempfile
from pathlib import Path

from servers import MIX, load, serving, set_up
from slices import threads
from targets import say
from verdicts import Target, table

SECONDS = int(os.environ.get("OVERLOAD_SECONDS", "8"))
PATIENCE_MS = 400
STEP_SECONDS = 3
# Of what is due, what must be answered in time at a rate that the server can do.
ENOUGH = 0.99
PRECISION = 1.05
USERS = 10_000


class Driven:
    """One run at a rate."""

    def __init__(self, directory, server, public, admin, rate: float, seconds: int, warmup: int = 1):
        connections = min(4_000, max(64, int(rate * PATIENCE_MS / 1000) + 64))
        before = self.used(server)
        said = load(directory, public, connections, *admin, "--ready", "--users", USERS, *MIX, "--rate", rate,
                    "--patience-ms", PATIENCE_MS, "--warmup", warmup, seconds=seconds)  # fmt: skip
        self.processor_us = (self.used(server) - before) * 1e6
        self.rate = rate
        self.right = sum(said["counts"].values()) / seconds
        # Errors count from the first callback on, and right answers without the warm-up.
        self.refused = said["errors"].get("503 overloaded", 0) / (seconds + warmup)
        self.p99_ms = said["latency"]["p99_us"] / 1000
        self.errors = said["errors"]
        self.seconds = seconds + warmup

    @staticmethod
    def used(server) -> float:
        return sum(use.ran for use in threads(server.pid).values())

    @property
    def is_enough(self) -> bool:
        return self.right >= ENOUGH * self.rate


def capacity(drive) -> Driven:
    """The highest rate that is answered in time, within 5 %."""
    low, high = None, 2_000.0
    while (found := drive(high)).is_enough:
        low, high = found, high * 2
    if low is None:
        low = drive(high / 4)
    while high / low.rate > PRECISION:
        found = drive((low.rate * high) ** 0.5)
        if found.is_enough:
            low = found
        else:
            high = found.rate
    return low


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-overload-") as root:
        directory = Path(root)
        directory.chmod(0o755)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:1])
        with serving(directory, "fsync") as (public, server, admin):
            os.sched_setaffinity(0, cores[1:] or cores)
            set_up(directory, public, admin, "--users", USERS)

            def drive(rate, seconds=STEP_SECONDS, warmup=1):
                driven = Driven(directory, server, public, admin, rate, seconds, warmup)
                say(f"at {rate:,.0f} a second: {driven.right:,.0f} right in time, p99 {driven.p99_ms:.0f} ms, {driven.errors}")
                return driven

            at_best = capacity(drive)
            whole_us = at_best.processor_us / (at_best.right * at_best.seconds)
            over = drive(3 * at_best.rate, SECONDS)
            after = drive(0.3 * at_best.rate, STEP_SECONDS)
    shed_us = max(0.0, over.processor_us / over.seconds - over.right * whole_us) / max(1.0, over.refused)
    print(f"capacity {at_best.right:,.0f} a second of one core; a whole request takes {whole_us:.0f} µs of it, a refusal {shed_us:.1f}")
    print(table([
        Target("8. goodput at three times capacity / capacity", over.right / at_best.right, ">=", 0.8),
        Target("8. a refusal / a whole request, processor time", shed_us / whole_us, "<=", 0.08),
        Target("8. share answered in time a second later, at a third of capacity", after.right / after.rate, ">=", ENOUGH),
    ]))  # fmt: skip


if __name__ == "__main__":
    main()
