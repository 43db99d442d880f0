"""The targets that need no peer and no HTTP, with their verdicts: `make bench` prints them after criterion's benches, and
`make compare` beside its own.

Environment: SECONDS_PER_CELL (10), ENGINE_PAIRS (5), and TAPGATE_LOAD_BIN and CRITERION_DIR as the Makefile sets them.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from verdicts import NOT_BUILT, NotMeasured, Ratio, Target, a_a, quotient, ratio, table

SECONDS = int(os.environ.get("SECONDS_PER_CELL", "10"))
# Of the engine and its floor in turn.
ENGINE_PAIRS = int(os.environ.get("ENGINE_PAIRS", "5"))
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


def alone(what: str, directory: Path, *more, seconds=SECONDS):
    """The engine without HTTP, or the floor that it writes on."""
    return json.loads(run(LOAD, what, "--dir", directory, "--seconds", seconds, "--json", *more))


class Engine:
    """The engine alone by durability and waiters, and the bare group commit of records of the same size."""

    def __init__(self, root: Path):
        self.root, self.rows, self.record_bytes = root, {}, 0
        for durability in ("fsync", "os"):
            say(f"the engine alone, {durability}")
            self.rows[durability] = {}
            for waiters in CLIENTS:
                said = self.engine(waiters, "--durability", durability)
                self.rows[durability][waiters], self.record_bytes = row(said), said["record_bytes"]
        say("the durable floor, 64 waiters")
        self.floor_64 = row(self.floor(64))[0]
        self.at_256, self.group_commit, self.remembering = [], [], []
        self.one, self.sync_write, self.grouped = [], [], []
        for pair in range(ENGINE_PAIRS):
            say(f"engine and floor in turn, pair {pair + 1} of {ENGINE_PAIRS}")
            for measure in (self.measure_engine, self.measure_floor)[:: 1 if pair % 2 == 0 else -1]:
                measure()

    def engine(self, waiters, *more, seconds=SECONDS):
        return alone("engine", self.root, "--waiters", waiters, *more, seconds=seconds)

    def floor(self, waiters, *more, seconds=SECONDS):
        return alone("floor", self.root, "--bytes", self.record_bytes, "--waiters", waiters, *more, seconds=seconds)

    def measure_engine(self):
        self.at_256.append(self.engine(256, "--turn"))
        self.one.append(self.engine(1, seconds=max(1, SECONDS // 3)))

    def measure_floor(self):
        self.group_commit.append(self.floor(256))
        self.remembering.append(self.floor(256, "--remember", 100_000))
        # 0 waiters: one write after the other, without a queue.
        self.sync_write.append(self.floor(0, seconds=max(1, SECONDS // 3)))
        self.grouped.append(self.floor(1, seconds=max(1, SECONDS // 3)))

    def turns(self) -> str:
        took = ", ".join(f"{said['rows_turns']} in {said['rows_seconds']:.1f} s" for said in self.at_256)
        return f"Turns of rows at 256 waiters, within the measured time: {took}."

    def targets(self):
        measured = (self.at_256, self.group_commit, self.remembering)
        rate, floor_rate, remembering = ([said["per_second"] for said in found] for found in measured)
        one, sync, grouped = ([row(said)[1] for said in found] for found in (self.one, self.sync_write, self.grouped))
        at_256 = "2. engine fsync / bare group commit, 256 waiters, a turn of rows inside"
        demanded = "2. the same / a bare program that looks up, remembers, hashes and writes rows"
        turned = [
            Target.of(at_256, ratio(rate, floor_rate), ">=", 0.33, ratio(remembering, floor_rate).median, 0.6),
            Target.of(demanded, ratio(rate, remembering), ">=", 0.5),
        ]
        if not all(said["rows_turns"] for said in self.at_256):
            turned = [NotMeasured(at_256, "no turn ended within the measured time: give more SECONDS_PER_CELL")]
        return [
            a_a("the bare group commit, 256 waiters,", floor_rate),
            *turned,
            Target.of("2. one decision / one RocksDB sync write", ratio(one, sync), "<=", 1.2, ratio(grouped, sync).median),
        ]  # fmt: skip


def growth(root: Path) -> dict:
    say("memory")
    memory = json.loads(run(LOAD, "memory", "--json"))
    say("memory of ended and open ids, and bytes on disk")
    measured = (json.loads(run(LOAD, what, "--dir", root, "--json")) for what in ("ended", "disk"))
    return memory | {name: value for said in measured for name, value in said.items()}


def pinned(what: str) -> int:
    """The last count of instructions that `make instructions` holds."""
    with (Path(__file__).resolve().parent / "instructions.csv").open() as rows:
        return int(list(csv.DictReader(rows))[-1][what])


def nanos(bench: str) -> Ratio:
    """What criterion measured last, with its interval."""
    median = json.loads((CRITERION / bench / "new" / "estimates.json").read_text())["median"]
    interval = median["confidence_interval"]
    return Ratio(median["point_estimate"], interval["lower_bound"], interval["upper_bound"])


def per_second(bench: str, count: float) -> Ratio:
    """So many of them in the time of one iteration."""
    return quotient(Ratio(count * 1e9, count * 1e9, count * 1e9), nanos(bench))


def records_recovered(count: float) -> tuple[Ratio, Ratio]:
    """Records a second of a whole recovery, and of the part of it that is not the loading of rows."""
    whole, rows = nanos("recovery/clearings"), nanos("recovery/clearings_rows")
    own = Ratio(whole.median - rows.median, whole.low - rows.high, whole.high - rows.low)
    return tuple(quotient(Ratio(count * 1e9, count * 1e9, count * 1e9), took) for took in (whole, own))


def in_memory_targets(grown: dict):
    """Of what criterion measured last, of the memory and of the bytes on disk."""
    decision, floor, slabs = (nanos(f"decision_{name}") for name in ("all_controls", "floor", "floor_slabs"))
    growing = quotient(nanos("decision_users/10000000"), nanos("decision_users/10000"))
    records = 200_000
    whole, recovered = records_recovered(records)
    say(f"recovery with its rows, records a second: {whole.median:,.0f} ({whole.low:,.0f} to {whole.high:,.0f})")
    return [
        Target.of("1. decision, all controls, 1 M users / a floor that remembers as much in slabs", quotient(decision, slabs), "<=", 3.6, None, 1.4),
        Target.of("1. the same / floor", quotient(decision, floor), "<=", 5.5, quotient(slabs, floor).median, 2.5),
        Target.of("1. two threads / one", quotient(decision, nanos("decision_all_controls_two_threads")), ">=", 1.6),
        Target("1. instructions of an approval without controls (pinned)", pinned("thousand_decisions.approved") / 1000, "<=", 7_700, None, None, 6_500),
        Target.of("5. decision at 10 M users / at 10 k", growing, "<=", 2.5),
        Target("5. bytes of memory, an idle user", grown["per_idle_user"], "<=", 300),
        Target("5. bytes of memory, an open authorization", grown["per_open_authorization"], "<=", 400),
        Target("5. bytes of memory, an ended id", grown["per_ended_id"], "<=", 75),
        Target("5. bytes on disk, a spend with its clearing", grown["per_spend"], "<=", 450),
        Target.of("5. recovery, users a second (one core)", per_second("recovery/users", 1_000_000), ">=", 1_000_000),
        Target.of("5. recovery, records a second behind the rows (one core), half clearings of older roots", recovered, ">=", 400_000, per_second("recovery/read", records).median, 800_000),
    ]  # fmt: skip


def of_growth(grown: dict) -> str:
    """What lies on the disk by table, for each spend with its clearing."""
    apart = grown["tables"].keys() - set(grown["counted"])

    def parts(names) -> str:
        sizes = {name: grown["tables"][name] for name in sorted(names)}
        return ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items() if round(size)) or "nothing"

    return (
        f"Bytes on disk after compaction, for each of {grown['spends']:,} spends with its clearing: {parts(grown['counted'])}; "
        f"counted apart: {parts(apart)}.\n"
        f"Until rows are written, a minute at most, an authorization takes {grown['per_authorization_until_rows']} bytes of memory. "
        f"Of an ended id's bytes {grown['spend_of_ended_id']} are its spend in the user's row, for a month, and "
        f"{grown['store_of_ended_id']} the store's; of an open one's {grown['store_of_open_authorization']} are the store's."
    )


# What `make bench` cannot tell.
ELSEWHERE = [
    NotMeasured(name, "make compare")
    for name in ("2. engine / Redis and PostgreSQL, 64", "3. HTTP, whole", "4. tail", "7. clone to first decision, and restart")
]


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-bench-") as root:
        engine = Engine(Path(root))
        grown = growth(Path(root))
    print(f"\n{engine.turns()}\n{of_growth(grown)}\n")
    print(table([*in_memory_targets(grown), *engine.targets(), *ELSEWHERE, *NOT_BUILT]))


if __name__ == "__main__":
    main()
