"""Those who are told: webhook receivers that misbehave on demand, and a mail server. Signatures are judged by the
reference library of the Standard Webhooks specification and nothing else.
"""

import json
import mailbox
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from tapgate import eventually, free_ports

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"

# What a receiver does with a request, beside answering with a status.
FORGET = "forget"
SLOW_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict
    body: bytes
    accepted: bool

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return self.json["type"]

    @property
    def data(self) -> dict:
        return self.json["data"]

    @property
    def place(self) -> tuple[int, int]:
        _, record, part = self.id.split("_")
        return int(record), int(part)


class Receiver:
    """An HTTP server that notes what it is sent. `behave` says what it does with each request: a status, or FORGET,
    which reads the request and hangs up without an answer.
    """

    def __init__(self, behave=lambda request: 204, port=0, secrets=(SECRET,)):
        self.behave = behave
        self.secrets = secrets
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._server = None
        self.port = port or free_ports(1)[0]

    def start(self) -> "Receiver":
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.note(self.path, headers, body)
                if status == FORGET:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Listening(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                """The other side is killed now and then."""

        self._server = Listening(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def note(self, path, headers, body):
        request = Request(path, headers, body, False)
        with self._lock:
            status = self.behave(request)
            accepted = isinstance(status, int) and 200 <= status < 300
            self.requests.append(Request(path, headers, body, accepted))
        return status

    def url(self, path="/hooks", scheme="http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def webhook(self, **settings) -> dict:
        return {"url": self.url(), "secret": SECRET, **settings}

    # --- what came

    def seen(self) -> list[Request]:
        with self._lock:
            return list(self.requests)

    def accepted(self) -> list[Request]:
        return [request for request in self.seen() if request.accepted]

    def accepted_ids(self) -> set[str]:
        return {request.id for request in self.accepted()}

    def about(self, user) -> list[Request]:
        """What was accepted about a user, each message once, in the order in which it first came."""
        first = {}
        for request in self.accepted():
            if request.data.get("urId") == user.ur_id:
                first.setdefault(request.id, request)
        return list(first.values())

    def types(self, user) -> list[str]:
        return [request.type for request in self.about(user)]

    def wait_for(self, user, types, seconds=20) -> list[Request]:
        """Waits until exactly these types were accepted about a user, in this order."""
        eventually(lambda: self.types(user) == types, seconds)
        assert self.types(user) == types
        return self.about(user)

    def assert_honest(self):
        """Every request is signed for each secret, and a repetition has the same body."""
        bodies = {}
        for request in self.seen():
            for secret in self.secrets:
                assert Webhook(secret).verify(request.body, request.headers) == request.json
            assert bodies.setdefault(request.id, request.body) == request.body, request.id
            assert request.headers["content-type"] == "application/json"

    def assert_ordered_by_user(self):
        """Whatever was accepted of a user for the first time came behind all that was before it."""
        last, known = {}, set()
        for request in self.accepted():
            user = request.data.get("urId")
            if user is None or request.id in known:
                continue
            known.add(request.id)
            assert request.place > last.get(user, (0, 0)), f"{request.id} came behind {last[user]}"
            last[user] = request.place


class MailServer:
    """A real SMTP server in a process of its own; it keeps mails in a Maildir."""

    def __init__(self, directory: Path):
        self.directory = Path(directory) / "mails"
        self.port = free_ports(1)[0]
        handler = ("-c", "aiosmtpd.handlers.Mailbox", str(self.directory))
        listen = ("-n", "-l", f"127.0.0.1:{self.port}")
        self.process = subprocess.Popen([sys.executable, "-m", "aiosmtpd", *listen, *handler])
        assert eventually(self._listens, 20), "the mail server did not start"

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def settings(self) -> dict:
        to = ["Treasury <treasury@example.org>", "ops@example.org"]
        return {"host": "127.0.0.1", "port": self.port, "tls": "none", "from": "tapgate@example.org", "to": to}

    def mails(self) -> list:
        found = list(mailbox.Maildir(self.directory, create=False)) if self.directory.exists() else []
        return sorted(found, key=lambda mail: mail["Message-ID"])

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def now_and_then(*answers, then=204):
    """Answers one after another, then the last one for good."""
    script = list(answers)
    return lambda request: script.pop(0) if script else then


def slow(answer):
    def behave(request):
        time.sleep(SLOW_SECONDS)
        return answer(request)

    return behave
