"""The same authorization by PostgreSQL, Redis and tapgate, one after the other on this machine, in one table.

Peers are private instances in a temporary directory, on a socket or port of their own, and are stopped in the end. They do no
HTTP and check no signature; tapgate over HTTP does both, and stands beside a bare hyper server that verifies the signature and
answers a constant. Criterion's benches give the engine without HTTP.

Environment: SECONDS_PER_CELL (10), TAIL_SECONDS (600, 0 leaves the tail out), and TAPGATE_BIN, TAPGATE_LOAD_BIN, CRITERION_DIR as `make compare` sets them.
"""

import json
import mmap
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from targets import CLIENTS, LOAD, SECONDS, Engine, in_memory_targets, memory, row, run, say, tell

HERE = Path(__file__).resolve().parent
TAIL_SECONDS = int(os.environ.get("TAIL_SECONDS", "600"))
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
        yield port
    finally:
        server.kill()
        server.wait()


def bare(directory: Path, durability: str | None = None) -> dict:
    """The least that a server of signed callbacks does; with a durability, the least of one that keeps what it answered."""
    with bare_serving(directory, durability) as port:
        rows = {}
        for clients in CLIENTS:
            say(f"bare hyper with signature recovery, keeping {durability or 'nothing'}, {clients} connections")
            rows[clients] = row(load(directory, port, clients, "--bare"))
        return rows


def bare_tail(directory: Path, rate: float) -> dict:
    """What the machine and the load generator alone make of the tail, with nothing decided and a bare group commit."""
    say(f"the bare server's tail: {rate:,.0f} a second")
    with bare_serving(directory, "fsync") as port:
        return load(directory, port, 256, "--bare", "--rate", rate, seconds=min(60, TAIL_SECONDS))["latency"]


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


def tapgate(directory: Path, durability: str) -> dict:
    with serving(directory, durability) as (public, _, admin):
        rows = {}
        for clients in CLIENTS:
            say(f"tapgate over signed HTTP, {durability}, {clients} connections")
            rows[clients] = row(load(directory, public, clients, *MIX, *admin))
        return rows


def tail(directory: Path, rate: float):
    """An open loop at half of what the closed one reached: latency counts from when each callback was due."""
    say(f"the tail: {rate:,.0f} a second for {TAIL_SECONDS} s, of {TAIL_USERS:,} users")
    with serving(directory, "fsync") as (public, server, admin):
        said = load(directory, public, 256, *admin, "--rate", rate, "--users", TAIL_USERS, seconds=TAIL_SECONDS)
        resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text()).group(1)
    kept = sum(file.stat().st_size for file in (directory / "data").rglob("*") if file.is_file())
    return said["latency"], kept / said["answered"], int(resident) / 1024


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

        table = {
            "bare hyper, signature recovered": bare(fresh("bare")),
            "the same and a bare group commit, fsync": bare(fresh("bare_fsync"), "fsync"),
            "the same and a bare group commit, os": bare(fresh("bare_os"), "os"),
            "tapgate, signed HTTP, fsync": tapgate(fresh("fsync"), "fsync"),
            "tapgate, signed HTTP, os": tapgate(fresh("os"), "os"),
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
        late = (*tail(fresh("tail"), half), bare_tail(fresh("bare_tail"), half)) if TAIL_SECONDS else None

    print(f"\n{versions()}\n{SECONDS} s a cell, {os.cpu_count()} cores\n{machine}\n")
    print("| authorizations a second (p50 / p99 in ms) | 1 | 16 | 64 |\n|---|---|---|---|")
    for name, rows in table.items():
        cells = (f"{tps:,.0f} ({p50:.2f} / {p99:.2f})".replace("nan", "–") for tps, p50, p99 in rows.values())
        print(f"| {name} | {' | '.join(cells)} |")

    floor, bare_fsync, bare_os, fsync, os_mode = (table[name] for name in list(table)[:5])
    at_64 = engine.rows["fsync"][64][0]
    redis_64 = table["Redis, appendfsync always"][64][0]
    postgres_64 = table["PostgreSQL, synchronous_commit=on"][64][0]

    def synced(rows):
        return (rows[1][1] - floor[1][1]) / engine.sync_write_ms

    targets = [
        *in_memory_targets(used),
        *engine.targets(),
        ("2. engine fsync / Redis always, 64", at_64 / redis_64, ">=", 4, engine.floor_64 / redis_64),
        ("2. engine fsync / PostgreSQL, 64", at_64 / postgres_64, ">=", 40, engine.floor_64 / postgres_64),
        ("3. HTTP os / bare hyper, 64", os_mode[64][0] / floor[64][0], ">=", 0.9, bare_os[64][0] / floor[64][0]),
        ("3. HTTP fsync / bare hyper, 64", fsync[64][0] / floor[64][0], ">=", 0.8, bare_fsync[64][0] / floor[64][0]),
        ("3. HTTP fsync / PostgreSQL, 64", fsync[64][0] / postgres_64, ">=", 10, bare_fsync[64][0] / postgres_64),
        ("3. HTTP fsync p99 in ms, 64", fsync[64][2], "<=", 5, bare_fsync[64][2]),
        ("3. p50 at one connection, os / bare hyper", os_mode[1][1] / floor[1][1], "<=", 1.2, bare_os[1][1] / floor[1][1]),
        ("3. p50 at one connection, fsync less bare hyper, in RocksDB sync writes", synced(fsync), "<=", 1.3, synced(bare_fsync)),
    ]  # fmt: skip
    if late:
        latency, disk_bytes, resident, bare_latency = late
        for what, key, most in (("p99", "p99_us", 5), ("p99.9", "p999_us", 20), ("the latest", "max_us", 400)):
            targets.append((f"4. tail at half capacity, {what} in ms", latency[key] / 1000, "<=", most, bare_latency[key] / 1000))
        print(f"\nUsers included, a decision leaves {disk_bytes:.0f} bytes on the disk; the process had {resident:,.0f} MiB after the tail.")
    print(f"An open authorization takes {used['per_open_authorization']} bytes of memory; a record {engine.record_bytes} of the journal.")
    tell(targets)


if __name__ == "__main__":
    main()
