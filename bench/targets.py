"""The targets that need no peer and no HTTP, with their verdicts: `make bench` prints them after criterion's benches, and
`make compare` beside its own.

Environment: SECONDS_PER_CELL (10), and TAPGATE_LOAD_BIN and CRITERION_DIR as the Makefile sets them.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = int(os.environ.get("SECONDS_PER_CELL", "10"))
LOAD = os.environ["TAPGATE_LOAD_BIN"]
CRITERION = Path(os.environ["CRITERION_DIR"])
CLIENTS = (1, 16, 64)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"bench: {command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def row(said: dict):
    """(a second, p50 in ms, p99 in ms)"""
    latency = said["latency"]
    return said["per_second"], latency["p50_us"] / 1000, latency["p99_us"] / 1000


def alone(what: str, directory: Path, *more):
    """The engine without HTTP, or the floor that it writes on."""
    return json.loads(run(LOAD, what, "--dir", directory, "--seconds", SECONDS, "--json", *more))


class Engine:
    """The engine alone by durability and waiters, and the bare group commit of records of the same size."""

    def __init__(self, root: Path):
        self.rows, self.record_bytes = {}, 0
        for durability in ("fsync", "os"):
            say(f"the engine alone, {durability}")
            self.rows[durability] = {}
            for waiters in (*CLIENTS, 256):
                said = alone("engine", root, "--waiters", waiters, "--durability", durability)
                self.rows[durability][waiters], self.record_bytes = row(said), said["record_bytes"]
        say("the durable floors")
        # 0 waiters: one write after the other, without a queue.
        floor = {0: None, 1: None, 64: None, 256: None}
        for waiters in floor:
            floor[waiters] = row(alone("floor", root, "--bytes", self.record_bytes, "--waiters", waiters))
        self.sync_write_ms, self.grouped_ms = floor[0][1], floor[1][1]
        self.floor_64, self.group_commit = floor[64][0], floor[256][0]

    def targets(self):
        fsync = self.rows["fsync"]
        return [
            ("2. engine fsync / bare group commit, 256 waiters", fsync[256][0] / self.group_commit, ">=", 0.6),
            ("2. one decision / one RocksDB sync write", fsync[1][1] / self.sync_write_ms, "<=", 1.2, self.grouped_ms / self.sync_write_ms),
        ]


def memory() -> dict:
    say("memory")
    return json.loads(run(LOAD, "memory", "--json"))


def pinned(what: str) -> int:
    """The last count of instructions that `make instructions` holds."""
    with (Path(__file__).resolve().parent / "instructions.csv").open() as rows:
        return int(list(csv.DictReader(rows))[-1][what])


def in_memory_targets(memory: dict):
    """Of what criterion measured last, and of the memory."""

    def nanos(bench: str) -> float:
        return json.loads((CRITERION / bench / "new" / "estimates.json").read_text())["median"]["point_estimate"]

    decision, floor = nanos("decision_all_controls"), nanos("decision_floor")
    return [
        ("1. decision, all controls, 1 M users / floor", decision / floor, "<=", 2.5, nanos("decision_floor_remembering") / floor),
        ("1. the same / a floor that remembers as much", decision / nanos("decision_floor_remembering"), "<=", 1.4),
        ("1. instructions of an approval without controls", pinned("thousand_decisions.approved") / 1000, "<=", 6_500),
        ("1. two threads / one", decision / nanos("decision_all_controls_two_threads"), ">=", 1.6),
        ("5. decision at 10 M users / at 10 k", nanos("decision_users/10000000") / nanos("decision_users/10000"), "<=", 2.5),
        ("5. bytes per idle user", memory["per_idle_user"], "<=", 300),
        ("5. bytes per open authorization", memory["per_open_authorization"], "<=", 400),
        ("5. recovery, users a second (one core)", 1e15 / nanos("recovery/users"), ">=", 1_000_000),
    ]  # fmt: skip


def tell(targets):
    """The last column: the same figure of the bare server, group commit or map in tapgate's place, where there is one."""
    print("\n| target | measured | asked | verdict | a bare one |\n|---|---|---|---|---|")
    for name, measured, relation, asked, *bare in sorted(targets, key=lambda target: target[0][0]):
        met = measured <= asked if relation == "<=" else measured >= asked
        beside = f"{bare[0]:,.2f}" if bare else ""
        print(f"| {name} | {measured:,.2f} | {relation} {asked:,} | {'met' if met else 'missed'} | {beside} |")


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-bench-") as root:
        engine = Engine(Path(root))
    tell([*in_memory_targets(memory()), *engine.targets()])
    print("\nThe targets over HTTP, beside peers and of the tail: make compare.")


if __name__ == "__main__":
    main()
