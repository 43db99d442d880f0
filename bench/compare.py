"""The same authorization by PostgreSQL, Redis and tapgate, one after the other on this machine, in one table; and every
target that is built, with its verdict.

Peers are private instances in a temporary directory, on a socket or port of their own, and are stopped in the end. They do no
HTTP and check no signature; tapgate over HTTP does both, and stands beside a bare hyper server that verifies the signature and
answers a constant. Criterion's benches give the engine without HTTP.

Environment: SECONDS_PER_CELL (10), ENGINE_PAIRS (5), HTTP_PAIRS (10), TAIL_PAIRS (5, 0 leaves the tail out) of TAIL_SECONDS
(60) each, TRACE_SECONDS (60, 0 leaves the trace out), CLONE_BUILD (1, 0 leaves the build of a clone out), and TAPGATE_BIN,
TAPGATE_LOAD_BIN, TRACED_BIN and CRITERION_DIR as `make compare` sets them.
"""

import mmap
import os
import pwd
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import first_decision
import traced
from company import console, receiver
from servers import MIX, TAPGATE, bare_serving, free_port, load, serving, set_up, wait_for
from slices import Side, alternate, shown, shown_threads
from targets import CLIENTS, SECONDS, Engine, growth, in_memory_targets, of_growth, row, run, say
from verdicts import NOT_BUILT, NotMeasured, Target, a_a, difference, median_interval, noise, ratio, same, table

HERE = Path(__file__).resolve().parent
PAIRS = int(os.environ.get("HTTP_PAIRS", "10"))
# Pairs of slices by connections: the targets are at 64 and at one.
HTTP_PAIRS = {1: PAIRS, 16: min(3, PAIRS), 64: PAIRS}
SLICE_SECONDS = max(1, SECONDS // 3)
TAIL_PAIRS = int(os.environ.get("TAIL_PAIRS", "5"))
TAIL_SECONDS = int(os.environ.get("TAIL_SECONDS", "60"))
# Of the tail: ten minutes at its rate are some four taps of each. A user who taps every other second has a row of many
# kilobytes, rewritten with each turn of the rows: a load that no card makes.
TAIL_USERS = int(os.environ.get("TAIL_USERS", "1000000"))
RESTARTS = 3
CLONE_BUILD = os.environ.get("CLONE_BUILD", "1") == "1"


def quantile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


# --- peers ---------------------------------------------------------------------------------------------------------


def postgres(directory: Path, synchronous: str) -> dict:
    """Rows of (clients → tps, p50, p99)."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    # PostgreSQL refuses to run as root.
    user = [] if os.getuid() else ["runuser", "-u", "postgres", "--"]
    data, port = directory / "data", free_port()
    if user:
        shutil.chown(directory, pwd.getpwnam("postgres").pw_uid)
        directory.chmod(0o755)
    run(*user, binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", cwd=directory)
    settings = f"-p {port} -k {directory} -c listen_addresses= -c synchronous_commit={synchronous} -c shared_buffers=1GB"
    run(*user, binaries / "pg_ctl", "-D", data, "-w", "-l", directory / "log", "-o", settings, "start", cwd=directory)
    try:
        reach = ("-h", directory, "-p", port, "-U", "postgres")
        run(binaries / "psql", *reach, "-q", "-v", "ON_ERROR_STOP=1", "-f", HERE / "peers" / "postgres.sql", "postgres")
        rows = {}
        for clients in CLIENTS:
            say(f"PostgreSQL, synchronous_commit={synchronous}, {clients} clients")
            with tempfile.TemporaryDirectory() as logs:
                script = HERE / "peers" / "postgres.pgbench"
                printed = run(binaries / "pgbench", *reach, "-n", "-M", "prepared", "-c", clients, "-j", min(clients, 2),
                              "-T", SECONDS, "-f", script, "-l", "postgres", cwd=logs)  # fmt: skip
                micros = sorted(int(line.split()[2]) for log in Path(logs).iterdir() for line in log.open())
            tps = float(re.search(r"tps = ([\d.]+) \(without", printed).group(1))
            rows[clients] = (tps, quantile(micros, 0.5) / 1000, quantile(micros, 0.99) / 1000)
        return rows
    finally:
        run(*user, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop", cwd=directory)


def redis(directory: Path, fsync: str) -> dict:
    port = free_port()
    command = ["redis-server", "--port", port, "--dir", directory, "--appendonly", "yes", "--appendfsync", fsync, "--save", ""]
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        ask = ("redis-cli", "-p", port)
        run(*ask, "SET", "pool:EUR", "900000000000000")
        sha = run(*ask, "SCRIPT", "LOAD", (HERE / "peers" / "redis.lua").read_text()).strip()
        rows = {}
        for clients in CLIENTS:
            say(f"Redis, appendfsync {fsync}, {clients} clients")
            script = ("EVALSHA", sha, 0, "__rand_int__", "__rand_int__", 1250)
            bench = ("redis-benchmark", "-p", port, "-c", clients, "-r", 1_000_000_000, "--csv")
            # How many fit into the time is found out by a short run first.
            trial = csv_row(run(*bench, "-n", 2_000 * clients, *script))
            rows[clients] = csv_row(run(*bench, "-n", max(1_000, int(trial[0] * SECONDS)), *script))
        return rows
    finally:
        server.terminate()
        server.wait()


def csv_row(printed: str):
    header, row = printed.strip().splitlines()[-2:]
    values = dict(zip(header.replace('"', "").split(","), row.replace('"', "").split(","), strict=False))
    return float(values["rps"]), float(values["p50_latency_ms"]), float(values["p99_latency_ms"])


# --- tapgate and its floors ----------------------------------------------------------------------------------------


def bare(directory: Path) -> dict:
    """The least that a server of signed callbacks does."""
    with bare_serving(directory, None) as (port, _):
        rows = {}
        for clients in CLIENTS:
            say(f"bare hyper with signature recovery, {clients} connections")
            rows[clients] = row(load(directory, port, clients, "--bare"))
        return rows


def paired(ours: Path, theirs: Path, durability: str) -> dict[int, tuple[Side, Side]]:
    """tapgate and a bare server that keeps as much, in turn, by connections: as fast as the answers come."""
    with serving(ours, durability) as (public, server, admin), bare_serving(theirs, durability) as (port, bare_server):
        set_up(ours, public, admin)
        found = {}
        for clients, pairs in HTTP_PAIRS.items():
            say(f"tapgate over signed HTTP and a bare group commit, {durability}, {clients} connections, {pairs} pairs")

            def drive_tapgate(clients=clients):
                return load(ours, public, clients, *MIX, *admin, "--ready", "--warmup", 1, seconds=SLICE_SECONDS)

            def drive_bare(clients=clients):
                return load(theirs, port, clients, "--bare", "--warmup", 1, seconds=SLICE_SECONDS)

            found[clients] = (
                Side("tapgate", server.pid, ours / "data", drive_tapgate),
                Side("bare", bare_server.pid, theirs / "data", drive_bare),
            )
            alternate(*found[clients], pairs)
        return found


def tails(ours: Path, theirs: Path, rate: float):
    """An open loop at half of what the closed one reached, at tapgate and at the bare server with a bare group commit in turn:
    latency counts from when each callback was due. tapgate's declines are delivered, and its console looked at, meanwhile."""
    say(f"the tail: {rate:,.0f} a second, {TAIL_PAIRS} pairs of {TAIL_SECONDS} s, of {TAIL_USERS:,} users")
    with (
        receiver() as received,
        serving(ours, "fsync", receiver=received) as (public, server, admin),
        bare_serving(theirs, "fsync") as (port, bare_server),
    ):
        set_up(ours, public, admin, "--users", TAIL_USERS)

        def drive_tapgate():
            users = ("--ready", "--users", TAIL_USERS)
            with console(admin[1]):
                return load(ours, public, 256, *admin, *users, "--late", "--rate", rate, seconds=TAIL_SECONDS)

        def drive_bare():
            return load(theirs, port, 256, "--bare", "--rate", rate, seconds=TAIL_SECONDS)

        sides = (
            Side("tapgate", server.pid, ours / "data", drive_tapgate),
            Side("bare", bare_server.pid, theirs / "data", drive_bare),
        )
        alternate(*sides, TAIL_PAIRS)
        resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text()).group(1)
    answered = rate * TAIL_SECONDS * TAIL_PAIRS
    kept = sum(file.stat().st_size for file in (ours / "data").rglob("*") if file.is_file())
    return sides, kept / answered, int(resident) / 1024


def restarts(directory: Path) -> list[float]:
    """Seconds from the start of the process until it takes connections, of a tapgate with as many users as the tail's."""
    say(f"restarts with {TAIL_USERS:,} users")
    with serving(directory, "fsync") as (public, _, admin):
        set_up(directory, public, admin, "--users", TAIL_USERS)
    took = []
    for _ in range(RESTARTS):
        began = time.monotonic()
        with serving(directory, "fsync"):
            took.append(time.monotonic() - began)
    return took


def gaps(ends: float) -> tuple[float, float]:
    """What is taken from a busy loop until then, in gaps of more than 1 ms: their sum and the longest, in ms."""
    lost = longest = 0.0
    last = time.monotonic()
    while last < ends:
        now = time.monotonic()
        gap = (now - last) * 1000
        if gap > 1:
            lost, longest = lost + gap, max(longest, gap)
        last = now
    return lost, longest


def stolen() -> str:
    """What other machines on the same host take from this one: a tail cannot be better than that."""
    say("the machine by itself")
    seconds, cores = 5, os.cpu_count()
    with ProcessPoolExecutor(cores) as busy:
        found = list(busy.map(gaps, [time.monotonic() + seconds] * cores))
    lost, longest = sum(lost for lost, _ in found), max(longest for _, longest in found)
    share = lost / (seconds * cores * 10)
    return (
        f"A loop that does nothing else, on every core: {share:.1f} % of its time is taken away, at most {longest:.0f} ms at once.\n"
        f"The first touch of 4 KiB of memory: {first_touch():.1f} µs."
    )


def first_touch() -> float:
    """What the kernel and the host take to give a page, in µs."""
    size, page = 1 << 30, 4096
    with mmap.mmap(-1, size) as memory:
        began = time.monotonic()
        for place in range(0, size, page):
            memory[place] = 1
        return (time.monotonic() - began) * 1e6 / (size / page)


def rows_of(sides: dict[int, tuple[Side, Side]], which: int) -> dict:
    return {clients: pair[which].row() for clients, pair in sides.items()}


def http_targets(mode: str, sides: dict[int, tuple[Side, Side]]) -> list[Target]:
    """Beside the bare server with a bare group commit; the last figure is that server beside itself."""
    (ours, theirs), (ours_alone, theirs_alone) = sides[64], sides[1]

    def beside(one: Side, other: Side, values, relation: str, asked: float, name: str) -> Target:
        return Target.of(name, ratio(values(one), values(other)), relation, asked, same(values(other)))

    def rates(side: Side) -> list[float]:
        return [one.per_second for one in side.slices]

    processor, bare_processor = ([one.processor_us for one in side.slices] for side in (ours, theirs))
    apart = [abs(a - b) for a, b in zip(bare_processor[::2], bare_processor[1::2], strict=False)]
    return [
        a_a(f"the bare server, {mode}, throughput at 64,", rates(theirs)),
        Target.of(f"3. HTTP {mode}, processor time a request beyond the bare server's, in µs, 64", difference(processor, bare_processor), "<=", 7, statistics.median(apart or [0])),
        beside(ours, theirs, rates, ">=", 0.92, f"3. HTTP {mode} / the bare server, 64"),
        beside(ours, theirs, lambda side: side.of("p99_us"), "<=", 1.2, f"3. HTTP {mode} p99 / the bare server's, 64"),
        beside(ours_alone, theirs_alone, lambda side: side.of("p50_us"), "<=", 1.15, f"3. HTTP {mode} p50 / the bare server's, one connection"),
    ]  # fmt: skip


def tail_targets(sides: tuple[Side, Side] | None) -> list[Target | NotMeasured]:
    if not sides:
        return [NotMeasured("4. tail at half capacity", "left out: TAIL_PAIRS=0")]
    ours, theirs = sides
    stolen = statistics.median(one.stolen_percent for one in ours.slices)

    def beside(what: str, key: str, most: float) -> Target:
        name = f"4. tail at half capacity, {what} / the bare server's"
        return Target.of(name, ratio(ours.of(key), theirs.of(key)), "<=", most, same(theirs.of(key)))

    return [
        a_a("the bare server's p99 in the tail", theirs.of("p99_us")),
        beside("p99", "p99_us", 1.3),
        beside(f"p99.9, while the host took {stolen:.1f} %,", "p999_us", 1.5),
        Target("4. tail at half capacity, answers that missed their deadline, or about such a one", sum(one.late for one in ours.slices), "<=", 0),
        Target("4. tail at half capacity, the latest in ms", max(ours.of("max_us")), "<=", 400, None, max(theirs.of("max_us"))),
    ]


def start_targets(took: list[float], first: float | None) -> list[Target | NotMeasured]:
    name = "7. seconds of `make demo` from clone to first decision, warm compiler cache"
    clone = Target(name, first, "<=", 240) if first is not None else NotMeasured(name, "left out: CLONE_BUILD=0")
    return [clone, Target.of(f"7. seconds of a restart with {TAIL_USERS:,} users", median_interval(took), "<=", 3)]


def versions() -> str:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    redis_version = re.search(r"v=(\S+)", run("redis-server", "--version")).group(1)
    return f"{run(binaries / 'postgres', '--version').strip()} · Redis {redis_version} · {run(TAPGATE, '--version').strip()}"


def peers(fresh) -> dict:
    return {
        "PostgreSQL, synchronous_commit=on": postgres(fresh("pg_on"), "on"),
        "PostgreSQL, synchronous_commit=off": postgres(fresh("pg_off"), "off"),
        "Redis, appendfsync always": redis(fresh("redis_always"), "always"),
        "Redis, appendfsync everysec": redis(fresh("redis_everysec"), "everysec"),
    }


def peer_targets(cells: dict, engine: Engine) -> list[Target]:
    at_64 = engine.rows["fsync"][64][0]
    redis_64, postgres_64 = (cells[name][64][0] for name in ("Redis, appendfsync always", "PostgreSQL, synchronous_commit=on"))
    http, bare_http = (cells[name][64][0] for name in ("tapgate, signed HTTP, fsync", "the same and a bare group commit, fsync"))
    return [
        Target("2. engine fsync / Redis always, 64", at_64 / redis_64, ">=", 4, None, engine.floor_64 / redis_64),
        Target("2. engine fsync / PostgreSQL, 64", at_64 / postgres_64, ">=", 40, None, engine.floor_64 / postgres_64),
        Target("3. HTTP fsync / PostgreSQL, 64", http / postgres_64, ">=", 10, None, bare_http / postgres_64),
    ]


def cells_of(pairs: dict, fresh) -> dict:
    """The rows of the table: (a second, p50, p99) by clients."""
    return {
        "bare hyper, signature recovered": bare(fresh("bare")),
        "the same and a bare group commit, fsync": rows_of(pairs["fsync"], 1),
        "the same and a bare group commit, os": rows_of(pairs["os"], 1),
        "tapgate, signed HTTP, fsync": rows_of(pairs["fsync"], 0),
        "tapgate, signed HTTP, os": rows_of(pairs["os"], 0),
        **peers(fresh),
    }


def tell_cells(cells: dict):
    print("| authorizations a second (p50 / p99 in ms) | 1 | 16 | 64 |\n|---|---|---|---|")
    for name, rows in cells.items():
        told = (f"{tps:,.0f} ({p50:.2f} / {p99:.2f})".replace("nan", "–") for tps, p50, p99 in rows.values())
        print(f"| {name} | {' | '.join(told)} |")


def tell_tail(late, trace):
    if late:
        sides, disk_bytes, resident = late
        print(f"\nThe tail:\n\n{shown(list(sides))}\n\n{shown_threads(list(sides))}\n")
        print(f"tapgate's slices without both a flush and a compaction: {sides[0].quiet_slices()} of {len(sides[0].slices)}.")
        for what, key in (("p99", "p99_us"), ("p99.9", "p999_us")):
            ours, theirs = (side.of(key) for side in sides)
            print(f"{what}, tapgate's slices over the bare server's: {ratio(ours, theirs)}; the bare server's over each other: {noise(theirs) or 'too few'}.")
        print(f"Users included, a decision leaves {disk_bytes:.0f} bytes on the disk; the process had {resident:,.0f} MiB after the tail.")
    if trace:
        print(f"\nThe trace, at the tail's rate:\n\n{traced.told(trace)}")


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-compare-") as root:

        def fresh(name):
            directory = Path(root) / name
            directory.mkdir()
            Path(root).chmod(0o755)
            return directory

        first = first_decision.seconds(fresh("clone")) if CLONE_BUILD else None
        pairs = {mode: paired(fresh(mode), fresh(f"bare_{mode}"), mode) for mode in ("fsync", "os")}
        cells = cells_of(pairs, fresh)
        engine = Engine(fresh("engine"))
        for durability, rows in engine.rows.items():
            cells[f"tapgate, engine alone, {durability}"] = rows
        grown = growth(fresh("growth"))
        started = restarts(fresh("restart"))
        half = cells["tapgate, signed HTTP, fsync"][64][0] / 2
        machine = stolen()
        late = tails(fresh("tail"), fresh("bare_tail"), half) if TAIL_PAIRS else None
        trace = traced.trace(fresh("traced"), fresh("bare_traced"), half) if traced.SECONDS else None

    print(f"\n{versions()}\n{SECONDS} s a cell, {os.cpu_count()} cores\n{machine}\n")
    tell_cells(cells)
    for mode, sides in pairs.items():
        print(f"\n{mode}, 64 connections:\n\n{shown_threads(list(sides[64]))}")
    tell_tail(late, trace)
    print(f"\n{engine.turns()}\nA record takes {engine.record_bytes} bytes of the journal.\n{of_growth(grown)}\n")
    targets = [
        *in_memory_targets(grown),
        *engine.targets(),
        *peer_targets(cells, engine),
        *(target for mode, sides in pairs.items() for target in http_targets(mode, sides)),
        *tail_targets(late[0] if late else None),
        *(traced.target(side) for side in trace or ()),
        *start_targets(started, first),
        *NOT_BUILT,
    ]
    print(table(targets))


if __name__ == "__main__":
    main()
