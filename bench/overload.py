"""Three times what the server can do: how much of it is still answered in time, what a refusal costs, and how soon it is over.

The server has one core, the load the other. The sender gives a callback up 400 ms after it was due, with its connection. What it
could not send in time is not counted as sent: one core signs, sends and connects only so often.

Environment: OVERLOAD_SECONDS (8), and TAPGATE_BIN and TAPGATE_LOAD_BIN as `make overload` sets them.
"""

import os
import tempfile
from pathlib import Path

from servers import MIX, bare_serving, figures, load, serving, set_up
from slices import threads
from targets import say
from verdicts import Target, table

SECONDS = int(os.environ.get("OVERLOAD_SECONDS", "8"))
PATIENCE_MS = 400
STEP_SECONDS = 3
WARMUP_SECONDS = 1
# Of what is due, what must be answered in time at a rate that the server can do.
ENOUGH = 0.99
PRECISION = 1.05
USERS = 10_000
CONNECTIONS_MAX = 4_000
ANSWERS = 'tapgate_http_requests_total{listener="public",code="%d"}'


def answers(admin: str) -> tuple[float, float]:
    """What a server has answered and what it has refused so far."""
    shown = figures(admin)
    return tuple(shown.get(ANSWERS % status, 0) for status in (200, 503))


class Driven:
    """One run at a rate: figures a second, of the time that was measured; and of all, what a server did for it."""

    def __init__(self, directory, server, public, given, rate: float, seconds: int, admin: str | None = None):
        connections = min(CONNECTIONS_MAX, max(64, int(rate * PATIENCE_MS / 1000) + 64))
        before, counted = self.used(server), answers(admin) if admin else (0, 0)
        said = load(directory, public, connections, *given, "--users", USERS, "--rate", rate,
                    "--patience-ms", PATIENCE_MS, "--warmup", WARMUP_SECONDS, seconds=seconds)  # fmt: skip
        self.processor_us = (self.used(server) - before) * 1e6
        self.rate, self.seconds = rate, seconds + WARMUP_SECONDS
        self.right = sum(said["counts"].values()) / seconds
        # Errors count from the first callback on, and right answers without the warm-up.
        self.errors = said["errors"]
        self.sent = rate - self.errors.get("not sent", 0) / self.seconds
        self.p99_ms = said["latency"]["p99_us"] / 1000
        after = answers(admin) if admin else (0, said["answered_in_all"])
        self.answered, self.refused = (late - early for early, late in zip(counted, after, strict=True))

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


def one_core_each():
    """This process' children run on the first core, until the returned function gives the rest to those that follow."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    return lambda: os.sched_setaffinity(0, cores[1:] or cores)


def bare_refusal_us(directory: Path, rate: float) -> float:
    """What a server takes for an answer that never changes, at that rate over as many connections."""
    rest = one_core_each()
    with bare_serving(directory, None, refuses=True) as (public, server):
        rest()
        driven = Driven(directory, server, public, ("--bare",), rate, STEP_SECONDS)
        say(f"a bare server that refuses, at {rate:,.0f} a second: {driven.errors}")
        return driven.processor_us / max(1, driven.refused)


def main():
    all_cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="tapgate-overload-") as root:
        directory = Path(root)
        directory.chmod(0o755)
        rest = one_core_each()
        with serving(directory, "fsync") as (public, server, admin):
            rest()
            set_up(directory, public, admin, "--users", USERS)

            def drive(rate, seconds=STEP_SECONDS):
                given = (*admin, "--ready", *MIX)
                driven = Driven(directory, server, public, given, rate, seconds, admin[1])
                say(f"at {rate:,.0f} a second, {driven.sent:,.0f} sent: {driven.right:,.0f} right in time, "
                    f"p99 {driven.p99_ms:.0f} ms, {driven.errors}")  # fmt: skip
                return driven

            at_best = capacity(drive)
            over = drive(3 * at_best.rate, SECONDS)
            after = drive(0.3 * at_best.rate)
        os.sched_setaffinity(0, all_cores)
        bare_us = bare_refusal_us(directory, over.rate)
    whole_us = at_best.processor_us / at_best.answered
    shed_us = max(0.0, over.processor_us - over.answered * whole_us) / max(1.0, over.refused)
    # If every refusal cost what the bare server's do, so much of the core were left for what is answered.
    times, bare = over.sent / at_best.right, bare_us / whole_us
    left = max(0.0, (1 - times * bare) / (1 - bare))
    print(f"capacity {at_best.right:,.0f} a second of one core; a whole request takes {whole_us:.0f} µs of it, a refusal "
          f"{shed_us:.1f} ({over.answered:,.0f} answered, {over.refused:,.0f} refused), and a bare server's {bare_us:.1f}")  # fmt: skip
    print(table([
        Target(f"8. goodput at {times:.1f} times capacity / capacity", over.right / at_best.right, ">=", 0.8, bare=left),
        Target("8. a refusal / a whole request, processor time", shed_us / whole_us, "<=", 0.08, bare=bare),
        Target("8. share answered in time a second later, at a third of capacity", after.right / after.rate, ">=", ENOUGH),
    ]))  # fmt: skip


if __name__ == "__main__":
    main()
