"""What runs beside decisions in life: a receiver of deliveries, and people who look at the console."""

import subprocess
import threading
import urllib.request
from contextlib import contextmanager

from servers import TOKEN, free_port, wait_for
from targets import LOAD, say

# What a person at the console and a scraper of metrics ask for, once in this time.
LOOK_SECONDS = 1.0
LOOKS = ("/metrics", "/api/v1/pools", "/api/v1/pools/EUR", "/api/v1/alerts", "/api/v1/breaks", "/api/v1/authorizations?limit=20")


@contextmanager
def receiver():
    """The port of a receiver that accepts everything at once."""
    port = free_port()
    process = subprocess.Popen([LOAD, "receive", "--listen", f"127.0.0.1:{port}"])
    try:
        wait_for(port, process)
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def console(admin: str):
    """Looks at everything again and again while it lasts; a look that fails is told."""
    ended, failed = threading.Event(), []

    def look():
        while not ended.wait(LOOK_SECONDS):
            for path in LOOKS:
                request = urllib.request.Request(admin + path, headers={"Authorization": f"Bearer {TOKEN}"})
                try:
                    urllib.request.urlopen(request, timeout=10).read()
                except OSError as error:
                    failed.append(f"{path}: {error}")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()
        if failed:
            say(f"{len(failed)} looks at the console failed, the first at {failed[0]}")
