#!/usr/bin/env python3
"""Switches off each defence of the threat model, one after the other, and expects its test to fail.

    scripts/defences.py [PART OF A THREAT …]

The work tree must be clean: sources are changed, and put back. TAPGATE_VENV: the acceptance tests' virtual environment.
"""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEFENCES = ROOT / "server/tests/defences/defences.toml"
ACCEPTANCE = ROOT / "server/tests/acceptance"
TIMED_OUT = 124


def target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def run(*command, cwd=ROOT, seconds=1_800, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, **environment}
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, TIMED_OUT, f"not done after {seconds} s")


def build(defence: dict) -> subprocess.CompletedProcess:
    if "acceptance" in defence:
        return run("cargo", "build", "--quiet", "--package", "tapgate")
    package, _ = defence["rust"].split()
    return run("cargo", "test", "--quiet", "--package", package, "--all-features", "--no-run")


def test(defence: dict) -> subprocess.CompletedProcess:
    if "acceptance" in defence:
        python = Path(os.environ.get("TAPGATE_VENV", target() / "acceptance-venv")) / "bin/python"
        binary = str(target() / "debug/tapgate")
        arguments = defence["acceptance"].split()
        return run(str(python), "-m", "pytest", "-q", "-x", *arguments, cwd=ACCEPTANCE, seconds=300, TAPGATE_BIN=binary)
    package, name = defence["rust"].split()
    return run("cargo", "test", "--quiet", "--package", package, "--all-features", name, seconds=300)


def has_failed(outcome: subprocess.CompletedProcess) -> bool:
    """That a test failed, and not the harness: a program that does not start, or does not end, proves nothing."""
    of_pytest = outcome.returncode == 1 and re.search(r"\b[1-9]\d* (failed|error)", outcome.stdout)
    is_tested = "test result: FAILED" in outcome.stdout or of_pytest is not None
    return is_tested and outcome.returncode != TIMED_OUT and "did not become ready" not in outcome.stdout


def has_passed(outcome: subprocess.CompletedProcess) -> bool:
    """That at least one test ran."""
    return outcome.returncode == 0 and bool(re.search(r"\b[1-9]\d* passed", outcome.stdout))


def without(defence: dict) -> str | None:
    """What is wrong, if anything: the defence is switched off for as long as this takes."""
    file = ROOT / defence["file"]
    source = file.read_text()
    if source.count(defence["with"]) != 1:
        return f"{defence['file']} does not have the defending text once: bring {DEFENCES.name} up to date"
    try:
        file.write_text(source.replace(defence["with"], defence["without"]))
        built = build(defence)
        if built.returncode != 0:
            return f"it does not build without the defence:\n{built.stdout[-2000:]}"
        tested = test(defence)
        if tested.returncode == 0:
            return "its test passes without the defence"
        return None if has_failed(tested) else f"its test did not run:\n{tested.stdout[-2000:]}"
    finally:
        file.write_text(source)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if run("git", "diff", "--quiet").returncode != 0:
        print("the work tree has changes: commit them first", file=sys.stderr)
        return 2
    asked = sys.argv[1:]
    every = tomllib.loads(DEFENCES.read_text())["defence"]
    defences = [each for each in every if not asked or any(part in each["threat"] for part in asked)]
    wrong = 0

    def tell(defence: dict, found: str | None):
        nonlocal wrong
        wrong += found is not None
        print(f"{'missed' if found else 'seen'}: {defence['threat']}{': ' + found if found else ''}", flush=True)

    # With every defence on, each test passes: else its failing would say nothing.
    sound = []
    for defence in defences:
        built = build(defence)
        tested = test(defence) if built.returncode == 0 else built
        if has_passed(tested):
            sound.append(defence)
        else:
            tell(defence, f"its test does not pass with the defence:\n{tested.stdout[-2000:]}")
    for defence in sound:
        tell(defence, without(defence))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
