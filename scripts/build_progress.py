#!/usr/bin/env python3
"""Runs a cargo command, and shows how far RocksDB is while its C++ compiles: build_progress.py TARGET cargo build ...

RocksDB takes minutes, and cargo shows nothing of it. On a terminal one line is redrawn; in a log a line is printed every
30 s. Where RocksDB is built already, cargo runs alone with its own progress bar.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

LOG_SECONDS = 30
REDRAW_SECONDS = 1
# What librocksdb-sys compiles beside its list: snappy.
SNAPPY_FILES = 3
# The first objects come in a burst, from which no pace can be told.
ESTIMATE_AFTER_SECONDS = 15


def sources() -> int:
    """How many files RocksDB has in the version that Cargo.lock names; 0 while cargo has not downloaded it."""
    lock = Path(__file__).resolve().parent.parent / "Cargo.lock"
    version = re.search(r'name = "librocksdb-sys"\nversion = "([^"]+)"', lock.read_text())
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    for listed in home.glob(f"registry/src/*/librocksdb-sys-{version[1]}/rocksdb_lib_sources.txt"):
        return len(listed.read_text().split()) + SNAPPY_FILES
    return 0


def objects(builds: Path, since: float) -> int:
    """The objects of the build that is running: those written since it began."""
    return sum(written.stat().st_mtime >= since for written in builds.glob("librocksdb-sys-*/out/*.o"))


class Progress:
    """What is known of the build, as one line."""

    def __init__(self, builds: Path):
        self.builds = builds
        self.began = time.time()
        self.first = None

    def line(self) -> str:
        """Empty unless RocksDB compiles right now."""
        done, total = objects(self.builds, self.began), sources()
        if not done or done >= total:
            return ""
        now = time.monotonic()
        self.first = self.first or (now, done)
        compiled, seconds = done - self.first[1], now - self.first[0]
        if compiled == 0 or seconds < ESTIMATE_AFTER_SECONDS:
            return f"RocksDB: {done} of {total} files compiled"
        minutes = (total - done) * seconds / compiled / 60
        left = f"about {minutes:.0f} min" if minutes >= 1.5 else "about a minute"
        return f"RocksDB: {done} of {total} files compiled, {left} left (only in the first build)"


def on_terminal(command: list, progress: Progress) -> int:
    """cargo's own lines go past through here, so that ours stays the last one."""
    environment = os.environ.copy()
    if "NO_COLOR" not in environment:
        environment.setdefault("CARGO_TERM_COLOR", "always")
    cargo = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    writing = threading.Lock()
    shown = ""

    def forward():
        for line in cargo.stderr:
            with writing:
                sys.stderr.write("\r\x1b[K" + line.decode(errors="replace") + shown)
                sys.stderr.flush()

    reader = threading.Thread(target=forward)
    reader.start()
    while reader.is_alive():
        reader.join(REDRAW_SECONDS)
        line = progress.line()[: shutil.get_terminal_size().columns - 1] if reader.is_alive() else ""
        with writing:
            if line or shown:
                sys.stderr.write("\r\x1b[K" + line)
                sys.stderr.flush()
            shown = line
    return cargo.wait()


def in_log(command: list, progress: Progress) -> int:
    cargo = subprocess.Popen(command)
    while True:
        try:
            return cargo.wait(timeout=LOG_SECONDS)
        except subprocess.TimeoutExpired:
            if line := progress.line():
                print(line, file=sys.stderr, flush=True)


def main() -> int:
    target, command = Path(sys.argv[1]), sys.argv[2:]
    optimised = "--release" in command or "bench" in command
    builds = target / ("release" if optimised else "debug") / "build"
    if any(builds.glob("librocksdb-sys-*/out/librocksdb.a")):
        os.execvp(command[0], command)
    run = on_terminal if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else in_log
    try:
        return run(command, Progress(builds))
    except KeyboardInterrupt:
        # cargo got the same signal.
        return 130


if __name__ == "__main__":
    sys.exit(main())
