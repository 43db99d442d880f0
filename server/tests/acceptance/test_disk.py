"""A disk that is full, read-only, broken, or tears a write under load: the process ends by itself and says why, nothing that
was answered is lost, and nothing that it could not write was approved.

The faults come from a library that is loaded before libc, so that the real program and the real RocksDB meet them.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from tapgate import STOP_SECONDS_MAX, Server, command
from test_durability import REQUESTS_PER_ROUND, Books, Load, assert_journal_verifies, furnished

SHIM = Path(__file__).with_name("disk_fault.c")

# What a fault does, and what the process says of it.
FAULTS = {
    "full": "No space left on device",
    "read-only": "Read-only file system",
    "broken": "Input/output error",
    "torn": "Input/output error",
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "disk_fault.so"
    compiler = shutil.which("cc") or pytest.skip("no C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    return library


class FaultyDisk:
    """A server whose disk fails on command."""

    def __init__(self, directory: Path, shim: Path, **options):
        self.when = directory / "fault"
        environment = {
            "LD_PRELOAD": str(shim),
            "DISK_FAULT_WHEN": str(self.when),
            "DISK_FAULT_UNDER": str(directory / "data"),
        }
        self.server = Server(directory, env=environment, **options)

    def fail(self, fault: str):
        # As one: the process must never read half a word.
        written = self.when.with_suffix(".new")
        written.write_text(fault)
        written.rename(self.when)

    def mend(self):
        self.when.unlink()


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_disk_ends_the_process_and_loses_no_answer(tmp_path, shim, fault, durability):
    if (fault, durability) == ("broken", "os"):
        pytest.skip("nothing is synced before an answer")
    disk = FaultyDisk(tmp_path, shim, durability=durability)
    server = disk.server.start()
    try:
        # What has no place in the journal any more is declined.
        books = Books(furnished(server), ("deadline_exceeded", "journal_unavailable"))
        load = Load(books.world, REQUESTS_PER_ROUND // 3, lambda: disk.fail(fault)).run(books.requests())
        assert server.process.wait(STOP_SECONDS_MAX) != 0, server.log_tail()
        said = server.log_tail()
        assert FAULTS[fault] in said, said
        assert "the process ends" in said, said
        disk.mend()
        server.start()
        books.check_after_restart(load)
        books.send_the_unheard_again(load)
        server.terminate()
        assert_journal_verifies(server)
    finally:
        server.close()


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_start_on_a_disk_that_takes_nothing_is_refused_and_loses_nothing(tmp_path, shim, fault):
    disk = FaultyDisk(tmp_path, shim)
    server = disk.server.start()
    try:
        books = Books(furnished(server))
        load = Load(books.world, REQUESTS_PER_ROUND, lambda: None).run(books.requests())
        server.kill9()
        disk.fail(fault)
        refused = command("serve", "--config", server.config_file, env=disk.server.env, cwd=server.directory, seconds=30)
        assert refused.returncode == 1, refused.stderr.decode(errors="replace")
        assert FAULTS[fault] in refused.stderr.decode(errors="replace")
        disk.mend()
        server.start()
        assert not load.unheard
        books.check_after_restart(load)
    finally:
        server.close()
