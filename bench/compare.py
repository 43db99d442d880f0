"""The same authorization by PostgreSQL, Redis and tapgate, one after the other on this machine, in one table.

Peers are private instances in a temporary directory, on a socket or port of their own, and are stopped in the end. They do no
HTTP and check no signature; tapgate over HTTP does both, and stands beside a bare hyper server that verifies the signature and
answers a constant. Criterion's benches give the engine without HTTP.

Environment: SECONDS_PER_CELL (10), TAIL_PAIRS (5, 0 leaves the tail out) of TAIL_SECONDS (60) each, and TAPGATE_BIN, TAPGATE_LOAD_BIN, CRITERION_DIR as `make compare` sets them.
"""

import json
import mmap
import os
import pwd
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from slices import Side, alternate, noise, ratio, shown, shown_threads
from targets import CLIENTS, LOAD, SECONDS, Engine, in_memory_targets, memory, row, run, say, tell

HERE = Path(__file__).resolve().parent
# Pairs of slices by connections: the targets are at 64 and at one.
HTTP_PAIRS = {1: 10, 16: 3, 64: 10}
SLICE_SECONDS = max(1, SECONDS // 3)
TAIL_PAIRS = int(os.environ.get("TAIL_PAIRS", "5"))
TAIL_SECONDS = int(os.environ.get("TAIL_SECONDS", "60"))
TAPGATE = os.environ["TAPGATE_BIN"]
# What the peers do, too: every one is approved.
MIX = ("--mix", "approve=100")
# Of the tail: ten minutes at its rate are some four taps of each. A user who taps every other second has a row of many
# kilobytes, rewritten with each turn of the rows: a load that no card makes.
TAIL_USERS = 1_000_000
KEY = "0x" + "a1" * 32
TOKEN = "compare"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, process):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"bench: {process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"bench: {process.args[0]} does not listen on {port}")


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


def load(directory: Path, public: int, clients: int, *more, seconds=SECONDS):
    said = json.loads(
        run(LOAD, "drive", "--public", f"http://127.0.0.1:{public}", "--ur-key-file", directory / "ur.key",
            "--connections", clients, "--seconds", seconds, "--seed", secrets.randbits(32), "--json", *more)
    )  # fmt: skip
    return said


@contextmanager
def bare_serving(directory: Path, durability: str | None):
    (directory / "ur.key").write_text(KEY)
    port = free_port()
    keeps = ("--durability", durability, "--dir", directory / "data") if durability else ()
    server = subprocess.Popen([LOAD, "bare", "--listen", f"127.0.0.1:{port}", "--ur-key-file", directory / "ur.key", *keeps])
    try:
        wait_for(port, server)
        yield port, server
    finally:
        server.kill()
        server.wait()


def bare(directory: Path) -> dict:
    """The least that a server of signed callbacks does."""
    with bare_serving(directory, None) as (port, _):
        rows = {}
        for clients in CLIENTS:
            say(f"bare hyper with signature recovery, {clients} connections")
            rows[clients] = row(load(directory, port, clients, "--bare"))
        return rows


@contextmanager
def serving(directory: Path, durability: str):
    """A tapgate of its own: its public port, its process, and what a load needs to set it up."""
    (directory / "ur.key").write_text(KEY)
    public, admin = free_port(), free_port()
    address = run(TAPGATE, "sign", "--as", "ur", "--key-file", directory / "ur.key", input="").split("PublicKey: ")[1].strip()
    sha256 = __import__("hashlib").sha256(TOKEN.encode()).hexdigest()
    (directory / "tapgate.toml").write_text(
        f'data_dir = "{directory}/data"\ndurability = "{durability}"\n'
        f'[listen]\npublic = "127.0.0.1:{public}"\nadmin = "127.0.0.1:{admin}"\n'
        f'[ur]\nsigners = ["{address}"]\nfeeds = false\n'
        f'[admin]\ntokens = [{{ name = "compare", role = "operator", sha256 = "{sha256}" }}]\n'
    )
    environment = {**os.environ, "TAPGATE_LOG": "error"}
    server = subprocess.Popen([TAPGATE, "serve", "--config", directory / "tapgate.toml"], env=environment)
    try:
        wait_for(public, server)
        yield public, server, ("--admin", f"http://127.0.0.1:{admin}", "--token", TOKEN)
    finally:
        server.terminate()
        server.wait()


def set_up(directory: Path, public: int, admin, *users):
    """Gives a tapgate the rates, pool and users that the load needs: the slices after it do not."""
    load(directory, public, 1, *MIX, *admin, *users, "--warmup", 0, seconds=1)


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
    latency counts from when each callback was due."""
    say(f"the tail: {rate:,.0f} a second, {TAIL_PAIRS} pairs of {TAIL_SECONDS} s, of {TAIL_USERS:,} users")
    with serving(ours, "fsync") as (public, server, admin), bare_serving(theirs, "fsync") as (port, bare_server):

        set_up(ours, public, admin, "--users", TAIL_USERS)

        def drive_tapgate():
            users = ("--ready", "--users", TAIL_USERS)
            return load(ours, public, 256, *admin, *users, "--rate", rate, seconds=TAIL_SECONDS)

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


def http_targets(mode: str, sides: dict[int, tuple[Side, Side]]):
    """Beside the bare server with a bare group commit; the last figure is that server beside itself."""
    (ours, theirs), (ours_alone, theirs_alone) = sides[64], sides[1]

    def processor(side: Side) -> list[float]:
        return [one.processor_us for one in side.slices]

    more = statistics.median(a - b for a, b in zip(processor(ours), processor(theirs), strict=True))
    rates = [[one.per_second for one in side.slices] for side in (ours, theirs)]
    return [
        (f"3. HTTP {mode}, processor time a request beyond it in µs, 64", more, "<=", 7),
        (f"3. HTTP {mode} / it, 64", ratio(*rates)[0], ">=", 0.92, noise(rates[1])[0]),
        (f"3. HTTP {mode} p99 / its, 64", ratio(ours.of("p99_us"), theirs.of("p99_us"))[0], "<=", 1.2, noise(theirs.of("p99_us"))[0]),
        (f"3. HTTP {mode} p50 / its, one connection", ratio(ours_alone.of("p50_us"), theirs_alone.of("p50_us"))[0], "<=", 1.15, noise(theirs_alone.of("p50_us"))[0]),
    ]  # fmt: skip


def versions() -> str:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    redis_version = re.search(r"v=(\S+)", run("redis-server", "--version")).group(1)
    return f"{run(binaries / 'postgres', '--version').strip()} · Redis {redis_version} · {run(TAPGATE, '--version').strip()}"


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-compare-") as root:

        def fresh(name):
            directory = Path(root) / name
            directory.mkdir()
            Path(root).chmod(0o755)
            return directory

        pairs = {mode: paired(fresh(mode), fresh(f"bare_{mode}"), mode) for mode in ("fsync", "os")}
        table = {
            "bare hyper, signature recovered": bare(fresh("bare")),
            "the same and a bare group commit, fsync": rows_of(pairs["fsync"], 1),
            "the same and a bare group commit, os": rows_of(pairs["os"], 1),
            "tapgate, signed HTTP, fsync": rows_of(pairs["fsync"], 0),
            "tapgate, signed HTTP, os": rows_of(pairs["os"], 0),
            "PostgreSQL, synchronous_commit=on": postgres(fresh("pg_on"), "on"),
            "PostgreSQL, synchronous_commit=off": postgres(fresh("pg_off"), "off"),
            "Redis, appendfsync always": redis(fresh("redis_always"), "always"),
            "Redis, appendfsync everysec": redis(fresh("redis_everysec"), "everysec"),
        }
        engine = Engine(fresh("engine"))
        for durability, rows in engine.rows.items():
            table[f"tapgate, engine alone, {durability}"] = {clients: rows[clients] for clients in CLIENTS}
        used = memory()
        half = table["tapgate, signed HTTP, fsync"][64][0] / 2
        machine = stolen()
        late = tails(fresh("tail"), fresh("bare_tail"), half) if TAIL_PAIRS else None

    print(f"\n{versions()}\n{SECONDS} s a cell, {os.cpu_count()} cores\n{machine}\n")
    print("| authorizations a second (p50 / p99 in ms) | 1 | 16 | 64 |\n|---|---|---|---|")
    for name, rows in table.items():
        cells = (f"{tps:,.0f} ({p50:.2f} / {p99:.2f})".replace("nan", "–") for tps, p50, p99 in rows.values())
        print(f"| {name} | {' | '.join(cells)} |")

    bare_fsync, _, fsync = (table[name] for name in list(table)[1:4])
    at_64 = engine.rows["fsync"][64][0]
    redis_64 = table["Redis, appendfsync always"][64][0]
    postgres_64 = table["PostgreSQL, synchronous_commit=on"][64][0]

    targets = [
        *in_memory_targets(used),
        *engine.targets(),
        ("2. engine fsync / Redis always, 64", at_64 / redis_64, ">=", 4, engine.floor_64 / redis_64),
        ("2. engine fsync / PostgreSQL, 64", at_64 / postgres_64, ">=", 40, engine.floor_64 / postgres_64),
        ("3. HTTP fsync / PostgreSQL, 64", fsync[64][0] / postgres_64, ">=", 10, bare_fsync[64][0] / postgres_64),
        *(target for mode, sides in pairs.items() for target in http_targets(mode, sides)),
    ]  # fmt: skip
    for mode, sides in pairs.items():
        print(f"\n{mode}, 64 connections:\n\n{shown_threads(list(sides[64]))}")
    if late:
        (ours, theirs), disk_bytes, resident = late
        print(f"\nThe tail:\n\n{shown([ours, theirs])}\n\n{shown_threads([ours, theirs])}\n\nOf the tail, tapgate's slices over the bare server's, and the bare server's over each other (median, least, most):")
        for what, key, most in (("p99", "p99_us", 1.3), ("p99.9", "p999_us", 1.5)):
            (measured, *around), (same, *of_same) = ratio(ours.of(key), theirs.of(key)), noise(theirs.of(key))
            targets.append((f"4. tail at half capacity, {what} / the bare server's", measured, "<=", most, same))
            print(f"{what}: {measured:.2f} ({around[0]:.2f} to {around[1]:.2f}); {same:.2f} ({of_same[0]:.2f} to {of_same[1]:.2f})")
        targets.append(("4. tail at half capacity, the latest in ms", max(ours.of("max_us")), "<=", 400, max(theirs.of("max_us"))))
        print(f"\nUsers included, a decision leaves {disk_bytes:.0f} bytes on the disk; the process had {resident:,.0f} MiB after the tail.")
    print(f"An open authorization takes {used['per_open_authorization']} bytes of memory; a record {engine.record_bytes} of the journal.")
    tell(targets)


if __name__ == "__main__":
    main()
