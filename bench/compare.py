"""The same authorization by PostgreSQL, Redis and tapgate, one after the other on this machine, in one table.

Peers are private instances in a temporary directory, on a socket or port of their own, and are stopped in the end. They do no
HTTP and check no signature; tapgate over HTTP does both, and stands beside a bare hyper server that verifies the signature and
answers a constant. Criterion's benches give the engine without HTTP.

Environment: SECONDS_PER_CELL (10), TAIL_SECONDS (600, 0 leaves the tail out), and TAPGATE_BIN, TAPGATE_LOAD_BIN, CRITERION_DIR as `make compare` sets them.
"""

import json
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
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = int(os.environ.get("SECONDS_PER_CELL", "10"))
TAIL_SECONDS = int(os.environ.get("TAIL_SECONDS", "600"))
TAPGATE, LOAD = os.environ["TAPGATE_BIN"], os.environ["TAPGATE_LOAD_BIN"]
CRITERION = Path(os.environ["CRITERION_DIR"])
CLIENTS = (1, 16, 64)
# What the peers do, too: every one is approved.
MIX = ("--mix", "approve=100")
KEY = "0x" + "a1" * 32
TOKEN = "compare"


def say(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"compare: {command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, process):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"compare: {process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"compare: {process.args[0]} does not listen on {port}")


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


def row(said: dict):
    latency = said["latency"]
    return said["per_second"], latency["p50_us"] / 1000, latency["p99_us"] / 1000


def alone(what: str, directory: Path, *more):
    """The engine without HTTP, or the floor that it writes on."""
    return json.loads(run(LOAD, what, "--dir", directory, "--seconds", SECONDS, "--json", *more))


def bare(directory: Path) -> dict:
    (directory / "ur.key").write_text(KEY)
    port = free_port()
    server = subprocess.Popen([LOAD, "bare", "--listen", f"127.0.0.1:{port}", "--ur-key-file", directory / "ur.key"])
    try:
        wait_for(port, server)
        rows = {}
        for clients in CLIENTS:
            say(f"bare hyper with signature recovery, {clients} connections")
            rows[clients] = row(load(directory, port, clients, "--bare"))
        return rows
    finally:
        server.kill()
        server.wait()


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
    say(f"the tail: {rate:,.0f} a second for {TAIL_SECONDS} s")
    with serving(directory, "fsync") as (public, server, admin):
        said = load(directory, public, 256, *admin, "--rate", rate, seconds=TAIL_SECONDS)
        resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text()).group(1)
    kept = sum(file.stat().st_size for file in (directory / "data").rglob("*") if file.is_file())
    return said["latency"], kept / said["answered"], int(resident) / 1024


def criterion_nanos(bench: str) -> float:
    return json.loads((CRITERION / bench / "new" / "estimates.json").read_text())["median"]["point_estimate"]


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
            "tapgate, signed HTTP, fsync": tapgate(fresh("fsync"), "fsync"),
            "tapgate, signed HTTP, os": tapgate(fresh("os"), "os"),
            "PostgreSQL, synchronous_commit=on": postgres(fresh("pg_on"), "on"),
            "PostgreSQL, synchronous_commit=off": postgres(fresh("pg_off"), "off"),
            "Redis, appendfsync always": redis(fresh("redis_always"), "always"),
            "Redis, appendfsync everysec": redis(fresh("redis_everysec"), "everysec"),
        }
        engine, record_bytes = {}, 0
        for durability in ("fsync", "os"):
            say(f"the engine alone, {durability}")
            mode = ("--durability", durability)
            engine[durability] = {}
            for waiters in (*CLIENTS, 256):
                said = alone("engine", fresh(f"engine_{durability}_{waiters}"), "--waiters", waiters, *mode)
                engine[durability][waiters], record_bytes = row(said), said["record_bytes"]
            table[f"tapgate, engine alone, {durability}"] = {clients: engine[durability][clients] for clients in CLIENTS}
        say("the durable floors")
        # Of the engine's records' size; 0 waiters: one write after the other, without a queue.
        floors = {
            waiters: row(alone("floor", fresh(f"floor_{waiters}"), "--bytes", record_bytes, "--waiters", waiters if waiters > 1 else 0))
            for waiters in (1, 256)
        }
        say("memory")
        memory = json.loads(run(LOAD, "memory", "--json"))
        late = tail(fresh("tail"), table["tapgate, signed HTTP, fsync"][64][0] / 2) if TAIL_SECONDS else None

    print(f"\n{versions()}\n{SECONDS} s a cell, {os.cpu_count()} cores\n")
    print("| authorizations a second (p50 / p99 in ms) | 1 | 16 | 64 |\n|---|---|---|---|")
    for name, rows in table.items():
        cells = (f"{tps:,.0f} ({p50:.2f} / {p99:.2f})".replace("nan", "–") for tps, p50, p99 in rows.values())
        print(f"| {name} | {' | '.join(cells)} |")

    floor, fsync, os_mode = (table[name] for name in list(table)[:3])
    sync_write_ms = floors[1][1]
    at_256 = engine["fsync"][256][0] / floors[256][0]
    postgres_64 = table["PostgreSQL, synchronous_commit=on"][64][0]
    ratios = [
        ("1. decision, all controls, 1 M users / floor", criterion_nanos("decision_all_controls") / criterion_nanos("decision_floor"), "<=", 2.5),
        ("1. two threads / one", criterion_nanos("decision_all_controls") / criterion_nanos("decision_all_controls_two_threads"), ">=", 1.6),
        ("2. engine fsync / bare group commit, 256 waiters", at_256, ">=", 0.6),
        ("2. engine fsync / Redis always, 64", engine["fsync"][64][0] / table["Redis, appendfsync always"][64][0], ">=", 4),
        ("2. engine fsync / PostgreSQL, 64", engine["fsync"][64][0] / postgres_64, ">=", 40),
        ("2. one decision / one RocksDB sync write", engine["fsync"][1][1] / sync_write_ms, "<=", 1.2),
        ("3. HTTP os / bare hyper, 64", os_mode[64][0] / floor[64][0], ">=", 0.9),
        ("3. HTTP fsync / bare hyper, 64", fsync[64][0] / floor[64][0], ">=", 0.8),
        ("3. HTTP fsync / PostgreSQL, 64", fsync[64][0] / postgres_64, ">=", 10),
        ("3. HTTP fsync p99 in ms, 64", fsync[64][2], "<=", 5),
        ("3. p50 at one connection, os / bare hyper", os_mode[1][1] / floor[1][1], "<=", 1.2),
        ("3. p50 at one connection, fsync less bare hyper, in RocksDB sync writes", (fsync[1][1] - floor[1][1]) / sync_write_ms, "<=", 1.3),
        ("5. decision at 10 M users / at 10 k", criterion_nanos("decision_users/10000000") / criterion_nanos("decision_users/10000"), "<=", 2.5),
        ("5. bytes per idle user", memory["per_idle_user"], "<=", 300),
        ("5. recovery, users a second (one core)", 1e15 / criterion_nanos("recovery/users"), ">=", 1_000_000),
    ]  # fmt: skip
    if late:
        latency, disk_bytes, resident = late
        ratios += [
            ("4. tail at half capacity, p99 in ms", latency["p99_us"] / 1000, "<=", 5),
            ("4. tail, p99.9 in ms", latency["p999_us"] / 1000, "<=", 20),
            ("4. tail, the latest in ms", latency["max_us"] / 1000, "<=", 400),
        ]
        print(f"\nA decision leaves {disk_bytes:.0f} bytes on the disk; the process had {resident:,.0f} MiB after the tail.")
    print(f"An open authorization takes {memory['per_open_authorization']} bytes of memory; a record {record_bytes} of the journal.")
    print("\n| target | measured | asked | verdict |\n|---|---|---|---|")
    for name, measured, relation, asked in ratios:
        met = measured <= asked if relation == "<=" else measured >= asked
        print(f"| {name} | {measured:,.2f} | {relation} {asked:,} | {'met' if met else 'missed'} |")


if __name__ == "__main__":
    main()
