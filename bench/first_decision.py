"""How long a newcomer waits: `make demo` in a fresh clone of this repository's last commit, until its first decision is
answered. RocksDB comes from the compiler cache where it was compiled before; else its build is in the figure.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from targets import say

REPOSITORY = Path(__file__).resolve().parent.parent
# The line with which the sandbox says how to send a card tap by hand.
TRY = "try: "


def seconds(directory: Path) -> float:
    say("make demo in a clone, until its first decision")
    clone = directory / "tapgate"
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR" and not name.startswith("MAKE")}
    environment |= {"TAPGATE__LISTEN__PUBLIC": "127.0.0.1:0", "TAPGATE__LISTEN__ADMIN": "127.0.0.1:0"}
    began = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    command = ["make", "--no-print-directory", "demo"]
    # A group of its own, so that make, cargo and the sandbox end together.
    demo = subprocess.Popen(command, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for line in demo.stdout:
            if line.startswith(TRY):
                answer = subprocess.run(["bash", "-c", line.removeprefix(TRY)], capture_output=True, text=True, check=True)
                if "approved" not in answer.stdout:
                    sys.exit(f"bench: the first decision is none: {answer.stdout}")
                return time.monotonic() - began
        sys.exit("bench: make demo ended before its first decision")
    finally:
        os.killpg(demo.pid, 15)
        demo.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="tapgate-clone-") as root:
        print(f"{seconds(Path(root)):.0f} s from clone to first decision")


if __name__ == "__main__":
    main()
