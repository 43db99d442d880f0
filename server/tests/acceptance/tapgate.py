"""The harness: starts, stops and kills one `tapgate serve`, signs callbacks as UR does, and talks to both listeners.

Nothing in here knows about money; see world.py for that.
"""

import hashlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import requests
from eth_account import Account
from eth_account.messages import encode_defunct

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("TAPGATE_BIN") or REPOSITORY / "target" / "debug" / "tapgate")

WEBHOOK = "/webhooks/ur"
BODY_BYTES_MAX = 64 * 1024

# A debug binary on a busy two-core machine: generous, because only a failing run ever waits this long.
READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
ANSWER_SECONDS_MAX = 20
POLL_SECONDS = 0.02
START_ATTEMPTS = 5
PORT_LEAST = 10_000

# Throw-away keys; they sign nothing outside these tests.
UR_KEY = Account.from_key("0x" + "a1" * 32)
SECOND_UR_KEY = Account.from_key("0x" + "a2" * 32)
PARTNER_KEY = Account.from_key("0x" + "b1" * 32)
STRANGER_KEY = Account.from_key("0x" + "c1" * 32)

# The order of the curve secp256k1, for the malleated twin of a signature.
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

ROLES = ("viewer", "operator", "treasurer")
TOKENS = {role: f"acceptance-{role}-token" for role in ROLES}


# --- signatures, always by eth-account -----------------------------------------------------------------------------


def sign(message: bytes, key=UR_KEY) -> str:
    """EIP-191 personal_sign as 0x and 130 hex digits."""
    return "0x" + bytes(key.sign_message(encode_defunct(message)).signature).hex()


def signer_of(message: bytes, signature: str) -> str:
    return Account.recover_message(encode_defunct(message), signature=signature)


def sign_v1(body: bytes, key=UR_KEY) -> dict:
    return {"X-Api-Signature": sign(body, key)}


def sign_v2(body: bytes, timestamp=None, request_id=None, key=UR_KEY) -> dict:
    timestamp = str(now() if timestamp is None else timestamp)
    request_id = request_id or fresh("delivery")
    message = f"{timestamp}.{request_id}.".encode() + body
    return {
        "X-Api-Signature-V2": sign(message, key),
        "X-Webhook-Timestamp": timestamp,
        "X-Webhook-Request-Id": request_id,
    }


def malleated(signature: str) -> str:
    """The other valid signature of the same message and key: s' = n - s (high), v flipped."""
    raw = bytes.fromhex(signature[2:])
    s = CURVE_ORDER - int.from_bytes(raw[32:64], "big")
    v = {27: 28, 28: 27}[raw[64]]
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([v])).hex()


# --- small things --------------------------------------------------------------------------------------------------


def now() -> int:
    return int(time.time())


def fresh(prefix: str) -> str:
    """An id that no other test and no earlier run has used."""
    return f"{prefix}_{secrets.token_hex(8)}"


def eventually(check, seconds=10):
    """Polls until `check()` is true and returns its value: for figures that follow the journal lazily."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(POLL_SECONDS)


def at_once(function, items) -> list:
    """`function` on every item, all threads released by one barrier; results in the order of the items."""
    items = list(items)
    barrier = threading.Barrier(len(items))

    def one(item):
        barrier.wait()
        return function(item)

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(one, items))


def in_parallel(function, items, threads=8) -> list:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def error_code(response) -> str:
    """The code of an error answer, whose form is fixed: {"error":{"code":"…","message":"…"}}."""
    body = response.json()
    assert set(body) == {"error"}, body
    assert {"code", "message"} <= set(body["error"]), body
    assert isinstance(body["error"]["code"], str) and body["error"]["code"], body
    assert isinstance(body["error"]["message"], str) and body["error"]["message"], body
    return body["error"]["code"]


# --- configuration -------------------------------------------------------------------------------------------------


def toml_value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    raise TypeError(f"no TOML form for {value!r}")


def to_toml(config: dict) -> str:
    lines = [f"{key} = {toml_value(value)}" for key, value in config.items() if not isinstance(value, dict)]
    for section, keys in config.items():
        if isinstance(keys, dict):
            lines.append(f"[{section}]")
            lines += [f"{key} = {toml_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def default_config(data_dir: Path, durability: str = "fsync") -> dict:
    return {
        "data_dir": str(data_dir),
        "durability": durability,
        "listen": {"public": "127.0.0.1:0", "admin": "127.0.0.1:0"},
        "ur": {
            # The discard port: should anything call UR in spite of `feeds = false`, it fails at once and stays here.
            "base_url": "http://127.0.0.1:9",
            "signers": [UR_KEY.address, SECOND_UR_KEY.address],
            "partner_key": "0x" + bytes(PARTNER_KEY.key).hex(),
            "ops_ur_id": "9999",
            "require_v2": False,
            "timestamp_window_seconds": 300,
            "feeds": False,
        },
        "decision": {
            "deadline_ms": 400,
            "funding": "crypto",
            "card_currency": "EUR",
            "limit_weight": 1,
        },
        # Alerts are raised where a test is about them.
        "treasury": {"watch_interval_seconds": 3600},
        "admin": {
            "tokens": [
                {"name": role, "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()}
                for role, token in TOKENS.items()
            ]
        },
    }


def merged(config: dict, overrides: dict) -> dict:
    """Overrides win, section by section."""
    result = dict(config)
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = {**result[key], **value}
        else:
            result[key] = value
    return result


def clean_environment(extra: dict | None = None) -> dict:
    """Settings of the person who runs the tests must not reach the program."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TAPGATE")}
    return {**kept, "RUST_BACKTRACE": "1", "NO_COLOR": "1", **(extra or {})}


def command(*arguments, stdin=b"", env=None, cwd=None, seconds=60) -> subprocess.CompletedProcess:
    """Runs `tapgate ARGUMENTS` to its end."""
    line = [str(BINARY), *map(str, arguments)]
    environment = clean_environment(env)
    return subprocess.run(line, input=stdin, capture_output=True, env=environment, cwd=cwd, timeout=seconds)


def refused(*arguments, **options) -> str:
    """What a command says that fails."""
    result = command(*arguments, **options)
    assert result.returncode == 1, result.stdout
    return result.stderr.decode()


def bytes_of(data_dir: Path) -> dict:
    """Records, rows and the head: what RocksDB says of itself is none of them."""
    files = (file for file in data_dir.rglob("*") if file.is_file() and not file.name.startswith("LOG"))
    return {file: file.read_bytes() for file in files}


def raw_callback(body: bytes, headers: dict) -> bytes:
    """A callback as it goes over a connection of one's own."""
    headers = {**headers, "Content-Length": str(len(body)), "Host": "tapgate"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {WEBHOOK} HTTP/1.1\r\n{head}\r\n".encode() + body


def free_ports(count: int) -> list[int]:
    """Below those that the system gives to connections: one of those could be taken before its server takes it."""
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    sockets = []
    try:
        while len(sockets) < count:
            sockets.append(socket.socket())
            try:
                sockets[-1].bind(("127.0.0.1", PORT_LEAST + secrets.randbelow(lowest_given - PORT_LEAST)))
            except OSError:
                sockets.pop().close()
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


# --- the server ----------------------------------------------------------------------------------------------------


class Server:
    """One `tapgate serve` on a data directory that survives its restarts."""

    # Every server not closed yet, so that a failing test can show what they logged.
    running: ClassVar[list["Server"]] = []

    def __init__(
        self,
        directory: Path,
        durability="fsync",
        config: dict | None = None,
        env: dict | None = None,
        files: tuple[int, int] | None = None,
    ):
        """`files`: how many the process may open, its soft and its hard limit."""
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = self.directory / "data"
        self.config_file = self.directory / "tapgate.toml"
        self.log_file = self.directory / "stderr.log"
        self.env = env or {}
        self.limits = [] if files is None else ["prlimit", f"--nofile={files[0]}:{files[1]}"]
        self.config = merged(default_config(self.data_dir, durability), config or {})
        self.process = None
        self.ports = None
        self._local = threading.local()
        Server.running.append(self)

    def start(self) -> "Server":
        """Starts and waits for /readyz. Ports stay the same over restarts unless somebody took them meanwhile."""
        for attempt in range(START_ATTEMPTS):
            if self.ports is None or attempt > 0:
                self.ports = free_ports(2)
            self._spawn()
            if self._becomes_ready():
                return self
            self.stop_hard()
            if "in use" not in self.log_tail().lower():
                break
        raise AssertionError(f"tapgate serve did not become ready:\n{self.log_tail()}")

    def _spawn(self):
        listen = {"public": f"127.0.0.1:{self.ports[0]}", "admin": f"127.0.0.1:{self.ports[1]}"}
        self.config = merged(self.config, {"listen": listen})
        self.config_file.write_text(to_toml(self.config))
        self._local = threading.local()
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*self.limits, str(BINARY), "serve", "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(self.env),
                cwd=self.directory,
            )

    def _becomes_ready(self) -> bool:
        def answers():
            if self.process.poll() is not None:
                return "exited"
            try:
                ready = requests.Session()
                ready.trust_env = False
                return "ready" if ready.get(self.admin_url + "/readyz", timeout=5).status_code == 200 else None
            except requests.RequestException:
                return None

        return eventually(answers, READY_SECONDS_MAX) == "ready"

    def kill9(self):
        """As a power cut to the process: nothing of it runs after this."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS_MAX)

    def terminate(self):
        """An orderly stop must end with exit code 0."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_for_exit_0()

    def wait_for_exit_0(self):
        code = self.process.wait(STOP_SECONDS_MAX)
        assert code == 0, f"exit code {code} after SIGTERM:\n{self.log_tail()}"

    def restart(self):
        self.terminate()
        self.start()

    def stop_hard(self):
        if self.process is not None and self.process.poll() is None:
            self.kill9()

    def close(self):
        self.stop_hard()
        if self in Server.running:
            Server.running.remove(self)

    def log_tail(self, lines=60) -> str:
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    # --- HTTP

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def session(self) -> requests.Session:
        """One kept-alive session per thread, and new ones after a restart."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        return self._local.session

    def post(self, body: bytes, headers: dict | None = None, content_type="application/json") -> requests.Response:
        """POSTs to the webhook exactly these bytes with exactly these headers; signs V1 where `headers` is None."""
        headers = dict(sign_v1(body) if headers is None else headers)
        if content_type is not None:
            headers["Content-Type"] = content_type
        return self.session().post(self.public_url + WEBHOOK, data=body, headers=headers, timeout=ANSWER_SECONDS_MAX)

    def metrics(self) -> str:
        """What /metrics shows now: it renders at most once a second, so the text at hand may be older."""
        look = lambda: self.session().get(f"{self.admin_url}/metrics", timeout=ANSWER_SECONDS_MAX)  # noqa: E731
        seen = look().headers["ETag"]
        return eventually(lambda: (answer := look()).headers["ETag"] != seen and answer.text)

    def admin(self, method: str, path: str, body=None, role="operator", headers: dict | None = None, raw=None):
        """Any admin request as a role (None: without a token). `body` is sent as JSON, `raw` as it is."""
        headers = dict(headers or {})
        if role is not None:
            headers.setdefault("Authorization", f"Bearer {TOKENS[role]}")
        if body is not None:
            raw = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        url = self.admin_url + path
        return self.session().request(method, url, data=raw, headers=headers, timeout=ANSWER_SECONDS_MAX)

    def admin_ok(self, method: str, path: str, body=None, **options) -> dict:
        """An admin request that must succeed; its JSON. While the disk stalls, a read is `not_ready`: it is asked again."""

        def answer():
            response = self.admin(method, path, body, **options)
            return None if method == "GET" and response.status_code == 503 else response

        response = eventually(answer) or self.admin(method, path, body, **options)
        assert response.status_code == 200, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def connect(self) -> socket.socket:
        """A bare connection to the public listener, for requests that no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.ports[0]), timeout=ANSWER_SECONDS_MAX)


class RawAnswer:
    """What came back on a bare socket, with the part of requests' interface that `error_code` needs."""

    def __init__(self, connection: socket.socket, method="POST"):
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        self.status_code = answer.status
        self.text = answer.read().decode()

    def json(self):
        return json.loads(self.text)


def send_raw(server: Server, *parts: bytes) -> RawAnswer:
    """Sends the parts and reads one answer. A server may answer and hang up before it has read all of them."""
    with server.connect() as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return RawAnswer(connection)
