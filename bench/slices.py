"""Two servers' tails side by side: equal slices of one load, in turn, because a shared machine is quiet or not for minutes
at a time. What one pair of slices says is the machine's mood; what all of them say is the servers' difference."""

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Events that RocksDB writes into a store's LOG.
FLUSHES, COMPACTIONS = '"event": "flush_finished"', '"event": "compaction_finished"'
JOB = re.compile(r'"time_micros": (\d+),.*?"job": (\d+), "event": "(flush|compaction)_(started|finished)"')
QUANTILES = ("p50_us", "p99_us", "p999_us", "max_us")


def stolen_jiffies() -> tuple[int, int]:
    """What the host took from this machine so far, and all there was."""
    values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return values[7], sum(values[:8])


def turns(logs: list[Path]) -> tuple[int, int]:
    """Flushes and compactions that these stores finished so far."""
    text = "".join(log.read_text(errors="replace") for log in logs)
    return text.count(FLUSHES), text.count(COMPACTIONS)


@dataclass(frozen=True)
class Job:
    """A flush or a compaction of one of a store's databases, in microseconds since 1970."""

    name: str
    began: int
    ended: int


def jobs(database: str, log: str) -> list[Job]:
    """Those that a log tells of; one that did not end lasts."""
    began, found = {}, []
    for line in log.splitlines():
        event = JOB.search(line)
        if not event:
            continue
        at, number, kind, moment = int(event[1]), event[2], event[3], event[4]
        if moment == "started":
            began[number] = at, kind
        elif number in began:
            found.append(Job(f"{kind} of {database}", began.pop(number)[0], at))
    return found + [Job(f"{kind} of {database}", at, 2**63) for at, kind in began.values()]


@dataclass(frozen=True)
class Use:
    """Of threads of one name, in seconds: on a core, and waiting for one although it could run."""

    ran: float = 0.0
    waited: float = 0.0

    def __add__(self, other: "Use") -> "Use":
        return Use(self.ran + other.ran, self.waited + other.waited)

    def __sub__(self, other: "Use") -> "Use":
        return Use(self.ran - other.ran, self.waited - other.waited)


def threads(process: int) -> dict[str, Use]:
    """What a process's threads used so far, by name; those that end are lost, so only lasting ones tell anything."""
    uses: dict[str, Use] = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip().rstrip("0123456789-:")
            ran, waited, _ = (int(value) / 1e9 for value in (task / "schedstat").read_text().split())
        except OSError:
            continue
        uses[name] = uses.get(name, Use()) + Use(ran, waited)
    return uses


@dataclass
class Slice:
    """One server's share of the load: latencies from when each callback was due, and what happened meanwhile."""

    per_second: float
    answered: int
    threads: dict[str, Use]
    latency: dict
    waited: dict
    flushes: int
    compactions: int
    stolen_percent: float
    # Answers that said the deadline was missed, or were about such a request. Only a load with --late has any.
    late: int = 0
    # Where the time went, of a traced server, and what its store did in the background.
    trace: dict | None = None
    jobs: list[Job] = field(default_factory=list)

    @property
    def processor_us(self) -> float:
        """Of all cores, for each request."""
        return sum(use.ran for use in self.threads.values()) * 1e6 / max(1, self.answered)


@dataclass
class Side:
    """A server that is loaded slice by slice. `load` drives one slice and gives the generator's figures."""

    name: str
    process: int
    data: Path
    load: Callable[[], dict]
    slices: list[Slice] = field(default_factory=list)

    def run(self):
        before, used_before = self.so_far(), threads(self.process)
        said = self.load()
        flushes, compactions, stolen, all_of_it = (then - at for then, at in zip(self.so_far(), before, strict=True))
        used = {name: use - used_before.get(name, Use()) for name, use in threads(self.process).items()}
        self.slices.append(
            Slice(
                per_second=said["per_second"],
                # The warm-up is work, too.
                answered=said["answered_in_all"],
                threads=used,
                latency=said["latency"],
                waited=said["waited"],
                flushes=flushes,
                compactions=compactions,
                stolen_percent=100 * stolen / max(1, all_of_it),
                late=sum(said["errors"].values()),
                trace=said.get("trace"),
                jobs=self.jobs() if "trace" in said else [],
            )
        )

    def so_far(self):
        return *turns([log for log in self.data.rglob("LOG") if log.is_file()]), *stolen_jiffies()

    def jobs(self) -> list[Job]:
        """Of the store's background, so far."""
        logs = [log for log in self.data.rglob("LOG") if log.is_file()]
        return [job for log in logs for job in jobs(log.parent.name, log.read_text(errors="replace"))]

    def of(self, key: str) -> list[float]:
        return [one.latency[key] / 1000 for one in self.slices]

    def quiet_slices(self) -> int:
        """Slices in which the server's store neither flushed nor compacted: they say nothing of that part of the tail."""
        return sum(1 for one in self.slices if not (one.flushes and one.compactions))

    def row(self):
        """(a second, p50 in ms, p99 in ms), in the median slice."""
        middle = statistics.median
        return middle(one.per_second for one in self.slices), middle(self.of("p50_us")), middle(self.of("p99_us"))


def alternate(one: Side, other: Side, pairs: int):
    """Neither is always the first of its pair: what the first leaves behind (pages to write, a warm clock) falls on both."""
    for number in range(pairs):
        for side in (one, other) if number % 2 == 0 else (other, one):
            side.run()


def shown(sides: list[Side]) -> str:
    lines = [
        "| slice | server | p50 | p99 | p99.9 | latest (ms) | late | until sent, p99 | flushes | compactions | stolen |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, slices in enumerate(zip(*(side.slices for side in sides), strict=True), 1):
        for side, one in zip(sides, slices, strict=True):
            figures = " | ".join(f"{one.latency[key] / 1000:.2f}" for key in QUANTILES)
            lines.append(
                f"| {number} | {side.name} | {figures} | {one.late} | {one.waited['p99_us'] / 1000:.2f} "
                f"| {one.flushes} | {one.compactions} | {one.stolen_percent:.1f} % |"
            )
    return "\n".join(lines)


def shown_threads(sides: list[Side]) -> str:
    """The servers' threads in all slices together, those that use the most first."""
    lines = ["| server | threads | on a core, µs a request | waiting for one |", "|---|---|---|---|"]
    for side in sides:
        answered = max(1, sum(one.answered for one in side.slices))
        names = {name for one in side.slices for name in one.threads}
        uses = {name: sum((one.threads.get(name, Use()) for one in side.slices), Use()) for name in names}
        for name, use in sorted(uses.items(), key=lambda item: -item[1].ran):
            ran, waited = (seconds * 1e6 / answered for seconds in (use.ran, use.waited))
            if ran >= 0.05:
                lines.append(f"| {side.name} | {name} | {ran:.1f} | {waited:.1f} |")
    return "\n".join(lines)
