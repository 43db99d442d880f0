#!/usr/bin/env python3
"""Plants each fault in the sources, one after the other, and expects the simulation to find it.

    scripts/planted.py [PART OF A NAME …]

The work tree must be clean: sources are changed, and put back. A fault is a patch in server/src/sandbox/simulation/planted/
whose first lines say what it plants, the invariant that must be seen to break, and within how many seeds.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLANTED = ROOT / "server/src/sandbox/simulation/planted"
TEST = "sandbox::simulation::tests::no_seed_finds_anything"
STEPS_MAX = 10
FOUND = re.compile(
    r"^seed (?P<seed>\d+) finds (?P<first>\w+).*?"
    r"^shrunk to (?P<steps>\d+) steps, which find (?P<invariant>\w+)(?: at record (?P<record>\d+))?: (?P<what>.*?):$",
    re.MULTILINE | re.DOTALL,
)


def run(*command, seconds=1_800, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, **environment}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )


def header(patch: Path) -> dict[str, str]:
    lines = (line for line in patch.read_text().splitlines() if line.startswith("# "))
    return dict(line.removeprefix("# ").split(": ", 1) for line in lines)


def judge(patch: Path) -> tuple[str, str]:
    """An error, or an empty one, and what was found."""
    told = header(patch)
    applied = run("git", "apply", str(patch))
    if applied.returncode:
        return f"the patch does not apply: {applied.stdout}", ""
    try:
        built = run("cargo", "test", "--quiet", "--package", "tapgate", "--lib", "--no-run")
        if built.returncode:
            return f"it does not compile: {built.stdout[-2_000:]}", ""
        arguments = ("cargo", "test", "--quiet", "--package", "tapgate", "--lib", TEST)
        played = run(*arguments, SIMULATION_SEEDS=told["seeds"], RUST_BACKTRACE="0")
    finally:
        run("git", "apply", "--reverse", str(patch))
    found = FOUND.search(played.stdout)
    if not found:
        return f"nothing is found in {told['seeds']} seeds: {played.stdout[-1_000:]}", ""
    shown = (
        f"seed {found['seed']}, {found['steps']} steps, {found['invariant']}"
        f"{' at record ' + found['record'] if found['record'] else ''}: {found['what'][:200]}"
    )
    if found["invariant"] not in told["finds"].split(" or "):
        return f"{told['finds']} was to break", shown
    if int(found["steps"]) > STEPS_MAX:
        return f"{STEPS_MAX} steps were to be enough", shown
    return "", shown


def main() -> int:
    if run("git", "status", "--porcelain", "--untracked-files=no").stdout.strip():
        print("the work tree is not clean: commit first, what is planted is put back by its patch", file=sys.stderr)
        return 2
    wanted = sys.argv[1:]
    patches = [
        patch
        for patch in sorted(PLANTED.glob("*.patch"))
        if not wanted or any(part in patch.name for part in wanted)
    ]
    failed = 0
    for patch in patches:
        error, shown = judge(patch)
        failed += bool(error)
        print(f"{patch.stem}: {error or 'found'}\n    {shown}", flush=True)
    print(f"{len(patches) - failed} of {len(patches)} planted faults are found")
    return 1 if failed or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
